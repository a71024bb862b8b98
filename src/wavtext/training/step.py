"""One batch -> the gradients of its loss, in one pass or in chunks, on one process or many.

Every process embeds its part of the batch, gathers the others' embeddings and computes the loss
of the whole batch. Its gradient flows back through its own part only; summed over processes that
is the gradient one process would have. DDP averages instead of summing, so each process
back-propagates its loss times the number of processes.

With gradient caching (Gao et al. 2021) the batch is embedded in chunks without keeping
activations; the loss gives a gradient for each embedding; each chunk is then embedded again, with
the same dropout, and back-propagates its part. Memory grows with the chunk, the gradients are
those of the plain step.  What batch norm normalises with is the chunk of a process: freeze it, or
on CUDA set sync_batch_norm, where that matters.  Its running statistics count each chunk once.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, cast

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from wavtext.training.clap import TwoTowers
from wavtext.training.data import Batch
from wavtext.training.loss import Duplicates, contrastive_loss, find_positives
from wavtext.training.memory import kept_statistics


class Embeddings(NamedTuple):
    """What a batch of pairs becomes."""

    audio: Float[Tensor, "batch dim"]  # length 1
    text: Float[Tensor, "batch dim"]  # length 1
    logit_scale: Float[Tensor, ""]  # exp(t)


class Paired(nn.Module):
    """A two-tower model as one module: a batch in, its embeddings out.  This is what DDP wraps.

    Args:
        model: A `TwoTowers` module.
        bf16: Whether the towers compute in bfloat16 where that is safe (autocast); the loss never
            does.
    """

    def __init__(self, model: nn.Module, *, bf16: bool = False) -> None:
        super().__init__()
        self.model = model
        self.bf16 = bf16

    def forward(self, batch: Batch) -> Embeddings:
        """Embed both sides."""
        model = cast(TwoTowers, self.model)
        crop = () if batch.crop_start is None else (batch.crop_start,)
        with torch.autocast(batch.log_mel.device.type, torch.bfloat16, enabled=self.bf16):
            audio = cast(Any, model).embed_audio(batch.log_mel, *crop)
            text = model.embed_text(batch.input_ids, batch.attention_mask)
        return Embeddings(audio.float(), text.float(), model.logit_scale.exp())


def compute_gradients(
    paired: Paired | DistributedDataParallel,
    batch: Batch,
    *,
    duplicates: Duplicates = "negatives",
    chunk_size: int | None = None,
) -> Float[Tensor, ""]:
    """Add the gradients of the whole batch's loss to the parameters; returns that loss.

    Args:
        paired: The model, in DDP where there are several processes.
        batch: This process's part of the batch; all parts are equally long.
        duplicates: As in `contrastive_loss`.
        chunk_size: Pairs embedded at once; None embeds all at once and keeps their activations.
    """
    world = world_size()
    positives = None
    if duplicates != "negatives":
        positives = find_positives(gather(batch.clip_index), gather(batch.text_index))
    if chunk_size is None or chunk_size >= len(batch):
        found = cast(Embeddings, paired(batch))
        loss = _global_loss(found, positives, duplicates)
        (loss * world).backward()
        return loss.detach()
    return _cached_gradients(paired, batch, positives, duplicates, chunk_size)


def _cached_gradients(
    paired: Paired | DistributedDataParallel,
    batch: Batch,
    positives: Bool[Tensor, "all all"] | None,
    duplicates: Duplicates,
    chunk_size: int,
) -> Float[Tensor, ""]:
    inner = cast(Paired, paired.module if isinstance(paired, DistributedDataParallel) else paired)
    chunks = list(batch.chunks(chunk_size))
    states: list[_RandomState] = []
    embedded: list[Embeddings] = []
    with torch.no_grad(), kept_statistics(inner):
        for chunk in chunks:
            states.append(_RandomState(batch.log_mel.device))
            embedded.append(inner(chunk))
    leaves = Embeddings(
        torch.cat([each.audio for each in embedded]).requires_grad_(),
        torch.cat([each.text for each in embedded]).requires_grad_(),
        embedded[0].logit_scale.detach().clone().requires_grad_(),
    )
    loss = _global_loss(leaves, positives, duplicates)
    gradients = Embeddings(*torch.autograd.grad(loss, list(leaves)))
    audio_gradients = gradients.audio.split(chunk_size)
    text_gradients = gradients.text.split(chunk_size)
    for i, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
        last = i == len(chunks) - 1
        with state.replayed(), _synchronised(paired, last):
            found = cast(Embeddings, paired(chunk))
            towards = (found.audio * audio_gradients[i]).sum()
            towards = towards + (found.text * text_gradients[i]).sum()
            if last:
                towards = towards + found.logit_scale * gradients.logit_scale
            (towards * world_size()).backward()
    return loss.detach()


def _global_loss(
    local: Embeddings, positives: Bool[Tensor, "all all"] | None, duplicates: Duplicates
) -> Float[Tensor, ""]:
    """The loss over all processes' pairs, differentiable by what this process contributes."""
    scale = local.logit_scale
    # every process sees the whole gradient of the scale; a share each, so that their sum is it
    scale = scale.detach() + (scale - scale.detach()) / world_size()
    return contrastive_loss(
        gather(local.audio),
        gather(local.text),
        scale,
        positives=positives,
        duplicates=duplicates,
    )


def gather(local: Tensor) -> Tensor:
    """All processes' rows in rank order; only this process's own carry a gradient."""
    world = world_size()
    if world == 1:
        return local
    parts = [torch.empty_like(local) for _ in range(world)]
    dist.all_gather(parts, local.detach().contiguous())
    parts[dist.get_rank()] = local
    return torch.cat(parts)


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _synchronised(
    paired: Paired | DistributedDataParallel, now: bool
) -> AbstractContextManager[None]:
    """DDP exchanges gradients at the last chunk only."""
    if isinstance(paired, DistributedDataParallel) and not now:
        return paired.no_sync()
    return nullcontext()


class _RandomState:
    """The state of the random numbers that dropout draws, to draw the same again."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    @contextmanager
    def replayed(self) -> Generator[None]:
        devices = [self.device] if self.cuda is not None else []
        with torch.random.fork_rng(devices):
            torch.set_rng_state(self.cpu)
            if self.cuda is not None:
                torch.cuda.set_rng_state(self.cuda, self.device)
            yield
