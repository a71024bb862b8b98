"""Speed, recall, memory and disk of search at 10k, 100k and 1M windows, peers in the same run.

    python benchmarks/search.py [--library DIR --texts FILE] [--sizes 10000 100000]
        [--only wavtext "NumPy, exact"] [--work DIR] [--out benchmarks/results/search.json]

A million real windows do not exist here. With --library, the embeddings of an indexed folder are
resampled with noise (a window, plus 0.35 of its length in a random direction of the covariance of
all), and --texts (one a line) are embedded by its model: real queries, multiplied sounds.
Without, both are synthetic: clustered directions, and queries shifted off their mean. Every
contender is built once, then opened and asked in a process of its own, whose times and memory are
shown: CPU milliseconds of one thread (the machine may be shared), wall time beside them; memory
is what the process holds after the queries, the mapped files it touched included. Recall is of
the exact top 10 by NumPy in float32; `wavtext, search()` lets names count, so its order is
another on purpose. Below 100,001 windows the library makes codes after some searches, and is
timed then. Clips have one window each, which costs the library the most.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import machine
from search_ours import OURS
from search_peers import PEERS, TOP

CONTENDERS = {**PEERS, **OURS}
SLOW = 40  # queries of a contender that takes over 50 ms for one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dim", type=int, default=384, help="of synthetic windows")
    parser.add_argument("--library", type=Path, help="an indexed folder")
    parser.add_argument("--texts", type=Path, help="queries, one a line")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--work", type=Path, help="keep windows and built indexes here")
    parser.add_argument("--out", type=Path, help="add the rows to this file")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--stage", choices=("build", "ask"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        stage(arguments)
        return
    print(json.dumps(machine()))
    with tempfile.TemporaryDirectory() as temporary:
        for size in arguments.sizes:
            place = (arguments.work or Path(temporary)) / str(size)
            if not (place / "exact.npy").exists():
                prepare(size, place, arguments)
            dim = np.load(place / "vectors.npy", mmap_mode="r").shape[1]
            print(f"\n{size:,} windows x {dim}")
            for name in arguments.only:
                row = compare(name, place, build_only=arguments.build_only)
                if row is not None:
                    show(name, row)
                    if arguments.out:
                        keep(arguments.out, {"size": size, "dim": dim, "name": name, **row})


def prepare(size: int, place: Path, arguments: argparse.Namespace) -> None:
    """Write windows, queries and the exact answers."""
    place.mkdir(parents=True, exist_ok=True)
    vectors, queries, names, texts = data(size, arguments)
    np.save(place / "vectors.npy", vectors)
    np.save(place / "queries.npy", queries)
    (place / "names.json").write_text(json.dumps(names))
    (place / "texts.json").write_text(json.dumps(texts))
    exact = [
        np.argpartition(-(queries[i : i + 10] @ vectors.T), TOP, axis=1)[:, :TOP]
        for i in range(0, len(queries), 10)
    ]
    np.save(place / "exact.npy", np.concatenate(exact))


def data(size: int, arguments: argparse.Namespace):
    """(windows, dim) and (queries, dim), of length 1; the windows rounded to float16."""
    generator = np.random.default_rng(0)
    if arguments.library:
        from wavtext.library.library import SoundLibrary

        texts = [text for text in arguments.texts.read_text().splitlines() if text.strip()][:200]
        with SoundLibrary.open(arguments.library) as library:
            matrix = library._reader.matrix().compacted()
            paths = {clip.clip_id: clip.path.stem for clip in library.clips()}
            queries = library.model.embed_text(texts)
        real = matrix.vectors
        names = [paths[each] for each in np.repeat(matrix.clip_ids, np.diff(matrix.offsets))]
        centred = real - real.mean(axis=0)
        root = np.linalg.cholesky(np.cov(centred.T) + 1e-6 * np.eye(real.shape[1])).T
        root = (0.35 * root / np.sqrt((root**2).sum())).astype(np.float32)
        vectors = np.empty((size, real.shape[1]), np.float32)
        chosen = generator.integers(0, len(real), size)
        for begin in range(0, size, 50_000):
            some = chosen[begin : begin + 50_000]
            noise = generator.standard_normal((len(some), real.shape[1]), np.float32) @ root
            vectors[begin : begin + len(some)] = real[some] + noise
        names = [names[each] for each in chosen]
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
        vectors, queries = np.concatenate(blocks)[:size], draw(200, shift)
        names = [f"sound {i}" for i in range(size)]
        texts = [f"query {i}" for i in range(len(queries))]
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for begin in range(0, size, 50_000):
        block = vectors[begin : begin + 50_000]
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        block[:] = block.astype(np.float16)
    return vectors, queries.astype(np.float32), names, texts


def compare(name: str, place: Path, *, build_only: bool) -> dict | None:
    """Build where that was not done before, then ask in a fresh process."""
    row = {}
    for step in ("build", "ask")[: 1 if build_only else 2]:
        if step == "build" and (folder(name, place) / "built.json").exists():
            continue
        command = [sys.executable, __file__, "--stage", step, "--only", name, "--work", str(place)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            print(f"{name}: {step} failed: {done.stderr.strip().splitlines()[-1]}")
            return None
        if step == "ask":
            row = json.loads(done.stdout.splitlines()[-1])
    return row or None


def folder(name: str, place: Path) -> Path:
    return place / "-".join(re.findall(r"[a-z0-9]+", name.lower()))


def stage(arguments: argparse.Namespace) -> None:
    """In a process of its own: build, or open and ask."""
    place, (name,) = arguments.work, arguments.only
    contender, mine = CONTENDERS[name], folder(name, place)
    if arguments.stage == "build":
        mine.mkdir(exist_ok=True)
        began = time.process_time()
        contender.build(np.load(place / "vectors.npy", mmap_mode="r"), mine)
        seconds = round(time.process_time() - began, 1)
        (mine / "built.json").write_text(json.dumps(seconds))
        return
    queries, exact = np.load(place / "queries.npy"), np.load(place / "exact.npy")
    before = resident()
    began = time.perf_counter()
    search = contender.open(mine)
    opening = time.perf_counter() - began
    cpu, wall, hits, asked = [], [], 0, 0
    search(queries[0])
    getattr(contender, "warm", lambda queries: None)(queries)
    for query, expected in zip(queries, exact, strict=True):
        began, began_cpu = time.perf_counter(), time.process_time()
        found = search(query)
        cpu.append((time.process_time() - began_cpu) * 1e3)
        wall.append((time.perf_counter() - began) * 1e3)
        hits += len({*map(int, found)} & {*expected.tolist()})
        asked += 1
        if asked >= SLOW and np.median(cpu) > 50:
            break
    parts = [each for each in mine.rglob("*") if each.is_file() and each.name != "built.json"]
    row = {
        "cpu_ms_p50": round(float(np.percentile(cpu, 50)), 2),
        "cpu_ms_p99": round(float(np.percentile(cpu, 99)), 2),
        "wall_ms_p50": round(float(np.percentile(wall, 50)), 2),
        "wall_ms_p99": round(float(np.percentile(wall, 99)), 2),
        "recall_at_10": round(hits / (TOP * asked), 4),
        "queries": asked,
        "open_s": round(opening, 3),
        "memory_mb": round((resident() - before) / 1e6),
        "disk_bytes_per_window": round(sum(each.stat().st_size for each in parts)
                                       / len(np.load(place / "vectors.npy", mmap_mode="r"))),
        "build_cpu_s": json.loads((mine / "built.json").read_text()),
    }  # fmt: skip
    print(json.dumps(row))


def resident() -> int:
    """Bytes of this process in memory, mapped files included; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def show(name: str, row: dict) -> None:
    print(
        f"{name:24} p50 {row['cpu_ms_p50']:8.2f}  p99 {row['cpu_ms_p99']:8.2f} CPU-ms  "
        f"recall@10 {row['recall_at_10']:.3f}  open {row['open_s']:6.2f} s  "
        f"{row['memory_mb']:5} MB  {row['disk_bytes_per_window']:5} B/window  "
        f"build {row['build_cpu_s']:.0f} CPU-s",
        flush=True,
    )


def keep(out: Path, row: dict) -> None:
    """Put a row into the file, in place of an older one of its size and name."""
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    rows = [each for each in rows if (each["size"], each["name"]) != (row["size"], row["name"])]
    rows.append({**row, **machine(), "system": platform.platform()})
    order = list(CONTENDERS)
    rows.sort(key=lambda each: (each["size"], order.index(each["name"])))
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
