import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wavtext.audio.log_mel import LogMelConfig
from wavtext.corpora.manifest import read_manifest
from wavtext.corpora.pack import PackOptions, pack
from wavtext.corpora.shards import ShardStore
from wavtext.errors import ManifestError, TrainingError
from wavtext.training.cache import read_log_mel
from wavtext.training.config import TrainConfig
from wavtext.training.loop import train
from wavtext.training.plan import plan
from wavtext.training.prepare import load_pairs, read_splits

TinyConfig = Callable[..., TrainConfig]


def make_pack(
    manifest: Path, url: str, config: TrainConfig, *, log_mel: LogMelConfig | None = None
) -> str:
    options = PackOptions(
        sample_rate=config.front_end.sample_rate, log_mel=log_mel, clips_per_shard=6
    )
    pack(read_manifest(manifest), url, options=options, workers=1)
    return url


def losses(run: Path) -> list[float]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines if "loss" in json.loads(line)]


def test_a_pack_trains_to_the_same_numbers_as_its_manifest(
    tiny_config: TinyConfig, eight_sounds: Path, tmp_path: Path
) -> None:
    config = tiny_config(epochs=2)
    url = make_pack(eight_sounds, "memory://bucket/eight", config, log_mel=config.front_end)
    of_manifest = train(config, eight_sounds, tmp_path / "a", cache=tmp_path / "cache-a")
    of_pack = train(config, url, tmp_path / "b", cache=tmp_path / "cache-b")
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert len(losses(tmp_path / "b")) == 16
    assert of_manifest.best == of_pack.best
    # and under the names that the sounds have in any cache
    kept = [
        {path.name for path in (tmp_path / name).rglob("*.npy")} for name in ("cache-a", "cache-b")
    ]
    assert kept[0] == kept[1]
    train(replace(config, epochs=3), url, tmp_path / "b", cache=tmp_path / "cache-b", resume=True)
    other = make_pack(eight_sounds, str(tmp_path / "other"), config)
    with pytest.raises(TrainingError, match="another manifest"):
        train(config, other, tmp_path / "b", cache=tmp_path / "cache-b", resume=True)


@pytest.mark.parametrize("n_mels", [None, 16])
def test_a_pack_without_this_front_end_is_decoded(
    tiny_config: TinyConfig, eight_sounds: Path, tmp_path: Path, n_mels: int | None
) -> None:
    config = tiny_config()
    other = None if n_mels is None else replace(config.front_end, n_mels=n_mels)
    url = make_pack(eight_sounds, str(tmp_path / "pack"), config, log_mel=other)
    found: list[list[np.ndarray]] = []
    for data in (eight_sounds, url):
        splits = read_splits(config, data)
        pairs, held_out = load_pairs(config, data, splits, tmp_path / "cache")
        assert (len(pairs.clips), len(pairs), len(held_out)) == (8, 64, 8)
        found.append([read_log_mel(path) for path in pairs.files])
    for one, other_mel in zip(*found, strict=True):
        assert one.shape == other_mel.shape
        assert np.abs(one.astype(float) - other_mel).max() < 0.2  # dB: the pack has 16 bits


def test_shards_whose_log_mels_are_there_are_not_fetched_again(
    tiny_config: TinyConfig, eight_sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config()
    url = make_pack(eight_sounds, str(tmp_path / "pack"), config, log_mel=config.front_end)
    splits = read_splits(config, url)
    load_pairs(config, url, splits, tmp_path / "cache")
    monkeypatch.setattr(ShardStore, "read_rows", None)
    pairs, _ = load_pairs(config, url, splits, tmp_path / "cache")
    assert len(pairs.clips) == 8


def test_a_dry_run_takes_a_pack_and_what_is_neither_is_an_error(
    tiny_config: TinyConfig, eight_sounds: Path, tmp_path: Path
) -> None:
    config = tiny_config()
    url = make_pack(eight_sounds, str(tmp_path / "pack"), config)
    assert plan(config, url, device="cpu").pairs == 64
    for data in (tmp_path, tmp_path / "gone.jsonl"):
        with pytest.raises(ManifestError, match="no manifest and no pack"):
            train(config, data, tmp_path / "run", cache=tmp_path / "cache")
