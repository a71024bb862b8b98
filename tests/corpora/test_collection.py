import importlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavtext.corpora.captions import CaptionBuilder
from wavtext.corpora.collection import (
    CollectOptions,
    Rejected,
    subset_hash,
    write_collection,
)
from wavtext.corpora.exclusions import (
    Exclusion,
    Exclusions,
    read_usable_clips,
    write_exclusions,
)
from wavtext.corpora.inspection import CACHE_NAME, inspect_file, inspect_files
from wavtext.corpora.manifest import Clip, read_manifest, write_manifest
from wavtext.corpora.parallel import map_parallel
from wavtext.errors import ManifestError


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("crow", "owl", "rain"):
        soundfile.write(folder / f"{name}.wav", random.standard_normal(4000) * 0.1, 8_000)
    soundfile.write(folder / "silent.wav", np.zeros(4000), 8_000)
    soundfile.write(folder / "empty.wav", np.zeros(0), 8_000)
    (folder / "page.wav").write_text("<html>404</html>")
    return folder


def clips_of(folder: Path) -> list[Clip | Rejected]:
    return [
        Clip(path.stem, path, columns={"title": path.stem, "description": ""})
        for path in sorted(folder.iterdir())
    ]


OPTIONS = CollectOptions(captions=CaptionBuilder(), workers=1)


def test_every_row_is_a_clip_or_a_rejection_with_its_reason(sounds: Path, tmp_path: Path) -> None:
    rows = [
        *clips_of(sounds),
        Clip("gone", sounds / "gone.wav", ("gone",)),
        Clip("mute", sounds / "crow.wav"),
        Clip("crow", sounds / "crow.wav", ("again",)),
        Rejected("row 9", "broken link"),
    ]
    summary = write_collection(rows, tmp_path / "out", source="test", options=OPTIONS)
    assert summary.clips + sum(summary.rejected.values()) == summary.rows == 10
    assert summary.rejected == {
        "broken link": 1,
        "empty audio": 1,
        "id comes twice": 1,
        "missing audio": 1,
        "no caption": 1,
        "not audio": 1,
        "silent audio": 1,
    }
    clips = read_manifest(tmp_path / "out" / "manifest.jsonl", check_files=True)
    assert [clip.captions for clip in clips] == [("crow.",), ("owl.",), ("rain.",)]
    assert all(clip.duration == 0.5 and clip.sample_rate == 8_000 for clip in clips)
    assert all(clip.checksum.startswith("sha256:") for clip in clips)


def test_two_runs_give_the_same_manifest_and_the_second_decodes_nothing(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = write_collection(clips_of(sounds), out, source="test", options=OPTIONS)
    manifest = (out / "manifest.jsonl").read_bytes()

    def refuse(path: Path) -> None:
        raise AssertionError(f"decoded {path} again")

    monkeypatch.setattr("wavtext.corpora.inspection.inspect_file", refuse)
    assert write_collection(clips_of(sounds), out, source="test", options=OPTIONS) == first
    assert (out / "manifest.jsonl").read_bytes() == manifest


def test_the_hash_of_a_subset_says_which_clips_with_which_captions_and_sounds() -> None:
    clips = [Clip(name, Path(name), (name,), checksum=f"sha256:{name}") for name in "abc"]
    known = subset_hash(clips)
    assert known == subset_hash(reversed(clips))
    assert known == subset_hash(replace(clip, path=Path("elsewhere") / clip.path) for clip in clips)
    for changed in (
        clips[:2],
        [*clips[:2], replace(clips[2], captions=("C",))],
        [*clips[:2], replace(clips[2], checksum="sha256:d")],
    ):
        assert subset_hash(changed) != known


def test_a_killed_run_goes_on_where_its_cache_ends(sounds: Path, tmp_path: Path) -> None:
    cache = tmp_path / CACHE_NAME
    paths = sorted(sounds.iterdir())
    whole = list(inspect_files(paths, cache=cache, workers=1))
    lines = cache.read_bytes().splitlines(keepends=True)
    cache.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # killed within the fourth line
    again = list(inspect_files(paths, cache=cache, workers=1))
    assert [found.checksum for found in again] == [found.checksum for found in whole]
    assert [found.fault for found in again] == [found.fault for found in whole]
    crow = next(i for i, path in enumerate(paths) if path.stem == "crow")
    assert np.array_equal(again[crow].words, whole[crow].words)
    assert len([1 for line in cache.read_bytes().splitlines() if _is_json(line)]) == len(paths)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_a_changed_file_is_decoded_again(sounds: Path, tmp_path: Path) -> None:
    cache, path = tmp_path / CACHE_NAME, sounds / "crow.wav"
    (before,) = inspect_files([path], cache=cache, workers=1)
    soundfile.write(path, np.ones(100) * 0.5, 8_000)
    os.utime(path, ns=(1, 1))
    (after,) = inspect_files([path], cache=cache, workers=1)
    assert before.checksum != after.checksum
    assert after.duration == 100 / 8_000


def test_captions_alone_can_be_kept_where_audio_is_missing(tmp_path: Path) -> None:
    options = CollectOptions(captions_only=True, workers=1)
    rows = [Clip("a", tmp_path / "a.wav", ("rain",))]
    summary = write_collection(rows, tmp_path / "out", source="test", options=options)
    assert (summary.clips, summary.missing_audio) == (1, 1)
    assert read_manifest(tmp_path / "out" / "manifest.jsonl")[0].duration is None


def test_an_exclusion_list_is_honoured_by_id_and_checksum(sounds: Path, tmp_path: Path) -> None:
    listed = tmp_path / "exclude.jsonl"
    write_exclusions(
        listed,
        [
            Exclusion("crow", "in a test set", checksum=inspect_file(sounds / "crow.wav").checksum),
            Exclusion("owl", "in a test set", checksum="sha256:of-another-owl"),
        ],
    )
    options = CollectOptions(
        captions=CaptionBuilder(), exclusions=Exclusions.read(listed), workers=1
    )
    summary = write_collection(clips_of(sounds), tmp_path / "out", source="test", options=options)
    assert summary.rejected["excluded"] == 1
    assert [c.clip_id for c in read_manifest(tmp_path / "out" / "manifest.jsonl")] == [
        "owl",
        "rain",
    ]


def test_the_list_beside_a_manifest_is_what_training_honours(tmp_path: Path) -> None:
    clips = [Clip(name, tmp_path / f"{name}.wav", ("x",)) for name in ("crow", "owl")]
    write_manifest(tmp_path / "manifest.jsonl", clips)
    assert read_usable_clips(tmp_path / "manifest.jsonl") == clips
    write_exclusions(tmp_path / "exclude.jsonl", [Exclusion("crow", "in a test set")])
    assert read_usable_clips(tmp_path / "manifest.jsonl") == clips[1:]


def test_a_bad_exclusion_list_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text('{"clip_id": "a", "reason": "x"}\n{"id": 3}\n')
    with pytest.raises(ManifestError, match=r"e\.jsonl:2: not an exclusion"):
        Exclusions.read(tmp_path / "e.jsonl")


def test_an_item_that_kills_its_process_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module of its own: worker processes must be able to import the function.
    (tmp_path / "killer.py").write_text(
        "import os\n"
        "def double_or_die(n):\n"
        "    if n == 33:\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return 2 * n\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    function = importlib.import_module("killer").double_or_die
    found = list(map_parallel(function, range(36), workers=2, on_crash=lambda n: -1))
    assert found == [-1 if n == 33 else 2 * n for n in range(36)]
