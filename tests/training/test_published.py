"""Published checkpoints load as the networks they are, checked against independent outputs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from wavtext.training.published import load_published


def reference(shared: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A reference file's state dict, and its inputs and outputs."""
    values = load_file(shared / "reference" / f"{name}.safetensors")
    state = {key[3:]: value for key, value in values.items() if key.startswith("sd.")}
    return state, {key: value for key, value in values.items() if not key.startswith("sd.")}


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("name", ["cnn14_panns_32k_tiny", "cnn14_msclap_44k_tiny"])
def test_cnn14_gives_the_representation_of_panns_inference_and_msclap(
    shared: Path, tmp_path: Path, name: str
):
    state, io = reference(shared, name)
    torch.save({"model": state, "iteration": 600000}, tmp_path / "cnn14.pth")
    model = load_published("panns-cnn14", tmp_path / "cnn14.pth")
    with torch.no_grad():
        ours = model(io["out.logmel"].squeeze(1))
    assert relative_error(ours, io["out.embedding"]) < 1e-4


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("htsat_msclap_32k_tiny", "1.5s"),
        ("htsat_msclap_44k_tiny", "1.5s"),
        ("htsat_msclap_44k_long_tiny", "10.0s"),
    ],
)
def test_htsat_gives_the_representation_of_msclap(
    shared: Path, tmp_path: Path, name: str, suffix: str
):
    state, io = reference(shared, name)
    wrapped = {f"sed_model.{key}": value for key, value in state.items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "htsat.ckpt")
    model = load_published("htsat", tmp_path / "htsat.ckpt")
    with torch.no_grad():
        ours = model(io[f"out.logmel_{suffix}"].squeeze(1))
    assert relative_error(ours, io[f"out.latent_output_{suffix}"]) < 1e-4


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and batch norm statistics, so that no wrong order or layout can pass."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            spread = torch.randn(value.shape, generator=generator) * 0.2
            value.copy_(1.0 + spread.abs() if name.endswith(("var", "norm.weight")) else spread)
    return module.eval()


def msclap_2023(
    state: dict[str, Tensor], text: nn.Module, dims: tuple[int, int]
) -> dict[str, Tensor]:
    """Small weights in the layout of CLAP_weights_2023.pth."""
    generator = torch.Generator().manual_seed(1)
    tensors = {f"audio_encoder.base.htsat.{key}": value for key, value in state.items()}
    tensors |= {f"caption_encoder.base.{key}": value for key, value in text.state_dict().items()}
    tensors["caption_encoder.base.h.0.attn.bias"] = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    for tower, dim in zip(("audio_encoder", "caption_encoder"), dims, strict=True):
        tensors[f"{tower}.projection.linear1.weight"] = torch.randn(16, dim, generator=generator)
        tensors[f"{tower}.projection.linear2.weight"] = torch.randn(16, 16, generator=generator)
        tensors[f"{tower}.projection.layer_norm.weight"] = torch.rand(16, generator=generator)
        tensors[f"{tower}.projection.layer_norm.bias"] = torch.randn(16, generator=generator)
    return tensors | {"logit_scale": torch.tensor(2.6592600)}


def tiny_gpt2(*, heads: int = 2) -> nn.Module:
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        vocab_size=60,
        n_embd=128,
        n_head=heads,
        n_layer=2,
        n_positions=32,
        bos_token_id=1,
        eos_token_id=1,
    )
    return randomise(GPT2Model(config))


def test_msclap_2023_pools_the_last_token_and_with_compat_miscounts_exclamation_marks(
    shared: Path, tmp_path: Path
):
    state, io = reference(shared, "htsat_msclap_44k_tiny")
    gpt2 = tiny_gpt2()
    file = tmp_path / "CLAP_weights_2023.pth"
    torch.save({"model": msclap_2023(state, gpt2, (128, 128))}, file)
    model = load_published("msclap-2023", file)
    ids = torch.tensor([[5, 9, 7, 1], [4, 1, 0, 0], [6, 0, 8, 1]])  # '!' is 0: padding, and a word
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]])
    with torch.no_grad():
        states = gpt2(input_ids=ids, attention_mask=mask).last_hidden_state
        ours = model.text(ids, mask)
        theirs = load_published("msclap-2023", file, compat=True).text(ids, mask)
        embedding = model.embed_audio(io["out.logmel_1.5s"].squeeze(1))
        heard = io["out.latent_output_1.5s"] @ model.audio_projection.linear1.weight.T
        projected = model.audio_projection.layer_norm(
            heard + nn.functional.gelu(heard) @ model.audio_projection.linear2.weight.T
        )
    torch.testing.assert_close(ours, states[[0, 1, 2], [3, 1, 3]])
    torch.testing.assert_close(theirs, states[[0, 1, 2], [3, 1, 2]])
    assert relative_error(embedding, nn.functional.normalize(projected, dim=-1)) < 1e-4
    assert model.logit_scale.item() == pytest.approx(2.65926)


