"""Models of the Hugging Face hub, by name: where they lie once they are converted.

`hf:laion/clap-htsat-unfused`, or with `@REVISION`.  Converting needs torch and lives in
wavtext.training.hub; the command line does it on a name's first use.  What was converted once is
used from then on, without a network, so that a name keeps meaning the same weights.
"""

import os
from pathlib import Path

from wavtext.errors import ModelError
from wavtext.model.folder import CONFIG_FILE

PREFIX = "hf:"


def cached_folder(name: str) -> Path:
    """The model folder of a converted `hf:` model.

    Raises:
        ModelError: It was not converted on this machine yet; says how.
    """
    folder = folder_for(name)
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(
            f"{name} was not fetched on this machine yet.",
            help=f'Fetch it: pip install "wavtext[train]" && wavtext convert {name}',
        )
    return folder


def folder_for(name: str) -> Path:
    """Where a `hf:` model is kept in the user's cache: models/ORGANISATION--NAME@REVISION."""
    repository, revision = split_name(name)
    base = os.environ.get("XDG_CACHE_HOME")
    cache = (Path(base) if base else Path.home() / ".cache") / "wavtext" / "models"
    return cache / f"{repository.replace('/', '--')}@{revision.replace('/', '--')}"


def split_name(name: str) -> tuple[str, str]:
    """`hf:organisation/name@revision` as repository and revision, "main" where it names none.

    Raises:
        ModelError: It is no such name.
    """
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    parts = repository.split("/")
    if len(parts) > 2 or not all(part and part.strip(".") for part in parts):
        raise ModelError(
            f"{name!r} is no name on the Hugging Face hub.",
            help="Such as hf:laion/clap-htsat-unfused",
        )
    return repository, revision or "main"
