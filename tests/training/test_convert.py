"""Checkpoints and runs become model folders that give the same embeddings without torch."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from wavtext.audio.log_mel import log_mel
from wavtext.audio.waveform import Waveform
from wavtext.config import load_config, save_config
from wavtext.errors import ModelError
from wavtext.model.folder import ModelConfig
from wavtext.model.hub import cached_folder, folder_for
from wavtext.model.model import load_model
from wavtext.training.config import TrainConfig
from wavtext.training.convert import convert
from wavtext.training.hub import convert_from_hub
from wavtext.training.published import load_published
from wavtext.training.text import train_tokenizer


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face cache in the hub's exact layout, holding a tiny CLAP of random weights."""
    from transformers import ClapConfig, ClapModel

    torch.manual_seed(0)
    audio = {
        "patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [2, 2],
        "window_size": 4, "spec_size": 64, "num_mel_bins": 32, "hidden_size": 16,
        "num_hidden_layers": 2,
    }  # fmt: skip
    text = {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 300,
        "intermediate_size": 64, "max_position_embeddings": 90,
    }  # fmt: skip
    model = ClapModel(ClapConfig(audio_config=audio, text_config=text, projection_dim=24))
    repository = tmp_path_factory.mktemp("hub") / "models--laion--clap-htsat-unfused"
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = repository / "snapshots" / commit
    model.save_pretrained(snapshot)
    settings = {
        "sampling_rate": 16000, "fft_window_size": 512, "hop_length": 250, "feature_size": 32,
        "frequency_min": 50, "frequency_max": 8000, "max_length_s": 1, "truncation": "rand_trunc",
    }  # fmt: skip
    (snapshot / "preprocessor_config.json").write_text(json.dumps(settings))
    train_tokenizer(["a dog barks", "rain on a roof"], vocab_size=300).save(
        str(snapshot / "tokenizer.json")
    )
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return repository.parent


