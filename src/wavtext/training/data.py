"""Manifest -> pairs -> batches, each a pure function of (seed, epoch, step).

So a run that is killed goes on with the batches that it would have seen, no state of a sampler is
saved, and rank r of R processes takes the r-th part of the very batch that one process would
take.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wavtext.corpora.manifest import Clip
from wavtext.errors import ManifestError, TrainingError
from wavtext.training.cache import read_log_mel
from wavtext.training.config import AugmentConfig, TrainConfig
from wavtext.training.text import CaptionTokenizer


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs of sound and caption, by name.  Row i of each belongs together."""

    log_mel: Float[Tensor, "batch frames mels"]  # dB
    input_ids: Int[Tensor, "batch tokens"]
    attention_mask: Int[Tensor, "batch tokens"]
    clip_index: Int[Tensor, " batch"]  # equal where pairs show one clip
    text_index: Int[Tensor, " batch"]  # equal where captions have the same words
    crop_start: Int[Tensor, " batch"] | None = None  # frame where HTSAT's crop begins

    def __len__(self) -> int:
        return len(self.log_mel)

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return self._map(move)

    def chunks(self, size: int) -> Iterator["Batch"]:
        """Parts of at most `size` pairs, in order."""
        for start in range(0, len(self), size):
            yield self._map(itemgetter(slice(start, start + size)))

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {
            name: None if tensor is None else function(tensor) for name, tensor in values.items()
        }
        return Batch(**changed)


@dataclass(frozen=True, slots=True)
class Pairs:
    """The clips of a split that can be read, and their (clip, caption) pairs."""

    clips: tuple[Clip, ...]
    files: tuple[Path, ...]  # log-mel of each clip
    clip_of: tuple[int, ...]  # clip of each pair
    captions: tuple[str, ...]  # caption of each pair

    def __len__(self) -> int:
        return len(self.captions)


