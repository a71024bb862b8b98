"""How far our networks are from the originals' code, on random weights in the published layouts.

    python benchmarks/parity.py --reference ../shared/reference
    pip download --no-deps msclap==1.3.4 laion-clap==1.1.7 && unzip ... , then
    python benchmarks/parity.py --msclap msclap-1.3.4/msclap --laion laion_clap-1.1.7/laion_clap

The originals' own classes are imported from the unpacked wheels, without their dependencies on
audio and vision libraries; their text encoders are small and random, their audio encoders have the
published sizes.  Printed: the largest difference, relative to the largest value.
"""

import argparse
import importlib
import json
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from networks import randomise_statistics
from torch import Tensor, nn

from wavtext.training.published import load_published
from wavtext.training.run import environment

STUBS = (
    "torchvision", "torchvision.ops", "torchvision.ops.misc", "torchvision.transforms", "timm",
    "wget", "h5py", "ftfy", "webdataset", "torchaudio", "torchaudio.functional", "progressbar",
)  # fmt: skip
IDS = torch.randint(5, 900, (3, 20), generator=torch.Generator().manual_seed(2))


def show(what: str, ours: Tensor, theirs: Tensor) -> None:
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    print(f"{what:42s} {error:.1e}", flush=True)


def load(kind: str, content: dict[str, Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        torch.save(content, path)
        return load_published(kind, path)


def references(folder: Path) -> None:
    from safetensors.torch import load_file

    for name, kind, inside, outside in (
        ("cnn14_panns_32k_tiny", "panns-cnn14", "out.logmel", "out.embedding"),
        ("cnn14_msclap_44k_tiny", "panns-cnn14", "out.logmel", "out.embedding"),
        ("htsat_msclap_32k_tiny", "htsat", "out.logmel_1.5s", "out.latent_output_1.5s"),
        ("htsat_msclap_44k_tiny", "htsat", "out.logmel_1.5s", "out.latent_output_1.5s"),
        ("htsat_msclap_44k_long_tiny", "htsat", "out.logmel_10.0s", "out.latent_output_10.0s"),
    ):
        values = load_file(folder / f"{name}.safetensors")
        state = {key[3:]: value for key, value in values.items() if key.startswith("sd.")}
        show(
            f"reference {name}", load(kind, {"model": state})(values[inside][:, 0]), values[outside]
        )


def msclap_models(folder: Path) -> Iterator[tuple[str, Any]]:
    """The peer's own CLAP of each year, random weights, a small text encoder."""
    from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

    pretend("msclap", folder)
    theirs = importlib.import_module("msclap.models.clap")
    texts = {
        "bert": BertModel(
            BertConfig(
                num_hidden_layers=2, hidden_size=128, num_attention_heads=2, intermediate_size=256
            )
        ),
        "gpt2": GPT2Model(GPT2Config(n_layer=2, n_embd=128, n_head=2)),
    }
    for year, audio, text, f_max, width in (
        ("2022", "Cnn14", "bert", 14_000, 2048),
        ("2023", "HTSAT", "gpt2", 8_000, 768),
    ):
        theirs.AutoModel = types.SimpleNamespace(from_pretrained=texts.__getitem__)
        model: Any = theirs.CLAP(
            audioenc_name=audio, sample_rate=44_100, window_size=1024, hop_size=320, mel_bins=64,
            fmin=50, fmax=f_max, classes_num=527, out_emb=width, text_model=text,
            transformer_embed_dim=128, d_proj=1024,
        )  # fmt: skip
        yield year, randomise_statistics(model, seed=3)


def msclap(folder: Path) -> None:
    for year, model in msclap_models(folder):
        ours = load(f"msclap-{year}", {"model": model.state_dict()})
        wave = torch.randn(2, 44_100 * {"2022": 5, "2023": 7}[year]) * 0.1
        base = model.audio_encoder.base if year == "2022" else model.audio_encoder.base.htsat
        log_mel = base.logmel_extractor(base.spectrogram_extractor(wave))[:, 0]
        show(
            f"msclap {year}, audio",
            ours.audio_projection(ours.audio(log_mel)),
            model.audio_encoder(wave)[0],
        )
        tokens = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
        show(
            f"msclap {year}, text",
            ours.text_projection(ours.text(IDS)),
            model.caption_encoder(tokens),
        )


def laion_models(folder: Path) -> Iterator[tuple[bool, Any]]:
    """The peer's own CLAP, unfused and fused, random weights, a small text encoder."""
    from transformers import RobertaConfig, RobertaModel

    pretend("laion_clap", folder)
    pretend("laion_clap.clap_module", folder / "clap_module")
    for name in STUBS:
        sys.modules.setdefault(name, Anything(name))
    sys.modules["laion_clap.clap_module.timm_model"] = Anything("timm_model")
    theirs = importlib.import_module("laion_clap.clap_module.model")
    small = RobertaConfig(
        num_hidden_layers=2, hidden_size=128, num_attention_heads=2, intermediate_size=256,
        max_position_embeddings=80, type_vocab_size=1, layer_norm_eps=1e-5,
    )  # fmt: skip
    theirs.RobertaModel = types.SimpleNamespace(from_pretrained=lambda _: RobertaModel(small))
    for fusion in (False, True):
        config = json.loads((folder / "clap_module/model_configs/HTSAT-tiny.json").read_text())
        config["text_cfg"]["model_type"] = "roberta"
        model: Any = theirs.CLAP(
            **config, enable_fusion=fusion, fusion_type="aff_2d" if fusion else "None"
        )
        model.text_projection = nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 512))
        yield fusion, randomise_statistics(model, seed=3)


def laion(folder: Path) -> None:
    for fusion, model in laion_models(folder):
        state = {f"module.{key}": value for key, value in model.state_dict().items()}
        ours = load("laion-clap", {"state_dict": state})
        wave = torch.randn(2, 480_000) * 0.1
        log_mel = model.audio_branch.logmel_extractor(
            model.audio_branch.spectrogram_extractor(wave)
        )
        given: dict[str, Tensor] = {"waveform": wave}
        if fusion:
            given |= {"mel_fusion": log_mel.repeat(1, 4, 1, 1), "longer": torch.zeros(2, 1).bool()}
        heard = model.audio_projection(model.encode_audio(given, device="cpu")["embedding"])
        kind = "fused" if fusion else "unfused"
        show(f"laion-clap {kind}, audio", ours.audio_projection(ours.audio(log_mel[:, 0])), heard)
        tokens = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
        show(f"laion-clap {kind}, text", ours.embed_text(IDS), model.get_text_embedding(tokens))


class Anything(types.ModuleType):
    """A module that has every name: what the original imports and does not use here."""

    def __getattr__(self, name: str) -> type:
        return type(name, (), {})


def pretend(name: str, folder: Path) -> None:
    """A package whose __init__ is not run."""
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--msclap", type=Path)
    parser.add_argument("--laion", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, commit {environment()['git_commit'][:8]}")
    for check, folder in (
        (references, arguments.reference),
        (msclap, arguments.msclap),
        (laion, arguments.laion),
    ):
        if folder:
            check(folder)


if __name__ == "__main__":
    main()
