"""The training loop: it learns what can be learnt, and nothing else."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wavtext.config import load_config, save_config
from wavtext.errors import TrainingError, WavtextError
from wavtext.training.config import AugmentConfig, LossConfig, OptimizerConfig, TrainConfig
from wavtext.training.loop import train
from wavtext.training.run import load_checkpoint, save_atomically

MakeConfig = Callable[..., TrainConfig]


def test_eight_sounds_are_learnt_by_heart(
    eight_sounds: Path, log_mels: Path, tmp_path: Path, tiny_config: MakeConfig
):
    config = tiny_config(epochs=22, loss=LossConfig(duplicates="ignored"))
    result = train(config, eight_sounds, tmp_path / "run", cache=log_mels)
    assert result.best["text_to_audio R@1"] == 1.0
    assert result.best["audio_to_text R@1"] == 1.0


def test_captions_of_other_sounds_teach_nothing_about_new_ones(
    make_manifest: Callable[..., Path], log_mels: Path, tmp_path: Path, tiny_config: MakeConfig
):
    manifest = make_manifest(tmp_path / "sounds", variants=6, held_out=2)
    config = tiny_config(epochs=12, batch_size=16, loss=LossConfig(duplicates="ignored"))
    meant = train(config, manifest, tmp_path / "meant", cache=log_mels)
    shuffled = train(
        replace(config, shuffle_captions=True), manifest, tmp_path / "shuffled", cache=log_mels
    )
    # 8 kinds of sound, 2 held-out clips of each: by chance a caption's first clip fits 1 in 8 times
    ranks = "text_to_audio R@1"
    chance, error = 1 / 8, np.sqrt(1 / 8 * 7 / 8 / 8)
    assert last_validation(shuffled.run)[ranks] <= chance + 3 * error
    assert last_validation(meant.run)[ranks] >= 0.75


def last_validation(run: Path) -> dict[str, float]:
    """Validation of a run's last epoch."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return next(line["validation"] for line in reversed(lines) if "validation" in line)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from wavtext.config import load_config
from wavtext.training.config import TrainConfig
from wavtext.training.loop import train

def kill(progress):
    if (progress.epoch, progress.step) == (2, 3):
        os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(int(sys.argv[5]))
