"""A transformers CLAP folder, evaluated without its randomness."""

import json

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from wavtext.audio.waveform import Waveform
from wavtext.cli.evaluate import evaluate, open_encoder
from wavtext.corpora.manifest import Clip, write_manifest
from wavtext.errors import EmptyAudioError, ModelError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny CLAP of seeded weights with a word-level tokenizer, as save_pretrained writes it."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        ClapConfig,
        ClapFeatureExtractor,
        ClapModel,
        ClapProcessor,
        PreTrainedTokenizerFast,
    )

    path = tmp_path_factory.mktemp("hf") / "tiny-clap"
    words = ["<s>", "<pad>", "</s>", "<unk>", "dog", "rain", "a"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        unk_token="<unk>", model_max_length=20,
    )  # fmt: skip
    small = {"hidden_size": 32, "projection_dim": 16}
    config = ClapConfig(
        text_config={
            **small, "vocab_size": 7, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 40, "pad_token_id": 1,
        },
        audio_config={
            **small, "patch_embeds_hidden_size": 8, "depths": [1, 1, 1, 1], "num_mel_bins": 64,
            "num_attention_heads": [1, 2, 2, 2], "hidden_size": 64, "enable_fusion": False,
        },
        projection_dim=16,
    )  # fmt: skip
    torch.manual_seed(0)
    ClapModel(config).save_pretrained(path)
    extractor = ClapFeatureExtractor(truncation="rand_trunc", padding="repeatpad")
    ClapProcessor(extractor, fast).save_pretrained(path)
    return path


def sound(duration, seed=0):
    generator = np.random.default_rng(seed)
    return Waveform(0.1 * generator.standard_normal(round(48_000 * duration)), 48_000)


def test_embeddings_have_length_one_and_repeat(folder):
    model = open_encoder(str(folder))
    text = model.embed_text(["a dog", "rain"])
    audio = model.embed_audio([sound(1.0), sound(25.0, 1)])
    assert text.shape == audio.shape == (2, 16)
    for rows in (text, audio):
        assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(
        audio, open_encoder(str(folder)).embed_audio([sound(1.0), sound(25.0, 1)])
    )


def test_an_embedding_does_not_depend_on_the_batch(folder):
    model = open_encoder(str(folder))
    together = model.embed_audio([sound(1.0), sound(3.0, 1), sound(12.0, 2)])
    assert np.array_equal(together[2], model.embed_audio([sound(12.0, 2)])[0])
    assert model.embed_text(["rain", "a dog"])[0] == pytest.approx(
        model.embed_text(["rain"])[0], abs=1e-5
    )


def test_identity_follows_the_weights(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    assert open_encoder(str(copy)).identity == open_encoder(str(folder)).identity
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert open_encoder(str(copy)).identity != open_encoder(str(folder)).identity


def test_silence_pickles_and_other_models_are_refused(folder, tmp_path):
    with pytest.raises(EmptyAudioError, match="silence"):
        open_encoder(str(folder)).embed_audio([Waveform(np.zeros(4800), 48_000)])
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="of a CLAP"):
        open_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "clap"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(ModelError, match="pickle"):
        open_encoder(str(tmp_path))


def test_a_transformers_folder_is_scored_by_the_same_command(folder, tmp_path):
    clips = []
    for number in range(4):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, sound(0.5, seed=number).samples, 48_000)
        clips.append(Clip(f"{number}", path, (("a dog", "rain", "a", "dog")[number],)))
    write_manifest(tmp_path / "four.jsonl", clips)
    arguments = [folder, tmp_path / "four.jsonl", "--out", tmp_path / "report", "--no-plots"]
    arguments += ["--cache", tmp_path / "cache.sqlite", "--resamples", 20]
    result = CliRunner().invoke(evaluate, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    model = json.loads((tmp_path / "report" / "report.json").read_text())["models"][0]
    assert (model["name"], model["identity"]) == ("tiny-clap", open_encoder(str(folder)).identity)
    assert model["text_to_audio"]["metrics"]["R@5"]["estimate"] == 1
