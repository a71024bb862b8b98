"""Which licence a sound of a Debian package has, where the corpus only lists those of the package.

    python experiments/compact/debian_licences.py --corpus ../shared/corpus --packages DIR

DIR/<package>/copyright is that file of the package in the version that the corpus pins
(`apt-get download PACKAGE=VERSION`, `dpkg-deb --fsys-tarfile`).  Machine-readable ones (DEP 5) name
the licence of every file; the last paragraph that fits a file counts.  Writes debian_licences.csv
beside this script: clips whose own licence is clear (licences.py), and the paragraph it stands in.
"""

import argparse
import csv
from pathlib import Path

from licences import is_clear

from wavtext.corpora.dep5 import CopyrightFile

PUBLIC_DOMAIN = "LicenseRef-public-domain"  # SPDX has no name for it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--packages", type=Path, required=True)
    arguments = parser.parse_args()
    versions = {
        row["source"]: row["pin"]
        for row in csv.DictReader((arguments.corpus / "sources.csv").open())
        if row["kind"] == "debian package"
    }
    files: dict[str, CopyrightFile] = {}
    found = []
    for row in csv.DictReader((arguments.corpus / "index.csv").open()):
        package = row["source"]
        path = arguments.packages / package / "copyright"
        if package not in versions or is_clear(row["license"]) or not path.exists():
            continue
        if package not in files:
            files[package] = CopyrightFile(path.read_text(encoding="utf-8", errors="replace"))
        if not files[package].machine_readable:
            continue
        stated = files[package].license_of(row["original"].split("/", 1)[1])
        licence = stated.license.replace(PUBLIC_DOMAIN, "public domain")
        if is_clear(licence):
            found.append((row["file"], package, versions[package], licence, stated.basis))
    with Path(__file__).with_name("debian_licences.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "package", "version", "license", "basis"))
        writer.writerows(sorted(found))
    print(len(found), "clips of", len({each[1] for each in found}), "packages")


if __name__ == "__main__":
    main()
