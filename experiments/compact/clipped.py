"""Do clipped sounds find themselves, with their peaks rebuilt and without?

    python experiments/compact/clipped.py --packed runs/compact/packed --roots ../shared/corpus \
        runs/gathered

Sounds of the demo and of validation (split.py), 1,000 together, made louder and clipped as a file
would be; each is to find its own clean self first among all (decision 103).  Both ways hear the
clean ones as they do the others.  Intervals are 95 % bootstraps over families of recordings.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
from report import draws_of
from split import locate, split_of

import wavtext
from wavtext.audio.decode import AUDIO_SUFFIXES, load_audio
from wavtext.evaluation import robustness

POOL, ROUNDS = 1000, 1000


def chosen_sounds(arguments: argparse.Namespace) -> tuple[list[wavtext.Waveform], np.ndarray]:
    """The sounds, 20 s of each at most, and their families."""
    found = sorted(p for p in arguments.demo.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    paths = [(path, f"demo {path.stem.rstrip('0123456789')}") for path in found]
    clips = json.loads((arguments.packed / "clips.json").read_text())
    held = [clip for clip in clips if clip["split"] == split_of(clip) == "validation"]
    order = np.random.default_rng(0).permutation(len(held))[: POOL - len(paths)]
    paths += [(locate(held[i]["file"], arguments.roots), held[i]["group"]) for i in order]
    sounds = [load_audio(path, duration=20.0) for path, _ in paths]
    return sounds, np.array([family for _, family in paths])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--packed", type=Path, required=True)
    parser.add_argument("--roots", type=Path, nargs="+", required=True)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--decibels", type=float, nargs="+", default=[-12.0, 6.0, 12.0, 20.0])
    arguments = parser.parse_args()
    sounds, families = chosen_sounds(arguments)
    model = wavtext.load_model()
    settings = model.config
    clean = {}
    for restoring in (False, True):
        model.config = dataclasses.replace(settings, restore_clipping=restoring)
        clean[restoring] = model.embed_audio(sounds)
    print(len(sounds), "sounds,", model.identity)
    for decibels in arguments.decibels:
        louder = [robustness.gain(sound, decibels) for sound in sounds]
        first = {}
        for restoring in (False, True):
            model.config = dataclasses.replace(settings, restore_clipping=restoring)
            score = model.embed_audio(louder) @ clean[restoring].T
            own = np.diag(score)
            first[restoring] = (score <= own[:, None] + 1e-6).all(1)
            middle, low = np.percentile(own, [50, 5])
            print(
                f"{decibels:+g} dB, {'rebuilt' if restoring else 'as it is'}: finds itself "
                f"{first[restoring].mean():.1%}, cosine {middle:.4f}, 5th percentile {low:.4f}"
            )
        gained = first[True].astype(float) - first[False]
        draws = [
            gained[some].mean() for some in draws_of(families, np.random.default_rng(0), ROUNDS)
        ]
        low, high = np.percentile(draws, [2.5, 97.5])
        print(f"{decibels:+g} dB: {gained.mean():+.3f} [{low:+.3f}, {high:+.3f}]", flush=True)


if __name__ == "__main__":
    main()
