"""Every benchmark by one command; what each printed is kept as JSON, and one table shows all.

    python benchmarks/all.py --list                     # what there is, and what it takes
    python benchmarks/all.py                            # all: hours of a quiet machine
    python benchmarks/all.py --only front_end install   # some
    python benchmarks/all.py --quick --out /tmp/quick   # does everything still run? minutes
    python benchmarks/all.py --table                    # docs/benchmarks.md from the kept results

Each benchmark is a script of its own that may be run alone. Kept is, in results/runs/NAME.json: the
command, the processor, the commit, the load before and after, every line that was printed, and the
figures that the table shows. A figure that a script no longer prints is an error. A quick run is
marked and never enters the table.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from machine import machine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "runs"
PAGE = ROOT / "docs" / "benchmarks.md"
PEERS = Path("build/peers")


@dataclass(frozen=True)
class Benchmark:
    """One claim and how it is measured."""

    claim: str
    command: str  # after "python benchmarks/"
    quick: str  # the same in seconds
    figures: dict[str, str]  # what the table shows: label -> pattern of a printed line
    needs: tuple[str, ...] = ()  # paths that must exist
    fetch: str = ""  # how to get them
    environment: dict[str, str] = field(default_factory=dict)


GET_PEERS = (
    "mkdir -p build/peers && cd build/peers && pip download --no-deps msclap==1.3.4 "
    "laion-clap==1.1.7 && for each in *.whl; do unzip -qo $each; done"
)
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
BENCHMARKS = {
    "install": Benchmark(
        "the base install: size, time, cold start",
        "install.py",
        "install.py --pythons 3.11 --rounds 1",
        {"Python {}: {} s to install, {} MB; --help {} s, first index {} s, search {} s":
         r"Python (\S+): install_seconds ([\d.]+), install_megabytes (\d+), help_seconds ([\d.]+), "
         r"first_index_seconds ([\d.]+), search_seconds ([\d.]+)"},
    ),
    "front_end": Benchmark(
        "log-mel of 10 s, one thread",
        "front_end.py --rounds 30",
        "front_end.py --rounds 2",
        {"{}, {}: {} ms, {} × ours {}":
         r"^(\w+) +(\w+) +([\d.]+) ms \(best.*ratio +([\d.]+) (\[.*\])"},
    ),
    "decode": Benchmark(
        "decoding, × real time of one core",
        "decode.py",
        "decode.py --rounds 1",
        {"{}: {}": r"^(.+?)  +((?:soundfile|libsndfile|\w+) [\d].*)$"},
    ),
    "compact": Benchmark(
        "the compact model against transformers' ClapModel",
        "compact.py --sounds demo",
        "compact.py --sounds demo --rounds 1 --clips 3",
        {}, needs=("demo",), fetch="make demo",
    ),
    "runtime": Benchmark(
        "which runtime and precision",
        "runtime.py --sounds demo",
        "runtime.py --sounds demo --rounds 1",
        {}, needs=("demo",), fetch="make demo",
    ),
    "inference": Benchmark(
        "converted encoders against PyTorch, log-mel to representation",
        "inference.py --rounds 5 --clips 4",
        "inference.py --rounds 1 --clips 1 --only htsat",
        {"{}, {}: {} × real time, {} × torch {}":
         r"^ +(.+), (auto|f32|torch) +([\d.]+) x real time .*; ([\d.]+) x torch fp32 (\[.*\])"},
        environment=ONE_THREAD,
    ),
    "peers": Benchmark(
        "msclap and laion-clap, and their weights in a model folder",
        f"peers.py --msclap {PEERS}/msclap --laion {PEERS}/laion_clap",
        f"peers.py --msclap {PEERS}/msclap --laion {PEERS}/laion_clap --rounds 1",
        {"{}, {}: {} × real time, {} × theirs":
         r"^(\S+), (f32|bf16): ([\d.]+) x real time, ([\d.]+ \[.*\]) x theirs"},
        needs=(f"{PEERS}/msclap", f"{PEERS}/laion_clap"), fetch=GET_PEERS,
    ),
    "parity": Benchmark(
        "largest difference from the originals' own code",
        f"parity.py --msclap {PEERS}/msclap --laion {PEERS}/laion_clap",
        f"parity.py --msclap {PEERS}/msclap",
        {"{}: {}": r"^(\S.*?\S) +([\d.]+e[+-]\d+)$"},
        needs=(f"{PEERS}/msclap", f"{PEERS}/laion_clap"), fetch=GET_PEERS,
    ),
    "search": Benchmark(
        "search against other engines, one thread",
        "search.py --sizes 10000 100000 --out benchmarks/results/search.json",
        "search.py --sizes 2000 --dim 64",
        {"{}: p50 {}, p99 {} CPU-ms, recall@10 {}":
         r"^(\S.*?) +p50 +([\d.]+) +p99 +([\d.]+) CPU-ms +recall@10 ([\d.]+)"},
    ),
    "unchanged": Benchmark(
        "indexing 100,000 unchanged files",
        "library_load.py unchanged",
        "library_load.py unchanged --files 500",
        {"{} run: {}": r"^(first|second) run: (.*)$"},
    ),
    "pipeline": Benchmark(
        "indexing beside its parts",
        "library_load.py pipeline demo",
        "library_load.py pipeline demo",
        {"{}": r"^run \d+: (.*)$"}, needs=("demo",), fetch="make demo",
    ),
    "embed": Benchmark(
        "embedding into Parquet, here and on Ray",
        "scale.py embed demo",
        "scale.py embed demo --clips 8",
        {"{}: {} CPU-ms a clip, {} bytes a window":
         r"^(here|Ray): .* ([\d.]+) CPU-ms a clip.* ([\d,]+) a window",
         "Ray: {} × the processor seconds": r"^Ray costs ([\d.]+) times"},
        needs=("demo",), fetch="make demo",
    ),
    "libraries": Benchmark(
        "a library in SQLite and in Qdrant (local mode), 10,000 clips",
        "scale.py library demo",
        "scale.py library demo --clips 500",
        {"{}: {} CPU-s to import a million clips":
         r"^(SQLite|Qdrant.*): ([\d,]+) CPU-s and .* to import",
         "{}: {} CPU-ms a search": r"^(SQLite|Qdrant.*): search by text, p50 ([\d.,]+) CPU-ms"},
        needs=("demo",), fetch="make demo",
    ),
    "server": Benchmark(
        "text searches of the server, no query asked twice",
        "server_load.py",
        "server_load.py --windows 2000 --seconds 3",
        {"{} requests a second": r'"requests_per_second": ([\d.]+)',
         "{} CPU-ms a search": r'"server_cpu_ms_per_request": ([\d.]+)'},
    ),
    "training_step": Benchmark(
        "a training step of CNN14 + HTSAT + RoBERTa-base",
        "training_step.py --batch 8 --rounds 3",
        "training_step.py --batch 2 --rounds 1",
        {"{} time, × straightforward: {}": r"^speed-up, (\w+) time, .*: ([\d.]+)",
         "peak memory of both together {} GB": r"^peak memory of both together: ([\d.]+)"},
        environment=ONE_THREAD,
    ),
    "training_memory": Benchmark(
        "memory of a training step, gradients cached",
        "training_step.py --memory 8,32,128 --chunk 8",
        "training_step.py --memory 2 --chunk 1",
        {"batch {}, chunk {}: {} GB": r"^batch +(\d+) +chunk +(\d+) +peak +([\d.]+) GB"},
        environment=ONE_THREAD,
    ),
    "training_data": Benchmark(
        "the training's data path alone",
        "training_step.py --data",
        "training_step.py --data --rounds 1",
        {"{} clips a CPU second": r"^data path: (\d+)"}, environment=ONE_THREAD,
    ),
    "training_drift": Benchmark(
        "memory of a training process over 1,000 steps",
        "training_drift.py --steps 1000",
        "training_drift.py --steps 20",
        {"{}": r"^(step \d+ to .*)$"},
        environment=ONE_THREAD,
    ),
    "metrics": Benchmark(
        "all metrics and their intervals",
        "metrics.py",
        "metrics.py",
        {"{}: {} s": r"^(.+): ([\d.]+) s \["},
    ),
    "corpora": Benchmark(
        "decode, check, fingerprint, resample, log-mel and pack",
        "corpora.py speed --clips 80",
        "corpora.py speed --clips 4 --duration 2",
        {"{}: {} × real time of one core": r"^\| (\w[\w ]*) \| \d+ \(.*?\) \| (\d+) \("},
    ),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="seconds each; for no table")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--table", action="store_true", help="write docs/benchmarks.md and end")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    arguments = parser.parse_args()
    if arguments.list:
        for name, each in BENCHMARKS.items():
            print(f"{name:16} {each.claim}\n{'':16} python benchmarks/{each.command}")
        return 0
    if not arguments.table:
        if arguments.quick and arguments.out == RESULTS:
            parser.error("a quick run is not kept: give --out another folder.")
        states = [run(name, quick=arguments.quick, out=arguments.out) for name in arguments.only]
        failed = states.count("failed")
        print(f"{len(states)} benchmarks: {failed} failed, {states.count('skipped')} skipped.")
        if failed or arguments.quick:
            return 1 if failed else 0
    PAGE.write_text(table(), encoding="utf-8")
    return 0


def run(name: str, *, quick: bool, out: Path) -> str:
    """Run one benchmark and keep what it printed; "ok", "failed" or "skipped"."""
    benchmark = BENCHMARKS[name]
    missing = [each for each in benchmark.needs if not (ROOT / each).exists()]
    if missing:
        print(f"{name}: skipped, there is no {missing[0]}: {benchmark.fetch}", flush=True)
        return "skipped"
    command = benchmark.quick if quick else benchmark.command
    script, *options = shlex.split(command)
    before, begin = os.getloadavg()[0], time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *options],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, **benchmark.environment},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    figures = read_figures(benchmark, lines)
    result = {
        "name": name, "claim": benchmark.claim, "command": f"python benchmarks/{command}",
        "quick": quick, "date": f"{datetime.now(UTC):%Y-%m-%d}", **machine(),
        "load": [round(before, 1), round(os.getloadavg()[0], 1)],
        "seconds": round(time.perf_counter() - begin, 1), "status": done.returncode,
        "figures": figures, "output": lines,
    }  # fmt: skip
    if done.returncode:
        result["error"] = done.stderr.strip().splitlines()[-10:]
    unread = [label for label in benchmark.figures if not any(label == f["label"] for f in figures)]
    ok = done.returncode == 0 and not unread
    out.mkdir(parents=True, exist_ok=True)
    place = out / (f"{name}.json" if ok else f"{name}.failed.json")
    place.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    why = f": {(result.get('error') or ['figures not printed: ' + '; '.join(unread)])[-1]}"
    print(f"{name}: {'ok' if ok else 'failed' + why}, {result['seconds']} s", flush=True)
    return "ok" if ok else "failed"


def read_figures(benchmark: Benchmark, lines: list[str]) -> list[dict[str, str]]:
    """The figures that the table shows, as text; JSON reports give theirs whole."""
    found = [
        {"label": label, "shown": label.format(*(each or "" for each in matched.groups()))}
        for label, pattern in benchmark.figures.items()
        for line in lines
        if (matched := re.search(pattern, line))
    ]
    if not benchmark.figures:
        report = json.loads("\n".join(lines) or "{}")
        found = [{"label": "", "shown": shown} for shown in flatten(report)]
    return found


def flatten(report: object, name: str = "") -> list[str]:
    """Medians of a JSON report with their intervals, each behind the path to it."""
    if isinstance(report, dict) and "median" in report:
        more = {k: v for k, v in report.items() if k not in ("median", "interval", "unit")}
        rest = "".join(f", {k.replace('_', ' ')} {v}" for k, v in more.items())
        return [f"{name}: {report['median']} {report.get('interval', '')}{rest}"]
    if not isinstance(report, dict):
        return []
    return [
        line
        for key, value in report.items()
        for line in flatten(value, f"{name}, {key}" if name else str(key))
    ]


def table() -> str:
    """docs/benchmarks.md, from the results that are kept."""
    parts = [
        "<!-- Made by `python benchmarks/all.py --table` from benchmarks/results/runs/. -->\n",
        "# Benchmarks\n",
        "A script each; `python benchmarks/all.py` runs all, `--only NAME` some, `--list` names "
        "them. CPU seconds of one thread where nothing else is said, and peers in the same run. "
        "`load` is the machine's before and after: above 1, wall time says little.\n",
    ]
    paths = [path for path in RESULTS.glob("*.json") if path.stem in BENCHMARKS]
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    kept = [each for each in kept if not each["quick"]]
    for result in sorted(kept, key=lambda each: list(BENCHMARKS).index(each["name"])):
        parts.append(f"## {result['claim'][0].upper()}{result['claim'][1:]}\n")
        parts.append(
            f"`{result['command']}`, {result['date']}, commit {result['commit']}, {result['cpu']}, "
            f"load {result['load'][0]} to {result['load'][1]}:\n"
        )
        parts += [f"* {figure['shown']}" for figure in result["figures"]]
        parts.append("")
    left = [name for name in BENCHMARKS if name not in {each["name"] for each in kept}]
    if left:
        parts.append("## Not measured by this command yet\n")
        parts += [f"* {BENCHMARKS[name].claim} (`--only {name}`)" for name in left]
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