def test_msclap_2022_and_laion_texts_equal_transformers(shared: Path, tmp_path: Path):
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

    widths = {
        "hidden_size": 128,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "vocab_size": 60,
    }
    bert = randomise(BertModel(BertConfig(**widths, intermediate_size=96)))
    roberta = randomise(
        RobertaModel(
            RobertaConfig(
                **widths, intermediate_size=96, type_vocab_size=1, layer_norm_eps=1e-5,
                max_position_embeddings=40,
            )
        )
    )  # fmt: skip
    cnn14, cnn14_io = reference(shared, "cnn14_msclap_44k_tiny")
    htsat, htsat_io = reference(shared, "htsat_msclap_32k_tiny")
    old = msclap_2023({}, bert, (48, 128))
    old |= {f"audio_encoder.base.{key}": value for key, value in cnn14.items()}
    old.pop("caption_encoder.base.h.0.attn.bias")
    torch.save({"model": old}, tmp_path / "2022.pth")
    laion = {f"audio_branch.{key}": value for key, value in htsat.items()}
    laion |= {f"text_branch.{key}": value for key, value in roberta.state_dict().items()}
    laion["text_branch.embeddings.position_ids"] = torch.arange(40)[None]
    laion["logit_scale_a"] = laion["logit_scale_t"] = torch.tensor(4.0)
    for name, dim in (("audio", 128), ("text", 128)):
        layers = nn.Sequential(nn.Linear(dim, 24), nn.ReLU(), nn.Linear(24, 24))
        laion |= {f"{name}_projection.{key}": value for key, value in layers.state_dict().items()}
        laion[f"{name}_transform.sequential.0.weight"] = torch.zeros(24, 24)
    state = {f"module.{key}": value for key, value in laion.items()}
    torch.save({"epoch": 9, "name": "laion", "state_dict": state}, tmp_path / "laion.pt")

    ids, mask = (
        torch.tensor([[0, 7, 9, 2], [0, 8, 2, 1]]),
        torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
    )
    with torch.no_grad():
        for kind, file, theirs in (
            ("msclap-2022", "2022.pth", bert(ids, mask).last_hidden_state[:, 0]),
            ("laion-clap", "laion.pt", roberta(ids, mask).pooler_output),
        ):
            model = load_published(kind, tmp_path / file)
            assert relative_error(model.text(ids, mask), theirs) < 1e-4
            assert model.embed_text(ids, mask).norm(dim=1) == pytest.approx(1.0)
            assert "transform" not in "".join(model.state_dict())
        heard = load_published("laion-clap", tmp_path / "laion.pt").audio(
            htsat_io["out.logmel_1.5s"].squeeze(1)
        )
        heard_2022 = load_published("msclap-2022", tmp_path / "2022.pth").audio(
            cnn14_io["out.logmel"].squeeze(1)
        )
    assert relative_error(heard, htsat_io["out.latent_output_1.5s"]) < 1e-4
    assert relative_error(heard_2022, cnn14_io["out.embedding"]) < 1e-4


def tiny_clap(*, fusion: bool = False) -> nn.Module:
    """A random ClapModel of transformers."""
    from transformers import ClapConfig, ClapModel

    audio = {
        "patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [2, 2],
        "window_size": 4,
        "spec_size": 64, "num_mel_bins": 32, "hidden_size": 16, "enable_fusion": fusion,
        "fusion_type": "aff_2d" if fusion else None, "num_hidden_layers": 2,
    }  # fmt: skip
    text = {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 60,
        "intermediate_size": 64, "max_position_embeddings": 40,
    }  # fmt: skip
    config = ClapConfig(audio_config=audio, text_config=text, projection_dim=24)
    return randomise(ClapModel(config))


