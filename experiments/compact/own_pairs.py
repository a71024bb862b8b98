"""The corpus as a manifest for `wavtext train configs/compact.toml`, and what chance would score.

    python experiments/compact/own_pairs.py --corpus ../shared/corpus --out runs/own-pairs.jsonl
    wavtext train configs/compact.toml --data runs/own-pairs.jsonl --out runs/own-compact

Clips of clear licences with their titles, split by group as the shipped model's (split.py): what
trains it trains here, its validation groups validate, its test clips are left out.
"""

import argparse
import csv
import math
from collections import Counter
from pathlib import Path

from licences import is_clear
from split import split_of

from wavtext.corpora.manifest import Clip, write_manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    clips: list[Clip] = []
    with (arguments.corpus / "index.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            split = split_of(row)
            if split in ("train", "validation") and is_clear(row["license"]):
                path = (arguments.corpus / row["file"]).resolve()
                title, group = row["title"].lower(), row["group"]
                clips.append(
                    Clip(
                        row["file"], path, (title,), split=split, group=group,
                        license=row["license"],
                    )
                )  # fmt: skip
    write_manifest(arguments.out, clips)
    held_out = [clip.captions[0] for clip in clips if clip.split == "validation"]
    pool, bear = len(held_out), Counter(held_out)
    # a ranking at random: 1 - the share of draws of ten clips without any that bears the title
    chance = [1 - math.comb(pool - bear[title], 10) / math.comb(pool, 10) for title in held_out]
    print(
        f"{sum(clip.split == 'train' for clip in clips)} clips to train on, {pool} to validate; "
        f"text_to_audio R@10 by chance {sum(chance) / pool:.3f}"
    )


if __name__ == "__main__":
    main()
