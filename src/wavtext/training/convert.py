"""Published checkpoints and trained runs -> model folders that search without torch.

    wavtext convert panns-cnn14 Cnn14_mAP=0.431.pth --out panns
    wavtext convert hf:laion/clap-htsat-unfused --out laion

A converted folder is checked before it is written: the graphs must give what the module gives.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor, nn

from wavtext.audio.log_mel import LogMelConfig
from wavtext.audio.windows import WindowConfig
from wavtext.config import load_config
from wavtext.errors import ModelError, TrainingError
from wavtext.model.folder import AudioGraphConfig, ModelConfig, Precision, TextGraphConfig
from wavtext.model.model import Model
from wavtext.training.build import build
from wavtext.training.clap import Clap
from wavtext.training.config import TrainConfig
from wavtext.training.export import write_model_folder
from wavtext.training.published import load_published
from wavtext.training.recipes import (
    RECIPES,
    Recipe,
    hugging_face_recipe,
    own_front_end,
    whole_windows,
)
from wavtext.training.run import load_checkpoint
from wavtext.training.text import load_tokenizer

MAX_ERROR = 1e-4  # of a graph in float32 against its module, relative to the largest value


def convert(
    kind: str,
    source: Path,
    out: Path,
    *,
    name: str | None = None,
    tokenizer: Path | None = None,
    precision: Precision = "auto",
    provenance: dict[str, Any] | None = None,
    num_text_heads: int | None = None,
) -> Path:
    """A published checkpoint as a model folder.

    Args:
        kind: As `load_published`.
        source: The file; for "hf-clap" the folder.
        out: The model folder to write.
        name: The model's name; by default the folder's.
        tokenizer: tokenizer.json, or a folder that has one; by default the one in the Hugging Face
            cache that the kind uses, or in `source`.
        precision: Of the audio graph; "f32" where parity matters more than speed.
        provenance: Where it came from, for model.toml.
        num_text_heads: As `load_published`.

    Raises:
        ModelError: The checkpoint is not of that layout.
        TrainingError: The exported graphs do not give what the checkpoint gives.
    """
    source = Path(source)
    module = load_published(kind, source, num_text_heads=num_text_heads)
    if source.is_dir():
        recipe = hugging_face_recipe(source)
    else:
        recipe = RECIPES[kind]
        recipe = replace(recipe, log_mel=own_front_end(source, recipe.log_mel))
    encoded = _find_tokenizer(recipe, source, tokenizer) if recipe.text else None
    return write_folder(
        out,
        module,
        name=name or Path(out).name,
        log_mel=recipe.log_mel,
        windows=recipe.windows,
        text=recipe.text,
        tokenizer=encoded,
        precision=precision,
        license=recipe.license,
        description=f"{kind} weights of {recipe.source}, converted by wavtext.",
        provenance={"kind": kind, "source": recipe.source, **(provenance or {})},
    )


def export_run(run: Path, out: Path, *, precision: Precision = "auto") -> Path:
    """The best checkpoint of a training run as a model folder.

    Raises:
        TrainingError: The folder holds no run with a checkpoint.
    """
    config = load_config(TrainConfig, run / "config.toml")
    checkpoint = load_checkpoint(run / "best.pt")
    tokenizer = load_tokenizer(run / "tokenizer.json")
    module = build(config, tokenizer=tokenizer).model
    module.load_state_dict(checkpoint["model"])
    facts = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    metrics = {name: round(value, 6) for name, value in checkpoint["metrics"].items()}
    return write_folder(
        out,
        module,
        name=Path(out).name if Path(out).name != "model" else run.resolve().name,
        log_mel=config.front_end,
        windows=whole_windows(config.audio.duration),
        text=TextGraphConfig(max_tokens=config.text.max_tokens),
        tokenizer=tokenizer,
        precision=precision,
        restore_clipping=config.audio.encoder == "compact",  # as the model in the package
        license="as the data it was trained on allows",
        description=f"Trained by wavtext: {config.audio.encoder} and {config.text.name}.",
        provenance={
            "epoch": checkpoint["epoch"],
            "validation": metrics,
            **{key: facts[key] for key in ("wavtext", "git_commit", "manifest_sha256")},
        },
    )


def write_folder(
    out: Path,
    module: nn.Module,
    *,
    name: str,
    log_mel: LogMelConfig,
    windows: WindowConfig,
    text: TextGraphConfig | None,
    tokenizer: Tokenizer | None,
    precision: Precision = "auto",
    restore_clipping: bool = False,
    license: str = "",
    description: str = "",
    provenance: dict[str, Any] | None = None,
    card: str = "",
) -> Path:
    """An encoder or a `Clap` as a model folder, its graphs checked against it."""
    module = module.eval()
    is_clap = isinstance(module, Clap)
    audio = AudioGraph(module)
    frames = round(windows.duration * log_mel.sample_rate) // log_mel.hop_length + 1
    example = _example_sound(frames, log_mel.n_mels)
    with torch.no_grad():
        expected = audio(example)
    config = ModelConfig(
        name=name,
        dim=expected.shape[1],
        logit_scale=float(module.logit_scale.detach().exp()) if is_clap else 20.0,
        license=license,
        description=description,
        restore_clipping=restore_clipping,
        log_mel=log_mel,
        windows=windows,
        audio=AudioGraphConfig(precision=precision),
        text=text if is_clap else None,
        provenance=provenance or {},
    )
    heads = cast(nn.Module, TextGraph(module)) if is_clap else None
    folder = write_model_folder(
        out,
        config,
        audio=audio,
        audio_frames=frames,
        text=heads,
        tokenizer=tokenizer.to_str() if tokenizer else "",
        card=card or _card(config),
        weights={key: value.contiguous().clone() for key, value in module.state_dict().items()},
    )
    check_folder(folder, module)
    return folder


def check_folder(folder: Path, module: nn.Module) -> None:
    """Compare a folder's graphs, in float32, with the module they came from.

    Raises:
        TrainingError: They differ by more than 0.01 % of the largest value.
        ModelError: A known sentence is not embedded as the module does.
    """
    from wavtext.model.runtime import Graph

    model = Model(folder)
    model.check()
    config = model.config
    frames = round(config.windows.duration * config.log_mel.sample_rate)
    example = _example_sound(frames // config.log_mel.hop_length + 1, config.log_mel.n_mels)
    pairs: list[tuple[str, np.ndarray, np.ndarray]] = []
    with torch.no_grad():
        if config.audio:
            ours = Graph(folder / config.audio.graph, "f32").run([example[0].numpy()])
            pairs.append(("audio", ours, AudioGraph(module)(example).numpy()))
        if config.text:
            ids = torch.tensor([[3, 4, 5, 6, 7]])
            graph = Graph(folder / config.text.graph, "f32", dynamic=True)
            pairs.append(("text", graph.run([ids[0].numpy()]), TextGraph(module)(ids).numpy()))
    for what, ours, theirs in pairs:
        error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        if not error <= MAX_ERROR:
            raise TrainingError(
                f"{folder}: the {what} graph differs from its module by {error:.2g} of its "
                f"largest value."
            )


class AudioGraph(nn.Module):
    """What audio.onnx computes: log_mel (1, frames, mels) -> (1, dim) of length 1."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, log_mel: Float[Tensor, "1 frames mels"]) -> Float[Tensor, "1 dim"]:
        """An embedding, or for an encoder without a text side its representation of length 1."""
        if hasattr(self.module, "embed_audio"):
            return cast(Any, self.module).embed_audio(log_mel)
        return F.normalize(self.module(log_mel), dim=-1)


