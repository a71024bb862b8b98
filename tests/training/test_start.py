"""A run begins with the weights of another run, a model folder or a checkpoint, or says why not."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wavtext.config import from_dict, load_config, to_dict
from wavtext.errors import ConfigError, TrainingError
from wavtext.training.compact import CompactAudioEncoder
from wavtext.training.config import AudioConfig, ProjectionConfig, TextConfig, TrainConfig
from wavtext.training.convert import export_run
from wavtext.training.loop import train
from wavtext.training.plan import plan
from wavtext.training.run import load_checkpoint
from wavtext.training.start import build_new
from wavtext.training.text import train_tokenizer

MakeConfig = Callable[..., TrainConfig]
ELSE = ("something else altogether", "words that the first run never met")


@pytest.fixture(scope="module")
def before(
    tmp_path_factory: pytest.TempPathFactory,
    eight_sounds: Path,
    log_mels: Path,
    tiny_config: MakeConfig,
) -> Path:
    """A run that has learnt a little, with its model folder."""
    run = tmp_path_factory.mktemp("before") / "run"
    train(tiny_config(epochs=2), eight_sounds, run, cache=log_mels)
    export_run(run, run / "model")
    return run


def weights_of(config: TrainConfig) -> dict[str, Tensor]:
    """What a new run of these settings begins with."""
    return build_new(config, ELSE).model.state_dict()


@pytest.mark.parametrize("place", [".", "best.pt", "model", "model/weights.safetensors"])
def test_all_weights_and_the_tokenizer_come_from_there(
    before: Path, tiny_config: MakeConfig, place: str
) -> None:
    best = load_checkpoint(before / "best.pt")["model"]
    config = tiny_config(seed=5, start=before / place)
    built = build_new(config, ELSE)
    found = built.model.state_dict()
    assert found.keys() == best.keys()
    assert all(torch.equal(found[name], best[name]) for name in best)
    assert not torch.equal(
        weights_of(tiny_config(seed=5))["audio_projection.linear.weight"],
        best["audio_projection.linear.weight"],
    )
    learnt = (before / "tokenizer.json").read_text(encoding="utf-8")
    assert built.tokenizer.tokenizer.get_vocab() == _vocabulary(learnt)


def _vocabulary(text: str) -> dict[str, int]:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(text).get_vocab()


def test_a_run_begins_where_another_ended_and_goes_on_without_it(
    before: Path, tmp_path: Path, eight_sounds: Path, log_mels: Path, tiny_config: MakeConfig
) -> None:
    other = tmp_path / "other"
    shutil.copytree(before, other)
    config = tiny_config(epochs=1, start=other, optimizer=tiny_config().optimizer)
    losses: list[float] = []
    run = tmp_path / "run"
    train(config, eight_sounds, run, cache=log_mels, report=lambda p: losses.append(p.loss))
    fresh: list[float] = []
    plain = replace(config, start=None)
    train(
        plain, eight_sounds, tmp_path / "plain", cache=log_mels,
        report=lambda p: fresh.append(p.loss),
    )  # fmt: skip
    assert losses[0] < fresh[0]
    shutil.rmtree(other)  # what a run has begun with is needed no more
    more = replace(config, epochs=2)
    train(more, eight_sounds, run, cache=log_mels, resume=True)
    assert load_checkpoint(run / "last.pt")["epoch"] == 2
    export_run(run, run / "model")


def test_weights_of_other_towers_are_named(before: Path, tiny_config: MakeConfig) -> None:
    wider = tiny_config(start=before, projection=ProjectionConfig(kind="linear", dim=48))
    with pytest.raises(TrainingError, match=r"audio_projection.linear.weight is \(32, 64\), not"):
        build_new(wider, ELSE)
    other = tiny_config(start=before, projection=ProjectionConfig(kind="normed", dim=32))
    with pytest.raises(TrainingError, match=r"audio_projection\.fc1\.bias is missing"):
        build_new(other, ELSE)
    deeper = replace(tiny_config().text, layers=2)
    assert isinstance(deeper, TextConfig)
    with pytest.raises(TrainingError, match=r"layer\.1\..* is missing"):
        build_new(tiny_config(start=before, text=deeper), ELSE)


def test_a_narrowed_compact_encoder_is_begun_with_as_narrow(tmp_path: Path) -> None:
    lines = ["[front_end]", "n_mels = 72", "[audio]", 'encoder = "compact"']
    lines += ["compact_inner = [4, 6, 8, 10]", "compact_frozen_blocks = 2"]
    lines += [
        "[text]",
        'name = "random"',
        "layers = 1",
        "dim = 16",
        "heads = 2",
        "vocab_size = 200",
    ]
    (tmp_path / "run.toml").write_text("\n".join(lines))
    config = load_config(TrainConfig, tmp_path / "run.toml")
    assert from_dict(TrainConfig, to_dict(config), where="a run") == config
    first = build_new(config, ELSE)
    assert isinstance(first.model.audio, CompactAudioEncoder)
    assert [block.conv2.in_channels for block in first.model.audio.blocks] == [4, 6, 8, 10]
    torch.save({"model": first.model.state_dict()}, tmp_path / "best.pt")
    first.tokenizer.tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = replace(config, start=tmp_path / "best.pt", seed=7)
    found = build_new(again, ELSE).model
    assert torch.equal(
        found.audio.conv_block4.conv1.weight, first.model.audio.conv_block4.conv1.weight
    )
    assert [p.requires_grad for p in found.audio.conv_block2.parameters()] == 6 * [False]
    full = replace(again, audio=replace(config.audio, compact_inner=None))
    with pytest.raises(TrainingError, match=r"conv_block1\.bn1\.bias is \(4,\), not \(64,\)"):
        build_new(full, ELSE)


def test_a_compact_encoder_of_two_networks_is_built_and_begun_with(tmp_path: Path) -> None:
    lines = ["[front_end]", "n_mels = 72", "[audio]", 'encoder = "compact"']
    lines += ["compact_inner = [4, 6, 8, 10]", "compact_resnet = true", "[projection]"]
    lines += ['kind = "normed"', "dim = 16", "[text]", 'name = "random"', "layers = 1"]
    lines += ["dim = 16", "heads = 2", "vocab_size = 200"]
    (tmp_path / "run.toml").write_text("\n".join(lines))
    config = load_config(TrainConfig, tmp_path / "run.toml")
    first = build_new(config, ELSE)
    assert first.model.audio.dim == 2048
    torch.save({"model": first.model.state_dict()}, tmp_path / "best.pt")
    first.tokenizer.tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = replace(config, start=tmp_path / "best.pt", seed=7)
    found = build_new(again, ELSE).model
    assert torch.equal(found.audio.resnet.flat.weight, first.model.audio.resnet.flat.weight)
    alone = replace(again, audio=replace(config.audio, compact_resnet=False))
    with pytest.raises(TrainingError, match=r"audio\.resnet\.\S+ is unknown"):
        build_new(alone, ELSE)


def test_settings_that_no_narrowed_encoder_has_are_refused(tmp_path: Path) -> None:
    for inner in ((16, 48, 112), (16, 48, 112, 0)):
        with pytest.raises(ConfigError, match="'compact_inner' needs four numbers above 0"):
            AudioConfig(encoder="compact", compact_inner=inner)
    with pytest.raises(ConfigError, match="leave 'compact_inner' out"):
        AudioConfig(compact_inner=(4, 4, 4, 4), compact_weights=tmp_path / "aisfx.pt")


def test_weights_that_heard_another_front_end_are_refused(
    before: Path, tiny_config: MakeConfig
) -> None:
    other = replace(tiny_config().front_end, f_max=3000.0)
    for place in (before, before / "model"):
        with pytest.raises(TrainingError, match=r"another front end .* f_max 4000"):
            build_new(tiny_config(start=place, front_end=other), ELSE)


def test_token_embeddings_go_with_their_own_tokens(
    before: Path, tmp_path: Path, tiny_config: MakeConfig
) -> None:
    alone = tmp_path / "alone.pt"
    shutil.copy(before / "best.pt", alone)
    with pytest.raises(TrainingError, match=r"no tokenizer\.json lies beside it"):
        build_new(tiny_config(start=alone), ELSE)
    named = replace(tiny_config().text, tokenizer=before / "tokenizer.json")
    build_new(tiny_config(start=alone, text=named), ELSE)
    learnt = train_tokenizer(ELSE, vocab_size=400)
    learnt.save(str(tmp_path / "tokenizer.json"))
    other = replace(tiny_config().text, tokenizer=tmp_path / "tokenizer.json")
    with pytest.raises(TrainingError, match="its tokens are not those of"):
        build_new(tiny_config(start=before, text=other), ELSE)


def test_a_start_that_is_not_there_fails_before_any_sound_is_read(
    tmp_path: Path, eight_sounds: Path, tiny_config: MakeConfig
) -> None:
    missing = tiny_config(start=tmp_path / "nowhere")
    with pytest.raises(TrainingError, match=r"nowhere, which does not exist"):
        plan(missing, eight_sounds)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match=r"empty, which holds none of best.pt, weights.safe"):
        train(
            tiny_config(start=tmp_path / "empty"), eight_sounds, tmp_path / "run",
            cache=tmp_path / "cache",
        )  # fmt: skip
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "run" / "config.toml").exists()
