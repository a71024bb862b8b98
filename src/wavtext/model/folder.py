"""A model folder: what is in it, how it is read, and what makes it this model and no other.

    compact/
    ├── model.toml       front end, windows, dimensions, licence, provenance (this file's
    ModelConfig) ├── audio.onnx       log_mel (1, frames, mels) in dB -> embedding (1, dim)
    ├── text.onnx        input_ids (1, tokens) -> embedding (1, dim)
    ├── tokenizer.json   text -> token ids
    └── card.md          data, licences, numbers, limits

A folder that was exported by training may also hold weights.safetensors, to go on training from.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from wavtext.audio.log_mel import LogMelConfig
from wavtext.audio.windows import WindowConfig
from wavtext.config import load_config, to_dict
from wavtext.errors import ConfigError, ModelError

FORMAT = 1
CONFIG_FILE = "model.toml"
PROBE = "a dog barking in the rain"  # what TextGraphConfig.probe is of
PROBE_LENGTH = 16
Precision = Literal["auto", "bf16", "f32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioGraphConfig:
    """The audio encoder's graph."""

    graph: str = "audio.onnx"  # log_mel (1, frames, mels) in dB -> (1, dim)
    precision: Precision = "auto"  # auto: bf16 where the CPU has the instructions, else f32


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGraphConfig:
    """The text encoder's graph and how text becomes its tokens."""

    graph: str = "text.onnx"  # input_ids (1, tokens) -> (1, dim)
    tokenizer: str = "tokenizer.json"  # of Hugging Face tokenizers
    max_tokens: int = 77  # longer texts are cut, as in the paper's peers
    prefix: str = ""  # put before each text
    suffix: str = ""  # put after each text
    precision: Precision = "f32"  # as the audio graph's
    probe: tuple[float, ...] = ()  # how "a dog barking in the rain" is embedded, its first numbers

    def __post_init__(self) -> None:
        if self.max_tokens < 3:
            raise ConfigError(f"'max_tokens' is {self.max_tokens}; it must be 3 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """All of model.toml."""

    format: int = FORMAT  # of the folder; newer ones are refused
    name: str  # what results and cards call it
    dim: int  # of an embedding
    logit_scale: float = 20.0  # turns cosines into the shares of `Model.classify`
    license: str = ""  # of the weights, an SPDX expression, or "unclear"
    description: str = ""  # one line
    restore_clipping: bool = False  # rebuild clipped peaks (wavtext.audio.clipping) before all else
    log_mel: LogMelConfig
    windows: WindowConfig
    audio: AudioGraphConfig | None = None
    text: TextGraphConfig | None = None
    provenance: dict[str, Any] = field(default_factory=dict[str, Any])  # where it came from

    def __post_init__(self) -> None:
        if self.format > FORMAT:
            raise ConfigError(
                f"model format {self.format}; this wavtext reads formats up to {FORMAT}.",
                help="Update wavtext: pip install -U wavtext",
            )
        if self.audio is None and self.text is None:
            raise ConfigError("a model needs an [audio] table, a [text] table, or both.")
        if self.dim < 1:
            raise ConfigError(f"'dim' is {self.dim}; it must be 1 or more.")
        probe = self.text.probe if self.text else ()
        if len(probe) > self.dim or (probe and not any(probe)):
            raise ConfigError("'probe' must be the first numbers of an embedding.")


def read_folder(folder: Path) -> ModelConfig:
    """The config of a model folder whose files are all there.

    Raises:
        ModelError: It is not a model folder, or a file that its config names is missing.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(
            f"{folder}: no model folder (it has no {CONFIG_FILE}).",
            help="Name 'compact' or a folder that `wavtext train` or `wavtext convert` wrote.",
        )
    try:
        config = load_config(ModelConfig, folder / CONFIG_FILE)
    except ConfigError as error:
        raise ModelError(str(error)) from error
    for name in files_of(config):
        if Path(name).name != name:
            raise ModelError(f"{folder / CONFIG_FILE}: {name!r} must be a plain file name.")
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder}: {name} is missing.", help="Copy the whole model folder again."
            )
    return config


def files_of(config: ModelConfig) -> list[str]:
    """The names of the files that make the model: its graphs and its tokenizer."""
    names = [config.audio.graph] if config.audio else []
    return names + ([config.text.graph, config.text.tokenizer] if config.text else [])


def identity(folder: Path, config: ModelConfig) -> str:
    """Hex digest of the graphs, the tokenizer and the settings that change an embedding.

    The name, the licence, the card and the provenance are no part of it; neither are the logit
    scale and the text's probe.
    """
    settings = to_dict(config)
    if config.text:
        del settings["text"]["probe"]
    if not config.restore_clipping:  # so that models from before this setting stay who they are
        del settings["restore_clipping"]
    for name in ("name", "logit_scale", "license", "description", "provenance"):
        settings.pop(name, None)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in files_of(config):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
