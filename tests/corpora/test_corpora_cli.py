import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from wavtext.audio.log_mel import LogMelConfig
from wavtext.cli.collect import SOURCES, collect
from wavtext.cli.corpus import corpus
from wavtext.corpora.exclusions import Exclusion, read_usable_clips, write_exclusions
from wavtext.corpora.manifest import Clip, read_manifest, write_manifest
from wavtext.corpora.packed import pack_options, read_packed_clips
from wavtext.errors import CollectError


def run(command: object, *arguments: object) -> Result:
    result = CliRunner().invoke(
        command,
        [str(each) for each in arguments],
        standalone_mode=False,  # pyright: ignore
    )
    if result.exception is not None:
        raise result.exception
    return result


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    for number, name in enumerate(("DoorSlam_Heavy-03", "crow", "rain on roof")):
        folder.mkdir(exist_ok=True)
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 16_000)
        soundfile.write(folder / f"{name}.wav", noise, 16_000)
    return folder


def test_a_folder_is_collected_described_checked_packed_and_unpacked(
    library: Path, tmp_path: Path
) -> None:
    result = run(collect, "folder", library, "--out", tmp_path / "c", "--template", "{title}")
    assert result.return_value == 0
    assert "3 of 3 rows are clips" in result.output
    manifest = tmp_path / "c" / "manifest.jsonl"
    captions = [clip.captions[0] for clip in read_manifest(manifest, check_files=True)]
    assert captions == ["door slam heavy", "crow", "rain on roof"]
    assert "| c | 0.00 | 3 | 3 | 1.00 |" in run(corpus, "stats", manifest).output
    assert run(corpus, "check", manifest).return_value == 0
    result = run(corpus, "pack", manifest, "--out", tmp_path / "p", "--log-mel")
    assert "3 of 3 clips" in result.output
    assert run(corpus, "unpack", tmp_path / "p", "--out", tmp_path / "u").return_value is None
    assert len(read_manifest(tmp_path / "u" / "manifest.jsonl", check_files=True)) == 3


def test_a_pack_holds_the_log_mels_of_a_runs_settings(library: Path, tmp_path: Path) -> None:
    run(collect, "folder", library, "--out", tmp_path / "c", "--template", "{title}")
    settings = tmp_path / "run.toml"
    settings.write_text("epochs = 3\n[front_end]\nsample_rate = 16000\nn_mels = 32\n")
    manifest, url = tmp_path / "c" / "manifest.jsonl", str(tmp_path / "p")
    run(corpus, "pack", manifest, "--out", url, "--config", settings)
    assert pack_options(url).log_mel == LogMelConfig(sample_rate=16_000, n_mels=32)


def test_a_pack_leaves_out_what_training_from_the_manifest_would(
    library: Path, tmp_path: Path
) -> None:
    run(collect, "folder", library, "--out", tmp_path / "c", "--template", "{title}")
    manifest, url = tmp_path / "c" / "manifest.jsonl", str(tmp_path / "p")
    write_exclusions(tmp_path / "c" / "exclude.jsonl", [Exclusion("crow.wav", "duplicate audio")])
    run(corpus, "pack", manifest, "--out", url)
    expected = [clip.clip_id for clip in read_usable_clips(manifest)]
    assert [clip.clip_id for clip in read_packed_clips(url)] == expected
    assert len(expected) == 2


