"""Clotho: the authors' folder -> clips, five captions each (Drossos et al. 2020).

    FOLDER/clotho_captions_{development,validation,evaluation}.csv
    FOLDER/clotho_metadata_{...}.csv                 optional: licence and credit of each file
    FOLDER/{development,validation,evaluation}/*.wav

Two files of one name may be in two splits (four names are), so a clip's id has its split.
"""

from collections.abc import Iterator
from pathlib import Path

from wavtext.corpora.files import AudioIndex, first_existing, read_csv
from wavtext.corpora.manifest import Clip
from wavtext.errors import ManifestError

CAPTION_COLUMNS = tuple(f"caption_{number}" for number in range(1, 6))

# The authors' name of a split, ours, and a short name that copies of the lists go by.
SPLITS = (
    ("development", "train", "train"),
    ("validation", "validation", "val"),
    ("evaluation", "test", "test"),
)


def clotho_clips(folder: Path) -> Iterator[Clip]:
    """Every clip of the captions that are there, whether or not its audio is.

    Raises:
        ManifestError: There are no captions, or they are not in the published format.
    """
    found = False
    for published, split, short in SPLITS:
        names = (f"clotho_captions_{published}.csv", f"{published}.csv", f"{short}.csv")
        captions = first_existing(folder, names)
        if captions is None:
            continue
        found = True
        details = _details(folder / f"clotho_metadata_{published}.csv")
        audio = AudioIndex(_audio_folder(folder, published, short))
        for _, row in read_csv(captions, columns=("file_name", *CAPTION_COLUMNS)):
            name = row["file_name"]
            detail = details.get(name.strip(), {})
            yield Clip(
                clip_id=f"clotho/{published}/{name.strip()}",
                path=audio.find(name),
                captions=tuple(row[column] for column in CAPTION_COLUMNS),
                split=split,
                group=f"clotho/{detail.get('sound_id') or name.strip()}",
                source="Clotho",
                license=detail.get("license", "") or "unclear",
                credit=_credit(detail),
                columns={"keywords": detail["keywords"]} if detail.get("keywords") else {},
            )
    if not found:
        raise ManifestError(
            f"{folder}: no Clotho captions.",
            help="Expected clotho_captions_development.csv and its siblings.",
        )


def _audio_folder(folder: Path, published: str, short: str) -> Path:
    candidates = [base / name for base in (folder, folder / "audio") for name in (published, short)]
    candidates += [folder / "clotho_audio_files" / published, folder / f"clotho_audio_{published}"]
    return next((each for each in candidates if each.is_dir()), folder / published)


def _details(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    return {row["file_name"].strip(): row for _, row in read_csv(path, columns=("file_name",))}


def _credit(detail: dict[str, str]) -> str:
    parts = (detail.get("manufacturer", ""), detail.get("sound_link", ""))
    return ", ".join(part for part in parts if part)
