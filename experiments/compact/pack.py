"""Prepared folders -> one folder for training, small enough to travel.

    python experiments/compact/pack.py runs/compact/corpus runs/compact/extra --out
    runs/compact/packed

Assigns splits (split.py), drops training clips that look like held-out ones, and packs the
teacher's view: scores as the square root in 8 bits, representations as 256 whitened principal
components in 8 bits.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from split import licence_of, near_duplicates, signature, split_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--without", nargs="*", default=["demo", "screened"], help="splits to leave out"
    )
    arguments = parser.parse_args()
    clips, mels, scores, middles, signatures = [], [], [], [], []
    frames = patches = 0
    for folder in arguments.folders:
        mel, score, middle = (
            np.load(folder / f"{n}.npy", mmap_mode="r") for n in ("mel", "scores", "middles")
        )
        for clip in json.loads((folder / "clips.json").read_text()):
            clip["split"], clip["license"] = split_of(clip), licence_of(clip)
            (a, n), (b, m) = clip["frames"], clip["patches"]
            part = np.asarray(mel[a : a + n])
            if part.max() < 40:  # nothing above -78 dB: silence
                continue
            signatures.append(signature(part))
            clip["frames"], clip["patches"] = [frames, n], [patches, m]
            frames, patches = frames + n, patches + m
            mels.append(part), scores.append(score[b : b + m]), middles.append(middle[b : b + m])
            clips.append(clip)
    split = np.array([clip["split"] for clip in clips])
    duration = np.array([clip["duration"] for clip in clips])
    found, train, held = (
        np.stack(signatures),
        split == "train",
        np.isin(split, ["validation", "test", "demo"]),
    )
    double = near_duplicates(found[train], found[held], duration[train], duration[held])
    drop = np.zeros(len(clips), bool)
    drop[np.flatnonzero(train)[double]] = True
    drop |= np.isin(split, arguments.without)
    print(
        f"{double.sum()} of {train.sum()} training clips look like held-out ones and are left out"
    )
    fit = np.concatenate([middles[i] for i in np.flatnonzero(train)]).astype(np.float32)
    mean = fit.mean(0)
    value, vector = np.linalg.eigh(np.cov((fit - mean).T))
    basis = vector[:, ::-1][:, :256] / np.sqrt(value[::-1][:256] + 1e-6)
    kept, frames, patches = [], 0, 0
    out_mel, out_score, out_middle = [], [], []
    for i in np.flatnonzero(~drop):
        clip = clips[i]
        n, m = clip["frames"][1], clip["patches"][1]
        clip["frames"], clip["patches"] = [frames, n], [patches, m]
        frames, patches = frames + n, patches + m
        out_mel.append(mels[i])
        out_score.append(np.round(255 * np.sqrt(np.clip(scores[i], 0, 1))).astype(np.uint8))
        white = (middles[i].astype(np.float32) - mean) @ basis
        out_middle.append(np.clip(np.round(32 * white), -127, 127).astype(np.int8))
        kept.append(
            {
                k: clip[k]
                for k in (
                    "title",
                    "description",
                    "source",
                    "group",
                    "license",
                    "split",
                    "frames",
                    "patches",
                    "duration",
                    "file",
                )
            }
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    np.save(arguments.out / "mel.npy", np.concatenate(out_mel))
    np.save(arguments.out / "scores.npy", np.concatenate(out_score))
    np.save(arguments.out / "middles.npy", np.concatenate(out_middle))
    (arguments.out / "clips.json").write_text(json.dumps(kept))
    for name in sorted(set(split)):
        some = [c for c in kept if c["split"] == name]
        print(name, len(some), "clips", f"{sum(c['frames'][1] for c in some) / 43.07 / 3600:.2f} h")


if __name__ == "__main__":
    main()
