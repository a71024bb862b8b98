"""The sounds beside the corpus, fetched again: gathered.csv + clones -> audio/ and index.csv.

    python experiments/compact/gather.py --clones CLONES --out runs/gathered
    python experiments/compact/prepare.py --index runs/gathered/index.csv --out runs/compact/gathered

CLONES holds a clone (bare or not) of each repository that gathered.csv names, as owner+name; each
sound is taken from the commit that is pinned, and its checksum must be the one in the list. Prints
the repositories that are missing, and exits 1, so that it can be run until none is.
"""

import argparse
import csv
import hashlib
import subprocess
from collections import defaultdict
from pathlib import Path

LIST = Path(__file__).with_name("gathered.csv")


def read_blob(clone: Path, commit: str, path: str) -> bytes:
    """A file's content at a commit."""
    command = ["git", "-C", str(clone), "show", f"{commit}:{path}"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clones", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    by_source: dict[str, list[dict[str, str]]] = defaultdict(list)
    with LIST.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            by_source[row["source"]].append(row)
    (arguments.out / "audio").mkdir(parents=True, exist_ok=True)
    found: list[dict[str, str]] = []
    failed = 0
    for source, rows in by_source.items():
        clone = arguments.clones / source.removeprefix("gh:").replace("/", "+")
        if not clone.is_dir():
            print(f"{source}: no clone at {clone}; pinned: {rows[0]['commit']}")
            failed += len(rows)
            continue
        for row in rows:
            try:
                content = read_blob(clone, row["commit"], row["original"])
            except subprocess.CalledProcessError as error:
                print(f"{source}: {row['original']}: {error.stderr.decode().strip()}")
                failed += 1
                continue
            if hashlib.sha256(content).hexdigest() != row["sha256"]:
                print(f"{source}: {row['original']}: not the file that trained the model")
                failed += 1
                continue
            (arguments.out / row["file"]).write_bytes(content)
            found.append(row)
    with (arguments.out / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, found[0].keys() if found else ["file"])
        writer.writeheader()
        writer.writerows(found)
    print(f"{len(found)} sounds, {failed} not there")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
