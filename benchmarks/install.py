"""How large is the base install, how long does it take, and how soon does the first search answer?

    python benchmarks/install.py [--pythons 3.11 3.12 3.13] [--json FILE]

Builds the wheel (hatchling, in the running environment), then for each interpreter that is there:
a fresh virtual environment, `pip install WHEEL` with its dependencies, the megabytes and files
that brought, and in that environment: no torch, py.typed, licences, `wavtext --help`, indexing one
synthesised sound, the first search. Wall seconds; the package cache of pip is left as it is, so the
seconds of the install are those of this machine's index and cache. An interpreter that is not
there is reported as such. Exits 1 when a check fails.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from machine import machine

ROOT = Path(__file__).resolve().parents[1]
CHECK = """
import importlib.metadata as m, importlib.util as u, pathlib, wavtext
assert u.find_spec("torch") is None, "the base install brought torch"
assert (pathlib.Path(wavtext.__file__).parent / "py.typed").exists()
files = [str(each) for each in m.files("wavtext")]
for name in ("LICENSE", "NOTICE", "LICENSES/CC-BY-4.0.txt"):
    assert any(each.endswith("licenses/" + name) for each in files), name
assert m.version("wavtext") == wavtext.__version__
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pythons", nargs="+", default=["3.11", "3.12", "3.13"])
    parser.add_argument("--rounds", type=int, default=5, help="of --help and of the search")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        wheel = build_wheel(work)
        found = {
            version: measure(version, wheel, work / version, arguments.rounds)
            for version in arguments.pythons
        }
        report = {**machine(), "wheel_megabytes": megabytes(wheel), "pythons": found}
    for version, figures in found.items():
        print(f"Python {version}: " + ", ".join(f"{k} {v}" for k, v in figures.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if any("failed" in figures for figures in found.values()) else 0


def build_wheel(work: Path) -> Path:
    code = f"import hatchling.build as b; print(b.build_wheel({str(work)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return work / done.stdout.strip().splitlines()[-1]


def measure(version: str, wheel: Path, home: Path, rounds: int) -> dict[str, object]:
    """The figures of one interpreter; {"skipped": why} or {"failed": why} where there are none."""
    python = interpreter(version)
    if python is None:
        return {"skipped": "no such interpreter here"}
    run([python, "-m", "venv", str(home)])
    inside = str(home / "bin" / "python")
    empty = size(home)
    begin = time.perf_counter()
    try:
        run([inside, "-m", "pip", "install", "-q", "--disable-pip-version-check",
             "-c", str(ROOT / "constraints.txt"), str(wheel)])  # fmt: skip
        seconds = time.perf_counter() - begin
        run([inside, "-c", CHECK])
        sounds = home / "sounds"
        sounds.mkdir()
        noise = np.random.default_rng(0).normal(0, 0.1, 44_100).astype(np.float32)
        soundfile.write(sounds / "noise.wav", noise, 44_100)
        command = str(home / "bin" / "wavtext")
        help_seconds = [clock([command, "--help"]) for _ in range(rounds)]
        index_seconds = clock([command, "index", str(sounds)])
        searches = [clock([command, "search", "noise", str(sounds)]) for _ in range(rounds)]
    except subprocess.CalledProcessError as error:
        return {"failed": error.stderr.strip().splitlines()[-1] if error.stderr else str(error)}
    return {
        "install_seconds": round(seconds, 1),
        "install_megabytes": round(size(home) - empty),
        "help_seconds": round(float(np.median(help_seconds)), 2),
        "first_index_seconds": round(index_seconds, 2),
        "search_seconds": round(float(np.median(searches)), 2),
    }


def interpreter(version: str) -> str | None:
    """An interpreter of this version: on the path, or among pyenv's."""
    for candidate in (shutil.which(f"python{version}"), *pyenv(version)):
        if candidate:
            done = subprocess.run([candidate, "--version"], capture_output=True, text=True)
            if done.stdout.startswith(f"Python {version}."):
                return candidate
    return None


def pyenv(version: str) -> list[str]:
    versions = Path.home() / ".pyenv" / "versions"
    return [str(each) for each in sorted(versions.glob(f"{version}.*/bin/python"))]


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def clock(command: list[str]) -> float:
    begin = time.perf_counter()
    run(command)
    return time.perf_counter() - begin


def size(folder: Path) -> float:
    """Megabytes of all files."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def megabytes(path: Path) -> float:
    return round(path.stat().st_size / 1e6, 1)


if __name__ == "__main__":
    sys.exit(main())
