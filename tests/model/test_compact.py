"""The model inside the package, on sounds that tests make: what it must never lose."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wavtext import Model, Waveform, load_model
from wavtext.model.folder import PROBE, PROBE_LENGTH

RATE = 22_050


@pytest.fixture(scope="module")
def compact() -> Model:
    return load_model()


def noise_bursts(rate: float, seconds: float = 4.0) -> Waveform:
    rng = np.random.default_rng(1)
    time = np.arange(int(seconds * RATE)) / RATE
    envelope = np.exp(-((time * rate) % 1) * 12)
    return Waveform((0.3 * envelope * rng.standard_normal(time.size)).astype(np.float32), RATE)


def test_gain_changes_nothing(compact: Model):
    sound = noise_bursts(2.0)
    for gain in (0.25, 4.0):
        louder = Waveform(sound.samples * np.float32(gain), RATE)
        same = compact.embed_audio([sound])[0] @ compact.embed_audio([louder])[0]
        assert same > 0.999


def test_a_lead_in_of_silence_changes_nothing(compact: Model):
    sound = noise_bursts(2.0)
    late = Waveform(np.concatenate([np.zeros(RATE, np.float32), sound.samples]), RATE)
    assert compact.embed_audio([sound])[0] @ compact.embed_audio([late])[0] > 0.999
    assert compact.embed_windows(late)[0].start == pytest.approx(1.0, abs=0.01)


def test_a_batch_of_texts_is_each_text_by_itself(compact: Model):
    texts = ["a dog barking", "rain", "a heavy wooden door is slammed shut in a large empty hall"]
    alone = np.concatenate([compact.embed_text([text]) for text in texts])
    np.testing.assert_allclose(compact.embed_text(texts), alone, atol=1e-6)


def test_paraphrases_are_nearer_than_other_sounds(compact: Model):
    dog, barking, rain = compact.embed_text(["a dog barking", "barks of a puppy", "heavy rain"])
    assert dog @ barking > dog @ rain + 0.2


def test_hiss_is_rather_rain_than_a_flute_and_a_tone_the_reverse(compact: Model):
    rng = np.random.default_rng(0)
    hiss = Waveform((0.1 * rng.standard_normal(4 * RATE)).astype(np.float32), RATE)
    time = np.arange(4 * RATE) / RATE
    tone = sum(np.sin(2 * np.pi * 440 * k * time) / k**2 for k in (1, 2, 3))
    vibrato = Waveform((0.2 * tone).astype(np.float32), RATE)
    assert compact.classify(hiss, ["heavy rain", "a flute"])[0].caption == "heavy rain"
    assert compact.classify(vibrato, ["heavy rain", "a flute"])[0].caption == "a flute"


def test_the_known_sentence_is_embedded_as_torch_did(compact: Model):
    assert compact.config.text is not None
    probe = np.array(compact.config.text.probe)
    found = compact.embed_text([PROBE])[0, : len(probe)]
    cosine = probe @ found / np.linalg.norm(probe) / np.linalg.norm(found)
    assert len(probe) == PROBE_LENGTH
    assert cosine > 0.99  # 8 bits against float


ANOTHER_CPU = """
import sys
import numpy as np
import wavtext
sound = wavtext.Waveform(np.load(sys.argv[1]), 22_050)
np.save(sys.argv[2], wavtext.load_model("compact").embed_audio([sound])[0])
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="limits x86 instructions")
@pytest.mark.parametrize("instructions", ["AVX2", "AVX512_CORE"])
def test_older_cpus_give_the_same_embedding(compact: Model, instructions: str, tmp_path: Path):
    rng = np.random.default_rng(4)
    shape = np.repeat(rng.uniform(0.01, 0.5, 40), 2_756)
    sound = (shape * rng.standard_normal(len(shape))).astype(np.float32)  # 5 s, of many levels
    np.save(tmp_path / "sound.npy", sound)
    arguments = [str(tmp_path / name) for name in ("sound.npy", "embedding.npy")]
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    subprocess.run([sys.executable, "-c", ANOTHER_CPU, *arguments], check=True, env=environment)
    there = np.load(tmp_path / "embedding.npy")
    here = compact.embed_audio([Waveform(sound, RATE)])[0]
    np.testing.assert_allclose(there, here, atol=1e-3)  # a unit vector of 384 dimensions
    assert there @ here > 0.99999
