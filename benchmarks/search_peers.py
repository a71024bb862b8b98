"""What benchmarks/search.py compares: each builds itself in a folder, and opens from there.

`build(vectors, place)` may take its time; `open(place)` gives a function from a query's vector to
the rows of its ten best. Peers that are not installed are left out:
pip install hnswlib usearch sqlite-vec apsw lancedb
"""
# ruff: noqa: D101, D102

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

Search = Callable[[np.ndarray], Sequence[int]]
TOP = 10


class Contender(Protocol):
    """What can be built in a folder, and opened."""

    def build(self, vectors: np.ndarray, place: Path) -> None: ...
    def open(self, place: Path) -> Search: ...


class NumPyExact:
    def build(self, vectors: np.ndarray, place: Path) -> None:
        np.save(place / "vectors.npy", vectors)

    def open(self, place: Path) -> Search:
        vectors = np.load(place / "vectors.npy")
        return lambda query: np.argpartition(-(vectors @ query), TOP)[:TOP]


class Faiss:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def build(self, vectors: np.ndarray, place: Path) -> None:
        import faiss

        dim = vectors.shape[1]
        if self.kind == "flat":
            index = faiss.IndexFlatIP(dim)
        else:
            eight = faiss.ScalarQuantizer.QT_8bit
            index = faiss.IndexScalarQuantizer(dim, eight, faiss.METRIC_INNER_PRODUCT)
            index.train(np.ascontiguousarray(vectors[:: max(1, len(vectors) // 50_000)]))
        for begin in range(0, len(vectors), 50_000):
            index.add(np.ascontiguousarray(vectors[begin : begin + 50_000]))
        faiss.write_index(index, str(place / "index.faiss"))

    def open(self, place: Path) -> Search:
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.read_index(str(place / "index.faiss"))
        return lambda query: index.search(query[None], TOP)[1][0]


class Hnswlib:
    def __init__(self, ef: int) -> None:
        self.ef = ef

    def build(self, vectors: np.ndarray, place: Path) -> None:
        import hnswlib

        for other in place.parent.glob("hnswlib-*/graph.bin"):  # one graph serves every ef
            os.link(other, place / "graph.bin")
            os.link(other.with_name("dim"), place / "dim")
            return
        graph = hnswlib.Index("ip", vectors.shape[1])
        graph.init_index(len(vectors), ef_construction=100, M=16)
        for begin in range(0, len(vectors), 50_000):
            graph.add_items(vectors[begin : begin + 50_000], num_threads=1)
        graph.save_index(str(place / "graph.bin"))
        (place / "dim").write_text(str(vectors.shape[1]))

    def open(self, place: Path) -> Search:
        import hnswlib

        graph = hnswlib.Index("ip", int((place / "dim").read_text()))
        graph.load_index(str(place / "graph.bin"))
        graph.set_ef(self.ef)
        return lambda query: graph.knn_query(query[None], TOP, num_threads=1)[0][0].astype(int)


class Usearch:
    def build(self, vectors: np.ndarray, place: Path) -> None:
        from usearch.index import Index

        index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16")
        index.add(np.arange(len(vectors)), np.ascontiguousarray(vectors), threads=1)
        index.save(str(place / "index.usearch"))

    def open(self, place: Path) -> Search:
        from usearch.index import Index

        index = Index.restore(str(place / "index.usearch"))
        return lambda query: index.search(query, TOP, threads=1).keys.astype(int)


class SqliteVec:
    def _connect(self, place: Path):
        import apsw  # the sqlite3 that comes with Python often cannot load extensions
        import sqlite_vec

        connection = apsw.Connection(str(place / "vectors.sqlite"))
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        return connection

    def build(self, vectors: np.ndarray, place: Path) -> None:
        connection = self._connect(place)
        dim = vectors.shape[1]
        connection.execute(
            f"CREATE VIRTUAL TABLE v USING vec0(e float[{dim}] distance_metric=cosine)"
        )
        rows = ((i, vector.tobytes()) for i, vector in enumerate(vectors))
        with connection:
            connection.executemany("INSERT INTO v (rowid, e) VALUES (?, ?)", rows)
        connection.close()

    def open(self, place: Path) -> Search:
        connection = self._connect(place)
        sql = f"SELECT rowid FROM v WHERE e MATCH ? ORDER BY distance LIMIT {TOP}"
        return lambda query: [row[0] for row in connection.execute(sql, (query.tobytes(),))]


class LanceDB:
    def build(self, vectors: np.ndarray, place: Path) -> None:
        import lancedb
        import pyarrow as pa

        def tables():
            for begin in range(0, len(vectors), 50_000):
                block = np.ascontiguousarray(vectors[begin : begin + 50_000])
                column = pa.FixedSizeListArray.from_arrays(
                    pa.array(block.reshape(-1)), block.shape[1]
                )
                rows = range(begin, begin + len(block))
                yield pa.table({"id": pa.array(rows, pa.int64()), "vector": column})

        parts = tables()
        table = lancedb.connect(place).create_table("v", next(parts))
        for part in parts:
            table.add(part)

    def open(self, place: Path) -> Search:
        import lancedb

        table = lancedb.connect(place).open_table("v")
        return lambda query: (
            table.search(query).distance_type("dot").limit(TOP).to_arrow()["id"].to_pylist()
        )


PEERS: dict[str, Contender] = {
    "NumPy, exact": NumPyExact(),
    "FAISS flat": Faiss("flat"),
    "FAISS 8-bit scan": Faiss("sq8"),
    "LanceDB flat": LanceDB(),
    "sqlite-vec": SqliteVec(),
    "hnswlib, ef 50": Hnswlib(50),
    "hnswlib, ef 200": Hnswlib(200),
    "usearch": Usearch(),
}
