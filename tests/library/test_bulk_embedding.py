"""`wavtext embed`: sounds in folders, globs and buckets become Parquet parts, each once."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sound_factory import Write
from stub_model import StubModel

from wavtext.cli.main import main
from wavtext.errors import LibraryError, ModelMismatchError
from wavtext.library.bulk.embedding import embed
from wavtext.library.bulk.listing import list_sources
from wavtext.library.bulk.parts import Part


def rows_of(out: Path) -> dict[str, list[dict]]:
    """Path -> rows, of all parts."""
    found: dict[str, list[dict]] = {}
    for part in sorted(out.glob("part-*.parquet")):
        for row in pq.read_table(part).to_pylist():
            found.setdefault(row["path"], []).append(row)
    return found


def test_embeddings_are_those_of_embed_windows(
    sounds: Path, tmp_path: Path, model: StubModel, write_sound: Write
) -> None:
    write_sound("far/long.wav", "tone", duration=5.0)
    report = embed([sounds], tmp_path / "out", model=model, part_files=4)
    assert (report.files, report.embedded, report.parts, report.failures) == (9, 9, 3, ())
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 9
    for path, windows in rows.items():
        expected = model.embed_windows(sounds / path)
        assert [(row["start"], row["end"]) for row in windows] == [
            (pytest.approx(each.start), pytest.approx(each.end)) for each in expected
        ]
        embeddings = np.array([row["embedding"] for row in windows], np.float32)
        assert np.array_equal(embeddings, np.stack([each.embedding for each in expected]))
    row = rows["far/long.wav"][0]
    assert row["uri"] == str(sounds / "far/long.wav")
    assert row["duration"] == pytest.approx(5.0)
    assert (row["sample_rate"], row["channels"], row["format"]) == (16000, 1, "wav")
    assert row["size"] == (sounds / "far/long.wav").stat().st_size
    assert row["model"] == model.identity


def test_a_failed_file_is_a_row_with_its_reason_and_is_not_tried_again(
    sounds: Path, tmp_path: Path, model: StubModel
) -> None:
    (sounds / "broken.wav").write_bytes(b"no sound at all")
    report = embed([sounds], tmp_path / "out", model=model)
    assert report.embedded == 8
    ((path, reason),) = report.failures
    assert path == str(sounds / "broken.wav")
    (row,) = rows_of(tmp_path / "out")["broken.wav"]
    assert row["embedding"] is None
    assert row["error"] == reason
    again = embed([sounds], tmp_path / "out", model=model)
    assert (again.embedded, again.finished, again.parts) == (0, 8, 0)
    assert again.failures == report.failures
    (sounds / "broken.wav").write_bytes((sounds / "hum0.wav").read_bytes())
    third = embed([sounds], tmp_path / "out", model=model)
    assert (third.embedded, third.finished, third.failures) == (1, 8, ())
    assert rows_of(tmp_path / "out")["broken.wav"][0]["error"] is None


def test_retry_tries_failed_files_again(sounds: Path, tmp_path: Path, model: StubModel) -> None:
    (sounds / "broken.wav").write_bytes(b"no sound at all")
    embed([sounds], tmp_path / "out", model=model)
    report = embed([sounds], tmp_path / "out", model=model, retry=True)
    assert (report.embedded, report.parts, len(report.failures)) == (0, 1, 1)
    assert len(rows_of(tmp_path / "out")["broken.wav"]) == 1


def test_a_run_that_was_stopped_goes_on_with_the_missing_parts(
    sounds: Path, tmp_path: Path, model: StubModel
) -> None:
    out = tmp_path / "out"

    def stop(progress: object) -> None:
        if len(list(out.glob("part-*"))) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed([sounds], out, model=model, part_files=2, workers=1, progress=stop)
    finished = sorted(path.name for path in out.iterdir())
    assert len(finished) == 2  # no trace of the part in hand
    model.files_cut.clear()
    report = embed([sounds], out, model=model, part_files=2)
    assert (report.embedded, report.finished) == (4, 4)
    assert len(model.files_cut) == 4
    names = {path.name for path in out.iterdir()}
    embed([sounds], tmp_path / "other", model=model, part_files=2)
    assert names == {path.name for path in (tmp_path / "other").iterdir()}


def test_what_a_killed_run_left_is_cleared_a_day_later(
    sounds: Path, tmp_path: Path, model: StubModel
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in (".part-1.parquet.old", ".part-1.parquet.new", ".other"):
        (out / name).touch()
    for name in (".part-1.parquet.old", ".other"):
        os.utime(out / name, (1, 1))
    embed([sounds], out, model=model)
    assert {path.name for path in out.glob(".*")} == {".part-1.parquet.new", ".other"}


def test_a_changed_file_is_embedded_anew_and_its_old_rows_leave(
    sounds: Path, tmp_path: Path, model: StubModel, write_sound: Write
) -> None:
    embed([sounds], tmp_path / "out", model=model)
    write_sound("hum0.wav", "hiss", duration=4.0)
    model.files_cut.clear()
    report = embed([sounds], tmp_path / "out", model=model)
    assert (report.embedded, report.finished) == (1, 7)
    assert model.files_cut == ["hum0.wav"]
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 8
    assert {row["duration"] for row in rows["hum0.wav"]} == {4.0}


def test_globs_files_and_several_folders_share_a_root(
    sounds: Path, tmp_path: Path, write_sound: Write
) -> None:
    write_sound("a/one.wav", "hum")
    write_sound("b/c/two.wav", "hum")
    assert [file.path for file in list_sources([f"{sounds}/**/t*.wav"]).files] == [
        "b/c/two.wav", "tone0.wav", "tone1.wav"
    ]  # fmt: skip
    both = list_sources([sounds / "a", sounds / "b" / "c"])
    assert (both.root, [file.path for file in both.files]) == (
        str(sounds), ["a/one.wav", "b/c/two.wav"]
    )  # fmt: skip
    assert [file.path for file in list_sources([sounds / "hum0.wav"]).files] == ["hum0.wav"]
    with pytest.raises(LibraryError, match="no such folder or file"):
        list_sources([sounds / "nowhere"])


def test_a_folder_of_parts_keeps_to_one_model_and_one_root(
    sounds: Path, tmp_path: Path, model: StubModel, write_sound: Write
) -> None:
    embed([sounds], tmp_path / "out", model=model)
    with pytest.raises(ModelMismatchError, match="holds embeddings by stub@stub-1, not by"):
        embed([sounds], tmp_path / "out", model=StubModel("stub-2"))
    write_sound("inner/x.wav", "hum")
    with pytest.raises(LibraryError, match=r"holds the sounds of .*sounds, not of .*inner"):
        embed([sounds / "inner"], tmp_path / "out", model=model)


def test_captions_of_a_manifest_come_along(sounds: Path, tmp_path: Path, model: StubModel) -> None:
    line = {"clip_id": "1", "path": "hum0.wav", "captions": ["a low hum"], "license": "CC0-1.0"}
    (sounds / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    embed([sounds], tmp_path / "out", model=model)
    (row,) = rows_of(tmp_path / "out")["hum0.wav"]
    assert (row["captions"], row["licence"]) == (["a low hum"], "CC0-1.0")


def test_the_command_reports_and_its_status_tells_of_failures(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["embed", str(sounds), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "8 of 8 files embedded." in capsys.readouterr().out
    (sounds / "broken.wav").write_bytes(b"no sound at all")
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert "broken.wav: " in printed.err
    assert json.loads(printed.out)["finished"] == 8


def test_sounds_and_parts_lie_in_a_bucket(
    sounds: Path, tmp_path: Path, model: StubModel, bucket: str
) -> None:
    import s3fs

    (sounds / "broken.wav").write_bytes(b"no sound at all")
    s3fs.S3FileSystem().put_file(str(sounds / "broken.wav"), "archive/sounds/broken.wav")
    report = embed([bucket], "s3://archive/embeddings", model=model, part_files=4)
    assert (report.embedded, report.parts, len(report.failures)) == (8, 3, 1)
    assert report.failures[0][0] == "s3://archive/sounds/broken.wav"
    embed([sounds], tmp_path / "out", model=model)
    local = rows_of(tmp_path / "out")
    for name in s3fs.S3FileSystem().ls("archive/embeddings"):
        with s3fs.S3FileSystem().open(name, "rb") as file:
            for clip in Part(file, name).clips():
                assert clip.uri == f"s3://archive/sounds/{clip.path}"
                expected = local[clip.path]
                if clip.error:
                    assert [clip.error] == [row["error"] for row in expected]
                    continue
                assert clip.record is not None
                assert clip.record.content.hex() == expected[0]["content"]
                assert clip.embeddings.tolist() == [row["embedding"] for row in expected]
    again = embed([f"{bucket}/*.wav"], "s3://archive/embeddings", model=model)
    assert (again.embedded, again.finished, again.parts) == (0, 8, 0)
    with pytest.raises(LibraryError, match="no sounds are there"):
        embed(["s3://archive/nothing"], tmp_path / "out2", model=model)