class TextGraph(nn.Module):
    """What text.onnx computes: input_ids (1, tokens), none of them padding -> (1, dim)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, input_ids: Int[Tensor, "1 tokens"]) -> Float[Tensor, "1 dim"]:
        """The caption's embedding."""
        return cast(Any, self.module).embed_text(input_ids, torch.ones_like(input_ids))


def _find_tokenizer(recipe: Recipe, source: Path, given: Path | None) -> Tokenizer:
    if given:
        return load_tokenizer(given)
    from transformers import AutoTokenizer

    from wavtext.training.hub import hub_cache

    where = str(source) if source.is_dir() else recipe.tokenizer
    try:
        if (source / "tokenizer.json").is_file():
            return load_tokenizer(source)
        return AutoTokenizer.from_pretrained(where, cache_dir=hub_cache()).backend_tokenizer
    except Exception as error:  # transformers' readers raise what they like
        raise ModelError(
            f"The tokenizer of {where} cannot be loaded.",
            help="Name a tokenizer.json, or a folder that has one, with --tokenizer.",
        ) from error


def _example_sound(frames: int, mels: int) -> Float[Tensor, "1 frames mels"]:
    """A log-mel with the level and the spread of a real one."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, frames, mels, generator=generator) * 15.0 - 40.0


def _card(config: ModelConfig) -> str:
    """What is known of a converted model, and what is not."""
    settings = config.log_mel
    lines = [
        f"# {config.name}",
        "",
        config.description,
        "",
        f"* Licence of the weights: {config.license or 'unclear'}.",
        f"* Hears {settings.sample_rate} Hz in windows of {config.windows.duration:g} s; "
        f"{settings.n_mels} bands of {settings.f_min:g} to {settings.f_max:g} Hz.",
        f"* Embeddings of {config.dim} dimensions"
        + (", sounds and sentences." if config.text else ", sounds only."),
        "* Not evaluated by wavtext; what its authors published holds for their preprocessing.",
    ]
    return "\n".join(lines) + "\n"
