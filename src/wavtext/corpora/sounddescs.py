"""SoundDescs: the authors' lists and descriptions -> clips (Koepke et al. 2022).

    FOLDER/{train,val,test}_list.txt      one id a line; in the repository under data/SoundDescs/
    FOLDER/descriptions.{json,pkl}        id -> description, or a list of them; or under
    FOLDER/categories.{json,pkl}          sounddescs_data/; optional: id -> list of categories
    FOLDER/**/<id>.wav                    or with the capitals of the BBC's names: NHU05030045.wav

So FOLDER may be a copy of the authors' repository with the sounds unpacked somewhere in it. Pickles
are read without executing them. The sounds are the BBC's, under the RemArc licence.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from wavtext.corpora.collection import Rejected
from wavtext.corpora.files import AudioIndex, first_existing, read_plain_pickle
from wavtext.corpora.manifest import Clip
from wavtext.errors import ManifestError

SPLITS = (("train", "train"), ("val", "validation"), ("test", "test"))


def sounddescs_clips(folder: Path) -> Iterator[Clip | Rejected]:
    """Every id of the lists: a clip, or a rejection where it has no description.

    Raises:
        ManifestError: Lists or descriptions are missing or not in their format.
    """
    descriptions = _table(folder, "descriptions")
    if descriptions is None:
        raise ManifestError(
            f"{folder}: no descriptions.pkl or descriptions.json.",
            help="They are in the folder sounddescs_data of the authors' repository.",
        )
    categories = _table(folder, "categories") or {}
    audio = AudioIndex(folder)
    found = False
    for short, split in SPLITS:
        name = f"{short}_list.txt"
        path = first_existing(folder, (name, f"data/SoundDescs/{name}"))
        if path is None:
            continue
        found = True
        for name in path.read_text(encoding="utf-8").split():
            captions = descriptions.get(name, ())
            if not captions:
                yield Rejected(f"sounddescs/{name}", "no caption", f"{split}: no description")
                continue
            tags = ", ".join(categories.get(name, ()))
            yield Clip(
                clip_id=f"sounddescs/{name}",
                path=audio.find(f"{name}.wav", f"{name.upper()}.wav"),
                captions=captions,
                split=split,
                source="SoundDescs",
                license="LicenseRef-RemArc",
                credit="BBC",
                columns={"tags": tags} if tags else {},
            )
    if not found:
        raise ManifestError(f"{folder}: no train_list.txt, val_list.txt or test_list.txt.")


def _table(folder: Path, name: str) -> Mapping[str, tuple[str, ...]] | None:
    names = [f"{base}{name}{end}" for base in ("", "sounddescs_data/") for end in (".json", ".pkl")]
    path = first_existing(folder, names)
    if path is None:
        return None
    if path.suffix == ".pkl":
        content = read_plain_pickle(path)
    else:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ManifestError(f"{path}: cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise ManifestError(f"{path}: not a table from id to text.")
    table = cast(dict[Any, Any], content)
    return {str(key): _texts(value, f"{path}: {key}") for key, value in table.items()}


def _texts(value: Any, where: str) -> tuple[str, ...]:
    values: list[Any] = cast(list[Any], value) if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in values):
        raise ManifestError(f"{where}: neither text nor a list of texts.")
    return tuple(each.strip() for each in values if each.strip())
