"""A network of the audio tower learns to hear what MobileNet hears, moment by moment.

    python experiments/compact/follow.py --moments runs/compact/moments --start runs/compact/reopened \
        --ingredients runs/compact/ingredients --out runs/compact/followed --steps 2100

--network aisfx: all four blocks and the attention layer learn; resnet: the residual network does,
which begins untrained where --start has none.  A linear head on the time steps guesses MobileNet's
moments (moments.py), each of its 384 numbers of mean 0 and deviation 1.  Loss: the mean squared
error of the moments and that of their mean over time.  Writes fit.pt, which is --start with this
network: fit.py goes on from there and learns what it is called.  A run that was stopped goes on
with --resume.  Two CPU cores take 0.8 s a step, of the residual network 0.34 s.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from crops import FRAMES, shard_paths
from learner import KEEP_EVERY, Learner, go_on, keep
from mels import decibels
from text_bank import has_resnet, load_minilm, model_of, weights_of, with_resnet
from torch import Tensor, nn

from wavtext.training.compact import CompactAudioEncoder, ResNetEncoder
from wavtext.training.memory import freeze_batch_norm
from wavtext.training.run import save_atomically

WIDTH = 384  # of a moment
Crops = dict[int, tuple[np.ndarray, np.ndarray]]  # frames -> log-mels (uint8), moments (float16)


class Follower(nn.Module):
    """Log-mel (batch, frames, 72) in dB -> moments (batch, time, 384), of mean 0 and deviation 1.

    Args:
        network: What learns.
        crops: By length, log-mels and moments; the moments' means and deviations are taken from them.
    """

    def __init__(self, network: CompactAudioEncoder | ResNetEncoder, crops: Crops) -> None:
        super().__init__()
        self.network = network
        some = np.concatenate([each[:3000].reshape(-1, WIDTH) for _, each in crops.values()])
        some = torch.from_numpy(some.astype(np.float32))
        means = [each[:6000].astype(np.float32).mean(1) for _, each in crops.values()]
        self.mean, self.deviation = some.mean(0), some.std(0) + 0.02
        self.mean_deviation = torch.from_numpy(np.concatenate(means).std(0) + 0.01)  # crop to crop
        self.head = nn.Linear(network.width, WIDTH)
        nn.init.zeros_(self.head.weight), nn.init.zeros_(self.head.bias)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.head(self.network.moments(log_mel))

    def guess(self, mel: np.ndarray) -> Tensor:
        """`forward` of packed log-mels."""
        with torch.autocast("cpu", torch.bfloat16):
            return self(torch.from_numpy(decibels(mel))).float()


def at_times(moments: Tensor, count: int) -> Tensor:
    """(batch, time, 384) -> (batch, count, 384), between neighbours where times differ."""
    return F.interpolate(moments.mT, size=count, mode="linear").mT


def losses(follower: Follower, mel: np.ndarray, moments: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean squared errors of the moments, and of their mean in units of its own deviation."""
    taught = (torch.from_numpy(moments.astype(np.float32)) - follower.mean) / follower.deviation
    guessed = follower.guess(mel)
    of_each = F.mse_loss(guessed, at_times(taught, guessed.shape[1]))
    apart = (guessed.mean(1) - taught.mean(1)) * follower.deviation / follower.mean_deviation
    return of_each, apart.square().mean()


@torch.no_grad()
def explained(follower: Follower, held: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """R2 of validation's windows: of their means over time, of their moments."""
    guesses, means, wrong, there = [], [], 0.0, 0.0
    for mel, moments in held:
        for k in range(0, len(mel), 64):
            taught = torch.from_numpy(moments[k : k + 64].astype(np.float32))
            taught = (taught - follower.mean) / follower.deviation
            guessed = at_times(follower.guess(mel[k : k + 64]), taught.shape[1])
            wrong += float((guessed - taught).square().sum())
            there += float(taught.square().sum())
            guesses.append(guessed.mean(1)), means.append(taught.mean(1))
    guess, mean = torch.cat(guesses), torch.cat(means)
    scale = follower.deviation / follower.mean_deviation
    left = ((guess - mean) * scale).square().sum()
    whole = ((mean - mean.mean(0)) * scale).square().sum()
    return {"means": 1 - float(left / whole), "moments": 1 - wrong / there}


def load_crops(paths: list[Path]) -> Crops:
    """What moments.py left, by length."""
    parts: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for path in paths:
        with np.load(path) as shard:
            parts.setdefault(shard["mel"].shape[1], []).append((shard["mel"], shard["moments"]))
    return {
        frames: (np.concatenate([m for m, _ in some]), np.concatenate([t for _, t in some]))
        for frames, some in parts.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    for name in ("moments", "start", "ingredients", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--network", choices=("aisfx", "resnet"), default="aisfx")
    parser.add_argument("--steps", type=int, default=2100)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--validate-every", type=int, default=250)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    _, bert = load_minilm(arguments.ingredients)
    state = weights_of(arguments.start)
    fresh = arguments.network == "resnet" and not has_resnet(state)
    model = with_resnet(bert, state) if fresh else model_of(bert, state)
    network = model.audio if arguments.network == "aisfx" else model.audio.resnet
    crops = load_crops(shard_paths(arguments.moments))
    held = list(load_crops(sorted(arguments.moments.glob("held-*.npz"))).values())
    follower = Follower(network, crops).to(memory_format=torch.channels_last)
    learner = Learner(
        [(arguments.rate, list(follower.parameters()))],
        steps=arguments.steps,
        warm_up=50,
        floor=0.02,
        decay=0.02,
        kept=list(network.buffers()),
    )
    begin = time.time()
    taken = go_on(learner, rng, arguments.out) if arguments.resume else 0
    for step in range(taken + 1, arguments.steps + 1):
        follower.train()
        if arguments.network == "aisfx":  # it comes with statistics of far more sounds
            freeze_batch_norm(follower)
        mel, moments = crops[int(rng.choice(FRAMES))]
        count = arguments.batch if mel.shape[1] < max(FRAMES) else arguments.batch // 2
        rows = rng.integers(0, len(mel), count)
        of_each, of_means = losses(follower, mel[rows], moments[rows])
        learner.step(of_each + of_means)
        if step % KEEP_EVERY == 0:
            keep(learner, rng, arguments.out)
        if step % arguments.validate_every == 0 or step == arguments.steps:
            follower.eval()
            with learner.averaged():
                found = explained(follower, held)
                save_atomically(arguments.out / "fit.pt", model.state_dict())
            found |= {"loss": (of_each + of_means).item(), "seconds": time.time() - begin}
            line = {name: round(value, 4) for name, value in found.items()}
            print(step, line, flush=True)


if __name__ == "__main__":
    main()
