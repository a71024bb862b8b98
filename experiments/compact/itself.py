"""What a model says of each crop, for fit.py --tutor: it is to say the same when the crop is spoilt.

    python experiments/compact/itself.py --fit RUN [RUN ...] --crops runs/compact/crops \
        --packed runs/compact/packed --ingredients runs/compact/ingredients --out runs/compact/itself
    python experiments/compact/fit.py --start RUN --tutor runs/compact/itself --spoilt 0.5 \
        --weights 0 0 0 0.5 0 10 --rate 3e-4 --block-rate 1e-4 ...

Writes what tutor.py does: text_projection.pt and, for each shard of crops, its embeddings.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from assemble import load_run, run_arguments
from crops import shard_paths
from mels import decibels

from wavtext.training.run import save_atomically

BATCH = 50


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    run_arguments(parser)
    for name in ("crops", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    model, _, _ = load_run(arguments)
    model.audio.to(memory_format=torch.channels_last)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for path in shard_paths(arguments.crops):
        mel = np.load(path)["mel"]
        with torch.autocast("cpu", torch.bfloat16):
            parts = [
                model.embed_audio(torch.from_numpy(decibels(mel[at : at + BATCH])))
                for at in range(0, len(mel), BATCH)
            ]
        said = F.normalize(torch.cat(parts).float(), dim=-1)
        np.save(arguments.out / f"{path.stem}.npy", said.numpy().astype(np.float16))
    save_atomically(arguments.out / "text_projection.pt", model.text_projection.state_dict())


if __name__ == "__main__":
    main()
