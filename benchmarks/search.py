"""Speed, recall, memory and disk of search at 10k, 100k and 1M windows, peers in the same run.

    python benchmarks/search.py [--sizes 10000 100000] [--library DIR --queries FILE] [--threads 1]

A million real windows do not exist here. With --library, the embeddings of an indexed folder are
resampled with noise (a window, plus 0.35 of its length in a random direction of the covariance of
all), and --queries (one text a line) are embedded by its model: real queries, multiplied sounds.
Without, both are synthetic: clustered directions, and queries shifted off their mean. Times are CPU
time of this process (the machine may be shared); recall is of the exact top 10 by NumPy in float32.
"""

import argparse
import os
import platform
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from wavtext.library import quantised
from wavtext.library.exact import Index
from wavtext.library.matrix import Matrix
from wavtext.library.quantised import QuantisedIndex, build_codes, codes_folder, open_codes
from wavtext.library.records import SPAN_TYPE, VECTOR_TYPE, ClipRecord
from wavtext.library.rows import put_embeddings, put_record
from wavtext.library.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--queries", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--peers", action="store_true", help="LanceDB, sqlite-vec, hnswlib, usearch"
    )
    arguments = parser.parse_args()
    import faiss

    faiss.omp_set_num_threads(arguments.threads)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    print(f"commit {commit}, {platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}")
    for size in arguments.sizes:
        vectors, queries = data(size, arguments)
        print(f"\n{size:,} windows x {vectors.shape[1]}, {len(queries)} queries")
        measure(vectors, queries, peers=arguments.peers)


