"""Search among millions of windows: a quantised scan finds candidates, exact cosines rank them.

Two files derived from the library lie beside it and may be deleted at any time: 4-bit product
codes, which FAISS's fast scan reads in whole for every query, and 8-bit vectors, mapped from disk,
which re-rank the candidates; the best are ranked again by the library's own embeddings. Nothing is
routed to cells, so a query far from all sounds, as texts are, loses nothing (docs/decisions/0052).
Clips written since the files were made are searched exactly beside them.
"""

import contextlib
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int64

from wavtext.library.exact import ExactIndex, Vector
from wavtext.library.matrix import Matrix
from wavtext.library.records import SPAN_TYPE, VECTOR_TYPE, ModelRecord
from wavtext.library.store import Store

EXACT_UP_TO = 100_000  # windows; below, memory is cheap and exact search fast
REBUILD_AT = 0.1  # share of windows written since, from which the files are made anew
TRAIN = 50_000  # windows that the codebooks are trained on
CANDIDATES = 2000  # windows that the scan hands on, at least
SPARSE = 100_000  # windows of allowed clips up to which a filter is searched by 8-bit vectors alone
EXACT_CLIPS = 50  # best clips that are ranked by their exact embeddings
_FORMAT = 1
_BLOCK = 20_000  # windows
_UNTHREADED = 2**18  # multiplications that BLAS does in one thread: more wait for a busy core


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """The derived files, opened.

    Attributes:
        product: A FAISS index over all windows.
        vectors: (windows, dim), to be multiplied by `scale`; mapped, not read.
        scale: What an 8-bit step is worth in each dimension.
        clip_ids: The clips, in the order of their windows.
        offsets: Where each clip's windows begin, and one past the last.
        revision: The library's revision that these show.
        model_id: The model that made the embeddings.
    """

    product: Any
    vectors: Int8[np.ndarray, "windows dim"]
    scale: Float32[np.ndarray, " dim"]
    clip_ids: Int64[np.ndarray, " clips"]
    offsets: Int64[np.ndarray, " clips+1"]
    revision: int
    model_id: int


def codes_folder(library: Path) -> Path:
    """Where a library's derived files lie."""
    return library.with_name(f"{library.name}.cache")


def build_codes(store: Store, model: ModelRecord) -> None:
    """Make the derived files and put them in place at once; the old ones serve until then.

    The caller holds the library's lock.
    """
    import faiss

    place = codes_folder(store.path)
    place.mkdir(exist_ok=True)
    token = secrets.token_hex(8)
    folder = place / token
    folder.mkdir()
    try:
        with store.reading():
            revision = store.revision()
            train, counts, clip_ids = _survey(store, model)
            scale = np.maximum(np.abs(train).max(axis=0), 1e-6) / 127
            product = _new_product(model.dim)
            product.train(train)
            with (folder / "vectors.i8").open("wb") as file:
                for block in _blocks(store, model):
                    product.add(block)
                    steps = np.rint(block / scale).clip(-127, 127)
                    file.write(steps.astype(np.int8).tobytes())
        np.save(folder / "scale.npy", scale.astype(np.float32))
        np.save(folder / "clips.npy", np.array(clip_ids, np.int64))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        np.save(folder / "offsets.npy", offsets)
        faiss.write_index(product, str(folder / "product.faiss"))
        files = {each.name: _fingerprint(each) for each in sorted(folder.iterdir())}
        about = {
            "format": _FORMAT,
            "token": token,
            "model": model.identity,
            "revision": revision,
            "files": files,
        }
        store.set_meta(codes=token)
        _write_whole(place / "current.json", json.dumps(about))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for other in place.iterdir():
        if other.is_dir() and other.name != token:
            shutil.rmtree(other, ignore_errors=True)


def open_codes(store: Store, model: ModelRecord) -> Codes | None:
    """The derived files; None when they are missing, damaged, or of another library or model."""
    place = codes_folder(store.path)
    try:
        about = json.loads((place / "current.json").read_text())
        folder = place / str(about["token"])
        if (
            about["format"] != _FORMAT
            or about["model"] != model.identity
            or about["token"] != store.meta("codes")
            or about["revision"] > store.revision()
        ):
            return None
        for name, expected in about["files"].items():
            if _fingerprint(folder / name) != expected:
                return None
        return _load(folder, model, int(about["revision"]))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None


