"""Break the code on purpose, one place at a time, and see whether a test notices.

    python scripts/mutation_walk.py --out build/mutants.json [--only metrics loss ...]

Works in a copy of src and tests under a temporary folder. Each break of scripts/mutants.toml
replaces one piece of text; then the tests of its part run until the first fails. Outcomes are kept
in the JSON file as they come, and a second run goes on where the first stopped. Exits 1 when a
break went unnoticed. A break whose text is no longer in the code is an error: mend the list.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WINGS = ("metrics", "loss", "windows", "store", "candidates", "choosing")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="outcomes, JSON")
    parser.add_argument("--only", nargs="+", choices=WINGS, default=list(WINGS))
    parser.add_argument("--minutes", type=float, default=1e9, help="stop before the next break")
    arguments = parser.parse_args()
    plan = tomllib.loads((ROOT / "scripts" / "mutants.toml").read_text(encoding="utf-8"))
    outcomes = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary)
        for name in ("src", "tests", "configs", "pyproject.toml"):
            source = ROOT / name
            copier = shutil.copytree if source.is_dir() else shutil.copy
            copier(source, copy / name)
        for wing in arguments.only:
            sound = f"{wing}: unbroken"
            if sound not in outcomes:
                outcomes[sound] = run_tests(copy, plan["tests"][wing])
                keep(arguments.out, sound, outcomes)
            if outcomes[sound]:
                print(f"{wing}: its tests fail without a break: {outcomes[sound]}")
                return 1
            for what, change in plan[wing].items():
                name = f"{wing}: {what}"
                if name in outcomes:
                    continue
                if time.monotonic() > ends:
                    print("Time is up; the next run goes on here.")
                    return 2
                outcomes[name] = try_break(copy, plan, wing, change)
                keep(arguments.out, name, outcomes)
    missed = [name for name, test in outcomes.items() if not test and "unbroken" not in name]
    print(f"{len(outcomes)} tried; {len(missed)} missed: {missed}")
    return 1 if missed else 0


def try_break(copy: Path, plan: dict, wing: str, change: list[str]) -> str:
    """The first test that fails with the change made; empty when none does."""
    pairs = dict(zip(change[::2], change[1::2], strict=True))
    path = copy / pairs.pop("file", plan["files"][wing])
    whole = path.read_text(encoding="utf-8")
    broken = whole
    for old, new in pairs.items():
        if old not in broken:
            raise SystemExit(f"{path.relative_to(copy)} no longer holds {old!r}.")
        broken = broken.replace(old, new, 1)
    path.write_text(broken, encoding="utf-8")
    try:
        return run_tests(copy, plan["tests"][wing])
    finally:
        path.write_text(whole, encoding="utf-8")


def run_tests(copy: Path, tests: list[str]) -> str:
    """The first test that fails; empty when all pass."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
        cwd=copy, capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    if done.returncode == 0:
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" ")[1] if failed else f"exit status {done.returncode}"


def keep(out: Path, name: str, outcomes: dict[str, str]) -> None:
    print(f"{name}: {outcomes[name] or 'passed'}", flush=True)
    out.write_text(json.dumps(outcomes, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
