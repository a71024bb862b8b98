"""The audio tower learns what MobileNet hears moment by moment; crops are changed as it is told."""

from pathlib import Path

import numpy as np
import pytest
import torch

from wavtext.training.compact import CompactAudioEncoder

COMPACT = Path(__file__).parents[2] / "experiments" / "compact"


@pytest.fixture(autouse=True)
def compact_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(COMPACT))


def tiny(seed: int):
    """A follower, and crops of two lengths whose moments depend on what is heard."""
    from follow import WIDTH, Follower

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    crops = {}
    for frames in (54, 108):
        loud = rng.integers(0, 2, 200)
        mel = rng.integers(60, 90, (200, frames, 72)).astype(np.uint8)
        mel[:, :, :20] += (60 * loud)[:, None, None].astype(np.uint8)
        moments = np.repeat(loud[:, None, None], frames // 13, 1) * np.linspace(-1, 1, WIDTH)
        crops[frames] = mel, (moments + 0.1 * rng.standard_normal(moments.shape)).astype("f2")
    return Follower(CompactAudioEncoder((4, 4, 8, 8)), crops), crops


def test_it_learns_to_guess_the_moments():
    from follow import explained, losses
    from learner import Learner

    follower, crops = tiny(0)
    held = list(crops.values())
    before = explained(follower.eval(), held)
    assert before["moments"] == pytest.approx(0.0, abs=0.05)  # the head begins with the mean
    learner = Learner([(1e-2, list(follower.parameters()))], steps=60, warm_up=5, averaged=False)
    follower.train()
    for step in range(60):
        mel, moments = crops[(54, 108)[step % 2]]
        learner.step(sum(losses(follower, mel[:64], moments[:64])))
    after = explained(follower.eval(), held)
    assert after["means"] > 0.8
    assert after["moments"] > 0.6


def test_moments_are_asked_for_at_the_student_s_times():
    from follow import at_times

    rising = torch.arange(8.0)[None, :, None].expand(2, 8, 3)
    assert torch.equal(at_times(rising, 8), rising)
    assert torch.allclose(at_times(rising, 16)[0, 1:-1, 0].diff(), torch.tensor(0.5))


def test_crops_are_mixed_coloured_and_noisy_as_they_say():
    from generate import beside
    from moments import coloured, crop, noise

    rng = np.random.default_rng(0)
    hiss = noise(rng, 22_050)
    assert (hiss**2).mean() == pytest.approx(1.0, rel=1e-3)
    quiet = beside(np.zeros(22_050, np.float32) + hiss, 0.01 * hiss[::-1], 20.0) - hiss
    assert 10 * np.log10((quiet**2).mean()) == pytest.approx(-20.0, abs=0.1)
    tinted = coloured(rng, hiss)
    assert tinted.shape == hiss.shape
    assert not np.allclose(tinted, hiss, atol=0.1)
    sound = (3_000 * hiss[:9_000]).clip(-32_000, 32_000).astype(np.int16)
    for _ in range(20):
        made = crop(rng, lambda: sound, 27_562)
        assert made.shape == (27_562,)
        assert made.dtype == np.float32
        assert 10 ** (-18.1 / 20) < np.abs(made).max() < 1


def test_some_crops_are_clipped_for_the_student_alone():
    from moments import CLIPPED, clipped

    rng = np.random.default_rng(0)
    sound = np.sin(np.arange(22_050) / 9).astype(np.float32) * 0.3
    heard = [clipped(rng, sound) for _ in range(200)]
    driven = [each for each in heard if each is not sound]
    assert len(driven) / 200 == pytest.approx(CLIPPED, abs=0.06)
    for each in driven:
        assert 1 < np.abs(each).max() <= 2  # its peaks are there again
        assert np.corrcoef(each, sound)[0, 1] > 0.97


def test_strange_sounds_fill_a_crop_and_are_like_no_other():
    from moments import crop

    rng = np.random.default_rng(1)
    sound = (20_000 * np.sin(np.arange(9_000) / 5)).astype(np.int16)
    made = [crop(rng, lambda: sound, 27_562, is_strange=True) for _ in range(30)]
    for each in made:
        assert each.shape == (27_562,)
        assert each.dtype == np.float32
        assert np.isfinite(each).all()
        assert 10 ** (-18.1 / 20) < np.abs(each).max() < 1
    pitch = [np.abs(np.fft.rfft(each)).argmax() for each in made]
    assert max(pitch) > 1.5 * np.median(pitch) > 2 * min(pitch)


def test_strange_sounds_are_made_of_what_they_say():
    from strange import RATE, clicks, hum, loudness, paced, shaped

    rng = np.random.default_rng(2)
    for part in (hum, clicks):
        sound = part(rng, RATE)
        assert sound.shape == (RATE,)
        assert (sound**2).mean() == pytest.approx(1.0, rel=1e-3)
    tone = np.sin(2 * np.pi * 1_000 * np.arange(10 * RATE) / RATE)
    heard = paced(rng, (20_000 * tone).astype(np.int16), RATE)
    assert 490 < np.abs(np.fft.rfft(heard)).argmax() < 2_010  # Hz: up to an octave off
    fading = loudness(tone[:RATE] * np.linspace(1, 0, RATE), 500)
    assert fading == pytest.approx(np.linspace(1, 0, RATE), abs=0.1)
    hiss = rng.standard_normal(RATE).astype(np.float32)
    brighter = hiss - 0.95 * np.roll(hiss, 1)
    bright, own = (np.abs(np.fft.rfft(each)) ** 2 for each in (shaped(hiss, brighter), hiss))
    for power, low, top in ((own, 0.4, 0.6), (bright, 0.7, 1.0)):
        assert low < power[RATE // 4 :].sum() / power.sum() < top


def test_two_models_are_compared_on_the_same_families():
    from compare import everyday_of, paired

    values = np.array([[0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])  # by model
    first, second, apart, low, high = paired(
        lambda model, rows: values[model][rows].mean(keepdims=True),
        np.arange(4),
        np.array(["a", "a", "b", "b"]),
    )
    assert (first, second, apart) == (0.5, 1.0, 0.5)
    assert (low, high) == (0.0, 1.0)  # families of two, both drawn twice now and then
    score = np.array([[0.9, 0.1, 0.3], [0.2, 0.8, 0.4], [1.0, 0.95, 1.1]])
    labels = np.array([0, 1, 2])
    found = everyday_of(score, labels, np.array([0, 1]))  # the third class is not asked for
    assert found[0] == found[3] == 1.0
    assert everyday_of(score, labels, np.arange(3))[0] == pytest.approx(1 / 3)
