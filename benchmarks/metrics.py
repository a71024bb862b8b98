"""How long metrics and intervals take, and how much memory streaming ranks need.

    python benchmarks/metrics.py               # 1,045 x 5,225 and the bootstrap
    python benchmarks/metrics.py --stream      # also 50,000 x 250,000, some minutes

Fixed seed; prints the machine and the commit.
"""

import argparse
import resource
import time

import numpy as np
from machine import machine

from wavtext.evaluation.metrics import per_query, ranks, ranks_of
from wavtext.evaluation.statistics import bootstrap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stream", action="store_true", help="also 50,000 x 250,000")
    parser.add_argument(
        "--dim", type=int, default=512, help="dimensions of the streamed embeddings"
    )
    arguments = parser.parse_args()
    print("; ".join(f"{name} {value}" for name, value in machine().items()))
    generator = np.random.default_rng(0)
    clip_of = np.repeat(np.arange(1045), 5)
    clips, captions = unit(generator, 1045, 256), unit(generator, 5225, 256)
    captions += clips[clip_of]
    score = captions @ clips.T  # (5225, 1045)
    relevant = clip_of[:, None] == np.arange(1045)
    start = time.perf_counter()
    text = per_query(ranks_of(score, relevant))
    audio = per_query(ranks_of(score.T, relevant.T))
    print(
        f"all metrics, 1,045 x 5,225, both directions: {time.perf_counter() - start:.2f} s "
        f"(R@1 {text['R@1'].mean():.3f}, {audio['R@1'].mean():.3f})"
    )
    start = time.perf_counter()
    found = bootstrap(text["R@1"], clip_of, resamples=1000, seed=0)
    print(
        f"bootstrap, 1,000 resamples of 5,225 queries: {time.perf_counter() - start:.2f} s, {found}"
    )
    if arguments.stream:
        stream(generator, arguments.dim)


def stream(generator: np.random.Generator, dim: int) -> None:
    queries, pool = unit(generator, 50_000, dim), unit(generator, 250_000, dim)
    queries += 0.2 * pool[:50_000]
    start = time.perf_counter()
    found = ranks(queries, pool, np.arange(50_000))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"streamed ranks, 50,000 x 250,000, {dim} dimensions: "
        f"{time.perf_counter() - start:.0f} s, R@10 {found.hits_at(10).mean():.4f}, "
        f"peak memory of the process {peak:.2f} GiB"
    )


def unit(generator: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    values = generator.standard_normal((rows, dim), dtype=np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values


if __name__ == "__main__":
    main()