def test_missing_audio_is_counted_and_sets_the_exit_status(library: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("path,caption\nlibrary/crow.wav,a crow\nlibrary/gone.wav,gone\n")
    result = run(collect, "table", table, "--out", tmp_path / "c")
    assert result.return_value == 1
    assert "1 rejected: missing audio" in result.output
    result = run(collect, "table", table, "--out", tmp_path / "c", "--captions-only", "--json")
    assert result.return_value == 0
    assert json.loads(result.output)["missing_audio"] == 1


def test_a_full_disk_is_one_line_that_says_how_to_go_on(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "x.flac")

    monkeypatch.setattr("wavtext.corpora.folder.sound_columns", full)
    with pytest.raises(CollectError, match=r"x\.flac: No space left on device\. .*run the command"):
        run(collect, "folder", library, "--out", tmp_path / "c")


# Gets a signal before it decodes its fifth file, as if a user or the system had sent it.
CUT_SHORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from wavtext.cli.main import main
from wavtext.corpora import inspection

decode, seen = inspection.inspect_file, []

def decode_four(path):
    seen.append(path)
    if len(seen) == 5:
        os.kill(os.getpid(), int(sys.argv[1]))
    return decode(path)

inspection.inspect_file = decode_four
main(sys.argv[2:])
"""


def test_a_run_that_is_interrupted_and_then_killed_ends_as_if_it_had_not_been(
    tmp_path: Path,
) -> None:
    sounds, whole, cut = tmp_path / "sounds", tmp_path / "whole", tmp_path / "cut"
    sounds.mkdir()
    for number in range(12):
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 8_000)
        soundfile.write(sounds / f"noise {number}.wav", noise, 16_000)

    def arguments(out: Path) -> list[str]:
        options = ["--workers", "1", "--template", "{title}", "--out", str(out)]
        return ["collect", "folder", str(sounds), *options]

    run(collect, *arguments(whole)[1:])
    for how, status, done in ((signal.SIGINT, 130, 4), (signal.SIGKILL, -9, 8)):
        command = [sys.executable, "-c", CUT_SHORT, str(int(how)), *arguments(cut)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == status, ended.stderr
        assert "Traceback" not in ended.stderr
        assert not (cut / "manifest.jsonl").exists()
        assert len((cut / ".inspected.jsonl").read_text().splitlines()) == done
    run(collect, *arguments(cut)[1:])
    for name in ("manifest.jsonl", "rejected.jsonl", "collection.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


def test_an_exclusion_list_goes_from_check_to_collect(library: Path, tmp_path: Path) -> None:
    (library / "caw.wav").write_bytes((library / "crow.wav").read_bytes())
    run(collect, "folder", library, "--out", tmp_path / "c")
    listed = tmp_path / "exclude.jsonl"
    result = run(corpus, "check", tmp_path / "c" / "manifest.jsonl", "--out", listed)
    assert result.return_value == 1
    assert "c: 1 × duplicate audio" in result.output
    result = run(collect, "folder", library, "--out", tmp_path / "d", "--exclude", listed)
    assert "1 rejected: excluded" in result.output
    assert result.return_value == 0


def test_the_papers_numbers_come_from_the_real_tables(shared: Path, tmp_path: Path) -> None:
    metadata = shared / "metadata"
    run(collect, "clotho", metadata / "clotho", "--out", tmp_path / "Clotho", "--captions-only")
    clotho = tmp_path / "Clotho" / "manifest.jsonl"
    table = metadata / "wavtext5k.csv"
    figure = tmp_path / "words.svg"
    output = run(
        corpus, "stats", clotho, table, "--template", "{description}", "--figure", figure
    ).output
    assert "| Clotho | – | 5929 | 29645 | – | – | 21 | 11.34 | 56.69 |" in output
    assert "| wavtext5k | – | 4525 | 4348 | – | – | 82 | 13.02 | 12.51 |" in output
    assert "177 audios have no caption" in output
    assert figure.read_text().startswith("<?xml")
    output = run(
        corpus, "sample", clotho, table, "--template", "{description}", "--word", "crow"
    ).output
    assert output.count("crow") == 2
    output = run(corpus, "check", table, "--template", "{description}", "--captions-only").output
    assert "wavtext5k: 822 × repeated caption" in output


def test_metal_and_water_lead_the_real_descriptions(shared: Path) -> None:
    from wavtext.corpora.files import read_csv
    from wavtext.corpora.statistics import frequent_words, read_stop_words

    rows = read_csv(shared / "metadata" / "wavtext5k.csv", columns=("description",))
    texts = [row["description"] for _, row in rows]
    words = frequent_words(texts, stop_words=read_stop_words())
    assert [word for word, _ in words[:2]] == ["metal", "water"]
    unfiltered = frequent_words(texts, stop_words=frozenset(["a", "of", "the"]))
    assert "metal" not in [word for word, _ in unfiltered[:10]]


def test_statistics_are_right_for_a_collection_counted_by_hand(tmp_path: Path) -> None:
    manifest = tmp_path / "zoo" / "manifest.jsonl"
    write_manifest(
        manifest,
        [
            Clip("a", tmp_path / "a.wav", ("a crow caws", "one  bird"), duration=10.0),
            Clip("b", tmp_path / "b.wav", (" ",), duration=2.0),
            Clip("c", tmp_path / "c.wav", ("a crow caws",)),
        ],
    )
    row = json.loads(run(corpus, "stats", manifest, "--format", "json").output)
    assert row["audios"] == 3
    assert row["captions"] == 3
    assert row["hours"] == pytest.approx(12 / 3600)
    assert (row["max_duration"], row["mean_duration"]) == (10.0, 6.0)
    assert (row["max_words"], row["mean_words"]) == (3, pytest.approx(8 / 3))
    assert row["mean_words_per_audio"] == pytest.approx(8 / 3)
    assert (row["distinct_captions"], row["without_audio"]) == (2, 1)
    header, line = run(corpus, "stats", manifest, "--format", "csv").output.split()[:2]
    assert header.split(",")[:3] == ["dataset", "hours", "audios"]
    assert line.startswith("zoo,")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_figure_is_the_same_file_twice(tmp_path: Path, suffix: str) -> None:
    from wavtext.corpora.figure import save_word_figure

    for name in ("a", "b"):
        path = tmp_path / f"{name}.{suffix}"
        save_word_figure([("crow", 3), ("owl", 1)], path, title="Birds")
    one, other = (tmp_path / f"{name}.{suffix}" for name in ("a", "b"))
    assert len(one.read_bytes()) == len(other.read_bytes()) > 1000


def test_help_names_every_source_and_imports_nothing_heavy() -> None:
    output = run(collect, "--help").output
    for source, says in SOURCES.items():
        assert f"{source:<11} {says}" in output
    code = (
        "import sys, wavtext.cli.collect, wavtext.cli.corpus;"
        "heavy = {'numpy', 'pyarrow', 'httpx', 'matplotlib', 'yaml', 'fsspec'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
