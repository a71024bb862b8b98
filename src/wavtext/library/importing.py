"""Embeddings made elsewhere (`wavtext export`, a cluster) -> the library of a folder.

A Parquet file with the columns path, start, end, embedding, the windows of one clip in adjacent
rows, and the model's identity in its metadata as `wavtext.model`. The files themselves must be in
the folder: they are hashed, so that the next indexing run finds them unchanged.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from wavtext.audio.decode import probe
from wavtext.errors import AudioError, LibraryError, MissingExtraError, ModelMismatchError
from wavtext.library.pipeline import Embedder, hash_file
from wavtext.library.records import ClipRecord
from wavtext.library.results import Failure
from wavtext.library.store import Store

COLUMNS = ("path", "start", "end", "embedding")


def import_embeddings(
    source: Path, folder: Path, store: Store, model: Embedder, place: str
) -> tuple[int, list[Failure]]:
    """Add the clips of a Parquet file; how many, and those that could not be added.

    Args:
        source: The Parquet file.
        folder: The library's folder.
        store: Open for writing, locked by this process.
        model: Must be the one that made the embeddings.
        place: What `load_model` takes to get the model again.

    Raises:
        LibraryError: The file cannot be read or lacks a column.
        ModelMismatchError: Another model made the embeddings.
    """
    table = _open(source)
    made_by = (table.schema_arrow.metadata or {}).get(b"wavtext.model", b"").decode()
    if made_by != model.identity:
        raise ModelMismatchError(
            f"{source}: made by model {made_by[:6] or 'unknown'}, "
            f"not by {model.name}@{model.identity[:6]}.",
            help="Embed the sounds with the library's model, or name the other one with --model.",
        )
    stored = store.ensure_model(model.identity, model.name, model.dim, place)
    added = 0
    failures: list[Failure] = []
    for name, spans, vectors in _clips(table):
        path = folder / name
        try:
            record = _record(folder, name)
            norms = np.linalg.norm(vectors, axis=1)
            if vectors.shape[1] != model.dim or not np.allclose(norms, 1.0, atol=0.01):
                raise LibraryError(f"embeddings are not {model.dim}-d directions of length 1")
        except (AudioError, LibraryError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            failures.append(Failure(path=path, reason=str(reason).replace(f"{path}: ", "")))
            continue
        store.put_clip(record, stored.model_id, spans, vectors)
        added += 1
    return added, failures


def _open(source: Path) -> Any:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingExtraError("corpora", "Parquet") from error
    try:
        table = ParquetFile(source)
    except (OSError, ArrowInvalid) as error:
        raise LibraryError(f"{source}: not a readable Parquet file: {error}") from error
    missing = [name for name in COLUMNS if name not in table.schema_arrow.names]
    if missing:
        raise LibraryError(f"{source}: has no column {', '.join(missing)}.")
    return table


def _clips(
    table: Any,
) -> Iterator[tuple[str, Float32[np.ndarray, "windows 2"], Float32[np.ndarray, "windows dim"]]]:
    """(path, spans, embeddings) of each run of rows with one path, in bounded memory."""

    def rows() -> Iterator[tuple[str, float, float, list[float]]]:
        for batch in table.iter_batches(batch_size=4096, columns=list(COLUMNS)):
            yield from zip(*(batch[name].to_pylist() for name in COLUMNS), strict=True)

    for name, run in groupby(rows(), key=lambda row: row[0]):
        windows = list(run)
        spans = np.array([(start, end) for _, start, end, _ in windows], np.float32)
        yield name, spans, np.array([vector for *_, vector in windows], np.float32)


def _record(folder: Path, name: str) -> ClipRecord:
    """What the library keeps of a file, which must lie inside the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise LibraryError("lies outside the folder")
    state = path.stat()
    info = probe(path)
    return ClipRecord(
        path=name,
        size=state.st_size,
        mtime_ns=state.st_mtime_ns,
        content=hash_file(path),
        duration=info.duration or 0.0,
        sample_rate=info.sample_rate,
        channels=info.channels,
        format=info.format,
    )