def data(size: int, arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """(windows, dim) and (queries, dim), of length 1; the windows rounded to float16."""
    generator = np.random.default_rng(0)
    if arguments.library:
        from wavtext.library.library import SoundLibrary

        with SoundLibrary.open(arguments.library) as library:
            real = library._reader.matrix().vectors
            texts = arguments.queries.read_text().splitlines()
            queries = library.model.embed_text([text for text in texts if text.strip()][:200])
        centred = real - real.mean(axis=0)
        root = np.linalg.cholesky(np.cov(centred.T) + 1e-6 * np.eye(real.shape[1])).T
        root = (0.35 * root / np.sqrt((root**2).sum())).astype(np.float32)
        vectors = np.empty((size, real.shape[1]), np.float32)
        for begin in range(0, size, 50_000):
            count = min(50_000, size - begin)
            noise = generator.standard_normal((count, real.shape[1]), np.float32) @ root
            vectors[begin : begin + count] = real[generator.integers(0, len(real), count)] + noise
    else:
        dim = arguments.dim
        spectrum = (1 / np.sqrt(1 + np.arange(dim))).astype(np.float32)
        rotation = np.linalg.qr(generator.standard_normal((dim, dim)))[0].astype(np.float32)
        mean, shift = generator.standard_normal((2, dim)) * 0.8 * np.sqrt((spectrum**2).mean())

        def draw(count: int, centre: np.ndarray) -> np.ndarray:
            centres = generator.standard_normal((count // 50 + 1, dim)).astype(np.float32)
            points = centres[generator.integers(0, len(centres), count)]
            points = points + 0.7 * generator.standard_normal((count, dim), np.float32)
            return (points * spectrum) @ rotation + centre.astype(np.float32)

        blocks = [draw(min(50_000, size), mean) for _ in range(-(-size // 50_000))]
        vectors, queries = np.concatenate(blocks), draw(200, shift)
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for begin in range(0, size, 50_000):
        block = vectors[begin : begin + 50_000]
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        block[:] = block.astype(np.float16)
    return vectors[:size], queries.astype(np.float32)


def measure(vectors: np.ndarray, queries: np.ndarray, *, peers: bool) -> None:
    import faiss

    size, dim = vectors.shape
    exact = np.concatenate(
        [
            np.argpartition(-(queries[i : i + 10] @ vectors.T), 10, axis=1)[:, :10]
            for i in range(0, len(queries), 10)
        ]
    )

    def row(name: str, search, note: str = "", repeat: int = 0) -> None:
        times, hits = [], 0
        chosen = range(len(queries) if not repeat else min(repeat, len(queries)))
        search(queries[0])
        for i in chosen:
            began = time.process_time()
            found = search(queries[i])
            times.append((time.process_time() - began) * 1e3)
            hits += len({*map(int, found)} & {*exact[i].tolist()})
        p50, p99 = np.percentile(times, [50, 99])
        recall = hits / (10 * len(times))
        print(f"{name:28} p50 {p50:8.2f}  p99 {p99:8.2f} CPU-ms  recall@10 {recall:.3f}  {note}")

    numpy_queries = 20 if size > 300_000 else 100
    row("NumPy, exact", lambda q: np.argpartition(-(vectors @ q), 10)[:10], repeat=numpy_queries)
    flat = faiss.IndexScalarQuantizer(
        dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    flat.train(vectors[:50_000])
    flat.add(vectors)
    row("FAISS SQ8 scan", lambda q: flat.search(q[None], 10)[1][0], repeat=numpy_queries)
    del flat
    ours(vectors, row)
    if peers:
        others(vectors, row)


def ours(vectors: np.ndarray, row) -> None:
    """The library as it is on disk; clips of one window, which is the costliest layout."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "library.sqlite", write=True)
        model = store.ensure_model("bench", "bench", vectors.shape[1], "bench")
        span = np.array([[0, 5]], SPAN_TYPE).tobytes()
        with store.writing() as connection:
            for i, vector in enumerate(vectors.astype(VECTOR_TYPE)):
                record = ClipRecord(
                    path=f"{i // 1000}/{i}.wav", size=1, mtime_ns=1,
                    content=i.to_bytes(16, "big"), duration=5.0, sample_rate=44_100,
                    channels=1, format="WAV",
                )  # fmt: skip
                clip_id = put_record(connection, record, i + 1)
                put_embeddings(
                    connection,
                    clip_id,
                    model.model_id,
                    record.content,
                    span,
                    vector.tobytes(),
                    i + 1,
                )
            connection.execute("UPDATE meta SET value = ? WHERE key = 'revision'", (len(vectors),))
        began = time.process_time()
        build_codes(store, model)
        built = time.process_time() - began
        store.close()
        store = Store(Path(folder) / "library.sqlite")
        began = time.perf_counter()
        codes = open_codes(store, model)
        opening = time.perf_counter() - began
        assert codes is not None
        tail = Matrix.load(store, model.model_id, model.dim, after=codes.revision)
        index: Index = QuantisedIndex(store, codes, tail, [])
        disk = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
        derived = sum(f.stat().st_size for f in codes_folder(store.path).rglob("*") if f.is_file())
        allowed = 3.3 * model.dim + 200
        row(
            "wavtext, quantised",
            lambda q: index.best(q, 10, None)[0] - 1,
            f"build {built:.0f} CPU-s, open {opening:.2f} s, {disk / len(vectors):.0f} B/window "
            f"({derived / len(vectors):.0f} derived; bound {allowed:.0f})",
        )
        row("wavtext, pool of 200", lambda q: index.best(q, 200, None)[0][:10] - 1)
        store.close()


def others(vectors: np.ndarray, row) -> None:
    """Peers that happen to be installed: pip install lancedb sqlite-vec hnswlib usearch."""
    try:
        import hnswlib

        graph = hnswlib.Index("ip", vectors.shape[1])
        graph.init_index(len(vectors), ef_construction=100, M=16)
        graph.add_items(vectors, num_threads=1)
        for ef in (50, 200):
            graph.set_ef(ef)
            row(f"hnswlib, ef {ef}", lambda q: graph.knn_query(q[None], 10, num_threads=1)[0][0])
    except ImportError:
        print("hnswlib: not installed")
    try:
        from usearch.index import Index as Usearch

        usearch = Usearch(ndim=vectors.shape[1], metric="ip", dtype="f16")
        usearch.add(np.arange(len(vectors)), vectors, threads=1)
        row("usearch", lambda q: usearch.search(q, 10).keys)
    except ImportError:
        print("usearch: not installed")
    try:
        import sqlite3

        import sqlite_vec

        connection = sqlite3.connect(":memory:")
        connection.enable_load_extension(True)
        sqlite_vec.load(connection)
        connection.execute(
            f"CREATE VIRTUAL TABLE v USING vec0(e float[{vectors.shape[1]}] distance_metric=cosine)"
        )
        rows = ((i, vector.tobytes()) for i, vector in enumerate(vectors))
        connection.executemany("INSERT INTO v (rowid, e) VALUES (?, ?)", rows)
        sql = "SELECT rowid FROM v WHERE e MATCH ? ORDER BY distance LIMIT 10"
        row(
            "sqlite-vec",
            lambda q: [r[0] for r in connection.execute(sql, (q.tobytes(),))],
            repeat=20,
        )
    except ImportError:
        print("sqlite-vec: not installed")
    try:
        import lancedb
        import pyarrow as pa

        with tempfile.TemporaryDirectory() as folder:
            values = pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.reshape(-1)), vectors.shape[1]
            )
            table = lancedb.connect(folder).create_table(
                "v", pa.table({"id": pa.array(range(len(vectors))), "vector": values})
            )
            row(
                "LanceDB flat",
                lambda q: (
                    table.search(q).distance_type("dot").limit(10).to_arrow()["id"].to_pylist()
                ),
                repeat=20,
            )
    except ImportError:
        print("lancedb: not installed")


if __name__ == "__main__":
    main()
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB "
          "(with the plain float32 matrix that the comparisons need)")  # fmt: skip
    print(f"candidates {quantised.CANDIDATES}")
