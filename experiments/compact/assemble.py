"""Trained fit.pt files, averaged -> the model folder inside the package.

    python experiments/compact/assemble.py --fit runs/compact/tuned --crops runs/compact/crops \
        --ingredients runs/compact/ingredients --out src/wavtext/model/compact

The card's numbers come from report.py, which measures the folder afterwards and writes them into
card.md.
"""

import argparse
import json
import subprocess
from collections import Counter
from pathlib import Path

import torch
from split import split_of
from text_bank import load_minilm
from torch import nn

from wavtext.audio.windows import WindowConfig
from wavtext.model.folder import AudioGraphConfig, ModelConfig, TextGraphConfig
from wavtext.training.compact import FRONT_END, CompactAudioEncoder, CompactClap, SentenceEncoder
from wavtext.training.export import write_model_folder


class AudioGraph(nn.Module):
    """log_mel (1, frames, 72) -> (1, dim)."""

    def __init__(self, model: CompactClap) -> None:
        super().__init__()
        self.model = model

    def forward(self, log_mel):
        return self.model.embed_audio(log_mel)


class TextGraph(nn.Module):
    """input_ids (1, tokens) -> (1, dim); one text at a time needs no mask."""

    def __init__(self, model: CompactClap) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        states = self.model.text.bert(input_ids=input_ids).last_hidden_state
        return self.model.text_projection(states.mean(1))


def average(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of runs that began at the same weights (Wortsman et al. 2022, model soups)."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(first.dtype)
        for name, first in states[0].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=Path, nargs="+", required=True, help="runs to average")
    for name in ("crops", "ingredients", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    _tokenizer, bert = load_minilm(arguments.ingredients)
    state = average([torch.load(run / "fit.pt", weights_only=True) for run in arguments.fit])
    audio = CompactAudioEncoder(attention=any(".attention.qkv" in name for name in state))
    model = CompactClap(audio, SentenceEncoder(bert))
    model.load_state_dict(state)
    model.eval()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    clips = json.loads((arguments.crops / "clips.json").read_text())
    clips = [clip for clip in clips if split_of(clip) == "train"]
    config = ModelConfig(
        name="compact",
        dim=384,
        license="Apache-2.0 AND CC-BY-4.0",
        description="The embedded default: aiSFX's convolutions and an attention layer, MiniLM, one space.",
        log_mel=FRONT_END,
        windows=WindowConfig(duration=5.0, hop=5.0, min_duration=1.25),
        audio=AudioGraphConfig(),
        text=TextGraphConfig(),
        provenance={
            "script": "experiments/compact",
            "commit": commit,
            "clips": len(clips),
            "sources": len({clip["source"] for clip in clips}),
            "licences": dict(Counter(clip["license"] for clip in clips).most_common()),
        },
    )
    write_model_folder(
        arguments.out,
        config,
        audio=AudioGraph(model),
        audio_frames=216,
        audio_storage="f16",
        text=TextGraph(model),
        text_storage="int8",
        tokenizer=(arguments.ingredients / "tokenizer.json").read_text(),
        card=(arguments.out / "card.md").read_text()
        if (arguments.out / "card.md").exists()
        else "",
    )
    total = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(arguments.out, f"{total / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
