"""Where a library is kept: its file, the folder around it, the folder of sounds it belongs to."""

import contextlib
import os
from pathlib import Path

from wavtext.errors import LibraryError
from wavtext.library.store import Store

LIBRARY_FILE = Path(".wavtext") / "library.sqlite"


def is_qdrant(place: str | Path) -> bool:
    """Whether a library is a collection of Qdrant's: qdrant://host:6333/sounds."""
    return str(place).startswith(("qdrant:", "qdrant+"))


def folder_of(path: Path) -> Path:
    """The folder of sounds that a library's file belongs to.

    Raises:
        LibraryError: There is no such file, or it does not say.
    """
    path = Path(os.path.abspath(path.expanduser()))
    if not path.is_file():
        raise LibraryError(f"{path}: no such library.", help="Make one: wavtext index")
    if path.parts[-2:] == LIBRARY_FILE.parts:
        return path.parent.parent
    with contextlib.closing(Store(path)) as store:
        folder = store.meta("folder")
    if folder is None:
        raise LibraryError(
            f"{path}: does not say which folder's sounds it holds.",
            help=f"Name the folder: wavtext serve DIR --library {path}",
        )
    return Path(folder)


def make_place(folder: Path, path: Path) -> None:
    """Make the folder that the library's file is kept in."""
    if not folder.is_dir():
        raise LibraryError(f"{folder}: no such folder.", help="Check the spelling.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LibraryError(
            f"{path.parent}: cannot be made: {error.strerror}.",
            help="Keep the library elsewhere: --library FILE",
        ) from error


def claim(folder: Path, path: Path, store: Store) -> None:
    """Tie a library outside its folder to that folder, so that another cannot empty it."""
    if path == folder / LIBRARY_FILE:
        return
    root = store.meta("folder")
    if root is not None and root != str(folder) and Path(root).is_dir():
        raise LibraryError(
            f"{path}: holds the sounds of {root}, not of {folder}.",
            help="Name another file with --library.",
        )
    if root != str(folder):
        store.set_meta(folder=str(folder))
