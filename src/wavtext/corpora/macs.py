"""MACS: captions by several annotators for TAU Urban Acoustic Scenes 2019 -> clips.

    FOLDER/MACS.yaml              files: [{filename, annotations: [{annotator_id, sentence, tags}]}]
    FOLDER/MACS_competence.csv    optional, tabs: annotator_id, competence in [0, 1]
    FOLDER/**/<filename>

Source: Martín-Morató & Mesaros 2021. A file name is scene-city-location-segment-device.wav;
recordings of one location are one group.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from wavtext.corpora.files import AudioIndex, first_existing, read_csv
from wavtext.corpora.manifest import Clip
from wavtext.errors import ManifestError, MissingExtraError


def macs_clips(folder: Path, *, min_competence: float = 0.0) -> Iterator[Clip]:
    """Every clip of MACS.yaml, whether or not its audio is there.

    Args:
        folder: Where MACS.yaml and the audio are.
        min_competence: Captions of annotators below it are left out; needs the competence table.

    Raises:
        ManifestError: A file is missing or not in its format.
    """
    path = first_existing(folder, ("MACS.yaml", "MACS.yml"))
    if path is None:
        raise ManifestError(f"{folder}: no MACS.yaml.")
    competence = _competence(folder / "MACS_competence.csv", needed=min_competence > 0)
    audio = AudioIndex(folder)
    for number, file in enumerate(_files(path)):
        try:
            name = str(file["filename"])
            kept = [
                (str(each["sentence"]).strip(), [str(tag) for tag in each.get("tags") or ()])
                for each in file["annotations"]
                if competence.get(str(each.get("annotator_id")), 1.0) >= min_competence
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise ManifestError(
                f"{path}: entry {number} is not {{filename, annotations}}: {error}."
            ) from error
        tags = dict.fromkeys(tag for _, each in kept for tag in each)
        yield Clip(
            clip_id=f"macs/{name}",
            path=audio.find(name),
            captions=tuple(sentence for sentence, _ in kept if sentence),
            split="train",  # MACS is published without splits, for training
            group="macs/" + "-".join(Path(name).stem.split("-")[:3]),
            source="MACS",
            license="unclear",
            credit="TAU Urban Acoustic Scenes 2019",
            columns={"tags": ", ".join(tags)} if tags else {},
        )


def _files(path: Path) -> list[dict[str, Any]]:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("corpora", "reading MACS.yaml") from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, ten times as fast
    try:
        with path.open(encoding="utf-8") as file:
            content: Any = yaml.load(file, Loader=loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}.") from error
    files: Any = cast(dict[str, Any], content).get("files") if isinstance(content, dict) else None
    if not isinstance(files, list):
        raise ManifestError(f"{path}: no list 'files'.")
    return cast(list[dict[str, Any]], files)


def _competence(path: Path, *, needed: bool) -> dict[str, float]:
    if not path.is_file():
        if needed:
            raise ManifestError(f"{path}: needed to leave out annotators, and missing.")
        return {}
    rows = read_csv(path, columns=("annotator_id", "competence"), delimiter="\t")
    return {row["annotator_id"]: float(row["competence"]) for _, row in rows}
