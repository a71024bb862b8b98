"""Five collections of real sounds that stand in for the paper's datasets.

    python experiments/stand_ins.py --corpus ../shared/corpus --out runs/stand_ins
    wavtext experiment table3 --data runs/stand_ins --corpora experiments/stand_ins.toml
        --scale experiments/stand_ins_scale.toml --out runs/stand_ins/table3    (one line)

They are not the paper's sounds and no claim about its datasets follows; they let the tables' whole
machinery run on real files where AudioCaps, Clotho and the rest cannot be had.  The developers'
corpus falls apart by source, each source into the first collection whose rule it meets:

described    half of its clips or more have a description: in WavText5K's place
instruments  drum kits, synthesisers and speech icons, by the source's name: in MACS's place
long         clips last 3 s or more on average: in SoundDescs' place
github       from GitHub: in Clotho's place
debian       from Debian packages: in AudioCaps' place

A caption is the title.  Of the last two every fifth family of recordings tests and every tenth
validates; test and validation keep one clip a title, so that a caption asks for its own clip alone.
"""

import argparse
import csv
import hashlib
import zlib
from collections import defaultdict
from pathlib import Path

from wavtext.corpora.manifest import Clip, write_manifest

INSTRUMENTS = ("hydrogen", "lmms", "sonic-pi", "sound-icons")
TESTED = ("debian", "github")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    by_source: dict[str, list[dict[str, str]]] = defaultdict(list)
    with (arguments.corpus / "index.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            by_source[row["source"]].append(row)
    collections: dict[str, list[Clip]] = defaultdict(list)
    for source, rows in sorted(by_source.items()):
        name = collection_of(source, rows)
        collections[name] += [clip_of(row, name, arguments.corpus) for row in rows]
    for name, clips in sorted(collections.items()):
        kept = one_a_title(clips)
        write_manifest(arguments.out / name / "manifest.jsonl", kept)
        splits = {split: sum(clip.split == split for clip in kept) for split in SPLITS}
        sources = len({clip.source for clip in kept})
        print(f"{name}: {len(kept):,} clips of {sources} sources; {splits}")


SPLITS = ("train", "validation", "test")


def collection_of(source: str, rows: list[dict[str, str]]) -> str:
    if sum(bool(row["description"]) for row in rows) >= len(rows) / 2:
        return "described"
    if source.startswith(INSTRUMENTS):
        return "instruments"
    if sum(min(20.0, float(row["duration_s"])) for row in rows) >= 3 * len(rows):
        return "long"
    return "github" if source.startswith("gh:") else "debian"


def clip_of(row: dict[str, str], collection: str, corpus: Path) -> Clip:
    path = (corpus / row["file"]).resolve()
    turn = zlib.crc32(row["group"].encode()) % 10
    split = "test" if turn < 2 else "validation" if turn == 2 else "train"
    return Clip(
        row["file"],
        path,
        (row["title"],),
        split=split if collection in TESTED else "train",
        group=row["group"],
        source=row["source"],
        license=row["license"],
        checksum="sha256:" + hashlib.sha256(path.read_bytes()).hexdigest(),
        columns={"title": row["title"], "description": row["description"]},
    )


def one_a_title(clips: list[Clip]) -> list[Clip]:
    """All of the training part, the first clip of each title of the others."""
    seen: set[tuple[str, str]] = set()
    kept: list[Clip] = []
    for clip in clips:
        key = (clip.split, clip.captions[0].casefold())
        if clip.split == "train" or key not in seen:
            kept.append(clip)
        seen.add(key)
    return kept


if __name__ == "__main__":
    main()
