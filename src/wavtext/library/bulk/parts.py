"""Parquet files of embeddings: one row for each window, one for each file that failed.

| column | |
|---|---|
| path, uri | relative to the root that was embedded; where the file lies |
| start, end | of the window, in seconds; empty for a file that failed |
| embedding | fixed-size list of float32, of length 1; empty for a file that failed |
| content | BLAKE2b-128 of the file, hexadecimal |
| duration, sample_rate, channels, format | of the file: seconds, Hz |
| size, mtime_ns | bytes; nanoseconds since 1970 |
| captions, tags, licence, credit | what is written in the file, or in a manifest beside it |
| model | identity of the model that made the embedding |
| error | why the file failed; empty for a window |

The windows of one clip are adjacent. The file's metadata name the model (`wavtext.model`,
`wavtext.model_name`, `wavtext.model_source`) and the root (`wavtext.root`).
"""

import itertools
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from wavtext.errors import LibraryError, MissingExtraError
from wavtext.library.notes import Notes
from wavtext.library.records import ClipRecord

REQUIRED = ("path", "start", "end", "embedding")
ROWS = 16_384  # in a row group: what is in memory at a time, 25 MB at 384 dimensions
_WORDS = ("path", "uri", "content", "format", "licence", "credit", "model", "error")


@dataclass(frozen=True, slots=True)
class ModelLabel:
    """The model that made the embeddings of a file."""

    identity: str
    name: str
    source: str  # what load_model takes
    dim: int


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedClip:
    """A file's windows; no windows and an error when it failed.

    Attributes:
        record: What is known of the file, its size and time only when it failed; None in files of
            other programs and of `wavtext export`.
    """

    path: str
    uri: str
    spans: Float32[np.ndarray, "windows 2"]
    embeddings: Float32[np.ndarray, "windows dim"]
    record: ClipRecord | None
    notes: Notes
    error: str = ""


