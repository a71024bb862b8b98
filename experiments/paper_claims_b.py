"""Part b of paper_claims.py: one audio tower or two, from scratch, of like size and cost.

The paper concatenates a CNN and a transformer and compares with each alone, which has half the
parameters.  Here two CNNs and two transformers stand beside, as do a gate in place of the
concatenation, and late fusion of towers trained apart.
"""

from functools import partial

import numpy as np
import torch
from paper_claims_parts import (
    Corpus,
    Heads,
    difference_table,
    embed,
    fit,
    measure,
    score_table,
    trained,
    values_of,
)
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from wavtext.training.cnn14 import Cnn14
from wavtext.training.htsat import Htsat, HtsatConfig

BATCH, RATE = 128, 1e-3
FRAMES, BANDS = 64, 32  # of a crop: 3.0 s in steps of 46 ms, pairs of 64 mel bands


def cnn(width: float = 1.0) -> nn.Module:
    channels = tuple(round(width * each) for each in (8, 24, 64, 112))
    return Cnn14(channels, 192, n_mels=BANDS, block_dropout=0.1, head_dropout=0.2)


def transformer(dim: int = 24) -> nn.Module:
    return Htsat(
        HtsatConfig(
            embed_dim=dim, depths=(1, 1, 2), num_heads=(2, 4, 8), window_size=4, spec_size=64,
            n_mels=BANDS, drop_path=0.0,
        )
    )  # fmt: skip


class Both(nn.Module):
    """Two encoders side by side (eq. 5), or mixed by a learnt gate."""

    def __init__(self, first: nn.Module, second: nn.Module, *, gated: bool = False) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.dim = first.dim + second.dim
        self.gate = None
        if gated:
            self.dim = 192
            self.left, self.right = nn.Linear(first.dim, 192), nn.Linear(second.dim, 192)
            self.gate = nn.Linear(first.dim + second.dim, 192)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.first(log_mel), self.second(log_mel)], dim=1)
        if self.gate is None:
            return x
        open_ = torch.sigmoid(self.gate(x))
        first, second = x.split([self.left.in_features, self.right.in_features], dim=1)
        return open_ * self.left(first) + (1 - open_) * self.right(second)


TOWERS = {
    "CNN": cnn,
    "transformer": transformer,
    "CNN + transformer": lambda: Both(cnn(), transformer()),
    "CNN + CNN": lambda: Both(cnn(), cnn()),
    "transformer + transformer": lambda: Both(transformer(), transformer()),
    "CNN + transformer, gated": lambda: Both(cnn(), transformer(), gated=True),
    # the same two controls with as many products as CNN + transformer, in place of parameters
    "CNN + CNN, of its compute": lambda: Both(cnn(0.85), cnn(0.85)),
    "transformer + transformer, of its compute": lambda: Both(transformer(30), transformer(30)),
}


