"""The library in benchmarks/search.py: its index alone, and a whole `SoundLibrary.search`."""
# ruff: noqa: D102

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from search_peers import TOP, Contender, Search

from wavtext.library.codes import build_codes
from wavtext.library.exact import COARSE_FROM, ExactIndex
from wavtext.library.library import LIBRARY_FILE, SoundLibrary
from wavtext.library.quantised import EXACT_UP_TO
from wavtext.library.records import SPAN_TYPE, VECTOR_TYPE, ClipRecord
from wavtext.library.relevance import background_captions, background_key
from wavtext.library.rows import put_embeddings, put_record
from wavtext.library.store import Store

IDENTITY = "bench"


class Asked:
    """Stands for a model that has embedded the queries already."""

    name = identity = IDENTITY

    def __init__(self, texts: Sequence[str], queries: np.ndarray) -> None:
        self.dim = queries.shape[1]
        self._known = dict(zip(texts, queries, strict=True))

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self._known[text] for text in texts])


def write_library(vectors: np.ndarray, names: Sequence[str], place: Path) -> None:
    """A library of clips of one window, as indexing leaves it."""
    path = place / LIBRARY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Store(path, write=True)) as store:
        model = store.ensure_model(IDENTITY, IDENTITY, vectors.shape[1], IDENTITY)
        span = np.array([[0, 5]], SPAN_TYPE).tobytes()
        for begin in range(0, len(vectors), 50_000):
            block = np.asarray(vectors[begin : begin + 50_000]).astype(VECTOR_TYPE)
            with store.writing() as connection:
                for i, vector in enumerate(block, begin):
                    record = ClipRecord(
                        path=f"{i // 1000}/{names[i]} {i}.wav", size=882_044, mtime_ns=i * 10**9,
                        content=i.to_bytes(4, "big") * 4, duration=5.0, sample_rate=44_100,
                        channels=1, format="WAV",
                    )  # fmt: skip
                    clip_id = put_record(connection, record, i + 1)
                    put_embeddings(
                        connection, clip_id, model.model_id, record.content, span,
                        vector.tobytes(), i + 1,
                    )  # fmt: skip
        store.set_meta(revision=len(vectors))
        generator = np.random.default_rng(1)  # general captions, for the cost of relevance alone
        captions = generator.standard_normal((len(background_captions()), vectors.shape[1]))
        captions /= np.linalg.norm(captions, axis=1, keepdims=True)
        store.set_meta(
            background=captions.astype(VECTOR_TYPE).tobytes(),
            background_key=background_key(IDENTITY),
        )
        if len(vectors) > EXACT_UP_TO:
            build_codes(store, model)


class Index:
    """What the library searches with, asked for the ten best clips."""

    def build(self, vectors: np.ndarray, place: Path) -> None:
        names = json.loads((place.parent / "names.json").read_text())
        write_library(vectors, names, place)

    def open(self, place: Path) -> Search:
        import faiss

        faiss.omp_set_num_threads(1)
        queries = np.load(place.parent / "queries.npy")
        library = SoundLibrary.open(place, model=Asked(["-"], queries[:1]))
        self._index = library._reader.index()
        return lambda query: self._index.best(query, TOP, None)[0] - 1

    def warm(self, queries: np.ndarray) -> None:
        """Ask until the codes are there that a library of this size makes after some searches."""
        if isinstance(self._index, ExactIndex) and len(self._index.matrix.vectors) >= COARSE_FROM:
            ends = time.monotonic() + 60
            while self._index._coarse is None and time.monotonic() < ends:
                self._index.best(queries[0], TOP, None)
                time.sleep(0.02)


class WholeSearch(Index):
    """`search(text)`: the index, names, records, relevance; without embedding the text."""

    def build(self, vectors: np.ndarray, place: Path) -> None:
        (place / LIBRARY_FILE.parent).symlink_to(
            f"../wavtext-index/{LIBRARY_FILE.parent}", target_is_directory=True
        )

    def open(self, place: Path) -> Search:
        import faiss

        faiss.omp_set_num_threads(1)
        queries = np.load(place.parent / "queries.npy")
        texts = json.loads((place.parent / "texts.json").read_text())
        library = SoundLibrary.open(place, model=Asked(texts, queries))
        by_vector = {query.tobytes(): text for query, text in zip(queries, texts, strict=True)}

        def search(query: np.ndarray) -> list[int]:
            found = library.search(by_vector[query.tobytes()], limit=TOP, group=True)
            return [result.clip_id - 1 for result in found]

        self._index = library._reader.index()
        return search


OURS: dict[str, Contender] = {"wavtext, index": Index(), "wavtext, search()": WholeSearch()}