def test_a_model_of_the_hub_is_converted_once_and_found_by_its_name(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name = "hf:laion/clap-htsat-unfused"
    with pytest.raises(ModelError, match="wavtext convert hf:laion/clap-htsat-unfused"):
        load_model(name)
    folder = convert_from_hub(name)
    assert folder == folder_for(name) == cached_folder(name)
    config = load_config(ModelConfig, folder / "model.toml")
    assert config.provenance["revision"] == "0123456789abcdef0123456789abcdef01234567"
    assert config.dim == 24

    model = load_model(name)
    theirs = load_published("hf-clap", next(hub.glob("*/snapshots/*")))
    sound = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    mel = torch.from_numpy(log_mel(sound, config.log_mel))[None]
    ids = torch.tensor([train_tokenizer_of(folder).encode("a dog barks").ids])
    with torch.no_grad():
        heard = theirs.embed_audio(mel)[0].numpy()
        read = theirs.embed_text(ids)[0].numpy()
    assert float(model.embed_audio([Waveform(sound, 16000)])[0] @ heard) > 0.99  # bf16 where it is
    np.testing.assert_allclose(model.embed_text(["a dog barks"])[0], read, atol=1e-5)

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nothing"))
    assert convert_from_hub(name) == folder  # no second fetch
    with pytest.raises(ModelError, match=r"laion/other@main cannot be fetched"):
        convert_from_hub("hf:laion/other")


def train_tokenizer_of(folder: Path):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_an_encoder_becomes_a_folder_without_a_text_side(shared: Path, tmp_path: Path):
    from wavtext.cli.convert import convert as command

    values = load_file(shared / "reference" / "cnn14_panns_32k_tiny.safetensors")
    state = {key[3:]: value for key, value in values.items() if key.startswith("sd.")}
    state["logmel_extractor.melW"] = values["out.mel_fb"]
    torch.save({"model": state}, tmp_path / "cnn14.pth")
    out = tmp_path / "panns"
    arguments = [
        "panns-cnn14",
        str(tmp_path / "cnn14.pth"),
        "--out",
        str(out),
        "--precision",
        "f32",
    ]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.output == f"Model folder: {out}\n"
    model = load_model(out)
    waves = values["in.wave"].numpy().astype(np.float32) / 32768
    mels = [log_mel(wave, model.config.log_mel) for wave in waves]
    theirs = values["out.embedding"].numpy()
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    np.testing.assert_allclose(model.embed_log_mels(mels), theirs, atol=1e-4)
    with pytest.raises(ModelError, match="no text encoder"):
        model.embed_text(["a dog"])


def test_the_front_end_follows_the_mel_bank_in_the_checkpoint(shared: Path, tmp_path: Path):
    from wavtext.training.recipes import RECIPES, own_front_end

    values = load_file(shared / "reference" / "cnn14_msclap_44k_tiny.safetensors")
    recipe = RECIPES["msclap-2022"].log_mel
    torch.save({"model": {"a.logmel_extractor.melW": values["out.mel_fb"]}}, tmp_path / "a.pth")
    assert own_front_end(tmp_path / "a.pth", recipe).f_max == 8000.0
    values = load_file(shared / "reference" / "cnn14_panns_32k_tiny.safetensors")
    torch.save({"model": {"a.logmel_extractor.melW": values["out.mel_fb"]}}, tmp_path / "b.pth")
    found = own_front_end(tmp_path / "b.pth", recipe)
    assert (found.sample_rate, found.bank_sample_rate, found.f_max) == (44100, 32000, 14000.0)
    torch.save({"model": {"a.logmel_extractor.melW": torch.rand(513, 64)}}, tmp_path / "c.pth")
    with pytest.raises(ModelError, match="not one that is known"):
        own_front_end(tmp_path / "c.pth", recipe)


def test_training_from_the_command_line_ends_in_a_model_folder_that_searches(
    eight_sounds: Path, log_mels: Path, tmp_path: Path, tiny_config: Callable[..., TrainConfig]
):
    from wavtext.cli.train import train as command

    save_config(tiny_config(batch_size=32), tmp_path / "tiny.toml")
    arguments = [
        str(tmp_path / "tiny.toml"), "--data", str(eight_sounds), "--out", str(tmp_path / "run"),
        "--cache", str(log_mels), "--device", "cpu",
    ]  # fmt: skip
    dry = CliRunner().invoke(command, [*arguments, "--dry-run"], catch_exceptions=False)
    assert "64 pairs of 8 clips; 8 validation clips" in dry.stdout
    assert not (tmp_path / "run").exists()
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.stdout.splitlines()[-1] == f"Model folder: {tmp_path / 'run' / 'model'}"
    assert "epoch 1/1  step 2/2  loss" in done.stderr
    model = load_model(tmp_path / "run" / "model")
    sound = eight_sounds.parent / "1-0.wav"
    assert model.embed_text(["a low hum"]).shape == model.embed_audio([sound]).shape == (1, 32)


def test_a_folder_that_holds_something_else_is_not_overwritten(shared: Path, tmp_path: Path):
    from wavtext.errors import TrainingError

    values = load_file(shared / "reference" / "cnn14_panns_32k_tiny.safetensors")
    state = {key[3:]: value for key, value in values.items() if key.startswith("sd.")}
    torch.save({"model": state}, tmp_path / "cnn14.pth")
    with pytest.raises(TrainingError, match="is not a model folder"):
        convert("panns-cnn14", tmp_path / "cnn14.pth", tmp_path)


def test_msclap_2023_is_fetched_converted_and_ends_each_text_as_the_original_does(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """From an offline cache in the hub's layout: HTSAT's reference weights, a tiny GPT-2."""
    from transformers import GPT2Config, GPT2Model

    values = load_file(shared / "reference" / "htsat_msclap_44k_tiny.safetensors")
    tokenizer = train_tokenizer(["a dog barks", "rain on a roof"], vocab_size=300)
    end = tokenizer.token_to_id("</s>")
    tokenizer.add_special_tokens(["<|endoftext|>"])
    last = tokenizer.token_to_id("<|endoftext|>")
    assert last not in (None, end)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    torch.manual_seed(0)
    settings = {"n_embd": 128, "n_head": 2, "n_layer": 2, "n_positions": 90}
    gpt2 = GPT2Model(GPT2Config(vocab_size=tokenizer.get_vocab_size(), **settings)).eval()
    tensors = {
        f"audio_encoder.base.htsat.{name[3:]}": value
        for name, value in values.items()
        if name.startswith("sd.")
    }
    tensors |= {f"caption_encoder.base.{name}": each for name, each in gpt2.state_dict().items()}
    for tower in ("audio_encoder", "caption_encoder"):
        tensors[f"{tower}.projection.linear1.weight"] = torch.randn(16, 128)
        tensors[f"{tower}.projection.linear2.weight"] = torch.randn(16, 16)
        tensors[f"{tower}.projection.layer_norm.weight"] = torch.rand(16)
        tensors[f"{tower}.projection.layer_norm.bias"] = torch.randn(16)
    tensors["logit_scale"] = torch.tensor(2.66)
    commit = "f" * 40
    repository = tmp_path / "hub" / "models--microsoft--msclap"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    torch.save({"model": tensors}, snapshot / "CLAP_weights_2023.pth")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    folder = convert_from_hub(
        "msclap-2023",
        tmp_path / "folder",
        tokenizer=tmp_path / "tokenizer.json",
        precision="f32",
    )
    config = load_config(ModelConfig, folder / "model.toml")
    assert config.provenance["revision"] == commit
    assert config.text is not None
    assert config.text.suffix == " <|endoftext|>"
    model, theirs = (
        load_model(folder),
        load_published("msclap-2023", snapshot / "CLAP_weights_2023.pth"),
    )
    ids = torch.tensor([tokenizer.encode("a dog barks <|endoftext|>").ids])
    mel = torch.from_numpy(
        log_mel(
            np.random.default_rng(0).normal(0, 0.1, 7 * 44_100).astype(np.float32), config.log_mel
        )
    )[None]
    with torch.no_grad():
        read, heard = theirs.embed_text(ids)[0].numpy(), theirs.embed_audio(mel)[0].numpy()
    np.testing.assert_allclose(model.embed_text(["a dog barks"])[0], read, atol=1e-4)
    np.testing.assert_allclose(model.embed_log_mels([mel[0].numpy()])[0], heard, atol=1e-4)
