import json
import struct
from pathlib import Path

import mutagen.flac
import mutagen.id3
import mutagen.oggvorbis
import mutagen.wave
import numpy as np
import pytest
import soundfile

from wavtext.corpora.folder import folder_clips, table_clips
from wavtext.corpora.manifest import Clip
from wavtext.corpora.riff import read_riff_texts
from wavtext.corpora.tags import read_tags
from wavtext.errors import ManifestError


def write_sound(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.ones(80) * 0.1, 8_000)
    return path


def add_chunk(path: Path, name: bytes, data: bytes) -> None:
    """Append a chunk to a RIFF file and mend its length."""
    content = (
        path.read_bytes() + name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    )
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])


def info_chunk(**texts: str) -> bytes:
    body = b"INFO"
    for name, text in texts.items():
        data = text.encode() + b"\0"
        body += name.encode() + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return body


def test_a_broadcast_wav_says_what_it_is_in_three_chunks(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav")
    add_chunk(path, b"LIST", info_chunk(INAM="Crow", IKEY="bird, caw"))
    add_chunk(path, b"bext", b"A crow at night".ljust(256, b"\0") + b"Ann".ljust(346, b"\0"))
    ixml = "<BWFXML><USER><FXNAME>Crow Call</FXNAME><CATEGORY>BIRDS</CATEGORY></USER></BWFXML>"
    add_chunk(path, b"iXML", ixml.encode())
    assert read_riff_texts(path) == {
        "title": "Crow",
        "keywords": "bird, caw",
        "description": "A crow at night",
        "artist": "Ann",
        "category": "BIRDS",
    }


@pytest.mark.parametrize(
    "chunk",
    [
        (b"iXML", b"<a><b></a>"),
        (b"iXML", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x><NOTE>&a;</NOTE></x>'),
        (b"bext", b""),
        (b"LIST", b"INFOINAM\xff\xff\xff\xffx"),
        (b"LIST", b""),
    ],
)
def test_damaged_and_hostile_chunks_are_passed_over(
    tmp_path: Path, chunk: tuple[bytes, bytes]
) -> None:
    path = write_sound(tmp_path / "a.wav")
    add_chunk(path, *chunk)
    add_chunk(path, b"LIST", info_chunk(ICMT="after"))
    assert read_riff_texts(path)["comment"] == "after"


def test_a_file_that_is_no_wav_has_no_chunks(tmp_path: Path) -> None:
    for data in (
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WAVE",
        b"OggS" * 10,
        b"RIFF\0\0\0\0WAVEbext\xff\0\0\0x",
    ):
        (tmp_path / "a.wav").write_bytes(data)
        assert read_riff_texts(tmp_path / "a.wav").get("title") is None
        assert read_tags(tmp_path / "a.wav").get("title") is None


def test_id3_and_vorbis_comments_are_read(tmp_path: Path) -> None:
    flac = mutagen.flac.FLAC(write_sound(tmp_path / "a.flac"))
    flac.update({"title": "Owl", "description": "An owl hoots", "license": "CC0-1.0"})
    flac.save()
    ogg = mutagen.oggvorbis.OggVorbis(write_sound(tmp_path / "b.ogg"))
    ogg.update({"title": ["Rain", "Storm"], "comment": "heavy"})
    ogg.save()
    wave = mutagen.wave.WAVE(write_sound(tmp_path / "c.wav"))
    wave.add_tags()
    wave.tags.add(mutagen.id3.TIT2(encoding=3, text=["Bell"]))
    wave.tags.add(mutagen.id3.COMM(encoding=3, lang="eng", desc="", text=["church"]))
    wave.save()
    assert read_tags(tmp_path / "a.flac") == {
        "title": "Owl",
        "description": "An owl hoots",
        "license": "CC0-1.0",
    }
    assert read_tags(tmp_path / "b.ogg") == {"title": "Rain, Storm", "comment": "heavy"}
    assert read_tags(tmp_path / "c.wav") == {"title": "Bell", "comment": "church"}


def test_a_folder_becomes_clips_with_all_that_names_and_tags_say(tmp_path: Path) -> None:
    root = tmp_path / "My Library"
    write_sound(root / "Doors" / "DoorSlam_Heavy-03.wav")
    write_sound(root / "DOORWood_Kitchen Door Slam_AB_HOME.wav")
    write_sound(root / "DOORXyz_Odd Thing_AB_HOME.wav")
    tagged = mutagen.flac.FLAC(write_sound(root / "x" / "001.flac"))
    tagged.update({"title": "Owl", "artist": "Ann"})
    tagged.save()
    write_sound(root / ".hidden" / "no.wav")
    (root / "notes.txt").write_text("no sound")
    clips = {clip.clip_id: clip for clip in folder_clips(root)}
    assert set(clips) == {
        "DOORWood_Kitchen Door Slam_AB_HOME.wav",
        "DOORXyz_Odd Thing_AB_HOME.wav",
        "Doors/DoorSlam_Heavy-03.wav",
        "x/001.flac",
    }
    slam = clips["Doors/DoorSlam_Heavy-03.wav"]
    assert slam.columns == {
        "title": "door slam heavy",
        "name": "door slam heavy",
        "folders": "doors",
    }
    assert slam.source == "My Library"
    ucs = clips["DOORWood_Kitchen Door Slam_AB_HOME.wav"].columns
    assert (ucs["title"], ucs["category"]) == ("kitchen door slam", "doors wood")
    odd = clips["DOORXyz_Odd Thing_AB_HOME.wav"].columns  # a CatID that is on no list
    assert odd == {"title": "door xyz odd thing ab home", "name": "door xyz odd thing ab home"}
    owl = clips["x/001.flac"]
    assert (owl.columns["title"], owl.credit) == ("Owl", "Ann")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_of_ones_own_becomes_clips(tmp_path: Path, delimiter: str) -> None:
    rows = [["file_name", "caption", "mood", "license"], ["a.wav", "a crow", "dark", "CC0-1.0"]]
    (tmp_path / "t.csv").write_text("\n".join(delimiter.join(row) for row in rows))
    (clip,) = table_clips(tmp_path / "t.csv")
    assert isinstance(clip, Clip)
    assert clip.path == tmp_path / "a.wav"
    assert (clip.captions, clip.license, clip.columns["mood"]) == (("a crow",), "CC0-1.0", "dark")


def test_a_json_table_may_hold_lists_of_captions_and_repeated_files(tmp_path: Path) -> None:
    rows = [
        {"audio": "a.wav", "captions": ["one", "two"], "tags": ["x", "y"]},
        {"audio": "a.wav", "caption_1": "three"},
        {"audio": "", "caption": "lost"},
    ]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    first, second, lost = table_clips(tmp_path / "t.json")
    assert isinstance(first, Clip)
    assert isinstance(second, Clip)
    assert (first.captions, first.columns["tags"]) == (("one", "two"), "x, y")
    assert (first.clip_id, second.clip_id) == ("a.wav", "a.wav#2")
    assert not isinstance(lost, Clip)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.csv", "a,b\n1,2\n", "no column names the sound"),
        ("t.json", "{}", "not a list"),
        ("t.json", "[1]", "entry 1"),
        ("t.jsonl", "{", "cannot be read"),
    ],
)
def test_a_bad_table_is_an_error_that_names_it(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ManifestError, match=says):
        list(table_clips(tmp_path / name))
