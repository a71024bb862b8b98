"""Trained weights, averaged -> the model folder inside the package.

    python experiments/compact/assemble.py --fit runs/compact/tuned --crops runs/compact/crops \
        --packed runs/compact/packed --ingredients runs/compact/ingredients \
        --out src/wavtext/model/compact

The card's numbers come from report.py, which measures the folder afterwards and writes them into
card.md.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from quantise import CALIBRATION, quantise, training_windows
from split import training_counts
from text_bank import embed_plainly, load_minilm, model_of, weights_of
from torch import nn

import wavtext
from wavtext.audio.windows import WindowConfig
from wavtext.library.relevance import background_captions
from wavtext.model import runtime
from wavtext.model.folder import AudioGraphConfig, ModelConfig, TextGraphConfig
from wavtext.training.clap import Clap
from wavtext.training.compact import FRONT_END
from wavtext.training.export import write_model_folder


class AudioGraph(nn.Module):
    """log_mel (1, frames, 72) -> (1, dim)."""

    def __init__(self, model: Clap) -> None:
        super().__init__()
        self.model = model

    def forward(self, log_mel):
        return self.model.embed_audio(log_mel)


class TextGraph(nn.Module):
    """input_ids (1, tokens) -> (1, dim); one text at a time needs no mask.

    A share of what general captions have in common is taken away: it points to sounds that fit
    every query a little (docs/log.md, 2026-11-29).
    """

    def __init__(self, model: Clap, common: torch.Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("common", common)

    def forward(self, input_ids):
        return self.model.embed_text(input_ids) - self.common


def common_part(model: Clap, bert: nn.Module, tokenizer) -> torch.Tensor:
    """The mean embedding of the captions that relevance is calibrated against: (1, dim)."""
    captions = list(background_captions())
    return embed_plainly(model, bert, tokenizer, captions).mean(0, keepdim=True)


def average(
    states: list[dict[str, torch.Tensor]], shares: list[float] | None = None
) -> dict[str, torch.Tensor]:
    """The mean of runs that began at the same weights (Wortsman et al. 2022, model soups)."""
    shares = shares or [1 / len(states)] * len(states)
    if len(shares) != len(states) or abs(sum(shares) - 1) > 1e-6:
        raise SystemExit("--share: one for each run, 1 together.")
    return {
        name: sum(
            share * state[name].double() for share, state in zip(shares, states, strict=True)
        ).to(first.dtype)
        for name, first in states[0].items()
    }


def model_from(bert: nn.Module, runs: list[Path], shares: list[float] | None = None) -> Clap:
    """The compact model with the mean of runs' weights."""
    return model_of(bert, average([weights_of(run) for run in runs], shares))


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `load_run` reads."""
    parser.add_argument("--fit", type=Path, nargs="+", required=True, help="runs to average")
    parser.add_argument("--share", type=float, nargs="+", help="of each in the average")
    for name in ("packed", "ingredients"):
        parser.add_argument(f"--{name}", type=Path, required=True)


def load_run(arguments: argparse.Namespace) -> tuple[Clap, nn.Module, Any]:
    """The mean of the runs that were named, MiniLM inside it, and its tokenizer."""
    tokenizer, bert = load_minilm(arguments.ingredients)
    model = model_from(bert, arguments.fit, arguments.share)
    return model.eval(), bert, tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    run_arguments(parser)
    parser.add_argument("--centre", type=float, default=0.1, help="share of captions' common part")
    parser.add_argument("--earlier", type=Path, help="see report.py")
    parser.add_argument("--keep-float", type=Path, help="where to keep the audio graph in float32")
    for name in ("crops", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    model, bert, tokenizer = load_run(arguments)
    common = arguments.centre * common_part(model, bert, tokenizer)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    clips = json.loads((arguments.crops / "clips.json").read_text())
    heard = training_counts(clips, arguments.earlier)
    config = ModelConfig(
        name="compact",
        dim=384,
        license="Apache-2.0 AND CC-BY-4.0",
        description="The embedded default: aiSFX's convolutions and an attention layer, MiniLM, one space.",
        restore_clipping=True,
        log_mel=FRONT_END,
        windows=WindowConfig(duration=5.0, hop=5.0, min_duration=1.25),
        audio=AudioGraphConfig(precision="f32"),  # of what is not in 8 bits
        text=TextGraphConfig(),
        provenance={
            "script": "experiments/compact",
            "commit": commit,
            "clips": heard["clips"],
            "sources": len(heard["sources"]),
            "licences": dict(heard["licences"]),
        },
    )
    write_model_folder(
        arguments.out,
        config,
        audio=AudioGraph(model),
        audio_frames=216,
        audio_storage="f32",
        text=TextGraph(model, common),
        text_storage="int8",
        tokenizer=(arguments.ingredients / "tokenizer.json").read_text(),
        card=(arguments.out / "card.md").read_text()
        if (arguments.out / "card.md").exists()
        else "",
    )
    windows = training_windows(arguments.packed, CALIBRATION + 100)
    if arguments.keep_float:
        shutil.copyfile(arguments.out / "audio.onnx", arguments.keep_float)
    quantise(arguments.out / "audio.onnx", windows[:CALIBRATION])
    total = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(arguments.out, f"{total / 1e6:.1f} MB")
    found = wavtext.load_model(arguments.out)
    left, captions = windows[CALIBRATION:], list(background_captions())
    with torch.no_grad():
        sounds = model.embed_audio(torch.from_numpy(left))
        texts = embed_plainly(model, bert, tokenizer, captions) - common
    audio = runtime.Graph(arguments.out / "audio.onnx", "f32").run(list(left))
    print(f"least cosine to torch, audio: {least_cosine(audio, sounds):.5f}")
    print(f"least cosine to torch, text: {least_cosine(found.embed_text(captions), texts):.5f}")


def least_cosine(some: np.ndarray, others: torch.Tensor) -> float:
    """Row by row; 8 bits cost a little."""
    return float(F.cosine_similarity(torch.from_numpy(some), others).min())


if __name__ == "__main__":
    main()
