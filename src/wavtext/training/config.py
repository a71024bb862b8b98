"""What a training run is made of.  TOML <-> TrainConfig.

The defaults are the recipe of Deshmukh et al. 2022, section 4.2; where the paper is silent or
unclear the docstring says what is read, and where a setting switches it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wavtext.audio.log_mel import LogMelConfig
from wavtext.errors import ConfigError
from wavtext.training.htsat import HtsatConfig
from wavtext.training.loss import Duplicates
from wavtext.training.projection import ProjectionKind
from wavtext.training.text import Pooling

AudioEncoderName = Literal["cnn14", "htsat", "cnn14+htsat", "compact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioConfig:
    """The audio tower.

    The paper truncates clips "to 20 secs for CNN14 and 10 secs for HTSAT": read as one random
    crop of `duration`, and HTSAT's `htsat_duration` at random inside it, of which it hears at
    most its 1024 frames.  Clips that are shorter repeat, then are cut.
    """

    encoder: AudioEncoderName = "cnn14+htsat"  # "cnn14+htsat" concatenates both, eq. 5
    duration: float = 20.0  # s, of the random crop in training and of the windows at validation
    htsat_duration: float = 10.0  # s, of HTSAT's crop inside it
    cnn14_channels: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)  # of each block
    cnn14_dim: int = 2048  # of the representation
    cnn14_block_dropout: float = 0.2  # after each block, as PANNs trains
    cnn14_head_dropout: float = 0.5  # around its last layer, the same
    htsat: HtsatConfig = field(default_factory=HtsatConfig)
    cnn14_weights: Path | None = None  # a PANNs checkpoint; its widths replace the ones above
    htsat_weights: Path | None = None  # an HTSAT checkpoint, the same
    compact_weights: Path | None = None  # aiSFX's, from experiments/compact/ingredients.py
    compact_inner: tuple[int, ...] | None = None  # channels inside its four blocks; None: aiSFX's
    compact_resnet: bool = False  # whether the residual network stands beside them
    compact_frozen_blocks: int = 3  # of its four, where its weights, or `start`, are given
    frozen: bool = False  # train the projection alone

    def __post_init__(self) -> None:
        _above_zero("duration", self.duration)
        _above_zero("htsat_duration", self.htsat_duration)
        if not 0 <= self.compact_frozen_blocks <= 4:
            raise ConfigError(
                f"'compact_frozen_blocks' is {self.compact_frozen_blocks}; there are 0 to 4."
            )
        if self.compact_inner is not None:
            if len(self.compact_inner) != 4 or min(self.compact_inner) < 1:
                raise ConfigError("'compact_inner' needs four numbers above 0, one for each block.")
            if self.compact_weights:
                raise ConfigError(
                    "'compact_weights' are aiSFX's, of full width: leave 'compact_inner' out."
                )
        if len(self.cnn14_channels) < 2:
            raise ConfigError("'cnn14_channels' needs at least two blocks.")
        if self.encoder == "cnn14+htsat" and self.htsat_duration > self.duration:
            raise ConfigError(
                f"'htsat_duration' is {self.htsat_duration} s; it must lie within 'duration', "
                f"{self.duration} s."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """The text tower: a Hugging Face encoder by name or folder, or a small untrained one."""

    name: str = "roberta-base"  # a name, a folder, or "random": untrained, see below
    pooling: Pooling = "cls"  # which tokens make the representation
    max_tokens: int = 77  # longer captions are cut
    tokenizer: Path | None = (
        None  # tokenizer.json; None: the encoder's, or one learnt from the captions
    )
    frozen: bool = False  # train its projection alone
    layers: int = 2  # this and the next three only for "random"
    dim: int = 128  # of its hidden states
    heads: int = 4  # attention heads of a layer
    vocab_size: int = 4000  # tokens learnt from the captions

    def __post_init__(self) -> None:
        if self.max_tokens < 3:
            raise ConfigError("'max_tokens' must be 3 or more: two special tokens and a word.")
        if self.dim % self.heads:
            raise ConfigError(f"'dim', {self.dim}, must be a multiple of 'heads', {self.heads}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionConfig:
    """Into the common space; the paper's text says linear, its released code does "residual"."""

    kind: ProjectionKind = (
        "residual"  # two layers and a sum; "linear": one; "normed": the compact model's
    )
    dim: int = 1024  # of the common space
    dropout: float | None = None  # None: 0.5 in "residual", 0.1 in "normed"; "linear" has none

    def __post_init__(self) -> None:
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigError(f"'dropout' is {self.dropout}; it must be 0 or more and below 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Symmetric cross-entropy, equations 3 and 4.

    The paper initialises "τ to 0.007"; the released code starts at 1/0.07.  A temperature below
    0.01 starts beyond the clamp at 100 and lifts it.
    """

    temperature: float = 0.07  # where the learnt one starts; the logits are divided by it
    duplicates: Duplicates = (
        "negatives"  # sibling captions: as printed; "positives" is better (docs/training.md)
    )

    def __post_init__(self) -> None:
        _above_zero("temperature", self.temperature)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """Adam 1e-4, × 0.1 every 20 epochs, no warm-up."""

    learning_rate: float = 1e-4  # of all that has no rate of its own
    audio_learning_rate: float | None = None  # of the audio encoder; None: `learning_rate`
    text_learning_rate: float | None = None  # of the text encoder; None: `learning_rate`
    schedule: Literal["step", "cosine", "constant"] = "step"  # how the rate falls
    step_epochs: int = 20  # of "step"
    step_factor: float = 0.1  # the rate times this, each `step_epochs`
    warmup_steps: int = 0  # in which the rate rises from 0
    weight_decay: float = 0.0  # above 0: AdamW
    beta1: float = 0.9  # of Adam
    beta2: float = 0.999  # of Adam
    max_gradient_norm: float | None = None  # longer gradients are scaled down; None: never

    def __post_init__(self) -> None:
        _above_zero("learning_rate", self.learning_rate)
        if self.step_epochs < 1:
            raise ConfigError("'step_epochs' must be 1 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """SpecAugment as PANNs trains with it: stripes of a log-mel set to its bands' means."""

    time_masks: int = 2  # stripes of a clip
    time_width: int = 64  # frames, at most
    frequency_masks: int = 2  # stripes of a clip
    frequency_width: int = 8  # bands, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A whole run."""

    seed: int = 0  # of weights, order, crops and masks
    start: Path | None = (
        None  # weights to begin with: a run, a model folder or a checkpoint of the same widths
    )
    epochs: int = 45  # passes over the training pairs
    batch_size: int = 128  # pairs, over all processes together
    chunk_size: int | None = None  # pairs embedded at once: gradient caching; None: all
    sampler: Literal["pairs", "clips"] = (
        "pairs"  # "clips": one caption of each clip an epoch, so siblings never meet
    )
    precision: Literal["fp32", "bf16"] = "fp32"  # "bf16": autocast, weights stay float32
    gradient_checkpointing: bool = False  # encoders compute twice and keep less
    freeze_batch_norm: bool = False  # keep its running statistics as they are
    sync_batch_norm: bool = False  # over processes; CUDA only
    compile: bool = False  # torch.compile the audio encoder
    workers: int = 0  # processes that load batches
    patience: int | None = (
        None  # epochs without a better validation mAP@10 before the run stops; None: never
    )
    validation_clips: int | None = None  # at most this many; None: all
    max_unreadable: int = 0  # clips that may fail to decode and are left out
    shuffle_captions: bool = (
        False  # pair sounds with others' captions: the control of an experiment
    )
    front_end: LogMelConfig = field(default_factory=LogMelConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    text: TextConfig = field(default_factory=TextConfig)
    projection: ProjectionConfig = field(default_factory=ProjectionConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ConfigError(
                f"'batch_size' is {self.batch_size}; a contrastive batch needs two pairs or more."
            )
        for name in ("epochs", "chunk_size", "patience", "validation_clips"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"'{name}' is {value}; it must be 1 or more.")
        uses_htsat = "htsat" in self.audio.encoder
        if uses_htsat and self.audio.htsat.n_mels != self.front_end.n_mels:
            raise ConfigError(
                f"'audio.htsat.n_mels' is {self.audio.htsat.n_mels} and 'front_end.n_mels' "
                f"{self.front_end.n_mels}; they must agree."
            )

    @property
    def crop_frames(self) -> int:
        """Frames of `audio.duration`."""
        return self.frames(self.audio.duration)

    def frames(self, duration: float) -> int:
        """Frames of the log-mel of `duration` seconds."""
        return round(duration * self.front_end.sample_rate) // self.front_end.hop_length + 1


def _above_zero(name: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"'{name}' is {value}; it must be above 0.")