class PartWriter:
    """Writes clips into one Parquet file.

    Args:
        path: The file.
        model: Made the embeddings.
        root: What the clips' paths are relative to.
    """

    def __init__(self, path: Path, model: ModelLabel, root: str) -> None:
        _, parquet = arrow()
        self._model = model
        self._schema = part_schema(model.dim).with_metadata(
            {
                "wavtext.model": model.identity,
                "wavtext.model_name": model.name,
                "wavtext.model_source": model.source,
                "wavtext.dim": str(model.dim),
                "wavtext.root": root,
            }
        )
        self._writer = parquet.ParquetWriter(
            path, self._schema, compression="zstd", use_dictionary=list(_WORDS)
        )
        self._clips: list[EmbeddedClip] = []
        self._rows = 0

    def write(self, clip: EmbeddedClip) -> None:
        """Add a clip."""
        self._clips.append(clip)
        self._rows += max(1, len(clip.embeddings))
        if self._rows >= ROWS:
            self._flush()

    def close(self) -> None:
        """End the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        pa, _ = arrow()
        if not self._clips:
            return
        counts = [max(1, len(clip.embeddings)) for clip in self._clips]

        def repeated(values: Iterable[Any]) -> list[Any]:
            return [v for v, count in zip(values, counts, strict=True) for _ in range(count)]

        records = [clip.record for clip in self._clips]
        failed = np.repeat([not len(clip.embeddings) for clip in self._clips], counts)
        nothing = np.zeros((1, self._model.dim), np.float32)
        vectors = [clip.embeddings if len(clip.embeddings) else nothing for clip in self._clips]
        spans = [clip.spans if len(clip.spans) else np.zeros((1, 2)) for clip in self._clips]
        flat = np.ascontiguousarray(np.concatenate(vectors), np.float32).reshape(-1)
        times = np.concatenate(spans).astype(np.float32)
        columns: dict[str, Any] = {
            "path": repeated(clip.path for clip in self._clips),
            "uri": repeated(clip.uri for clip in self._clips),
            "start": pa.array(times[:, 0], mask=failed),
            "end": pa.array(times[:, 1], mask=failed),
            "embedding": pa.FixedSizeListArray.from_arrays(
                pa.array(flat), self._model.dim, mask=pa.array(failed)
            ),
            "content": repeated(each and each.content.hex() for each in records),
            "model": [self._model.identity] * sum(counts),
            "error": repeated(clip.error or None for clip in self._clips),
        }
        for name in ("duration", "sample_rate", "channels", "format", "size", "mtime_ns"):
            columns[name] = repeated(each and getattr(each, name) for each in records)
        for name in ("captions", "tags"):
            columns[name] = repeated(list(getattr(clip.notes, name)) for clip in self._clips)
        for name in ("licence", "credit"):
            columns[name] = repeated(getattr(clip.notes, name) for clip in self._clips)
        arrays = [
            each if isinstance(each, pa.Array) else pa.array(each, self._schema.field(name).type)
            for name, each in ((name, columns[name]) for name in self._schema.names)
        ]
        self._writer.write_table(pa.table(arrays, schema=self._schema), row_group_size=ROWS)
        self._clips, self._rows = [], 0


def part_schema(dim: int) -> Any:
    """The columns, as pyarrow names their types."""
    pa, _ = arrow()
    return pa.schema(
        {
            "path": pa.string(),
            "uri": pa.string(),
            "start": pa.float32(),
            "end": pa.float32(),
            "embedding": pa.list_(pa.float32(), dim),
            "content": pa.string(),
            "duration": pa.float64(),
            "sample_rate": pa.int32(),
            "channels": pa.int32(),
            "format": pa.string(),
            "size": pa.int64(),
            "mtime_ns": pa.int64(),
            "captions": pa.list_(pa.string()),
            "tags": pa.list_(pa.string()),
            "licence": pa.string(),
            "credit": pa.string(),
            "model": pa.string(),
            "error": pa.string(),
        }
    )


class Part:
    """A Parquet file of embeddings, open for reading.

    Args:
        file: The file, as a path or as a stream that can seek.
        name: What messages call it.

    Raises:
        LibraryError: It is no Parquet file, or lacks a column.
    """

    def __init__(self, file: Any, name: str) -> None:
        pa, parquet = arrow()
        self.name = name
        try:
            self._file: Any = parquet.ParquetFile(file)
        except (OSError, pa.ArrowInvalid) as error:
            raise LibraryError(f"{name}: not a readable Parquet file: {error}.") from error
        self._names: list[str] = self._file.schema_arrow.names
        missing = [each for each in REQUIRED if each not in self._names]
        if missing:
            raise LibraryError(f"{name}: has no column {', '.join(missing)}.")
        found: dict[bytes, bytes] = self._file.schema_arrow.metadata or {}
        self._metadata = {key.decode(): value.decode() for key, value in found.items()}

    @property
    def root(self) -> str:
        """What the paths are relative to; empty in files of other programs."""
        return self._metadata.get("wavtext.root", "")

    @property
    def model(self) -> ModelLabel:
        """The model that made the embeddings; an empty identity where the file does not say."""
        identity = self._metadata.get("wavtext.model", "")
        kind = self._file.schema_arrow.field("embedding").type
        dim = getattr(kind, "list_size", 0)
        name = self._metadata.get("wavtext.model_name", "model")
        return ModelLabel(identity, name, self._metadata.get("wavtext.model_source", name), dim)

    def states(self) -> dict[str, tuple[int, int, str]]:
        """Path -> (size, time in ns, error) of every file, without reading embeddings."""
        table = self._file.read(columns=["path", "size", "mtime_ns", "error"])
        columns = (table[name].to_pylist() for name in ("path", "size", "mtime_ns", "error"))
        return {
            path: (size, time, error or "")
            for path, size, time, error in zip(*columns, strict=True)
        }

    def clips(self) -> Iterator[EmbeddedClip]:
        """The clips one by one, in bounded memory.

        Raises:
            LibraryError: A page of the file is damaged, or a value is not what it should be.
        """
        try:
            for path, rows in itertools.groupby(self._rows(), key=lambda row: row["path"]):
                yield _clip(path, list(rows))
        except (OSError, ValueError, TypeError) as error:  # pyarrow's are among them
            raise LibraryError(f"{self.name}: cannot be read to its end: {error}.") from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _rows(self) -> Iterator[dict[str, Any]]:
        wanted = [name for name in part_schema(1).names if name in self._names]
        for batch in self._file.iter_batches(batch_size=4096, columns=wanted):
            vectors = batch["embedding"]
            dim = getattr(vectors.type, "list_size", 0)
            columns = {name: batch[name].to_pylist() for name in wanted if name != "embedding"}
            if dim:  # the nulls of a sliced batch hold their place in `values`
                flat = vectors.values.to_numpy(zero_copy_only=False)
                block = flat.reshape(-1, dim)[vectors.offset : vectors.offset + len(vectors)]
                there = vectors.is_valid().to_numpy(zero_copy_only=False)
            else:
                block, there = vectors.to_pylist(), np.ones(len(vectors), bool)
            for i in range(len(vectors)):
                row = {name: values[i] for name, values in columns.items()}
                row["embedding"] = block[i] if there[i] else None
                yield row


@contextmanager
def part_writer(path: Path, model: ModelLabel, root: str) -> Generator[PartWriter]:
    """A part that is ended when the block is left."""
    writer = PartWriter(path, model, root)
    try:
        yield writer
    finally:
        writer.close()


def arrow() -> tuple[Any, Any]:
    """Pyarrow and pyarrow.parquet.

    Raises:
        MissingExtraError: They are not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("cloud", "Parquet") from error
    return pyarrow, pyarrow.parquet


def _clip(path: str, rows: list[dict[str, Any]]) -> EmbeddedClip:
    first = rows[0]
    windows = [row for row in rows if row["embedding"] is not None]
    spans = np.array([(row["start"], row["end"]) for row in windows], np.float32).reshape(-1, 2)
    embeddings = np.array([row["embedding"] for row in windows], np.float32)
    if not windows:
        embeddings = np.empty((0, 0), np.float32)
    record = None
    if first.get("content") is not None and first.get("mtime_ns") is not None:
        record = ClipRecord(
            path=path,
            size=first["size"],
            mtime_ns=first["mtime_ns"],
            content=bytes.fromhex(first["content"]),
            duration=first["duration"],
            sample_rate=first["sample_rate"],
            channels=first["channels"],
            format=first["format"],
        )
    notes = Notes(
        captions=tuple(first.get("captions") or ()),
        tags=tuple(first.get("tags") or ()),
        licence=first.get("licence") or "",
        credit=first.get("credit") or "",
    )
    error = first.get("error") or ""
    return EmbeddedClip(path, first.get("uri") or "", spans, embeddings, record, notes, error)
