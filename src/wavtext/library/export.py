"""Getting out: results as lists, playlists, markers, copies; embeddings as Parquet or NumPy."""

import contextlib
import csv
import json
import os
import shutil
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from jaxtyping import Float32, Int64

from wavtext.errors import LibraryError, MissingExtraError
from wavtext.library.bulk.places import Place
from wavtext.library.results import SearchResult

Markers = Literal["reaper", "audition"]
RESULT_SUFFIXES = (".json", ".jsonl", ".csv", ".m3u", ".m3u8")
EMBEDDING_SUFFIXES = (".parquet", ".npz")
_CSV = ("rank", "path", "start", "end", "score", "relevance", "duration", "matched")


def write_results(results: Sequence[SearchResult], path: Path) -> None:
    """Write results as the suffix says: a JSON list, JSON lines, CSV, or an M3U playlist.

    Raises:
        LibraryError: The suffix is none of these, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in RESULT_SUFFIXES:
        raise LibraryError(
            f"{path}: results are not written as '{suffix}'.",
            help=f"Use {', '.join(RESULT_SUFFIXES)}.",
        )
    with _replacing(path) as file:
        if suffix == ".csv":
            rows = csv.writer(file)
            rows.writerow(_CSV)
            for rank, result in enumerate(results, 1):
                values: dict[str, Any] = {"rank": rank, **result.to_dict()}
                values["matched"] = " ".join(result.matched)
                values["path"] = result.uri or values["path"]
                rows.writerow([values[name] for name in _CSV])
        elif suffix in (".m3u", ".m3u8"):
            file.write("#EXTM3U\n")
            for result in results:
                place = result.uri or result.path
                file.write(f"#EXTINF:{round(result.duration)},{result.path.stem}\n{place}\n")
        else:
            listed = [{"rank": i, **each.to_dict()} for i, each in enumerate(results, 1)]
            if suffix == ".json":
                file.write(json.dumps(listed, indent=2, ensure_ascii=False) + "\n")
            else:
                file.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in listed)


def write_markers(
    results: Sequence[SearchResult], folder: Path, kind: Markers, name: str
) -> list[Path]:
    """Write the matching windows of each result as a marker file, one for each sound.

    Args:
        results: Results of a search.
        folder: Where the marker files go; made when missing.
        kind: "reaper" (Region/Marker Manager, Import) or "audition" (Markers panel, Import).
        name: What the markers are called: the query.
    """
    written: list[Path] = []
    with _named_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for rank, result in enumerate(results, 1):
        path = folder / f"{rank:02d} {result.path.stem}.csv"
        windows = sorted(result.windows)
        with _replacing(path) as file:
            if kind == "reaper":
                rows = csv.writer(file)
                rows.writerow(["#", "Name", "Start", "End", "Length"])
                for i, (start, end, score) in enumerate(windows, 1):
                    times = [_minutes(start), _minutes(end), _minutes(end - start)]
                    rows.writerow([f"R{i}", f"{name} ({score:.2f})", *times])
            else:
                rows = csv.writer(file, delimiter="\t")
                rows.writerow(["Name", "Start", "Duration", "Time Format", "Type", "Description"])
                for start, end, score in windows:
                    times = [_minutes(start), _minutes(end - start)]
                    rows.writerow([name, *times, "decimal", "Cue", f"{score:.2f}"])
        written.append(path)
    return written


def gather(results: Sequence[SearchResult], folder: Path, *, link: bool = False) -> list[Path]:
    """Copy the found files into a folder, or link them there; names begin with their rank.

    Files that are not on this machine are fetched.

    Raises:
        LibraryError: A file is gone, or the folder cannot be written.
    """
    placed: list[Path] = []
    with _named_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for rank, result in enumerate(results, 1):
            target = folder / f"{rank:02d} {result.path.name}"
            if result.uri and not link:
                address, _, name = result.uri.rpartition("/")
                Place(address).fetch(name, target)
                placed.append(target)
                continue
            if not result.path.exists():
                raise LibraryError(f"{result.path}: is gone.", help="Index the folder again.")
            target.unlink(missing_ok=True)
            if link:
                target.symlink_to(result.path)
            else:
                shutil.copy2(result.path, target)
            placed.append(target)
    return placed


def write_embeddings(
    path: Path,
    clip_ids: Int64[np.ndarray, " rows"],
    paths: Sequence[str],
    spans: Float32[np.ndarray, "rows 2"],
    embeddings: Float32[np.ndarray, "rows dim"],
    *,
    model: str,
) -> None:
    """Write clip_id, path, start, end, embedding and the model's identity as Parquet or .npz.

    Raises:
        LibraryError: The suffix is neither, or the file cannot be written.
        MissingExtraError: Parquet is asked for and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        names = np.array([os.fsencode(each).decode(errors="replace") for each in paths])
        with _named_errors(path), _temporary(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                clip_id=clip_ids,
                path=names,
                span=spans,
                embedding=embeddings,
                model=np.array(model),
            )
        return
    if suffix != ".parquet":
        raise LibraryError(
            f"{path}: embeddings are not written as '{suffix}'.",
            help=f"Use {' or '.join(EMBEDDING_SUFFIXES)}.",
        )
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("cloud", "Parquet") from error
    values = pa.array(np.ascontiguousarray(embeddings, np.float32).reshape(-1))
    table = pa.table(
        {
            "clip_id": pa.array(clip_ids),
            "path": pa.array([os.fsencode(each).decode(errors="replace") for each in paths]),
            "start": pa.array(spans[:, 0]),
            "end": pa.array(spans[:, 1]),
            "embedding": pa.FixedSizeListArray.from_arrays(values, embeddings.shape[1]),
        }
    ).replace_schema_metadata({"wavtext.model": model})
    with _named_errors(path), _temporary(path) as temporary:
        pq.write_table(table, temporary)


def _minutes(seconds: float) -> str:
    """Seconds as 'm:ss.mmm', which both editors read."""
    minutes, rest = divmod(round(seconds * 1000), 60_000)
    return f"{minutes}:{rest / 1000:06.3f}"


@contextlib.contextmanager
def _replacing(path: Path) -> Generator[IO[str]]:
    """A text file that takes its place only when it is whole."""
    with (
        _named_errors(path),
        _temporary(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        yield file


@contextlib.contextmanager
def _temporary(path: Path) -> Generator[Path]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _named_errors(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise LibraryError(f"{path}: cannot be written: {error.strerror}.") from error
