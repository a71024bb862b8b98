import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tokenizers import Tokenizer

from wavtext import Waveform, load_model
from wavtext.errors import DecodeError, EmptyAudioError, ManifestError, ModelError
from wavtext.model import runtime
from wavtext.model.folder import PROBE, ModelConfig, TextGraphConfig
from wavtext.model.model import Model
from wavtext.training.export import write_model_folder


@pytest.fixture
def tiny(tiny_folder: Path) -> Model:
    return load_model(tiny_folder)


def test_embeddings_have_length_one_and_the_model_s_dimension(tiny: Model, tone: np.ndarray):
    sound = Waveform(tone, 22_050)
    for embeddings in (tiny.embed_audio([sound, sound]), tiny.embed_text(["rain", "a dog"])):
        assert embeddings.dtype == np.float32
        assert embeddings.shape == (2, tiny.dim)
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_graphs_compute_what_torch_computes(tiny: Model, tiny_modules, tone: np.ndarray):
    audio, text = tiny_modules
    log_mel = next(tiny.cut(Waveform(tone, 22_050)))[2]
    with torch.no_grad():
        expected = torch.nn.functional.normalize(audio(torch.from_numpy(log_mel)[None]))[0]
        said = torch.nn.functional.normalize(text(torch.tensor([[2, 4, 5, 6, 3]])))[0]
    assert float(expected @ torch.from_numpy(tiny.embed_log_mels([log_mel])[0])) > 0.9999
    assert float(said @ torch.from_numpy(tiny.embed_text(["A dog barking"])[0])) > 0.9999


def test_an_embedding_is_the_same_whatever_the_batch_and_the_order(tiny: Model, tone: np.ndarray):
    sounds = [
        Waveform(tone[i * 9000 : i * 9000 + n], 22_050)
        for i, n in enumerate((9000, 60_000, 30_000))
    ]
    together = tiny.embed_audio(sounds)
    alone = np.concatenate([tiny.embed_audio([sound]) for sound in sounds])
    backwards = tiny.embed_audio(sounds[::-1])[::-1]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, backwards)
    texts = ["a dog", "rain on the roof", "bell"]
    np.testing.assert_array_equal(
        tiny.embed_text(texts), np.concatenate([tiny.embed_text([text]) for text in texts])
    )


