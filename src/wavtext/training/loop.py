"""The training loop, to be read top to bottom.  Settings + manifest -> a run folder.

    wavtext train configs/paper/cnn14-htsat.toml --data manifest.jsonl --out runs/paper
    torchrun --nproc-per-node 8 -m wavtext train ...          the same on eight GPUs, or processes

A step depends on the settings, the manifest and its number alone (the batch: data.py; dropout:
seeded here), so a killed run resumed from its last checkpoint gives the numbers it would have
given, bit for bit on one CPU process.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from wavtext.errors import TrainingError
from wavtext.training.build import Built, build
from wavtext.training.cache import default_cache_folder
from wavtext.training.clap import TwoTowers
from wavtext.training.config import TrainConfig
from wavtext.training.data import Batch, TrainingData, steps_in_an_epoch
from wavtext.training.loss import clamp_log_scale
from wavtext.training.memory import freeze_batch_norm
from wavtext.training.optimizer import learning_rate_factor, make_optimizer, set_learning_rate
from wavtext.training.prepare import load_pairs, read_splits, start_process
from wavtext.training.run import RunFolder, load_checkpoint, save_atomically
from wavtext.training.start import build_new
from wavtext.training.step import Paired, compute_gradients
from wavtext.training.text import load_tokenizer
from wavtext.training.validate import validate

SELECTION = ("text_to_audio mAP@10", "audio_to_text mAP@10")  # the second settles ties of the first


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is, for whoever watches it."""

    epoch: int  # from 1
    epochs: int
    step: int  # of the epoch, from 1
    steps: int  # of the epoch
    loss: float
    logit_scale: float
    clips_per_second: float
    seconds_left: float
    validation: dict[str, float] | None = None  # at an epoch's end


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run came to."""

    run: Path
    model: nn.Module
    built: Built
    best: dict[str, float]  # metrics of the best epoch; empty without validation clips


def train(
    config: TrainConfig,
    manifest: Path | str,
    out: Path,
    *,
    resume: bool = False,
    cache: Path | None = None,
    device: str | None = None,
    checkpoint_steps: int | None = None,
    report: Callable[[Progress], None] | None = None,
    preparing: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train a model from a manifest or a pack.

    Args:
        config: The settings.
        manifest: Clips with captions; splits train and validation. Or a pack: its folder or URL.
        out: The run's folder.
        resume: Go on with the run that is in `out`.
        cache: Where log-mels are kept; by default in the user's cache.
        device: Such as "cuda" or "cpu"; by default CUDA where there is some.
        checkpoint_steps: Also write a checkpoint each so many steps of an epoch.
        report: Called after each step.
        preparing: Called before the first step, while log-mels are made: how many there are, of
            how many.

    Raises:
        TrainingError: The run cannot start or go on; the last good checkpoint stays.
    """
    rank, world, chosen = start_process(config, device)
    folder = RunFolder(out, config, manifest, resume=resume, writes=rank == 0)

    # what can fail in seconds does so here, not after an hour of decoding
    splits = read_splits(config, manifest)
    tokenizer_file = folder.path / "tokenizer.json"
    goes_on = resume and folder.last.exists()
    if goes_on:
        built = build(config, splits.captions, tokenizer=load_tokenizer(tokenizer_file))
    else:
        built = build_new(config, splits.captions)
    steps_in_an_epoch(config, len(splits.captions), len(splits.training))

    # data: each clip's log-mel, once
    cache = cache or default_cache_folder()
    training, held_out = load_pairs(config, manifest, splits, cache, rank=rank, progress=preparing)
    folder.begin()

    # model
    if folder.writes:
        built.tokenizer.tokenizer.save(str(tokenizer_file))
    data = TrainingData(training, built.tokenizer, config, crop_frames=built.crop_frames)
    model: nn.Module = built.model.to(chosen)
    cast(Any, model).to(memory_format=torch.channels_last)  # faster convolutions in bfloat16
    if config.sync_batch_norm:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    towers = cast(TwoTowers, model)
    optimizer = make_optimizer(model, config.optimizer)
    start_epoch, start_step, best, stale = 0, 0, dict[str, float](), 0
    if goes_on:
        state = load_checkpoint(folder.last)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start_epoch, start_step = state["epoch"], state["step"]
        best, stale = state["best"], state["stale"]
    folder.forget_after(start_epoch * data.steps_per_epoch + start_step)
    if config.compile:
        cast(Any, model).audio.compile()
    paired: Any = Paired(model, bf16=config.precision == "bf16")
    if world > 1:
        ids = [chosen.index] if chosen.type == "cuda" else None
        paired = DistributedDataParallel(paired, device_ids=ids)

    total_steps = config.epochs * data.steps_per_epoch
    writer = _tensorboard(folder)
    began, seen = time.monotonic(), 0
    ended = config.patience is not None and stale >= config.patience
    for epoch in range(start_epoch, start_epoch if ended else config.epochs):
        model.train()
        _freeze(model, config)
        first = start_step if epoch == start_epoch else 0
        loader = data.loader(epoch, first_step=first, rank=rank, world=world)
        for step, batch in enumerate(loader, start=first):
            number = epoch * data.steps_per_epoch + step
            factor = learning_rate_factor(
                config.optimizer, epoch=epoch, step=number, total_steps=total_steps
            )
            set_learning_rate(optimizer, factor)
            torch.manual_seed(_dropout_seed(config.seed, number, rank))
            batch = batch.to(chosen)

            optimizer.zero_grad(set_to_none=True)
            loss_tensor = compute_gradients(
                paired,
                batch,
                duplicates=config.loss.duplicates,
                chunk_size=config.chunk_size,
            )
            loss = float(loss_tensor)
            if not math.isfinite(loss):
                _stop_on_nan(folder, batch, epoch, step, loss)
            folder.trust_last()  # its weights have given a loss that is a number
            if config.optimizer.max_gradient_norm:
                nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.max_gradient_norm)
            optimizer.step()
            clamp_log_scale(towers.logit_scale, config.loss.temperature)

            seen += config.batch_size
            elapsed = time.monotonic() - began
            scale = math.exp(towers.logit_scale.item())
            speed = seen / elapsed
            folder.log(
                {"step": number + 1, "epoch": epoch + 1, "loss": loss, "logit_scale": scale,
                 "learning_rate": config.optimizer.learning_rate * factor,
                 "clips_per_second": round(speed, 2)}
            )  # fmt: skip
            if writer:
                writer.add_scalar("loss", loss, number + 1)
                writer.add_scalar("logit_scale", scale, number + 1)
            if report and rank == 0:
                left = (total_steps - number - 1) * config.batch_size / speed
                place = (epoch + 1, config.epochs, step + 1, data.steps_per_epoch)
                report(Progress(*place, loss, scale, speed, left))
            if checkpoint_steps and (step + 1) % checkpoint_steps == 0:
                folder.save_last(_state(model, optimizer, epoch, step + 1, best, stale))

        # the epoch's end: validate, keep the best, leave a checkpoint to go on from
        metrics: dict[str, float] = {}
        if len(held_out) and folder.writes:
            model.eval()
            bf16 = config.precision == "bf16"
            metrics = validate(
                towers,
                held_out,
                built.tokenizer,
                frames=config.crop_frames,
                device=chosen,
                bf16=bf16,
            )
            number = (epoch + 1) * data.steps_per_epoch
            folder.log({"step": number, "epoch": epoch + 1, "validation": metrics})
            if writer:
                for name, value in metrics.items():
                    writer.add_scalar(f"validation/{name}", value, number)
            if report:
                place = (epoch + 1, config.epochs, data.steps_per_epoch, data.steps_per_epoch)
                report(
                    Progress(
                        *place, math.nan, math.exp(towers.logit_scale.item()), 0.0, 0.0, metrics
                    )
                )
        if not metrics or _quality(metrics) > _quality(best):
            best, stale = metrics, 0
            folder.save(
                folder.best, {"model": model.state_dict(), "epoch": epoch + 1, "metrics": best}
            )
        else:
            stale += 1
        folder.save_last(_state(model, optimizer, epoch + 1, 0, best, stale))
        if _all_stop(config.patience is not None and stale >= config.patience, world, chosen):
            break
    folder.trust_last()
    if writer:
        writer.close()
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()
    if folder.best.exists():
        model.load_state_dict(load_checkpoint(folder.best)["model"])
    model.eval()
    return Trained(folder.path, model, built, best)


