import json
import pickle
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavtext.corpora.audiocaps import audiocaps_clips
from wavtext.corpora.clotho import clotho_clips
from wavtext.corpora.collection import CollectOptions, Rejected, write_collection
from wavtext.corpora.files import read_csv, read_plain_pickle
from wavtext.corpora.macs import macs_clips
from wavtext.corpora.manifest import Clip, read_manifest
from wavtext.corpora.sounddescs import sounddescs_clips
from wavtext.errors import ManifestError


def write_sound(path: Path, seed: int = 0, duration: float = 0.3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(round(duration * 16_000)) * 0.1
    soundfile.write(path, noise, 16_000)


def test_the_real_clotho_lists_give_the_papers_counts(shared: Path) -> None:
    clips = list(clotho_clips(shared / "metadata" / "clotho"))
    assert Counter(clip.split for clip in clips) == {
        "train": 3839,
        "validation": 1045,
        "test": 1045,
    }
    assert sum(len(clip.captions) for clip in clips) == 29_645
    assert len({clip.clip_id for clip in clips}) == 5_929  # four names are in two splits
    assert len({clip.group for clip in clips}) == 5_925


def test_clothos_published_layout_gives_licences_and_credits(tmp_path: Path) -> None:
    header = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
    captions = header + ' crow.wav,a,b,c,d,"e, f"\n'
    (tmp_path / "clotho_captions_development.csv").write_text(captions)
    (tmp_path / "clotho_metadata_development.csv").write_bytes(
        b"file_name,keywords,sound_id,sound_link,start_end_samples,manufacturer,license\n"
        b'crow.wav,"crow;bird",17,link://17,"[0, 9]",Andr\xe9,CC0\n'
    )
    write_sound(tmp_path / "development" / "crow.wav")
    (clip,) = clotho_clips(tmp_path)
    assert clip.path.is_file()
    assert clip.captions == ("a", "b", "c", "d", "e, f")
    assert (clip.license, clip.credit, clip.group) == ("CC0", "André, link://17", "clotho/17")


@pytest.mark.parametrize(
    ("lists", "clips", "captions"),
    [("2019", (49_838, 495, 975), (49_838, 2_475, 4_875)), ("mei", (49_274, 494, 957), None)],
)
def test_the_real_audiocaps_lists_give_their_counts(
    shared: Path, lists: str, clips: tuple[int, ...], captions: tuple[int, ...] | None
) -> None:
    found = list(audiocaps_clips(shared / "metadata" / "audiocaps", lists=lists))
    by_split = {
        split: [clip for clip in found if clip.split == split]
        for split in ("train", "validation", "test")
    }
    assert tuple(len(each) for each in by_split.values()) == clips
    if captions:
        counted = tuple(sum(len(c.captions) for c in each) for each in by_split.values())
        assert counted == captions
    assert all(len(clip.captions) == 5 for clip in by_split["test"])


def test_audiocaps_finds_audio_under_either_name_and_reports_what_is_missing(
    tmp_path: Path,
) -> None:
    (tmp_path / "train.csv").write_text(
        "audiocap_id,youtube_id,start_time,caption\n"
        "1,-abc,30,a crow\n2,-abc,30,a bird\n3,x,0,rain\n"
    )
    write_sound(tmp_path / "audio" / "Y-abc.flac")
    options = CollectOptions(workers=1)
    summary = write_collection(
        audiocaps_clips(tmp_path), tmp_path / "out", source="audiocaps", options=options
    )
    assert (summary.rows, summary.clips, summary.rejected) == (2, 1, {"missing audio": 1})
    (clip,) = read_manifest(tmp_path / "out" / "manifest.jsonl", check_files=True)
    assert clip.captions == ("a crow", "a bird")
    assert clip.duration == pytest.approx(0.3)
    (line,) = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["clip_id"] == "audiocaps/x"


def test_macs_keeps_each_annotators_sentence_and_groups_by_location(tmp_path: Path) -> None:
    (tmp_path / "MACS.yaml").write_text(
        """files:
- filename: airport-oslo-3-77-a.wav
  annotations:
  - {annotator_id: 9, sentence: people talk, tags: [adults_talking]}
  - {annotator_id: 5, sentence: 'a crow, far', tags: [birds_singing, adults_talking]}
"""
    )
    audio = tmp_path / "TAU-urban-acoustic-scenes-2019-development" / "audio"
    write_sound(audio / "airport-oslo-3-77-a.wav")
    (tmp_path / "MACS_competence.csv").write_text("annotator_id\tcompetence\n9\t0.9\n5\t0.2\n")
    (clip,) = macs_clips(tmp_path)
    assert clip.path.is_file()
    assert clip.captions == ("people talk", "a crow, far")
    assert clip.group == "macs/airport-oslo-3"
    assert clip.columns["tags"] == "adults_talking, birds_singing"
    (clip,) = macs_clips(tmp_path, min_competence=0.5)
    assert clip.captions == ("people talk",)


@pytest.mark.parametrize("text", ["files: 3", "a: [", "files:\n- {filename: a.wav}"])
def test_a_damaged_macs_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "MACS.yaml").write_text(text)
    with pytest.raises(ManifestError, match=r"MACS\.yaml"):
        list(macs_clips(tmp_path))


