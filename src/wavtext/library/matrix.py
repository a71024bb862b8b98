"""Embeddings in memory: (windows, dim) float32 beside the clips they belong to.

A `Matrix` never changes once made, so that any number of threads may search it; `refreshed` gives
the next one and reads only what was written since.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool, Float32, Int64

from wavtext.library.records import SPAN_TYPE, VECTOR_TYPE, EmbeddingRow
from wavtext.library.store import Store


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """The windows of the clips of a library, those of one clip side by side.

    Attributes:
        vectors: Embeddings of length 1.
        spans: Start and end of each window in seconds.
        clip_ids: The clips, in the order of their windows.
        offsets: Where each clip's windows begin, and one past the last.
        alive: False for clips that were removed or replaced by a later entry.
        revision: The library's revision that this shows.
        model_id: The model that made the embeddings.
        damaged: Clips left out because their checksum does not hold.
    """

    vectors: Float32[np.ndarray, "windows dim"]
    spans: Float32[np.ndarray, "windows 2"]
    clip_ids: Int64[np.ndarray, " clips"]
    offsets: Int64[np.ndarray, " clips+1"]
    alive: Bool[np.ndarray, " clips"]
    revision: int
    model_id: int
    damaged: tuple[int, ...] = ()

    @property
    def num_clips(self) -> int:
        """Clips that are alive."""
        return int(self.alive.sum())

    def position_of(self, clip_id: int) -> int | None:
        """Where a clip is; None when it is not."""
        for position in np.flatnonzero(self.clip_ids == clip_id)[::-1]:
            if self.alive[position]:
                return int(position)
        return None

    @classmethod
    def load(cls, store: Store, model_id: int, dim: int, *, after: int = 0) -> Self:
        """Read all embeddings of a model, or those written after a revision."""
        with store.reading():
            revision = store.revision()
            part = _read(store.embedding_rows(model_id, after=after), dim)
        alive = np.ones(len(part.clip_ids), bool)
        return cls(
            part.vectors,
            part.spans,
            part.clip_ids,
            part.offsets,
            alive,
            revision,
            model_id,
            part.damaged,
        )

    def refreshed(self, store: Store) -> "Matrix":
        """This matrix, or a newer one when the library has changed since."""
        with store.reading():
            revision = store.revision()
            if revision == self.revision:
                return self
            part = _read(
                store.embedding_rows(self.model_id, after=self.revision), self.vectors.shape[1]
            )
            removed = store.removed_after(self.revision)
        dead = np.isin(self.clip_ids, np.concatenate([part.clip_ids, np.array(removed, np.int64)]))
        alive = self.alive & ~dead
        windows = self.offsets[-1]
        grown = Matrix(
            _append(self.vectors, part.vectors),
            _append(self.spans, part.spans),
            _append(self.clip_ids, part.clip_ids),
            _append(self.offsets, part.offsets[1:] + windows),
            np.concatenate([alive, np.ones(len(part.clip_ids), bool)]),
            revision,
            self.model_id,
            tuple(
                sorted(({*self.damaged} - {*removed, *part.clip_ids.tolist()}) | {*part.damaged})
            ),
        )
        waste = len(grown.alive) - grown.num_clips
        return grown.compacted() if waste > max(1000, grown.num_clips // 4) else grown

    def compacted(self) -> "Matrix":
        """The same without the windows of clips that are gone."""
        counts = np.diff(self.offsets)
        rows = np.repeat(self.alive, counts)
        offsets = np.concatenate([[0], np.cumsum(counts[self.alive])]).astype(np.int64)
        return Matrix(
            self.vectors[rows],
            self.spans[rows],
            self.clip_ids[self.alive],
            offsets,
            np.ones(self.num_clips, bool),
            self.revision,
            self.model_id,
            self.damaged,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    vectors: Float32[np.ndarray, "windows dim"]
    spans: Float32[np.ndarray, "windows 2"]
    clip_ids: Int64[np.ndarray, " clips"]
    offsets: Int64[np.ndarray, " clips+1"]
    damaged: tuple[int, ...]


def _read(rows: Iterable[EmbeddingRow], dim: int) -> _Part:
    """Parse rows in blocks, so that the float16 bytes of all never lie beside the float32."""
    clip_ids: list[int] = []
    counts: list[int] = []
    damaged: list[int] = []
    spans: list[bytes] = []
    pending: list[bytes] = []
    blocks: list[np.ndarray] = []
    size = 0
    for row in rows:
        num_windows = len(row.vectors) // (VECTOR_TYPE.itemsize * dim)
        shaped = num_windows and num_windows * 2 * SPAN_TYPE.itemsize == len(row.spans)
        if not (row.intact and shaped):
            damaged.append(row.clip_id)
            continue
        clip_ids.append(row.clip_id)
        counts.append(num_windows)
        spans.append(row.spans)
        pending.append(row.vectors)
        size += len(row.vectors)
        if size > 16_000_000:
            blocks.append(_floats(pending, dim))
            pending, size = [], 0
    blocks.append(_floats(pending, dim))
    return _Part(
        blocks[0] if len(blocks) == 1 else np.concatenate(blocks),
        np.frombuffer(b"".join(spans), SPAN_TYPE).reshape(-1, 2).astype(np.float32, copy=False),
        np.array(clip_ids, np.int64),
        np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
        tuple(damaged),
    )


def _floats(blobs: list[bytes], dim: int) -> Float32[np.ndarray, "windows dim"]:
    return np.frombuffer(b"".join(blobs), VECTOR_TYPE).reshape(-1, dim).astype(np.float32)


def _append(array: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """`array` with `tail` after it, without copying `array` where it was made with room to grow.

    Older matrices go on seeing their own rows of the shared buffer, which are never rewritten: only
    the newest matrix of a library is ever refreshed.
    """
    size, total = len(array), len(array) + len(tail)
    base = array.base
    if (
        isinstance(base, np.ndarray)
        and base.shape[1:] == array.shape[1:]
        and len(base) >= total
        and base.ctypes.data == array.ctypes.data
    ):
        buffer = base
    else:
        buffer = np.empty((total + max(total // 8, 1024), *array.shape[1:]), array.dtype)
        buffer[:size] = array
    buffer[size:total] = tail
    return buffer[:total]


def clip_means(
    vectors: Float32[np.ndarray, "windows dim"], firsts: Int64[np.ndarray, " clips"]
) -> Float32[np.ndarray, "clips dim"]:
    """An embedding for each clip: the mean of its windows', of length 1.

    Args:
        vectors: All clips' windows, one clip after the other.
        firsts: Where each clip's begin.
    """
    means = np.add.reduceat(vectors, firsts, axis=0)
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def padded(
    vectors: Float32[np.ndarray, "windows dim"], multiple: int
) -> Float32[np.ndarray, "windows padded"]:
    """With zeros after the last dimension, to a multiple of so many."""
    missing = -vectors.shape[1] % multiple
    return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors)
