"""Learning rates: the paper's schedule, and a rate for each tower."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from wavtext.errors import TrainingError
from wavtext.training.build import build
from wavtext.training.config import OptimizerConfig, TrainConfig
from wavtext.training.optimizer import (
    learning_rate_factor,
    make_optimizer,
    set_learning_rate,
)


def test_the_papers_rate_falls_to_a_tenth_every_twenty_epochs():
    config = OptimizerConfig()
    factors = [
        learning_rate_factor(config, epoch=epoch, step=500 * epoch, total_steps=22_500)
        for epoch in (0, 19, 20, 39, 40, 44)
    ]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert config.learning_rate == 1e-4


def test_warm_up_rises_and_cosine_falls_to_nothing():
    config = OptimizerConfig(schedule="cosine", warmup_steps=10)
    factors = [
        learning_rate_factor(config, epoch=0, step=step, total_steps=110) for step in range(110)
    ]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[60] == pytest.approx(0.5)
    assert all(a >= b for a, b in pairwise(factors[9:]))
    assert factors[-1] < 0.001


def test_each_tower_has_its_rate_and_a_frozen_one_has_none(
    tiny_config: Callable[..., TrainConfig],
):
    rates = OptimizerConfig(learning_rate=3e-4, audio_learning_rate=1e-4, text_learning_rate=1e-5)
    config = tiny_config(optimizer=rates)
    model = build(config, ["a dog", "rain"]).model
    optimizer = make_optimizer(model, rates)
    set_learning_rate(optimizer, 0.1)
    rate_of = {
        id(parameter): group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    wanted = {"audio": 1e-5, "text": 1e-6}
    for name, parameter in model.named_parameters():
        assert rate_of[id(parameter)] == pytest.approx(wanted.get(name.split(".")[0], 3e-5)), name
    frozen = replace(config, text=replace(config.text, frozen=True))
    trained = make_optimizer(build(frozen, ["a dog", "rain"]).model, rates).param_groups
    assert [group["initial_lr"] for group in trained] == [1e-4, 3e-4]


def test_a_model_that_is_all_frozen_is_refused():
    with pytest.raises(TrainingError, match="nothing to train"):
        make_optimizer(torch.nn.Linear(2, 2).requires_grad_(False), OptimizerConfig())
