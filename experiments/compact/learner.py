"""How the compact model's scripts learn: AdamW, one cosine, and the running mean that is kept."""

import json
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wavtext.training.run import load_checkpoint, save_atomically

LONGEST = 5.0  # of the gradient
REMEMBERS = 0.99  # of the running mean: over the last hundred steps or so
KEEP_EVERY = 100  # steps, after which a stopped run can go on


class Learner:
    """Takes steps down a loss, and remembers the running mean of what learns.

    Args:
        parts: What learns, each with its peak learning rate.
        steps: To take.
        warm_up: Steps until the rate is reached; a half cosine follows.
        floor: Share of the rate at the cosine's end.
        decay: Weight decay.
        averaged: Whether the mean is one; otherwise it is the last weights.
        kept: What changes by itself, as batch norms' statistics do, and has no mean.
    """

    def __init__(
        self,
        parts: Sequence[tuple[float, list[nn.Parameter]]],
        *,
        steps: int,
        warm_up: int,
        floor: float = 0.0,
        decay: float = 0.1,
        averaged: bool = True,
        kept: Sequence[Tensor] = (),
    ) -> None:
        self.learns = [parameter for _, some in parts for parameter in some]
        self.mean = [parameter.detach().clone() for parameter in self.learns]
        self.remembers = REMEMBERS if averaged else 0.0
        self.kept = list(kept)
        self.taken = 0
        groups = [{"params": some, "lr": rate} for rate, some in parts if some]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=decay)

        def rate(step: int) -> float:
            half = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
            return min(1.0, (step + 1) / warm_up) * (floor + (1 - floor) * half)

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, rate)

    def step(self, loss: Tensor) -> None:
        """One step down, and the mean with it."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.learns, LONGEST)
        self.optimiser.step(), self.schedule.step()
        remembers = min(self.remembers, (1 + self.taken) / (10 + self.taken))
        self.taken += 1
        with torch.no_grad():
            for mean, now in zip(self.mean, self.learns, strict=True):
                mean.lerp_(now, 1 - remembers)

    def state(self) -> dict[str, Any]:
        """All that a later learner of the same parts needs to go on as this one would."""
        return {
            "now": [parameter.detach() for parameter in self.learns],
            "mean": self.mean,
            "kept": self.kept,
            "taken": self.taken,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from another learner's `state`."""
        self._set(state["now"])
        for held, values in ((self.mean, state["mean"]), (self.kept, state["kept"])):
            for each, value in zip(held, values, strict=True):
                each.copy_(value)
        self.taken = state["taken"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the model has the running mean's weights."""
        now = [parameter.detach().clone() for parameter in self.learns]
        self._set(self.mean)
        try:
            yield
        finally:
            self._set(now)

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.learns, values, strict=True):
            parameter.copy_(value)


def keep(learner: Learner, rng: np.random.Generator, folder: Path) -> None:
    """Write what `go_on` needs."""
    numbers = [random.getstate(), rng.bit_generator.state]
    state = {"torch": torch.get_rng_state(), "others": json.dumps(numbers)}
    save_atomically(folder / "state.pt", learner.state() | state)


def go_on(learner: Learner, rng: np.random.Generator, folder: Path) -> int:
    """Restore what `keep` wrote: the steps that were taken."""
    state = load_checkpoint(folder / "state.pt")
    learner.restore(state)
    torch.set_rng_state(state["torch"])
    (version, numbers, gauss), rng.bit_generator.state = json.loads(state["others"])
    random.setstate((version, tuple(numbers), gauss))
    return learner.taken
