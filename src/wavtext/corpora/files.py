"""What datasets are published as: CSV tables, folders of sounds, pickles (never executed)."""

import csv
import io
import pickle
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from wavtext.audio.decode import AUDIO_SUFFIXES
from wavtext.errors import ManifestError


def read_csv(
    path: Path, *, columns: Sequence[str], delimiter: str = ","
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a table with a header, each with its line number.

    Args:
        path: UTF-8, with or without a byte-order mark; or Windows-1252 where it is not UTF-8.
        columns: Columns that must be there.
        delimiter: Between cells.

    Raises:
        ManifestError: It cannot be read, lacks a column, or a row has too many or too few cells.
    """
    try:
        text = _decode(path.read_bytes())
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}.") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = next(reader, [])
    for column in columns:
        if column not in header:
            raise ManifestError(
                f"{path}: no column '{column}'.", help=f"Its columns: {', '.join(header)}."
            )
    for row in reader:
        if not row:
            continue
        if len(row) != len(header):
            raise ManifestError(
                f"{path}:{reader.line_num}: {len(row)} cells where the header has {len(header)}."
            )
        yield reader.line_num, dict(zip(header, row, strict=True))


def first_existing(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of the names that is a file in the folder."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


class AudioIndex:
    """The sound files under a folder, to be found by name however they are nested.

    Archives unpack into different folders and audio gets converted, so a file is found by its name,
    by its name without spaces at the ends, or by its stem with another suffix.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
                for key in (path.name, path.name.strip(), path.stem, path.stem.strip()):
                    self._paths.setdefault(key, path)

    def __len__(self) -> int:
        return len(set(self._paths.values()))

    def find(self, *names: str) -> Path:
        """The file of the first name that is there; else where the first one would be."""
        for name in names:
            for key in (name, name.strip(), Path(name).stem, Path(name).stem.strip()):
                if key in self._paths:
                    return self._paths[key]
        return self._folder / names[0]


class _PlainUnpickler(pickle.Unpickler):
    """Builds dictionaries, lists, texts and numbers; refuses everything that would run code."""

    def find_class(self, module: str, name: str) -> Any:
        # A defaultdict(list) is how the authors saved their tables; both are harmless.
        if (module, name) == ("collections", "defaultdict"):
            return defaultdict
        if (module, name) in {("builtins", "list"), ("__builtin__", "list")}:
            return list
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which could run code")


def read_plain_pickle(path: Path) -> Any:
    """The plain values in a pickle: dictionaries, lists, texts, numbers; nothing is executed.

    Raises:
        ManifestError: It cannot be read, or holds anything else.
    """
    try:
        with path.open("rb") as file:
            return _load(file)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}.") from error
    except Exception as error:  # a hostile pickle can raise anything
        raise ManifestError(f"{path}: not a pickle of plain values: {error}.") from error


def _load(file: BinaryIO) -> Any:
    return _PlainUnpickler(file).load()


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