@pytest.mark.parametrize("fusion", [False, True])
def test_a_hugging_face_folder_gives_transformers_embeddings(tmp_path: Path, fusion: bool):
    theirs = tiny_clap(fusion=fusion)
    theirs.save_pretrained(tmp_path)
    ours = load_published("hf-clap", tmp_path)
    log_mel = torch.randn(3, 100, 32) * 20 - 40
    ids = torch.tensor([[0, 7, 9, 2], [0, 8, 2, 1]])
    mask = (ids != 1).long()
    longer = torch.zeros(3, 1, dtype=torch.bool) if fusion else None
    channels = 4 if fusion else 1
    with torch.no_grad():
        audio = theirs.get_audio_features(
            log_mel[:, None].repeat(1, channels, 1, 1), is_longer=longer
        )
        text = theirs.get_text_features(ids, mask)
        assert relative_error(ours.embed_audio(log_mel), audio.pooler_output) < 1e-4
        assert relative_error(ours.embed_text(ids, mask), text.pooler_output) < 1e-4


def test_missing_and_unknown_names_are_listed(shared: Path, tmp_path: Path):
    from wavtext.errors import ModelError

    state, _ = reference(shared, "cnn14_panns_32k_tiny")
    state.pop("conv_block3.bn1.running_var")
    state["conv_block7.conv1.weight"] = torch.zeros(2)
    torch.save({"model": state}, tmp_path / "cnn14.pth")
    with pytest.raises(ModelError, match=r"conv_block3\.bn1\.running_var.*conv_block7"):
        load_published("panns-cnn14", tmp_path / "cnn14.pth")
    with pytest.raises(ModelError, match=r"not an HTSAT checkpoint.*patch_embed\.proj\.weight"):
        load_published("htsat", tmp_path / "cnn14.pth")
    theirs = tiny_clap()
    theirs.save_pretrained(tmp_path / "hf", state_dict={
        key: value for key, value in theirs.state_dict().items() if "batch_norm.weight" not in key
    })  # fmt: skip
    with pytest.raises(ModelError, match="batch_norm"):
        load_published("hf-clap", tmp_path / "hf")


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(shared: Path, tmp_path: Path):
    from wavtext.errors import ModelError

    state, _ = reference(shared, "cnn14_panns_32k_tiny")
    for zipped in (True, False):
        torch.save(
            {"model": state, "sampler": Evil(tmp_path / "ran")},
            tmp_path / "evil.pth",
            _use_new_zipfile_serialization=zipped,
        )
        with pytest.raises(ModelError, match="code"):
            load_published("panns-cnn14", tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_samplers_and_lightning_callbacks_beside_the_weights_do_no_harm(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import sys
    import types

    state, _ = reference(shared, "htsat_msclap_32k_tiny")
    names = (
        "pytorch_lightning",
        "pytorch_lightning.callbacks",
        "pytorch_lightning.callbacks.checkpoint",
    )
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    callback = type("ModelCheckpoint", (), {"__module__": names[-1]})
    sys.modules[names[-1]].ModelCheckpoint = callback  # type: ignore[attr-defined]
    content = {
        "state_dict": {f"sed_model.{key}": value for key, value in state.items()},
        "callbacks": {callback: {"best": np.float64(0.47)}},
        "sampler": {"indexes": np.arange(5), "pointer": 2},
    }
    torch.save(content, tmp_path / "htsat.ckpt")
    for name in names:
        monkeypatch.delitem(sys.modules, name)
    assert load_published("htsat", tmp_path / "htsat.ckpt").dim == 128


def test_text_heads_are_64_wide_unless_said_otherwise(shared: Path, tmp_path: Path):
    state, _ = reference(shared, "htsat_msclap_44k_tiny")
    gpt2 = tiny_gpt2(heads=8)
    torch.save({"model": msclap_2023(state, gpt2, (128, 128))}, tmp_path / "m.pth")
    ids = torch.tensor([[5, 9, 7, 1]])
    with torch.no_grad():
        theirs = gpt2(input_ids=ids).last_hidden_state[:, -1]
        ours = load_published("msclap-2023", tmp_path / "m.pth", num_text_heads=8).text(ids)
    torch.testing.assert_close(ours, theirs)
    assert load_published("msclap-2023", tmp_path / "m.pth").text.model.config.n_head == 2