def test_the_real_sounddescs_lists_meet_descriptions_pickled_as_the_authors_do(
    shared: Path, tmp_path: Path
) -> None:
    for name in ("train", "val", "test"):
        shutil.copy(shared / "metadata" / "sounddescs" / f"{name}_list.txt", tmp_path)
    ids = [
        each
        for name in ("train", "val", "test")
        for each in (tmp_path / f"{name}_list.txt").read_text().split()
    ]
    assert len(ids) == 32_979
    descriptions: defaultdict[str, str] = defaultdict(str)
    descriptions.update({each: f"Sound {each}" for each in ids[1:]})
    categories = defaultdict(list, {ids[1]: ["Nature", "Birds"]})
    (tmp_path / "sounddescs_data").mkdir()
    for name, table in (("descriptions", descriptions), ("categories", categories)):
        # defaultdict(str) names a builtin; the authors' files are made as defaultdict() and (list).
        plain = defaultdict(None, table) if name == "descriptions" else table
        path = tmp_path / "sounddescs_data" / f"{name}.pkl"
        path.write_bytes(pickle.dumps(plain, protocol=3))
    rows = list(sounddescs_clips(tmp_path))
    assert [row for row in rows if isinstance(row, Rejected)] == [
        Rejected(f"sounddescs/{ids[0]}", "no caption", "train: no description")
    ]
    clips = [row for row in rows if isinstance(row, Clip)]
    assert len(clips) == 32_978
    assert clips[0].columns["tags"] == "Nature, Birds"


def test_sounddescs_is_read_from_a_copy_of_the_authors_repository(tmp_path: Path) -> None:
    """As akoepke/audio-retrieval-benchmark at 55dce73 is laid out, with the BBC's file names."""
    (tmp_path / "data" / "SoundDescs").mkdir(parents=True)
    (tmp_path / "sounddescs_data").mkdir()
    (tmp_path / "data" / "SoundDescs" / "test_list.txt").write_text("nhu05030045\n07033129\n")
    tables = {
        "descriptions": defaultdict(None, {"nhu05030045": "A crow.", "07033129": "A door."}),
        "categories": defaultdict(list, {"nhu05030045": ["Nature"], "07033129": ["Daily Life"]}),
    }
    for name, table in tables.items():
        path = tmp_path / "sounddescs_data" / f"{name}.pkl"
        path.write_bytes(pickle.dumps(table, protocol=3))
    write_sound(tmp_path / "audios" / "NHU05030045.wav" / "NHU05030045.wav", seed=1)
    write_sound(tmp_path / "resampled" / "07033129.wav", seed=2)
    options = CollectOptions(workers=1)
    summary = write_collection(
        sounddescs_clips(tmp_path), tmp_path / "out", source="sounddescs", options=options
    )
    assert (summary.clips, summary.rejected) == (2, {})


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


def test_a_pickle_that_would_run_code_is_refused_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "descriptions.pkl").write_bytes(pickle.dumps({"a": Hostile()}))
    with pytest.raises(ManifestError, match="could run code"):
        read_plain_pickle(tmp_path / "descriptions.pkl")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("data", [b"", b"\x80\x04", b"cos\nsystem\n(S'true'\ntR.", b"hello"])
def test_a_damaged_pickle_is_an_error_that_names_the_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "d.pkl").write_bytes(data)
    with pytest.raises(ManifestError, match=r"d\.pkl"):
        read_plain_pickle(tmp_path / "d.pkl")


def test_a_table_with_a_torn_row_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(ManifestError, match=r"t\.csv:3: 1 cells"):
        list(read_csv(tmp_path / "t.csv", columns=("a",)))
    with pytest.raises(ManifestError, match="no column 'c'"):
        list(read_csv(tmp_path / "t.csv", columns=("c",)))


def test_a_table_keeps_line_breaks_and_line_separators_within_cells(tmp_path: Path) -> None:
    with open(tmp_path / "t.csv", "w", newline="", encoding="utf-8") as file:
        file.write('\ufeffa,b\r\n"1\u2028x","2\n3"\r\n')
    assert [row for _, row in read_csv(tmp_path / "t.csv", columns=("a",))] == [
        {"a": "1\u2028x", "b": "2\n3"}
    ]