settings, manifest, out, cache = map(Path, sys.argv[1:5])
config = load_config(TrainConfig, settings)
train(config, manifest, out, cache=cache, checkpoint_steps=2, report=kill)
"""


def test_a_run_resumes_after_kill_9_to_the_same_numbers_bit_for_bit(
    eight_sounds: Path, log_mels: Path, tmp_path: Path, tiny_config: MakeConfig
):
    config = tiny_config(
        epochs=2,
        batch_size=16,
        audio=replace(tiny_config().audio, cnn14_head_dropout=0.5, duration=0.6),
        augment=AugmentConfig(time_width=20),
    )
    whole = train(config, eight_sounds, tmp_path / "whole", cache=log_mels)

    save_config(config, tmp_path / "config.toml")
    paths = [tmp_path / "config.toml", eight_sounds, tmp_path / "killed", log_mels]
    command = [sys.executable, "-c", KILLED, *map(str, paths), str(torch.get_num_threads())]
    dead = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr[-2000:]
    assert len(losses_of(tmp_path / "killed")) == 7  # of eight; the checkpoint is of six
    train(config, eight_sounds, tmp_path / "killed", cache=log_mels, resume=True)

    before, after = (load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "killed"))
    assert before["epoch"] == after["epoch"] == 2
    for name, value in before["model"].items():
        assert torch.equal(value, after["model"][name]), name
    for name, value in flat(before["optimizer"]).items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(flat(after["optimizer"])[name]))
    losses = [losses_of(tmp_path / name) for name in ("whole", "killed")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 8
    assert whole.best == load_checkpoint(tmp_path / "killed" / "best.pt")["metrics"]


def test_a_run_leaves_its_settings_its_datas_hash_its_machine_and_its_metrics(
    eight_sounds: Path, log_mels: Path, tmp_path: Path, tiny_config: MakeConfig
):
    config = tiny_config(batch_size=32)
    run = train(config, eight_sounds, tmp_path / "run", cache=log_mels).run
    assert load_config(TrainConfig, run / "config.toml") == config
    facts = json.loads((run / "environment.json").read_text())
    assert facts["manifest_sha256"] == hashlib.sha256(eight_sounds.read_bytes()).hexdigest()
    assert {"wavtext", "git_commit", "python", "torch", "machine", "threads"} <= facts.keys()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 2]
    assert lines[0].keys() == {
        "step", "epoch", "loss", "logit_scale", "learning_rate", "clips_per_second",
    }  # fmt: skip
    assert "text_to_audio mAP@10" in lines[2]["validation"]
    assert list((run / "tensorboard").glob("events.*"))


def test_a_full_disk_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    save_atomically(tmp_path / "last.pt", {"epoch": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(TrainingError, match=r"No space left.*before it is kept"):
        save_atomically(tmp_path / "last.pt", {"epoch": 2})
    assert load_checkpoint(tmp_path / "last.pt") == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_its_batch(
    eight_sounds: Path, log_mels: Path, tmp_path: Path, tiny_config: MakeConfig
):
    config = tiny_config(optimizer=OptimizerConfig(learning_rate=1e30, schedule="constant"))
    with pytest.raises(TrainingError, match=r"loss became nan at epoch 1, step \d.*nan_batch\.pt"):
        train(config, eight_sounds, tmp_path / "run", cache=log_mels)
    kept = torch.load(tmp_path / "run" / "nan_batch.pt", weights_only=True)
    assert kept["log_mel"].shape[0] == 8


@pytest.mark.parametrize("good_steps", [0, 3])
def test_weights_that_gave_no_finite_loss_do_not_replace_a_good_checkpoint(
    eight_sounds: Path,
    log_mels: Path,
    tmp_path: Path,
    tiny_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    good_steps: int,
):
    def rate(*_: object, step: int, **__: object) -> float:
        return 1e-6 if step < good_steps else 1e30

    monkeypatch.setattr("wavtext.training.loop.learning_rate_factor", rate)
    run = tmp_path / "run"
    config = tiny_config(batch_size=8)
    help = "the last checkpoint is good" if good_steps else "no good checkpoint yet"
    with pytest.raises(TrainingError, match=help):
        train(config, eight_sounds, run, cache=log_mels, checkpoint_steps=1)
    assert not list(run.glob(".last*"))
    if not good_steps:
        assert not (run / "last.pt").exists()
        return
    weights = load_checkpoint(run / "last.pt")["model"]
    assert all(value.abs().max() < 1e6 for value in weights.values() if value.numel())
    monkeypatch.undo()
    train(config, eight_sounds, run, cache=log_mels, resume=True)  # goes on from there
    assert not list(run.glob(".last*"))


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings_or_data(
    eight_sounds: Path, log_mels: Path, tmp_path: Path, tiny_config: MakeConfig
):
    config, run = tiny_config(batch_size=64), tmp_path / "run"
    train(config, eight_sounds, run, cache=log_mels)
    with pytest.raises(TrainingError, match="already holds a run"):
        train(config, eight_sounds, run, cache=log_mels)
    other = replace(config, seed=1, loss=LossConfig(temperature=0.1))
    with pytest.raises(TrainingError, match=r"other settings: loss\.temperature, seed"):
        train(other, eight_sounds, run, cache=log_mels, resume=True)
    changed = eight_sounds.with_name("changed.jsonl")
    changed.write_text(eight_sounds.read_text().replace("a low hum", "a deep hum"))
    with pytest.raises(TrainingError, match="another manifest"):
        train(config, changed, run, cache=log_mels, resume=True)
    longer = train(replace(config, epochs=2), eight_sounds, run, cache=log_mels, resume=True)
    assert len(losses_of(longer.run)) == 2


def test_training_stops_when_validation_stays_as_it_is(
    eight_sounds: Path, log_mels: Path, tmp_path: Path, tiny_config: MakeConfig
):
    frozen = OptimizerConfig(learning_rate=1e-30, schedule="constant")
    config = tiny_config(
        epochs=9, patience=2, batch_size=64, optimizer=frozen, freeze_batch_norm=True
    )
    result = train(config, eight_sounds, tmp_path / "run", cache=log_mels)
    assert len(losses_of(result.run)) == 3  # the first is the best, two more are not better
    train(config, eight_sounds, result.run, cache=log_mels, resume=True)
    assert len(losses_of(result.run)) == 3  # it had ended


def test_what_cannot_train_is_said_before_a_sound_is_decoded_and_leaves_no_run(
    eight_sounds: Path, tmp_path: Path, tiny_config: MakeConfig
):
    audio, text = tiny_config().audio, tiny_config().text
    gone, other = tmp_path / "gone.pth", tmp_path / "other.pth"
    torch.save({"model": {"rnn.weight": torch.zeros(3)}}, other)
    cases = {
        "fewer than batch_size = 128": {"batch_size": 128},
        "gone.pth": {"audio": replace(audio, cnn14_weights=gone)},
        "other.pth": {"audio": replace(audio, cnn14_weights=other)},
        "cannot be loaded": {"text": replace(text, name=str(tmp_path / "no-encoder"))},
    }
    for message, changes in cases.items():
        with pytest.raises(WavtextError, match=message):
            train(tiny_config(**changes), eight_sounds, tmp_path / "run", cache=tmp_path / "mels")
        assert not (tmp_path / "mels").exists()
    train(tiny_config(batch_size=64), eight_sounds, tmp_path / "run", cache=tmp_path / "mels")


def losses_of(run: Path) -> list[float]:
    """The loss of each step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def flat(value: object, prefix: str = "") -> dict[str, object]:
    """Leaves of nested dicts and lists."""
    if isinstance(value, dict):
        pairs = [(f"{prefix}.{key}", inner) for key, inner in value.items()]
    elif isinstance(value, list | tuple):
        pairs = [(f"{prefix}[{key}]", inner) for key, inner in enumerate(value)]
    else:
        return {} if value is None else {prefix: value}
    return {name: leaf for key, inner in pairs for name, leaf in flat(inner, key).items()}


def test_loading_processes_give_the_same_losses(
    eight_sounds: Path, log_mels: Path, tmp_path: Path, tiny_config: MakeConfig
):
    config = tiny_config(batch_size=32)
    plain = train(config, eight_sounds, tmp_path / "plain", cache=log_mels)
    loaded = train(replace(config, workers=2), eight_sounds, tmp_path / "loaded", cache=log_mels)
    assert losses_of(loaded.run) == losses_of(plain.run)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_tower_gives_the_same_losses(
    eight_sounds: Path, log_mels: Path, tmp_path: Path, tiny_config: MakeConfig
):
    config = tiny_config(batch_size=32)
    plain = train(config, eight_sounds, tmp_path / "plain", cache=log_mels)
    compiled = train(replace(config, compile=True), eight_sounds, tmp_path / "fast", cache=log_mels)
    np.testing.assert_allclose(losses_of(compiled.run), losses_of(plain.run), rtol=1e-3)
