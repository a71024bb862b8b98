"""AudioCaps: the released lists -> clips (Kim et al. 2019; the lists of Mei et al. 2022).

    FOLDER/{train,val,test}.csv            audiocap_id, youtube_id, start_time, caption
    FOLDER/mei_{train,val,test}.csv        file_name, caption | caption_1..caption_5
    FOLDER/**/<youtube_id>.wav             or Y<youtube_id>.wav, in any folder and format

The 2019 lists have a row for each caption; rows of one video become one clip.
"""

from collections.abc import Iterator
from pathlib import Path

from wavtext.corpora.files import AudioIndex, first_existing, read_csv
from wavtext.corpora.manifest import Clip
from wavtext.errors import ManifestError

SPLITS = (("train", "train"), ("val", "validation"), ("test", "test"))


def audiocaps_clips(folder: Path, *, lists: str = "2019") -> Iterator[Clip]:
    """Every clip of the lists, whether or not its audio is there.

    Args:
        folder: Where the lists and the audio are.
        lists: "2019" (Kim et al.) or "mei" (Mei et al. 2022).

    Raises:
        ManifestError: A list is missing or not in its format.
    """
    audio = AudioIndex(folder)
    found = False
    for short, split in SPLITS:
        path = _list(folder, short, lists)
        if path is not None:
            found = True
            yield from _mei(path, split, audio) if lists == "mei" else _kim(path, split, audio)
    if not found:
        raise ManifestError(
            f"{folder}: no AudioCaps lists of kind '{lists}'.",
            help="Expected train.csv, val.csv, test.csv; Mei's may be called mei_train.csv ...",
        )


def _list(folder: Path, short: str, lists: str) -> Path | None:
    prefixes = ("mei_", "") if lists == "mei" else ("",)
    return first_existing(folder, [f"{prefix}{short}.csv" for prefix in prefixes])


def _kim(path: Path, split: str, audio: AudioIndex) -> Iterator[Clip]:
    captions: dict[tuple[str, str], list[str]] = {}
    needed = ("audiocap_id", "youtube_id", "start_time", "caption")
    for _, row in read_csv(path, columns=needed):
        captions.setdefault((row["youtube_id"], row["start_time"]), []).append(row["caption"])
    for (video, start), texts in captions.items():
        names = (f"{video}.wav", f"Y{video}.wav", f"{video}_{start}.wav", f"Y{video}_{start}.wav")
        yield _clip(video, start, tuple(texts), split, audio.find(*names))


def _mei(path: Path, split: str, audio: AudioIndex) -> Iterator[Clip]:
    for line, row in read_csv(path, columns=("file_name",)):
        texts = tuple(row[name] for name in row if name.startswith("caption"))
        if not texts:
            raise ManifestError(f"{path}: no caption columns.")
        name = row["file_name"]
        if not (name.startswith("Y") and name.endswith(".wav")):
            raise ManifestError(f"{path}:{line}: {name!r} is not of the form Y<youtube_id>.wav.")
        video = name[1:-4]
        yield _clip(video, "", texts, split, audio.find(name, f"{video}.wav"))


def _clip(video: str, start: str, captions: tuple[str, ...], split: str, path: Path) -> Clip:
    return Clip(
        clip_id=f"audiocaps/{video}",
        path=path,
        captions=captions,
        split=split,
        group=f"youtube/{video}",
        source="AudioCaps",
        license="unclear",  # each video's own
        credit=f"YouTube {video}",
        columns={"start_time": start} if start else {},
    )