class QuantisedIndex:
    """The derived files, and an exact index over what was written since."""

    def __init__(self, store: Store, codes: Codes, tail: Matrix, removed: list[int]) -> None:
        self.store = store
        self.codes = codes
        self.tail = ExactIndex(tail)
        gone = np.concatenate([tail.clip_ids, np.array(removed, np.int64)])
        self.alive: Bool[np.ndarray, " clips"] = ~np.isin(codes.clip_ids, gone)

    def best(
        self, query: Vector, count: int, allowed: Int64[np.ndarray, " clips"] | None
    ) -> tuple[Int64[np.ndarray, " best"], Float32[np.ndarray, " best"]]:
        """(clip ids, score of the best window), best first, among the clips allowed."""
        codes = self.codes
        passing = self.alive
        if allowed is not None:
            passing = passing & np.isin(codes.clip_ids, allowed)
        most = max(count, EXACT_CLIPS)
        positions, scores = self._search(query, most, passing, everything=allowed is None)
        ids = codes.clip_ids[positions]
        exact = self._exact_scores(ids[:EXACT_CLIPS], query)
        scores[: len(exact)] = exact
        late_ids, late_scores = self.tail.best(query, count, allowed)
        ids = np.concatenate([ids, late_ids])
        scores = np.concatenate([scores, late_scores])
        order = np.argsort(-scores, kind="stable")[:count]
        order = order[np.isfinite(scores[order])]
        return ids[order], scores[order]

    def best_of(
        self, clip_ids: Int64[np.ndarray, " clips"], query: Vector
    ) -> Float32[np.ndarray, " clips"]:
        """The best window's score of given clips; -inf for clips that are not there."""
        return self._exact_scores(clip_ids, query)

    def sample(self, count: int) -> Float32[np.ndarray, "windows dim"]:
        """Up to `count` windows, evenly spread."""
        vectors = self.codes.vectors
        return vectors[:: max(1, -(-len(vectors) // count))] * self.codes.scale

    def windows(
        self, clip_id: int
    ) -> tuple[Float32[np.ndarray, "windows 2"], Float32[np.ndarray, "windows dim"]] | None:
        """Spans and embeddings of one clip's windows, from the library itself."""
        row = self.store.embeddings_of(clip_id, self.codes.model_id)
        if row is None or not row.intact:
            return None
        spans = np.frombuffer(row.spans, SPAN_TYPE).reshape(-1, 2)
        vectors = np.frombuffer(row.vectors, VECTOR_TYPE).reshape(len(spans), -1)
        return spans, vectors.astype(np.float32)

    def _search(
        self, query: Vector, count: int, passing: Bool[np.ndarray, " clips"], *, everything: bool
    ) -> tuple[Int64[np.ndarray, " best"], Float32[np.ndarray, " best"]]:
        """(positions of clips, their best window's score), best first."""
        codes = self.codes
        total = len(codes.vectors)
        if not total:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        weights = codes.scale * query
        if not everything:
            counts = np.diff(codes.offsets)[passing]
            if counts.sum() <= SPARSE:
                rows = np.flatnonzero(np.repeat(passing, np.diff(codes.offsets)))
                return self._rank(rows, weights, count, passing)
        reach = max(CANDIDATES, 5 * count)
        while True:
            rows = codes.product.search(query[None], min(reach, total))[1][0]
            positions, scores = self._rank(rows[rows >= 0], weights, count, passing)
            if len(positions) >= min(count, int(passing.sum())) or reach >= total:
                return positions, scores
            reach *= 8  # few clips hold most candidates, or most are filtered out

    def _rank(
        self,
        rows: Int64[np.ndarray, " rows"],
        weights: Vector,
        count: int,
        passing: Bool[np.ndarray, " clips"],
    ) -> tuple[Int64[np.ndarray, " best"], Float32[np.ndarray, " best"]]:
        """The best clips among those of the rows, by 8-bit vectors."""
        codes = self.codes
        rows = np.sort(rows)
        owners = np.searchsorted(codes.offsets, rows, side="right") - 1
        keep = passing[owners]
        rows, owners = rows[keep], owners[keep]
        scores = np.empty(len(rows), np.float32)
        step = max(1, _UNTHREADED // len(weights))
        for begin in range(0, len(rows), step):
            block = codes.vectors[rows[begin : begin + step]].astype(np.float32)
            np.matmul(block, weights, out=scores[begin : begin + step])
        if not len(rows):
            return owners, scores
        firsts = np.flatnonzero(np.diff(owners, prepend=-1))
        best = np.maximum.reduceat(scores, firsts)
        order = np.argsort(-best, kind="stable")[:count]
        return owners[firsts][order], best[order]

    def _exact_scores(
        self, clip_ids: Int64[np.ndarray, " clips"], query: Vector
    ) -> Float32[np.ndarray, " clips"]:
        scores = np.full(len(clip_ids), -np.inf, np.float32)
        with self.store.reading():
            for i, clip_id in enumerate(clip_ids.tolist()):
                found = self.windows(clip_id)
                if found is not None:
                    scores[i] = (found[1] @ query).max()
        return scores


def _load(folder: Path, model: ModelRecord, revision: int) -> Codes | None:
    import faiss

    clip_ids, offsets = np.load(folder / "clips.npy"), np.load(folder / "offsets.npy")
    product = faiss.read_index(str(folder / "product.faiss"))
    vectors = np.memmap(folder / "vectors.i8", np.int8, "r").reshape(-1, model.dim)
    if not product.ntotal == len(vectors) == offsets[-1] or len(offsets) != len(clip_ids) + 1:
        return None
    scale = np.load(folder / "scale.npy")
    return Codes(product, vectors, scale, clip_ids, offsets, revision, model.model_id)


def _new_product(dim: int) -> Any:
    import faiss

    parts = next(size for size in (2, 4, 3, 1) if dim % size == 0)
    return faiss.IndexPQFastScan(dim, dim // parts, 4, faiss.METRIC_INNER_PRODUCT)


def _survey(
    store: Store, model: ModelRecord
) -> tuple[Float32[np.ndarray, "sample dim"], list[int], list[int]]:
    """Windows to train on, evenly spread; and the windows of each clip, with the clips."""
    stored = store.count("embeddings")
    counts: list[int] = []
    clip_ids: list[int] = []
    sample: list[np.ndarray] = []
    step = max(1, stored // TRAIN)
    for number, row in enumerate(store.embedding_rows(model.model_id)):
        vectors = np.frombuffer(row.vectors, VECTOR_TYPE).reshape(-1, model.dim)
        if not row.intact or not len(vectors):
            continue
        counts.append(len(vectors))
        clip_ids.append(row.clip_id)
        if number % step == 0 and len(sample) < TRAIN:
            sample.append(vectors[number % len(vectors)].astype(np.float32))
    return np.stack(sample), counts, clip_ids


def _blocks(store: Store, model: ModelRecord) -> Iterator[Float32[np.ndarray, "windows dim"]]:
    """All windows in the order of `_survey`, in blocks of float32."""
    pending: list[np.ndarray] = []
    size = 0
    for row in store.embedding_rows(model.model_id):
        vectors = np.frombuffer(row.vectors, VECTOR_TYPE).reshape(-1, model.dim)
        if not row.intact or not len(vectors):
            continue
        pending.append(vectors)
        size += len(vectors)
        if size >= _BLOCK:
            yield np.concatenate(pending).astype(np.float32)
            pending, size = [], 0
    if pending:
        yield np.concatenate(pending).astype(np.float32)


def _fingerprint(path: Path) -> list[int]:
    """Size and CRC-32; of the large mapped file its size alone.

    A wrong step there loses a candidate at worst: the library's own embeddings rank the results.
    """
    size = path.stat().st_size
    if path.name == "vectors.i8":
        return [size, 0]
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            crc = zlib.crc32(block, crc)
    return [size, crc]


def _write_whole(path: Path, text: str) -> None:
    """Replace a small file so that a reader, or a power cut, sees the old or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