def test_an_embedding_is_the_same_whatever_the_number_of_threads(
    tiny_folder: Path, tone: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    sound = Waveform(tone, 22_050)
    monkeypatch.setattr(runtime, "num_cores", lambda: 1)
    one = load_model(tiny_folder).embed_audio([sound])
    monkeypatch.setattr(runtime, "num_cores", lambda: 3)
    three = load_model(tiny_folder).embed_audio([sound])
    np.testing.assert_allclose(one, three, atol=1e-6)


def test_texts_leave_cores_free_where_that_is_asked(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WAVTEXT_THREADS", "2")
    texts = ["a dog", "rain on a roof", "a door"]
    model, modest = Model(tiny_folder), Model(tiny_folder)
    modest.text_threads = 1
    np.testing.assert_array_equal(model.embed_text(texts), modest.embed_text(texts))
    streams = [
        each._text_graph._compile(()).get_property("NUM_STREAMS") for each in (model, modest)
    ]
    assert streams == [2, 1]


def test_windows_lie_in_the_clip_and_their_mean_is_the_clip_s_embedding(
    tiny: Model, tone: np.ndarray
):
    windows = tiny.embed_windows(Waveform(tone, 22_050))
    assert [(round(w.start, 2), round(w.end, 2)) for w in windows] == [(0, 2.5), (2, 4.5), (3.5, 6)]
    mean = np.mean([w.embedding for w in windows], axis=0)
    np.testing.assert_allclose(
        tiny.embed_audio([Waveform(tone, 22_050)])[0], mean / np.linalg.norm(mean), atol=1e-6
    )


def test_a_file_and_its_waveform_have_one_embedding(tiny: Model, tone: np.ndarray, tmp_path: Path):
    soundfile.write(tmp_path / "tone.wav", tone, 22_050, subtype="FLOAT")
    np.testing.assert_allclose(
        tiny.embed_audio([tmp_path / "tone.wav"]),
        tiny.embed_audio([Waveform(tone, 22_050)]),
        atol=1e-5,
    )


def test_a_model_that_restores_clipping_hears_a_clipped_sound_nearly_as_the_sound(
    tiny_folder: Path, tmp_path: Path
):
    folder = shutil.copytree(tiny_folder, tmp_path / "restoring")
    config = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(config.replace("clipping = false", "clipping = true"))
    time = np.arange(3 * 22_050) / 22_050
    partials = sum(np.sin(2 * np.pi * f * time + f) for f in (220, 503, 1171))
    true = (1.5 / np.abs(partials).max() * partials).astype(np.float32)
    loud = np.clip(true, -1, 1)
    soundfile.write(tmp_path / "loud.wav", np.stack([loud, loud], axis=1), 22_050, subtype="FLOAT")
    moved = {}
    for model in (load_model(tiny_folder), load_model(folder)):
        of_true, of_loud = (
            np.concatenate([mel for _, _, mel in model.cut(Waveform(each, 22_050))])
            for each in (true, loud)
        )
        heard = of_true > of_true.max() - 40  # dB
        moved[model.config.restore_clipping] = np.abs(of_true - of_loud)[heard].mean()
        np.testing.assert_allclose(
            model.embed_audio([tmp_path / "loud.wav"]),
            model.embed_audio([Waveform(loud, 22_050)]),
            atol=1e-5,
        )
    assert moved[True] < 0.5 * moved[False]


def test_describe_ranks_captions_and_classify_shares_add_up(
    tiny: Model, tone: np.ndarray, tmp_path: Path
):
    (tmp_path / "captions.txt").write_text("a dog barking\nrain\n\nbell\nrain\n")
    sound = Waveform(tone, 22_050)
    found = tiny.describe(sound, tmp_path / "captions.txt")
    assert sorted(each.caption for each in found) == ["a dog barking", "bell", "rain"]
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    expected = tiny.embed_text([found[0].caption])[0] @ tiny.embed_audio([sound])[0]
    assert found[0].score == pytest.approx(float(expected), abs=1e-6)
    shares = tiny.classify(sound, ["rain", "bell"])
    assert sum(share.score for share in shares) == pytest.approx(1)


def test_captions_come_from_manifests_too(tiny: Model, tone: np.ndarray, tmp_path: Path):
    (tmp_path / "m.jsonl").write_text('{"captions": ["rain", "bell"]}\n{"caption": "a dog"}\n')
    found = tiny.describe(Waveform(tone, 22_050), tmp_path / "m.jsonl", limit=9)
    assert {each.caption for each in found} == {"rain", "bell", "a dog"}


def test_long_lists_of_captions_are_embedded_once(
    tiny: Model, tone: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WAVTEXT_CACHE", str(tmp_path))
    many = [f"a dog {'far ' * (i % 7)}away {i}" for i in range(80)]
    first = tiny.describe(Waveform(tone, 22_050), many)
    cached = next(tmp_path.glob("texts2-*.npy"))
    monkeypatch.setattr(Model, "embed_text", lambda *_: pytest.fail("embedded again"))
    assert tiny.describe(Waveform(tone, 22_050), many) == first
    monkeypatch.undo()
    monkeypatch.setenv("WAVTEXT_CACHE", str(tmp_path))
    cached.write_bytes(b"damaged")
    assert tiny.describe(Waveform(tone, 22_050), many) == first


def test_identity_changes_with_what_changes_embeddings_and_with_nothing_else(
    tiny_folder: Path, tmp_path: Path
):
    def copy(name: str, file: str, change: tuple[str, str] | None, extra: bytes = b"") -> Model:
        folder = shutil.copytree(tiny_folder, tmp_path / name)
        if change:
            text = (folder / file).read_text()
            assert change[0] in text
            (folder / file).write_text(text.replace(*change))
        else:
            (folder / file).write_bytes((folder / file).read_bytes() + extra)
        return load_model(folder)

    own = load_model(tiny_folder).identity
    assert copy("card", "card.md", None, b"more").identity == own
    assert copy("name", "model.toml", ('name = "tiny"', 'name = "other"')).identity == own
    restored = ("restore_clipping = false", "restore_clipping = true")
    assert copy("restored", "model.toml", restored).identity != own
    assert copy("before", "model.toml", (restored[0], "")).identity == own  # an older folder
    assert copy("hop", "model.toml", ("hop = 2.0", "hop = 1.0")).identity != own
    assert copy("audio", "audio.onnx", None, b"\x00").identity != own
    assert copy("tokens", "tokenizer.json", None, b" ").identity != own


def test_bad_input_has_a_clear_error(tiny: Model, tmp_path: Path):
    with pytest.raises(ModelError, match="no model named 'nope'"):
        load_model("nope")
    with pytest.raises(ModelError, match="no model folder"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match="text 2 of 2 is empty"):
        tiny.embed_text(["rain", "  "])
    with pytest.raises(ModelError, match="takes a list of texts"):
        tiny.embed_text("rain")
    with pytest.raises(ModelError, match="takes a list of sounds"):
        tiny.embed_audio("rain.wav")  # pyright: ignore
    with pytest.raises(EmptyAudioError, match="silent"):
        tiny.embed_audio([Waveform(np.zeros(1000, np.float32), 22_050)])
    with pytest.raises(DecodeError, match="nowhere"):
        tiny.embed_audio([tmp_path / "nowhere.wav"])
    with pytest.raises(ManifestError, match="holds no caption"):
        tiny.describe(Waveform(np.ones(1000, np.float32), 22_050), ["  "])


def test_nothing_in_gives_nothing_out(tiny: Model):
    assert tiny.embed_text([]).shape == (0, tiny.dim)
    assert tiny.embed_audio([]).shape == (0, tiny.dim)


def test_a_damaged_folder_says_what_is_wrong(tiny_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_folder, tmp_path / "no graph")
    (folder / "audio.onnx").unlink()
    with pytest.raises(ModelError, match=r"audio\.onnx is missing"):
        load_model(folder)
    folder = shutil.copytree(tiny_folder, tmp_path / "broken")
    (folder / "audio.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match="cannot be run"):
        load_model(folder).embed_log_mels([np.zeros((108, 72), np.float32)])
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="not a tokenizer"):
        load_model(folder).embed_text(["rain"])
    (folder / "model.toml").write_text((folder / "model.toml").read_text() + "\n[typo]\nx = 1\n")
    with pytest.raises(ModelError, match="no setting 'typo'"):
        load_model(folder)
    folder = shutil.copytree(tiny_folder, tmp_path / "escape")
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace('"audio.onnx"', '"../tiny/audio.onnx"'))
    with pytest.raises(ModelError, match="plain file name"):
        load_model(folder)
    folder = shutil.copytree(tiny_folder, tmp_path / "future")
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace("format = 1", "format = 99"))
    with pytest.raises(ModelError, match="Update wavtext"):
        load_model(folder)


def test_a_model_is_used_without_torch(tiny_folder: Path):
    code = (
        "import sys, wavtext, wavtext.cli; model = wavtext.load_model(sys.argv[1]);"
        "model.embed_text(['rain']); assert 'torch' not in sys.modules"
    )
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", code, str(tiny_folder)], check=True, env=environment)


def test_a_text_that_is_not_unicode_is_refused(tiny: Model):
    with pytest.raises(ModelError, match=r"text 2 of 2 is not Unicode"):
        tiny.embed_text(["a dog", "a d\udce4g"])


def with_probe(folder: Path, copy: Path, numbers: list[float] | None) -> Model:
    shutil.copytree(folder, copy)
    lines = (copy / "model.toml").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("probe = "))
    end = next(i for i in range(at, len(lines)) if lines[i].endswith("]"))
    lines[at : end + 1] = [] if numbers is None else [f"probe = {numbers}"]
    (copy / "model.toml").write_text("\n".join(lines) + "\n")
    return load_model(copy)


