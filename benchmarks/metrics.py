"""How long metrics and intervals take, and how much memory streaming ranks need.

    python benchmarks/metrics.py               # 1,045 x 5,225 and the bootstrap
    python benchmarks/metrics.py --stream      # also 50,000 x 250,000, some minutes

Medians of nine with bootstrap 95 % intervals, fixed seed; prints the machine and the commit.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine, summary

from wavtext.evaluation.metrics import per_query, ranks, ranks_of
from wavtext.evaluation.statistics import bootstrap, compare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stream", action="store_true", help="also 50,000 x 250,000")
    parser.add_argument(
        "--dim", type=int, default=384, help="dimensions of the streamed embeddings"
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    report: dict[str, object] = {**machine()}
    print("; ".join(f"{name} {value}" for name, value in report.items()))
    generator = np.random.default_rng(0)
    clip_of = np.repeat(np.arange(1045), 5)
    clips, captions = unit(generator, 1045, 256), unit(generator, 5225, 256)
    captions += clips[clip_of]
    score = captions @ clips.T  # (5225, 1045)
    relevant = clip_of[:, None] == np.arange(1045)
    text = per_query(ranks_of(score, relevant))

    def both_directions() -> None:
        per_query(ranks_of(score, relevant))
        per_query(ranks_of(score.T, relevant.T))

    tasks = {
        "all metrics, 1,045 x 5,225, both directions": both_directions,
        "bootstrap of a mean, 1,000 resamples of 5,225 queries": lambda: bootstrap(
            text["R@1"], clip_of
        ),
        "bootstrap of a median, 1,000 resamples of 5,225 queries": lambda: bootstrap(
            text["mean rank"], clip_of, statistic="median"
        ),
        "paired tests of two models, 5,225 queries": lambda: compare(
            text["R@1"], text["R@5"], clip_of
        ),
    }
    for name, task in tasks.items():
        found = summary(np.array([seconds(task) for _ in range(9)]), digits=3)
        report[name] = {"seconds": found}
        print(f"{name}: {found['median']} s {found['interval']}")
    if arguments.stream:
        report |= stream(generator, arguments.dim)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def stream(generator: np.random.Generator, dim: int) -> dict[str, object]:
    queries, pool = unit(generator, 50_000, dim), unit(generator, 250_000, dim)
    queries += 0.2 * pool[:50_000]
    wall, processor = time.perf_counter(), time.process_time()
    found = ranks(queries, pool, np.arange(50_000))
    name = f"streamed ranks, 50,000 x 250,000, {dim} dimensions"
    report = {
        "wall_seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - processor, 1),
        "peak_gib_of_process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "recall_at_10": round(float(found.hits_at(10).mean()), 4),
    }
    print(f"{name}: {report}")
    return {name: report}


def unit(generator: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    values = generator.standard_normal((rows, dim), dtype=np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values


if __name__ == "__main__":
    main()
