"""Settings -> Adam with a rate for each tower; its schedule is a pure function of the step."""

import math
from typing import Any, cast

import torch
from torch import nn

from wavtext.errors import TrainingError
from wavtext.training.config import OptimizerConfig


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Adam over what is not frozen: audio encoder, text encoder, the rest (projections, scale)."""
    rates = {
        "audio": config.audio_learning_rate or config.learning_rate,
        "text": config.text_learning_rate or config.learning_rate,
        "rest": config.learning_rate,
    }
    parameters: dict[str, list[nn.Parameter]] = {name: [] for name in rates}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            tower = name.split(".")[0]
            parameters[tower if tower in ("audio", "text") else "rest"].append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": parameters[name], "lr": rate, "initial_lr": rate}
        for name, rate in rates.items()
        if parameters[name]
    ]
    if not groups:
        raise TrainingError("Everything is frozen; there is nothing to train.")
    kind = torch.optim.AdamW if config.weight_decay else torch.optim.Adam
    return kind(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Each group's own rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = cast(float, group["initial_lr"]) * factor


def learning_rate_factor(
    config: OptimizerConfig, *, epoch: int, step: int, total_steps: int
) -> float:
    """What the schedule multiplies the learning rates with.

    Args:
        config: The schedule.
        epoch: Counted from 0.
        step: Counted from 0 over the whole run.
        total_steps: Of the run.
    """
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "step":
        return warm * config.step_factor ** (epoch // config.step_epochs)
    if config.schedule == "cosine":
        done = max(0, step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
        return warm * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
    return warm