def test_a_folder_knows_how_a_known_sentence_is_embedded(tiny: Model):
    assert tiny.config.text is not None
    probe = np.array(tiny.config.text.probe)
    np.testing.assert_allclose(tiny.embed_text([PROBE])[0, : len(probe)], probe, atol=1e-4)


def test_texts_are_refused_where_the_known_sentence_comes_out_otherwise(
    tiny: Model, tiny_folder: Path, tmp_path: Path
):
    assert tiny.config.text is not None
    other = [round(-x, 4) for x in tiny.config.text.probe]
    model = with_probe(tiny_folder, tmp_path / "other", other)
    for _ in range(2):  # not only the first time
        with pytest.raises(ModelError, match="a known sentence is not embedded") as caught:
            model.embed_text(["rain"])
        assert "AVX2" in str(caught.value.help)
    assert model.identity == tiny.identity


def test_a_folder_without_a_probe_is_taken_at_its_word(
    tiny: Model, tiny_folder: Path, tmp_path: Path
):
    older = with_probe(tiny_folder, tmp_path / "older", None)
    np.testing.assert_array_equal(older.embed_text(["rain"]), tiny.embed_text(["rain"]))
    assert older.identity == tiny.identity


def test_the_probe_is_tokenised_as_texts_are(
    tiny_modules, tiny_config: ModelConfig, tiny_folder: Path, tmp_path: Path
):
    audio, text = tiny_modules
    tokenizer = Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))
    tokenizer.enable_padding(length=20)  # as some published tokenizers have it
    folder = write_model_folder(
        tmp_path / "padded",
        replace(tiny_config, text=TextGraphConfig(max_tokens=4)),  # cuts the probe
        audio=audio,
        audio_frames=216,
        text=text,
        tokenizer=tokenizer.to_str(),
    )
    assert load_model(folder).embed_text(["rain"]).shape == (1, 8)


@pytest.mark.parametrize("numbers", [[0.0] * 8, [0.1] * 9])
def test_a_probe_that_can_be_none_is_refused(
    numbers: list[float], tiny_folder: Path, tmp_path: Path
):
    with pytest.raises(ModelError, match="probe"):
        with_probe(tiny_folder, tmp_path / "bad", numbers)
