"""Manifest to batches: cached log-mels, deterministic draws, and what is refused before a run."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavtext.config import load_config, save_config
from wavtext.corpora.manifest import Clip, write_manifest
from wavtext.errors import ConfigError, ManifestError, TrainingError
from wavtext.training.build import build
from wavtext.training.cache import LogMelCache, read_log_mel
from wavtext.training.config import AudioConfig, AugmentConfig, LossConfig, TrainConfig
from wavtext.training.data import (
    TrainingData,
    make_pairs,
    random_crop,
    spec_augment,
    split_clips,
    windows,
)
from wavtext.training.htsat import Htsat, HtsatConfig, evaluation_windows
from wavtext.training.plan import plan
from wavtext.training.prepare import load_pairs, read_splits

MakeConfig = Callable[..., TrainConfig]


def test_log_mels_are_computed_once_and_again_when_the_content_changes(
    eight_sounds: Path, tmp_path: Path, tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
):
    config = tiny_config().front_end
    sound = tmp_path / "sound.wav"
    sound.write_bytes((eight_sounds.parent / "0-0.wav").read_bytes())
    copy = tmp_path / "copy.wav"
    copy.write_bytes(sound.read_bytes())
    cache = LogMelCache(tmp_path / "cache", config)
    ready, failures = cache.prepare([sound, copy])
    assert not failures
    assert ready[sound] == ready[copy]  # by content
    first = np.array(read_log_mel(ready[sound]))
    calls: list[Path] = []
    monkeypatch.setattr(
        "wavtext.training.cache._make", lambda job: calls.append(job[0]) or (*job[:2], "x")
    )
    assert LogMelCache(tmp_path / "cache", config).prepare([sound])[0] == {sound: ready[sound]}
    assert not calls
    soundfile.write(sound, np.ones(8000, np.float32) * 0.1, 8000)
    os.utime(sound, ns=(time.time_ns(), time.time_ns() + 10**9))
    LogMelCache(tmp_path / "cache", config).prepare([sound])
    assert calls == [sound]
    LogMelCache(tmp_path / "cache", replace(config, f_max=3000.0)).prepare([copy])
    assert calls == [sound, copy]
    assert first.shape[1] == 32


@pytest.fixture
def data(eight_sounds: Path, log_mels: Path, tiny_config: MakeConfig) -> TrainingData:
    return make_data(eight_sounds, log_mels, tiny_config(augment=AugmentConfig(time_width=9)))


def make_data(manifest: Path, cache: Path, config: TrainConfig) -> TrainingData:
    training, _ = load_pairs(config, manifest, read_splits(config, manifest), cache)
    built = build(config, training.captions)
    return TrainingData(training, built.tokenizer, config, crop_frames=built.crop_frames)


def test_a_batch_depends_on_seed_epoch_and_step_alone(data: TrainingData):
    whole = list(data.loader(1))
    again = list(data.loader(1, first_step=3))
    assert len(whole) == 8
    assert torch.equal(whole[3].log_mel, again[0].log_mel)
    assert torch.equal(whole[3].input_ids, again[0].input_ids)
    assert not torch.equal(whole[3].log_mel, list(data.loader(2))[3].log_mel)


def test_the_parts_of_two_processes_are_the_batch_of_one(data: TrainingData):
    whole = next(iter(data.loader(0)))
    parts = [next(iter(data.loader(0, rank=rank, world=2))) for rank in (0, 1)]
    assert torch.equal(whole.log_mel, torch.cat([part.log_mel for part in parts]))
    assert torch.equal(whole.clip_index, torch.cat([part.clip_index for part in parts]))


def test_the_clip_sampler_never_lets_siblings_meet(
    eight_sounds: Path, log_mels: Path, tiny_config: MakeConfig
):
    data = make_data(eight_sounds, log_mels, tiny_config(sampler="clips"))
    batch = next(iter(data.loader(0)))
    assert len(set(batch.clip_index.tolist())) == len(batch) == 8


def test_shuffled_captions_are_the_same_captions_for_other_sounds(
    eight_sounds: Path, log_mels: Path, tiny_config: MakeConfig
):
    plain = make_data(eight_sounds, log_mels, tiny_config())
    shuffled = make_data(eight_sounds, log_mels, tiny_config(shuffle_captions=True))
    assert sorted(plain.captions) == sorted(shuffled.captions)
    kept = np.mean([a == b for a, b in zip(plain.captions, shuffled.captions, strict=True)])
    assert kept < 0.5


@given(all_frames=st.integers(1, 60), frames=st.integers(1, 40), seed=st.integers(0, 1000))
def test_crops_have_the_length_asked_for_and_short_clips_repeat(
    all_frames: int, frames: int, seed: int
):
    log_mel = np.arange(all_frames, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    crop = random_crop(log_mel, frames, np.random.default_rng(seed))
    assert crop.shape == (frames, 3)
    steps = np.diff(crop[:, 0])
    assert np.all((steps == 1) | (crop[1:, 0] == 0))
    cut = windows(log_mel, frames)
    assert {window.shape for window in cut} == {(frames, 3)}
    assert set(np.concatenate(cut)[:, 0]) >= set(range(min(all_frames, frames)))
    assert cut[-1][-1, 0] == all_frames - 1 or all_frames < frames


@given(seed=st.integers(0, 1000))
def test_spec_augment_masks_at_most_what_it_may(seed: int):
    rng = np.random.default_rng(seed)
    log_mel = rng.normal(size=(100, 64)).astype(np.float32)
    masked = spec_augment(log_mel, AugmentConfig(), rng)
    changed = masked != log_mel
    assert changed.all(1).sum() <= 2 * 64
    assert changed.all(0).sum() <= 2 * 8
    columns = np.broadcast_to(log_mel.mean(0), log_mel.shape)
    np.testing.assert_array_equal(masked[changed], columns[changed])


def test_htsat_hears_a_crop_in_training_and_all_of_the_clip_at_evaluation():
    # 10 s at 44.1 kHz, as the released code
    assert evaluation_windows(1379, 1024) == ([0, 344, 688], 689)
    for crop_frames in (64, 128, 256, 1024):
        for frames in (crop_frames + 1, crop_frames + 40, 1400, 2757, 5000):
            starts, length = evaluation_windows(frames, crop_frames)
            assert length <= crop_frames
            assert starts[0] == 0
            assert 0 <= frames - (starts[-1] + length) <= 2
            assert all(0 < b - a <= length // 2 for a, b in pairwise(starts))
    config = HtsatConfig(
        embed_dim=8, depths=(1, 1), num_heads=(2, 2), window_size=4, spec_size=64, n_mels=32
    )
    model = Htsat(config).eval()
    log_mel = torch.randn(2, 300, 32)
    assert model.crop_frames == 128
    with torch.no_grad():
        cropped = model(log_mel, torch.tensor([5, 172]))
        alone = model(torch.stack([log_mel[0, 5:133], log_mel[1, 172:300]]))
        whole = model(log_mel)  # a network that takes 128 frames has windows of 86
        starts, length = evaluation_windows(300, 128)
        parts = torch.stack([model(log_mel[:, start : start + length]) for start in starts])
    torch.testing.assert_close(cropped, alone)
    assert (len(starts), length) == (6, 86)
    torch.testing.assert_close(whole, parts.mean(0))


def test_htsat_crops_lie_inside_the_ten_seconds(
    eight_sounds: Path, log_mels: Path, tiny_config: MakeConfig
):
    audio = AudioConfig(
        encoder="cnn14+htsat",
        duration=4.0,
        htsat_duration=3.0,
        cnn14_channels=(4, 4),
        cnn14_dim=8,
        htsat=tiny_config().audio.htsat,
    )
    data = make_data(eight_sounds, log_mels, tiny_config(audio=audio))
    assert data.inner_frames == 128
    starts = torch.cat([b.crop_start for b in data.loader(0) if b.crop_start is not None])
    assert starts.min() >= 0
    assert starts.max() + 128 <= data.config.crop_frames
    assert len(starts.unique()) > 10


def test_an_unknown_setting_is_an_error_with_a_hint(tmp_path: Path, tiny_config: MakeConfig):
    save_config(tiny_config(), tmp_path / "run.toml")
    assert load_config(TrainConfig, tmp_path / "run.toml") == tiny_config()
    text = (tmp_path / "run.toml").read_text().replace("hop_length", "hop_lenght")
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(
        ConfigError, match=r"\[front_end\] no setting 'hop_lenght'. Did you mean 'hop_l"
    ):
        load_config(TrainConfig, tmp_path / "run.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 1}, "two pairs or more"),
        ({"chunk_size": 0}, "chunk_size"),
        ({"loss": {"temperature": 0.0}}, "above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    tiny_config: MakeConfig, change: dict[str, object], message: str
):
    with pytest.raises(ConfigError, match=message):
        tiny_config(**{k: LossConfig(**v) if k == "loss" else v for k, v in change.items()})  # type: ignore[arg-type]


def write(folder: Path, *clips: Clip) -> Path:
    write_manifest(folder / "manifest.jsonl", clips)
    return folder / "manifest.jsonl"


def test_manifests_that_cannot_train_are_refused_with_names(
    eight_sounds: Path, tmp_path: Path, tiny_config: MakeConfig
):
    good = eight_sounds.parent / "0-0.wav"
    broken, silent = tmp_path / "nan.wav", tmp_path / "text.wav"
    soundfile.write(broken, np.full(8000, np.nan, np.float32), 8000, subtype="FLOAT")
    silent.write_text("not a sound")
    config = tiny_config(batch_size=2)
    cases = {
        "1 sound files are missing: .*gone.wav": [Clip("a", tmp_path / "gone.wav", ("x",))],
        "1 clips have no caption or an empty one: a": [
            Clip("a", good, ("  ",)),
            Clip("b", good, ("y",)),
        ],
        "2 sounds cannot be used: .*nan.wav": [
            Clip("a", broken, ("x",)),
            Clip("b", silent, ("y",)),
        ],
        "no clips in the split 'train'; it has: test": [Clip("a", good, ("x",), split="test")],
    }
    for message, clips in cases.items():
        manifest = write(tmp_path, *clips)
        with pytest.raises(ManifestError, match=message):
            load_pairs(config, manifest, read_splits(config, manifest), tmp_path / "cache")
    tolerant = replace(config, max_unreadable=1)
    manifest = write(tmp_path, Clip("a", broken, ("x",)), Clip("b", good, ("y",)))
    splits = read_splits(tolerant, manifest)
    training, _ = load_pairs(tolerant, manifest, splits, tmp_path / "cache")
    assert [clip.clip_id for clip in training.clips] == ["b"]


def test_a_manifest_without_splits_is_all_for_training(tmp_path: Path):
    clips = [Clip("a", tmp_path / "a.wav", ("x", "y"))]
    assert split_clips(clips) == (clips, [])
    pairs = make_pairs(clips, {tmp_path / "a.wav": tmp_path / "a.npy"})
    assert (len(pairs), pairs.clip_of) == (2, (0, 0))


def test_a_plan_counts_and_refuses_what_does_not_fit(
    eight_sounds: Path, tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
):
    small = plan(tiny_config(), eight_sounds)
    assert (small.pairs, small.clips, small.validation_clips, small.steps_per_epoch) == (
        64,
        8,
        8,
        8,
    )
    assert small.weight_bytes == 16 * small.parameters
    chunked = plan(tiny_config(chunk_size=2), eight_sounds)
    assert chunked.activation_bytes * 4 == small.activation_bytes
    monkeypatch.setattr("wavtext.training.plan._available", lambda _: small.weight_bytes)
    with pytest.raises(TrainingError, match="Set chunk_size lower"):
        plan(tiny_config(), eight_sounds)


def test_several_processes_make_the_same_log_mels(
    eight_sounds: Path, tmp_path: Path, tiny_config: MakeConfig
):
    sounds = [eight_sounds.parent / f"{kind}-0.wav" for kind in range(3)]
    gone = tmp_path / "gone.wav"
    made = [
        LogMelCache(tmp_path / str(workers), tiny_config().front_end).prepare(
            [*sounds, gone], workers=workers
        )
        for workers in (0, 2)
    ]
    for ready, failures in made:
        assert [failure.path for failure in failures] == [gone]
        assert list(ready) == sounds
    for sound in sounds:
        np.testing.assert_array_equal(*(read_log_mel(ready[sound]) for ready, _ in made))


def test_runs_that_share_the_cache_do_not_wait_for_each_others_hashes(
    eight_sounds: Path, tmp_path: Path, tiny_config: Callable[..., TrainConfig]
):
    """While one hashes its second sound, another comes and prepares its own."""
    paths = sorted(eight_sounds.parent.rglob("*.wav"))[:3]
    config, seen = tiny_config().front_end, []

    class Slow(type(paths[1])):
        def open(self, *arguments: object, **options: object):
            if not seen:
                seen.append(LogMelCache(tmp_path / "cache", config).prepare(paths[2:]))
            return super().open(*arguments, **options)

    totals: list[tuple[int, int]] = []
    ready, failures = LogMelCache(tmp_path / "cache", config).prepare(
        [paths[0], Slow(paths[1])], progress=lambda done, total: totals.append((done, total))
    )
    assert len(ready) == 2
    assert not failures
    assert list(seen[0][0]) == paths[2:]
    assert totals == [(1, 2), (2, 2)]


def test_a_damaged_memory_of_the_cache_says_what_to_delete(
    eight_sounds: Path, tmp_path: Path, tiny_config: Callable[..., TrainConfig]
):
    cache = LogMelCache(tmp_path / "cache", tiny_config().front_end)
    (tmp_path / "cache" / "content.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(TrainingError, match="Delete it"):
        cache.prepare(sorted(eight_sounds.parent.rglob("*.wav")))
