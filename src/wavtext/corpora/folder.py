"""A folder, or a table, of the user's own -> clips.

A folder's columns, for templates: title, description, keywords, category, name (the file name's
words), folders (the telling folder names), and what the file's tags hold. The title is the embedded
one, the FX name of a UCS name, or the file name's words, whichever is there first.

A table is CSV (commas, semicolons or tabs), a JSON list of objects, or JSON lines. One column names
the sound file, relative to the table; the others are columns for templates.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from wavtext.audio.decode import AUDIO_SUFFIXES
from wavtext.corpora.collection import Rejected
from wavtext.corpora.files import read_csv
from wavtext.corpora.manifest import Clip
from wavtext.corpora.names import family_of_name, words_of_folders, words_of_name
from wavtext.corpora.tags import read_tags
from wavtext.corpora.ucs import category_words, parse_ucs_name
from wavtext.errors import ManifestError

PATH_COLUMNS = ("path", "file", "file_name", "filename", "fname", "audio", "audio_path")
_CLIP_COLUMNS = ("split", "group", "source", "license", "credit")


def folder_clips(folder: Path) -> Iterator[Clip]:
    """Every sound under a folder, hidden folders left out, in the order of their paths.

    Raises:
        ManifestError: It is not a folder.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder}: not a folder.")
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or path.suffix.lower() not in AUDIO_SUFFIXES or not path.is_file():
            continue
        columns = sound_columns(path, relative)
        source = folder.resolve().name
        yield Clip(
            clip_id=relative.as_posix(),
            path=path,
            group=f"{source}/{family_of_name(relative)}",
            source=source,
            license=columns.pop("license", ""),
            credit=columns.get("artist", ""),
            columns=columns,
        )


def sound_columns(path: Path, relative: Path) -> dict[str, str]:
    """All that a sound's tags, name and folders say; empty columns left out."""
    tags = read_tags(path)
    name = words_of_name(path.stem)
    columns = {**tags, "name": name, "folders": words_of_folders(relative.parts[:-1])}
    ucs = parse_ucs_name(path.stem)
    if ucs is not None:
        columns = {
            "title": ucs.title,
            "category": category_words(ucs.cat_id),
            "artist": ucs.creator,
            **columns,
        }
    elif named := category_words(tags.get("category_id", "")):
        columns = {"category": named, **columns}
    columns = {"title": name, **columns}
    columns.setdefault("description", tags.get("comment", ""))
    return {key: value for key, value in columns.items() if value}


def table_clips(table: Path, *, only: tuple[str, ...] = ()) -> Iterator[Clip | Rejected]:
    """The rows of a table; a column "caption" or "captions" needs no template.

    Args:
        table: CSV, TSV, JSON or JSON lines.
        only: Columns that a row must have filled in.

    Raises:
        ManifestError: It cannot be read, or no column names the sound.
    """
    seen: set[str] = set()
    for place, row in _read_table(table):
        column = next((name for name in PATH_COLUMNS if name in row), None)
        if column is None:
            raise ManifestError(
                f"{table}:{place}: no column names the sound.",
                help=f"Call it one of {', '.join(PATH_COLUMNS)}.",
            )
        name = str(row[column]).strip()
        missing = [each for each in only if not str(row.get(each) or "").strip()]
        if not name or missing:
            reason = "not asked for" if missing else "broken link"
            detail = f"no {', '.join(missing)}" if missing else "no file named"
            yield Rejected(f"row {place}", reason, detail)
            continue
        given = str(row.get("clip_id") or row.get("id") or name)
        clip_id = given if given not in seen else f"{given}#{place}"
        seen.add(clip_id)
        texts = {key: _text(value) for key, value in row.items() if key != column}
        yield Clip(
            clip_id=clip_id,
            path=table.parent / name,
            captions=_captions(row),
            **{key: texts.pop(key, "") for key in _CLIP_COLUMNS},  # pyright: ignore[reportArgumentType]
            columns={key: value for key, value in texts.items() if value},
        )


def _captions(row: dict[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for key, value in row.items():
        if key in ("caption", "captions", "text") or key.startswith("caption_"):
            found += [
                _text(v) for v in (cast(list[Any], value) if isinstance(value, list) else [value])
            ]
    return tuple(caption for caption in found if caption)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(each) for each in cast(list[Any], value))
    return "" if value is None else str(value).strip()


def _read_table(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    suffix = table.suffix.lower()
    if suffix not in (".json", ".jsonl", ".ndjson"):
        yield from read_csv(table, columns=(), delimiter=_delimiter(table))
        return
    try:
        text = table.read_text(encoding="utf-8-sig")
        if suffix == ".json":
            rows: Any = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ManifestError(f"{table}: cannot be read: {error}.") from error
    if not isinstance(rows, list):
        raise ManifestError(f"{table}: not a list of objects.")
    for number, row in enumerate(cast(list[Any], rows), start=1):
        if not isinstance(row, dict):
            raise ManifestError(f"{table}: entry {number} is not an object.")
        yield number, cast(dict[str, Any], row)


def _delimiter(table: Path) -> str:
    try:
        with table.open(encoding="utf-8-sig", errors="replace") as file:
            header = file.readline()
    except OSError as error:
        raise ManifestError(f"{table}: cannot be read: {error.strerror}.") from error
    try:
        return csv.Sniffer().sniff(header, delimiters=",;\t").delimiter
    except csv.Error:
        return ","  # one column
