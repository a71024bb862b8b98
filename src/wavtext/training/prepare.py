"""What a run needs before its first step: its process, its pairs, their log-mels on disk."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from wavtext.corpora.manifest import Clip
from wavtext.corpora.packed import is_pack
from wavtext.errors import ConfigError, ManifestError
from wavtext.training.cache import Failure, LogMelCache
from wavtext.training.config import TrainConfig
from wavtext.training.data import Pairs, make_pairs, split_clips
from wavtext.training.packs import fetch_log_mels, read_training_clips

# the first process decodes all sounds and validates while the others wait at a collective, which
# by default they do for ten minutes; torchrun ends them all when one of them dies
PATIENCE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Splits:
    """The clips of a manifest that a run trains on and validates on."""

    training: Sequence[Clip]
    held_out: Sequence[Clip]

    @property
    def captions(self) -> list[str]:
        """Of the clips to train on, one for each pair."""
        return [caption for clip in self.training for caption in clip.captions]


def read_splits(config: TrainConfig, manifest: Path | str) -> Splits:
    """The clips of a manifest or a pack, checked as far as takes seconds: no sound is decoded.

    Raises:
        ManifestError: A caption is empty, or a file is missing.
    """
    training, held_out = split_clips(read_training_clips(manifest))
    if config.validation_clips is not None:
        held_out = _sample(held_out, config.validation_clips, config.seed)
    files = () if is_pack(manifest) else (*training, *held_out)
    missing = [clip for clip in files if not clip.path.is_file()]
    if missing:
        names = ", ".join(str(clip.path) for clip in missing[:3])
        more = ", ..." if len(missing) > 3 else ""
        raise ManifestError(
            f"{manifest}: {len(missing)} sound files are missing: {names}{more}.",
            help="Fetch them again, or remove their lines.",
        )
    make_pairs([*training, *held_out], {})  # finds empty captions
    return Splits(training, held_out)


def load_pairs(
    config: TrainConfig,
    manifest: Path | str,
    splits: Splits,
    cache_folder: Path,
    *,
    rank: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Pairs, Pairs]:
    """Training and validation pairs, their log-mels on disk.

    Raises:
        ManifestError: More clips than the settings allow fail to decode.
    """
    cache = LogMelCache(cache_folder, config.front_end)
    if rank and dist.is_initialized():
        dist.barrier()  # the first process computes, the others find
    clips = [*splits.training, *splits.held_out]
    if is_pack(manifest):
        ready, failures = fetch_log_mels(str(manifest), clips, cache)
    else:
        ready, failures = cache.prepare(
            [clip.path for clip in clips], workers=config.workers, progress=progress
        )
    if not rank and dist.is_initialized():
        dist.barrier()
    if len(failures) > config.max_unreadable:
        raise ManifestError(
            _describe_failures(manifest, failures), help="Remove them, or raise max_unreadable."
        )
    return make_pairs(splits.training, ready), make_pairs(splits.held_out, ready)


def start_process(config: TrainConfig, device: str | None) -> tuple[int, int, torch.device]:
    """This process's rank, how many there are, and its device; joins torchrun's group."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    cuda = torch.cuda.is_available() if device is None else device.startswith("cuda")
    if config.sync_batch_norm and not cuda:
        raise ConfigError(
            "'sync_batch_norm' works on CUDA only.", help="Set freeze_batch_norm on a CPU."
        )
    if config.batch_size % world:
        raise ConfigError(
            f"'batch_size' is {config.batch_size}; it must be a multiple of the {world} processes."
        )
    local = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = torch.device(f"cuda:{local}") if cuda else torch.device(device or "cpu")
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    return (dist.get_rank() if world > 1 else 0), world, chosen


def _sample(clips: list[Clip], count: int, seed: int) -> list[Clip]:
    if len(clips) <= count:
        return clips
    chosen = np.random.default_rng([seed, 5]).choice(len(clips), count, replace=False)
    return [clips[i] for i in sorted(chosen)]


def _describe_failures(manifest: Path | str, failures: list[Failure]) -> str:
    shown = "; ".join(f"{failure.path}: {failure.reason}" for failure in failures[:3])
    more = "; ..." if len(failures) > 3 else ""
    return f"{manifest}: {len(failures)} sounds cannot be used: {shown}{more}"
