"""The packed clips as a manifest for `wavtext train`, and what chance would score.

    python experiments/compact/own_pairs.py --packed runs/compact/packed --roots ../shared/corpus \
        runs/gathered --out runs/own-pairs.jsonl
    wavtext train configs/compact.toml --data runs/own-pairs.jsonl --out runs/own-compact

Each clip with the texts that may stand for it; what trains the shipped model (pack.py) trains here,
its validation clips validate, its test clips are left out.
"""

import argparse
import json
import math
from collections import Counter
from pathlib import Path

from split import locate
from text_bank import captions_of

from wavtext.corpora.manifest import Clip, write_manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--packed", type=Path, required=True)
    parser.add_argument("--roots", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    clips: list[Clip] = []
    for row in json.loads((arguments.packed / "clips.json").read_text(encoding="utf-8")):
        if row["split"] not in ("train", "validation"):
            continue
        path = locate(row["file"], arguments.roots)
        held_out = row["split"] == "validation"  # looked for by its title alone
        texts = [row["title"].strip()] if held_out else dict.fromkeys(captions_of(row))
        clips.append(
            Clip(
                row["file"], path.resolve(), tuple(text.lower() for text in texts),
                split=row["split"], group=row["group"], license=row["license"],
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
