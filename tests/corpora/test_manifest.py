import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavtext.corpora import Clip, iter_manifest, read_manifest, write_manifest
from wavtext.errors import ManifestError


def a_clip(folder: Path, name: str = "crow", **changes: object) -> Clip:
    values = {"clip_id": name, "path": folder / f"{name}.wav", "captions": (f"a {name} cries",)}
    return Clip(**(values | changes))  # pyright: ignore


def test_a_manifest_round_trips(tmp_path: Path) -> None:
    clips = [
        a_clip(tmp_path),
        a_clip(
            tmp_path,
            "owl",
            captions=("Ein Käuzchen ruft", "an owl"),
            split="test",
            group="owls",
            source="field",
            license="CC0-1.0",
            credit="A. Body",
            duration=1.25,
            sample_rate=44_100,
            checksum="sha256:00",
            columns={"title": "Owl"},
        ),
    ]
    assert write_manifest(tmp_path / "manifest.jsonl", iter(clips)) == 2
    assert read_manifest(tmp_path / "manifest.jsonl") == clips


def test_paths_inside_the_folder_are_relative_so_that_a_collection_can_be_moved(
    tmp_path: Path,
) -> None:
    here = tmp_path / "here"
    write_manifest(here / "m.jsonl", [a_clip(here / "audio"), a_clip(Path("/elsewhere"), "owl")])
    here.rename(tmp_path / "there")
    crow, owl = read_manifest(tmp_path / "there" / "m.jsonl")
    assert crow.path == tmp_path / "there" / "audio" / "crow.wav"
    assert owl.path == Path("/elsewhere/owl.wav")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ("[1]", "must be a JSON object"),
        ('{"clip_id": "b"}', "'path' is missing"),
        ('{"clip_id": "b", "path": "b.wav", "caption": []}', "Did you mean 'captions'"),
        ('{"clip_id": "b", "path": "b.wav", "mood": "x"}', "Put it under 'columns'"),
        ('{"clip_id": "b", "path": "b.wav", "captions": "one"}', "list of texts"),
        ('{"clip_id": "b", "path": "b.wav", "captions": [1]}', "list of texts"),
        ('{"clip_id": "b", "path": "b.wav", "columns": {"title": 1}}', "list of texts"),
        ('{"clip_id": "b", "path": "b.wav", "split": 1}', "'split' is 1"),
        ('{"clip_id": "b", "path": "b.wav", "duration": -1}', "≥ 0"),
        ('{"clip_id": "b", "path": "b.wav", "duration": NaN}', "≥ 0"),
        ('{"clip_id": "b", "path": "b.wav", "duration": true}', "number of seconds"),
        ('{"clip_id": "b", "path": "b.wav", "sample_rate": 0}', "> 0 Hz"),
        ('{"clip_id": "b", "path": "b.wav", "sample_rate": 44.1}', "whole number"),
        ('{"clip_id": "a", "path": "b.wav"}', "already on line 1"),
    ],
)
def test_a_bad_line_is_an_error_that_names_it(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"clip_id": "a", "path": "a.wav"}\n\n' + line + "\n")
    with pytest.raises(ManifestError, match=r"m\.jsonl:3: ") as caught:
        read_manifest(path)
    assert says in str(caught.value)


def test_a_missing_manifest_is_an_error_that_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="wavtext collect"):
        read_manifest(tmp_path / "none.jsonl")


def test_missing_sound_files_are_found_on_request(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.jsonl", [a_clip(tmp_path)])
    assert len(read_manifest(tmp_path / "m.jsonl")) == 1
    with pytest.raises(ManifestError, match=r"m\.jsonl:1: no such sound file"):
        read_manifest(tmp_path / "m.jsonl", check_files=True)


def test_a_failing_writer_leaves_the_old_manifest_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write_manifest(path, [a_clip(tmp_path)])
    before = path.read_bytes()
    with pytest.raises(ManifestError, match="comes twice"):
        write_manifest(path, [a_clip(tmp_path), a_clip(tmp_path)])
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["m.jsonl"]


def test_a_manifest_can_be_rewritten_from_itself(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write_manifest(path, (a_clip(tmp_path, f"clip{i}") for i in range(100)))
    write_manifest(path, (clip for clip in iter_manifest(path) if clip.clip_id != "clip7"))
    assert len(read_manifest(path)) == 99


@settings(max_examples=50, deadline=None)
@given(captions=st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_caption_survives_the_file(
    captions: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("m")
    write_manifest(folder / "m.jsonl", [a_clip(folder, captions=tuple(captions))])
    assert read_manifest(folder / "m.jsonl")[0].captions == tuple(captions)
    assert json.loads((folder / "m.jsonl").read_text())["clip_id"] == "crow"
