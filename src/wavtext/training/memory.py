"""Computation for memory, without changing the numbers: what runs twice counts once."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import (
    _BatchNorm as BatchNorm,  # pyright: ignore[reportPrivateUsage]  (the base of all its kinds)
)
from torch.utils.checkpoint import checkpoint


@contextmanager
def kept_statistics(module: nn.Module) -> Generator[None]:
    """Batch norm goes on normalising with its batch, and leaves its running statistics as they are.

    For a forward pass that another pass over the same sounds repeats, so that they count once.
    """
    norms = [
        each
        for each in module.modules()
        if isinstance(each, BatchNorm) and each.training and each.track_running_stats
    ]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # new = 1 × old + 0 × batch
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def recomputed(block: nn.Module, x: Tensor) -> Tensor:
    """block(x), its activations recomputed in the backward pass (Chen et al. 2016)."""
    contexts = partial(_contexts, block)
    return cast(Tensor, checkpoint(block, x, use_reentrant=False, context_fn=contexts))


def freeze_batch_norm(module: nn.Module) -> None:
    """Batch norm uses its running statistics in training too; call after `module.train()`."""
    for each in module.modules():
        if isinstance(each, BatchNorm):
            each.eval()


def _contexts(block: nn.Module):
    return nullcontext(), kept_statistics(block)