def _freeze(model: nn.Module, config: TrainConfig) -> None:
    """What does not train does not drop out or count statistics either."""
    if config.freeze_batch_norm:
        freeze_batch_norm(model)
    if config.audio.frozen:
        model.get_submodule("audio").eval()
    if config.text.frozen:
        model.get_submodule("text").eval()


def _dropout_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, 4, step, rank]).generate_state(1)[0])


def _state(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    step: int,
    best: dict[str, float],
    stale: int,
) -> dict[str, Any]:
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": epoch,
        "step": step,
        "best": best,
        "stale": stale,
    }


def _stop_on_nan(folder: RunFolder, batch: Batch, epoch: int, step: int, loss: float) -> None:
    kept = folder.path / "nan_batch.pt"
    tensors = {"log_mel": batch.log_mel.cpu(), "input_ids": batch.input_ids.cpu()}
    if folder.writes:
        save_atomically(kept, {**tensors, "clip_index": batch.clip_index.cpu()})
    good = folder.take_back_last()
    raise TrainingError(
        f"The loss became {loss} at epoch {epoch + 1}, step {step + 1}; its batch is in {kept}.",
        help="Lower the learning rate, or look for broken sounds in that batch; "
        + ("the last checkpoint is good." if good else "there is no good checkpoint yet."),
    )


def _all_stop(stop: bool, world: int, device: torch.device) -> bool:
    """The first process validates and decides; all follow."""
    if world == 1:
        return stop
    decision = torch.tensor([int(stop)], device=device)
    dist.broadcast(decision, 0)
    return bool(decision.item())


def _tensorboard(folder: RunFolder) -> Any:
    if not folder.writes:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder.path / "tensorboard"))


def _quality(metrics: dict[str, float]) -> tuple[float, ...]:
    return tuple(metrics.get(name, -1.0) for name in SELECTION)