def split_clips(clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Training and validation clips of a manifest; all are for training when it names no splits."""
    if not any(clip.split for clip in clips):
        return list(clips), []
    training = [clip for clip in clips if clip.split == "train"]
    if not training:
        known = ", ".join(sorted({clip.split for clip in clips}))
        raise ManifestError(
            f"The manifest has no clips in the split 'train'; it has: {known}.",
            help="Name the splits train, validation and test.",
        )
    return training, [clip for clip in clips if clip.split == "validation"]


def make_pairs(clips: Sequence[Clip], files: Mapping[Path, Path]) -> Pairs:
    """The pairs of the clips that have a log-mel.

    Raises:
        ManifestError: A clip has no caption, or an empty one; names up to five.
    """
    empty = [c.clip_id for c in clips if not c.captions or not all(t.strip() for t in c.captions)]
    if empty:
        names = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        raise ManifestError(
            f"{len(empty)} clips have no caption or an empty one: {names}.",
            help="Remove them from the manifest, or caption them.",
        )
    kept = tuple(clip for clip in clips if clip.path in files)
    clip_of = tuple(row for row, clip in enumerate(kept) for _ in clip.captions)
    captions = tuple(text for clip in kept for text in clip.captions)
    return Pairs(kept, tuple(files[clip.path] for clip in kept), clip_of, captions)


class TrainingData:
    """Batches of a split.

    Args:
        pairs: What to draw from.
        tokenizer: For the captions.
        config: Seed, batch size, crop, augmentation.
        crop_frames: Frames that the audio tower hears of its input in training; None: all.
    """

    def __init__(
        self,
        pairs: Pairs,
        tokenizer: CaptionTokenizer,
        config: TrainConfig,
        *,
        crop_frames: int | None = None,
    ) -> None:
        self.pairs, self.tokenizer, self.config = pairs, tokenizer, config
        self.inner_frames = crop_frames
        self.captions = pairs.captions
        if config.shuffle_captions:  # the control: as many pairs, none of them meant
            order = np.random.default_rng([config.seed, 1]).permutation(len(pairs))
            self.captions = tuple(pairs.captions[i] for i in order)
        words = {text: i for i, text in enumerate(dict.fromkeys(map(_words, self.captions)))}
        self.text_of = [words[_words(text)] for text in self.captions]
        self.pairs_of_clip: list[list[int]] = [[] for _ in pairs.clips]
        for pair, clip in enumerate(pairs.clip_of):
            self.pairs_of_clip[clip].append(pair)
        self.steps_per_epoch = steps_in_an_epoch(config, len(pairs), len(pairs.clips))

    def order(self, epoch: int) -> Int[np.ndarray, "step batch"]:
        """The pairs of each step of an epoch; what does not fill a batch waits for another epoch.

        "pairs" draws all pairs at random, so that captions of one clip can meet in a batch, as in
        the paper; "clips" draws one caption of each clip.
        """
        rng = np.random.default_rng([self.config.seed, 2, epoch])
        if self.config.sampler == "pairs":
            chosen = rng.permutation(len(self.pairs))
        else:
            caption = [rng.choice(of_clip) for of_clip in self.pairs_of_clip]
            chosen = np.asarray(caption)[rng.permutation(len(caption))]
        used = self.steps_per_epoch * self.config.batch_size
        return chosen[:used].reshape(self.steps_per_epoch, self.config.batch_size)

    def batch(self, epoch: int, rows: Int[np.ndarray, " batch"]) -> Batch:
        """The batch of these pairs, cropped and augmented as this epoch does."""
        drawn = [self._draw(epoch, int(pair)) for pair in rows]
        tokens = self.tokenizer([self.captions[pair] for pair in rows])
        starts = [start for _, start in drawn]
        return Batch(
            log_mel=torch.from_numpy(np.stack([log_mel for log_mel, _ in drawn])),
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            clip_index=torch.tensor([self.pairs.clip_of[pair] for pair in rows]),
            text_index=torch.tensor([self.text_of[pair] for pair in rows]),
            crop_start=None if self.inner_frames is None else torch.tensor(starts),
        )

    def loader(
        self, epoch: int, *, first_step: int = 0, rank: int = 0, world: int = 1
    ) -> DataLoader[Batch]:
        """Batches of an epoch from `first_step` on; this rank's part of each."""
        share = self.config.batch_size // world
        rows = self.order(epoch)[first_step:, rank * share : (rank + 1) * share]
        return DataLoader(
            cast(Dataset[Batch], _Steps(self, epoch, rows)),
            batch_size=None,
            num_workers=self.config.workers,
        )

    def _draw(self, epoch: int, pair: int) -> tuple[Float[np.ndarray, "frames mels"], int]:
        """A random crop, its masks, and where HTSAT's crop begins in it."""
        config = self.config
        rng = np.random.default_rng([config.seed, 3, epoch, pair])
        log_mel = read_log_mel(self.pairs.files[self.pairs.clip_of[pair]])
        crop = random_crop(log_mel, config.crop_frames, rng)
        start = 0
        if self.inner_frames is not None and self.inner_frames < len(crop):
            within = min(config.frames(config.audio.htsat_duration), len(crop))
            start = int(rng.integers(len(crop) - within + 1))
            start += int(rng.integers(max(0, within - self.inner_frames) + 1))
        return spec_augment(crop, config.augment, rng), min(
            start, max(0, len(crop) - (self.inner_frames or 0))
        )


def steps_in_an_epoch(config: TrainConfig, num_pairs: int, num_clips: int) -> int:
    """Whole batches of an epoch.

    Raises:
        TrainingError: There is not one.
    """
    what, units = ("pairs", num_pairs) if config.sampler == "pairs" else ("clips", num_clips)
    if units < config.batch_size:
        raise TrainingError(
            f"The training split has {units} {what}, fewer than batch_size = {config.batch_size}.",
            help=f"Set batch_size to {max(2, units)} or less." if units > 1 else "Add more clips.",
        )
    return units // config.batch_size


def random_crop(
    log_mel: Float[np.ndarray, "all mels"], frames: int, rng: np.random.Generator
) -> Float[np.ndarray, "frames mels"]:
    """`frames` frames from a random place; a shorter clip repeats from its start, then is cut."""
    if len(log_mel) <= frames:
        repeats = -(-frames // len(log_mel))
        return np.tile(log_mel, (repeats, 1))[:frames].astype(np.float32)
    start = int(rng.integers(len(log_mel) - frames + 1))
    return np.asarray(log_mel[start : start + frames], dtype=np.float32)


def spec_augment(
    log_mel: Float[np.ndarray, "frames mels"], config: AugmentConfig, rng: np.random.Generator
) -> Float[np.ndarray, "frames mels"]:
    """Stripes of time and of frequency, at random places, set to their bands' means.

    Source: Park et al. 2019, with PANNs' widths.  PANNs sets stripes to zero behind its batch
        norm of the bands,
    which is the mean of the data; here it is the mean of the clip, and the encoder stays as it is.
    """
    mean = log_mel.mean(0)  # (mels,)
    masked = log_mel.copy()
    frames, mels = log_mel.shape
    for _ in range(config.time_masks):
        width = int(rng.integers(min(config.time_width, frames) + 1))
        start = int(rng.integers(frames - width + 1))
        masked[start : start + width] = mean
    for _ in range(config.frequency_masks):
        width = int(rng.integers(min(config.frequency_width, mels) + 1))
        start = int(rng.integers(mels - width + 1))
        masked[:, start : start + width] = mean[start : start + width]
    return masked


def windows(
    log_mel: Float[np.ndarray, "all mels"], frames: int
) -> list[Float[np.ndarray, "frames mels"]]:
    """The windows that validation hears: side by side, the last aligned with the end."""
    if len(log_mel) <= frames:
        return [random_crop(log_mel, frames, np.random.default_rng(0))]
    starts = [*range(0, len(log_mel) - frames, frames), len(log_mel) - frames]
    return [np.asarray(log_mel[start : start + frames], dtype=np.float32) for start in starts]


class _Steps:
    """What a DataLoader takes: step -> batch."""

    def __init__(self, data: TrainingData, epoch: int, rows: Int[np.ndarray, "step batch"]) -> None:
        self.data, self.epoch, self.rows = data, epoch, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, step: int) -> Batch:
        return self.data.batch(self.epoch, self.rows[step])


def _words(text: str) -> str:
    return " ".join(text.casefold().split())