def claim_b(corpus: Corpus, steps: int, seeds: int) -> tuple[str, dict]:
    small = small_log_mels(corpus)
    rows = np.flatnonzero(~corpus.test)
    embeddings: dict[str, list] = {name: [] for name in TOWERS}
    for seed in range(seeds):
        for name in TOWERS:
            run = partial(train_tower, corpus, small, rows, name, seed, steps)
            embeddings[name].append(trained(corpus, f"b {name} {seed} of {steps} x {BATCH}", run))
    runs = {
        name: [measure(corpus, corpus.test, *each) for each in found]
        for name, found in embeddings.items()
    }
    # Late fusion: the mean of two models' cosines, which is the cosine of their embeddings end to
    # end.
    for name, first, second, shift in (
        ("late: CNN, transformer", "CNN", "transformer", 0),
        ("late: CNN, CNN", "CNN", "CNN", 1),
        ("late: transformer, transformer", "transformer", "transformer", 1),
    ):
        runs[name] = []
        for seed in range(seeds):
            pair = (embeddings[first][seed], embeddings[second][(seed + shift) % seeds])
            audio, text = (np.hstack(each) / np.sqrt(2) for each in zip(*pair, strict=True))
            runs[name].append(measure(corpus, corpus.test, audio, text))
    notes = {name: size_of(make()) for name, make in TOWERS.items()}
    task = corpus.task(corpus.test)
    both = "CNN + transformer"
    pairs = [(both, "CNN"), (both, "transformer"), (both, "CNN + CNN")]
    pairs += [(both, "transformer + transformer"), ("CNN + transformer, gated", both)]
    pairs += [("CNN", "transformer"), ("late: CNN, transformer", "late: CNN, CNN")]
    pairs += [("late: CNN, transformer", "late: transformer, transformer")]
    pairs += [(both, name) for name in TOWERS if name.endswith("of its compute")]
    lines = ["## b. CNN and transformer complement each other", ""]
    lines += [
        f"{len(rows):,} training pairs; test: {len(task.captions):,} titles, "
        f"{len(task.clips):,} clips; {seeds} seeds, {steps} steps of {BATCH}.",
        "",
    ]
    text = "\n".join([*lines, score_table(runs, notes), "", difference_table(runs, pairs)])
    return text, {"notes": notes} | values_of(runs, pairs)


def size_of(tower: nn.Module) -> str:
    """Parameters, and multiplications for one crop."""
    with FlopCounterMode(display=False) as counter:
        tower.eval()(torch.zeros(1, FRAMES, BANDS))
    parameters = sum(each.numel() for each in tower.parameters())
    return f"{parameters / 1e3:.0f} k parameters, {counter.get_total_flops() / 2e6:.0f} M products"


def small_log_mels(corpus: Corpus) -> list[np.ndarray]:
    """What part b hears of each clip, (frames, 32); on disk for a machine without the corpus."""
    path = corpus.out / "small.npz"
    if not path.exists():
        made = [shrink(corpus.log_mel(row)) for row in range(len(corpus.rows))]
        stops = np.cumsum([len(each) for each in made])
        np.savez(path, frames=np.concatenate(made).astype(np.float16), stops=stops)
    found = np.load(path)
    return np.split(found["frames"].astype(np.float32), found["stops"][:-1])


def shrink(log_mel: np.ndarray) -> np.ndarray:
    """(frames, 72) in dB -> (frames / 2, 32): pairs of frames and of the lowest bands averaged."""
    if len(log_mel) % 2:
        log_mel = np.vstack([log_mel, log_mel[-1:]])
    small = log_mel[:, : 2 * BANDS].reshape(len(log_mel) // 2, 2, BANDS, 2).mean((1, 3))
    small = (small - small.max()).clip(-80, 0) / 20 + 2  # the level is not heard
    return np.resize(small, (max(FRAMES, len(small)), BANDS)).astype(np.float32)


def train_tower(
    corpus: Corpus, small: list[np.ndarray], rows: np.ndarray, name: str, seed: int, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    torch.manual_seed(1000 * seed + list(TOWERS).index(name))
    tower = TOWERS[name]().to(memory_format=torch.channels_last)
    model = Heads(tower, tower.dim)

    def crops(chosen: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
        found = []
        for row in chosen:
            start = generator.integers(len(small[row]) - FRAMES + 1)
            found.append(small[row][start : start + FRAMES])
        return torch.from_numpy(np.stack(found))

    fit(model, crops, corpus, rows, seed=seed, steps=steps, batch=BATCH, rate=RATE)
    windows, owner = [], []
    for row, each in enumerate(small):
        count = min(4, -(-len(each) // FRAMES))
        for start in np.linspace(0, len(each) - FRAMES, count).astype(int):
            windows.append(each[start : start + FRAMES])
            owner.append(row)
    embedded = embed(model.embed_audio, np.stack(windows), corpus.device)
    audio = np.zeros((len(small), embedded.shape[1]), np.float32)
    np.add.at(audio, owner, embedded)
    audio /= np.linalg.norm(audio, axis=1, keepdims=True)
    return audio, embed(model.embed_text, corpus.text, corpus.device)
