"""The derived files that large libraries are searched with: made, checked, opened.

Two kinds of codes for every window: 4-bit product codes over three dimensions each, which FAISS's
fast scan reads in whole for every query, and vectors of 4 bits a dimension, mapped from disk, which
re-rank what the scan finds. All of it may be deleted at any time (docs/decisions/0077).
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
from jaxtyping import Float32, Int32, Int64, UInt8

from wavtext.errors import LibraryError
from wavtext.library.matrix import padded
from wavtext.library.records import VECTOR_TYPE, ModelRecord
from wavtext.library.store import Store
from wavtext.library.typical import SAMPLE

TRAIN = 50_000  # windows that the codebooks are trained on
REACH = 2.7  # standard deviations of a dimension that its sixteen steps cover, to either side
PART = 3  # dimensions that share one 4-bit product code
_VECTORS = "vectors.u4"
_FORMAT = 2
_BLOCK = 20_000  # windows
_UNTHREADED = 2**18  # multiplications that BLAS does in one thread: more wait for a busy core

Vector = Float32[np.ndarray, " dim"]


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """The derived files, opened.

    Attributes:
        product: A FAISS index over all windows, their embeddings padded to a multiple of PART.
        nibbles: (windows, dim / 2), two dimensions a byte: i low, dim / 2 + i high; mapped.
        steps: What a step of each dimension is worth.
        sample: Up to SAMPLE windows, evenly spread, as they are.
        clip_ids: The clips, in the order of their windows.
        offsets: Where each clip's windows begin, and one past the last.
        owners: The position of each window's clip.
        revision: The library's revision that these show.
        model_id: The model that made the embeddings.
    """

    product: Any
    nibbles: UInt8[np.ndarray, "windows bytes"]
    steps: Float32[np.ndarray, " dim"]
    sample: Float32[np.ndarray, "sample dim"]
    clip_ids: Int64[np.ndarray, " clips"]
    offsets: Int64[np.ndarray, " clips+1"]
    owners: Int32[np.ndarray, " windows"]
    revision: int
    model_id: int

    def candidates(self, query: Vector, count: int) -> Int64[np.ndarray, " rows"]:
        """About the best windows, found by a scan of all product codes; in rising order."""
        rows = self.product.search(padded(query[None], PART), min(count, len(self.nibbles)))[1][0]
        return np.sort(rows[rows >= 0])

    def scores(
        self, rows: Int64[np.ndarray, " rows"], query: Vector
    ) -> Float32[np.ndarray, " rows"]:
        """About the cosines of windows, less what is the same for all of them."""
        weights = (self.steps * query).astype(np.float32)
        half = self.nibbles.shape[1]
        high = np.zeros(half, np.float32)
        high[: len(weights) - half] = weights[half:]
        scores = np.empty(len(rows), np.float32)
        step = max(1, _UNTHREADED // half)
        for begin in range(0, len(rows), step):
            block = self.nibbles[rows[begin : begin + step]]
            part = (block & 15).astype(np.float32) @ weights[:half]
            scores[begin : begin + step] = part + (block >> 4).astype(np.float32) @ high
        return scores


def codes_folder(library: Path) -> Path:
    """Where a library's derived files lie."""
    return library.with_name(f"{library.name}.cache")


def build_codes(store: Store, model: ModelRecord) -> None:
    """Make the derived files and put them in place at once; the old ones serve until then.

    The caller holds the library's lock.

    Raises:
        LibraryError: They cannot be written; the library is whole, and searched without them.
    """
    place = codes_folder(store.path)
    try:
        _build(store, model, place)
    except OSError as error:
        raise LibraryError(
            f"{place}: cannot be written: {error.strerror or error}.",
            help="The library is whole; searches are slower until there is room to index again.",
        ) from error


def _build(store: Store, model: ModelRecord, place: Path) -> None:
    import faiss

    place.mkdir(exist_ok=True)
    token = secrets.token_hex(8)
    folder = place / token
    folder.mkdir()
    try:
        with store.reading():
            revision = store.revision()
            train, counts, clip_ids = _survey(store, model)
            middle, spread = train.mean(axis=0), np.maximum(train.std(axis=0), 1e-6)
            low, steps = middle - REACH * spread, 2 * REACH * spread / 16
            wide = padded(train, PART)
            dim = wide.shape[1]
            product = faiss.IndexPQFastScan(dim, dim // PART, 4, faiss.METRIC_INNER_PRODUCT)
            product.train(wide)
            every = max(1, -(-sum(counts) // SAMPLE))
            sample: list[np.ndarray] = []
            seen = 0
            with (folder / _VECTORS).open("wb") as file:
                for block in _blocks(store, model):
                    product.add(padded(block, PART))
                    file.write(_nibbles(block, low, steps).tobytes())
                    sample.append(block[-seen % every :: every].astype(VECTOR_TYPE))
                    seen += len(block)
        np.save(folder / "steps.npy", steps.astype(np.float32))
        np.save(folder / "sample.npy", np.concatenate(sample))
        np.save(folder / "clips.npy", _compact(np.array(clip_ids, np.int64)))
        np.save(folder / "counts.npy", _compact(np.array(counts, np.int64)))
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


def _load(folder: Path, model: ModelRecord, revision: int) -> Codes | None:
    import faiss

    clip_ids = np.load(folder / "clips.npy").astype(np.int64)
    counts = np.load(folder / "counts.npy").astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    product = faiss.read_index(str(folder / "product.faiss"))
    nibbles = np.memmap(folder / _VECTORS, np.uint8, "r").reshape(-1, -(-model.dim // 2))
    if not product.ntotal == len(nibbles) == offsets[-1] or len(counts) != len(clip_ids):
        return None
    steps = np.load(folder / "steps.npy")
    sample = np.load(folder / "sample.npy").astype(np.float32)
    owners = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    plain = nibbles.view(np.ndarray)  # picking rows of a memmap is slower
    return Codes(product, plain, steps, sample, clip_ids, offsets, owners, revision, model.model_id)


def _nibbles(
    vectors: Float32[np.ndarray, "windows dim"], low: Vector, steps: Vector
) -> UInt8[np.ndarray, "windows bytes"]:
    """Each dimension as one of sixteen steps, two to a byte."""
    codes = np.clip((vectors - low) / steps, 0, 15).astype(np.uint8)
    half = -(-codes.shape[1] // 2)
    packed = codes[:, :half].copy()
    packed[:, : codes.shape[1] - half] |= codes[:, half:] << 4
    return packed


def _compact(numbers: Int64[np.ndarray, " n"]) -> np.ndarray:
    """The same in the smallest unsigned type that holds them."""
    most = int(numbers.max()) if len(numbers) else 0
    return numbers.astype(np.min_scalar_type(most))


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
    if path.name == _VECTORS:
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
