"""Settings + manifest -> what a run would need.  `wavtext train --dry-run`, in seconds."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from wavtext.errors import TrainingError
from wavtext.training.config import TrainConfig
from wavtext.training.data import Batch, steps_in_an_epoch
from wavtext.training.memory import freeze_batch_norm
from wavtext.training.prepare import read_splits, start_process
from wavtext.training.start import build_new
from wavtext.training.step import Paired, world_size

GIGABYTE = 1e9


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would train on and need."""

    clips: int
    pairs: int
    validation_clips: int
    steps_per_epoch: int
    epochs: int
    parameters: int
    trained_parameters: int
    weight_bytes: int  # weights, gradients and Adam's two moments
    activation_bytes: int  # of the pairs that are embedded at once
    available_bytes: int

    def describe(self) -> str:
        """Lines for people."""
        total = (self.weight_bytes + self.activation_bytes) / GIGABYTE
        lines = [
            f"data        {self.pairs} pairs of {self.clips} clips; "
            f"{self.validation_clips} validation clips",
            f"steps       {self.steps_per_epoch} an epoch, {self.epochs} epochs",
            f"parameters  {self.parameters / 1e6:.1f} M, "
            f"{self.trained_parameters / 1e6:.1f} M of them trained",
            f"memory      about {total:.1f} GB of {self.available_bytes / GIGABYTE:.1f} GB: "
            f"weights, gradients and Adam {self.weight_bytes / GIGABYTE:.1f}, activations "
            f"{self.activation_bytes / GIGABYTE:.1f}",
        ]
        return "\n".join(lines)


def plan(config: TrainConfig, manifest: Path | str, *, device: str | None = None) -> Plan:
    """Check what can be checked without decoding a sound; measure the memory of one pair.

    Raises:
        TrainingError: The run would not fit into memory.
        ManifestError: The manifest, its files or its captions are not usable.
    """
    _, _, chosen = start_process(config, device)
    splits = read_splits(config, manifest)
    free = _available(chosen)  # before there are weights, which are counted below
    built = build_new(config, splits.captions)
    steps = steps_in_an_epoch(config, len(splits.captions), len(splits.training))
    at_once = min(config.chunk_size or config.batch_size, config.batch_size // world_size())
    parameters = list(built.model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    total = sum(p.numel() for p in parameters)
    result = Plan(
        clips=len(splits.training),
        pairs=len(splits.captions),
        validation_clips=len(splits.held_out),
        steps_per_epoch=steps,
        epochs=config.epochs,
        parameters=total,
        trained_parameters=trained,
        weight_bytes=4 * total + 12 * trained,
        activation_bytes=at_once
        * _pair_bytes(built.model.to(chosen), config, built.crop_frames, chosen),
        available_bytes=free,
    )
    needed = result.weight_bytes + result.activation_bytes
    if needed > result.available_bytes:
        raise TrainingError(
            f"The run needs about {needed / GIGABYTE:.1f} GB, "
            f"{result.activation_bytes / GIGABYTE:.1f} of them for {at_once} pairs at once; "
            f"{result.available_bytes / GIGABYTE:.1f} GB are free.",
            help="Set chunk_size lower; the gradients stay the same.",
        )
    return result


def _pair_bytes(
    model: nn.Module,
    config: TrainConfig,
    crop_frames: int | None,
    device: torch.device,
) -> int:
    """What autograd keeps of the forward pass of one pair."""
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    words = max(1, min(config.text.max_tokens, 24))
    batch = Batch(
        log_mel=torch.zeros(2, config.crop_frames, config.front_end.n_mels),
        input_ids=torch.full((2, words), 4),
        attention_mask=torch.ones(2, words, dtype=torch.int64),
        clip_index=torch.arange(2),
        text_index=torch.arange(2),
        crop_start=None if crop_frames is None else torch.zeros(2, dtype=torch.int64),
    ).to(device)
    model.train()
    freeze_batch_norm(model)  # the statistics of zeros are none to keep
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        found = Paired(model, bf16=config.precision == "bf16")(batch)
    del found
    return sum(kept.values()) // 2


def _available(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
