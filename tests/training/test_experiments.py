"""The paper's tables as experiments, on synthetic tones and towers of a few neurons."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from wavtext.cli.experiment import experiment
from wavtext.corpora.manifest import Clip, read_manifest, write_manifest
from wavtext.errors import ConfigError
from wavtext.evaluation.paper_tables import CLAIMS, PRINTED, TABLES
from wavtext.evaluation.table_report import render_table
from wavtext.training.experiment_data import (
    Corpora,
    Setting,
    check_same,
    load_experiment,
    missing_data,
    read_corpora,
    write_training_manifest,
)

RATE = 8000  # Hz
TINY = """
[train]
epochs = 1
batch_size = 8

[train.front_end]
sample_rate = 8000
win_length = 256
hop_length = 128
n_mels = 32
f_max = 4000.0

[train.audio]
duration = 0.5
htsat_duration = 0.5
cnn14_channels = [4, 8]
cnn14_dim = 16
cnn14_weights = ""
htsat_weights = ""

[train.audio.htsat]
embed_dim = 8
depths = [1, 1]
num_heads = [2, 2]
window_size = 4
spec_size = 64
n_mels = 32

[train.text]
name = "random"
pooling = "mean"
layers = 1
dim = 16
heads = 2
vocab_size = 300

[train.projection]
kind = "linear"
dim = 16
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """All five datasets, a dozen clips each, and the settings that fit them."""
    root = tmp_path_factory.mktemp("data")
    for number, name in enumerate(("audiocaps", "clotho", "macs", "sounddescs", "wavtext5k")):
        clips = []
        for row in range(18 if name in ("audiocaps", "clotho") else 8):
            path = root / name / f"{row}.wav"
            path.parent.mkdir(exist_ok=True)
            time = np.arange(RATE // 2) / RATE
            pitch = 200 * 1.2 ** (row % 8) + 5 * number
            soundfile.write(path, 0.5 * np.sin(2 * np.pi * pitch * time), RATE)
            split = ("train", "train", "train", "train", "validation", "test")[row % 6]
            captions = (f"a tone of {pitch:.0f} hertz", f"pitch {row}")
            columns = {}
            if name == "wavtext5k":
                columns = {"title": f"Tone {row}", "description": f"{pitch:.0f} hertz"}
                columns["description"] *= row != 7
                split = ""
            clips.append(
                Clip(
                    f"{row}", path, captions, split=split, columns=columns, checksum=f"{name}{row}"
                )
            )
        write_manifest(root / name / "manifest.jsonl", clips)
    (root / "tiny.toml").write_text(TINY)
    return root


@pytest.fixture
def setting(data, tmp_path):
    return Setting(
        data=data, out=tmp_path / "out", scale=data / "tiny.toml", cache=tmp_path / "mel"
    )


def test_seven_distinct_trainings_fill_eight_eight_and_four_rows():
    names = {name for rows in TABLES.values() for name in rows}
    assert len(names) == 7
    assert [len(rows) for rows in TABLES.values()] == [4, 3, 2]
    assert set(PRINTED) == {(name, test) for name in names for test in ("audiocaps", "clotho")}


def test_the_papers_settings_are_what_section_4_says(setting):
    paper = replace(setting, scale="paper")
    found = {name: load_experiment(name, paper) for rows in TABLES.values() for name in rows}
    for each in found.values():
        train = each.train
        assert (train.epochs, train.batch_size, train.projection.dim) == (45, 128, 1024)
        assert (train.front_end.sample_rate, train.front_end.hop_length) == (44_100, 320)
        # 20 s for CNN14, 10 s for HTSAT, which lie inside them where both hear
        heard = 10 if train.audio.encoder == "htsat" else 20
        assert (train.audio.duration, train.audio.htsat_duration) == (heard, 10)
        assert train.optimizer.learning_rate == 1e-4
    assert found["cnn14_ac_cl_sd"].datasets == ("audiocaps", "clotho", "sounddescs")
    description = found["cnn14_htsat_ac_cl_wt5k_description"]
    assert description.wavtext5k_caption == "{description}"
    assert found["htsat_ac_cl_wt5k"].train.audio.htsat_weights.is_relative_to(setting.data)
    assert load_experiment("htsat_ac_cl_wt5k", replace(setting, scale="cpu")).train.epochs == 10


def test_the_papers_relative_gains_follow_from_its_tables():
    for claims in CLAIMS.values():
        for claim in claims:
            if claim.printed_gain is None:
                continue
            a, b = (
                getattr(PRINTED[name, claim.test_set], claim.direction)[1]
                for name in (claim.better, claim.worse)
            )
            assert 100 * (a - b) / b == pytest.approx(claim.printed_gain, abs=0.12)


def test_training_data_are_the_papers_and_hold_no_test_clip(setting):
    name = "cnn14_ac_cl_wt5k"
    write_training_manifest(load_experiment(name, setting), setting, name)
    clips = read_manifest(setting.out / name / "manifest.jsonl")
    assert {clip.split for clip in clips} == {"train", "validation"}
    assert sum("wavtext5k" in str(clip.path) for clip in clips) == 7  # one has no description
    titled = [clip for clip in clips if "wavtext5k" in str(clip.path)]
    assert titled[0].captions == ("Tone 0. 200 hertz",) or "Tone 0." in titled[0].captions[0]
    tests = {
        clip.checksum
        for test in ("audiocaps", "clotho")
        for clip in read_manifest(setting.data / test / "manifest.jsonl")
        if clip.split == "test"
    }
    assert not tests & {clip.checksum for clip in clips}


def test_clips_on_an_exclusion_list_do_not_train(setting):
    name = "cnn14_ac_cl_wt5k"
    folder = setting.data / "wavtext5k"
    gone = read_manifest(folder / "manifest.jsonl")[0]
    (folder / "exclude.jsonl").write_text(
        json.dumps({"clip_id": gone.clip_id, "reason": "near-duplicate of a test clip"}) + "\n"
    )
    try:
        write_training_manifest(load_experiment(name, setting), setting, name)
    finally:
        (folder / "exclude.jsonl").unlink()  # the data are other tests' too
    clips = read_manifest(setting.out / name / "manifest.jsonl")
    titled = [clip for clip in clips if "wavtext5k" in str(clip.path)]
    assert len(titled) == 6
    assert gone.path not in {clip.path for clip in titled}


def test_missing_data_are_listed_before_anything_runs(setting, tmp_path):
    empty = replace(setting, data=tmp_path / "nowhere", scale="paper")
    lines = missing_data("table3", empty)
    assert sum("wavtext collect" in line for line in lines) == 5
    assert any("Cnn14_mAP=0.431.pth" in line for line in lines)
    arguments = ["table3", "--data", tmp_path / "nowhere", "--out", tmp_path / "o", "--check"]
    result = CliRunner().invoke(
        experiment, [str(each) for each in arguments], standalone_mode=False
    )
    assert result.return_value == 1
    assert "wavtext collect clotho" in result.output
    assert not (tmp_path / "o").exists()


def test_other_collections_stand_in_for_datasets_under_their_own_names(setting, tmp_path):
    (tmp_path / "map.toml").write_text('macs = "street noise"')
    corpora = read_corpora(tmp_path / "map.toml")
    assert corpora.stand_ins == {"macs": "street noise"}
    there = replace(setting, corpora=corpora)
    lines = missing_data("table3", there)
    assert len(lines) == 1
    assert "street noise" in lines[0]
    assert "stand in for macs" in lines[0]
    assert missing_data("table4", there) == []
    (tmp_path / "map.toml").write_text('mac = "street noise"')
    with pytest.raises(ConfigError, match="Did you mean 'macs'"):
        read_corpora(tmp_path / "map.toml")
    with pytest.raises(ConfigError, match="two datasets"):
        Corpora(macs="clotho")


def test_results_of_other_settings_or_data_are_not_taken_for_these(setting):
    check_same("cnn14_ac_cl", setting)
    check_same("cnn14_ac_cl", replace(setting, device="cpu"))
    swapped = Corpora(audiocaps="clotho", clotho="audiocaps")
    for other, named in (
        (replace(setting, scale="cpu"), r"train\.batch_size"),
        (replace(setting, corpora=swapped), "the manifest of clotho"),
    ):
        with pytest.raises(ConfigError, match=f"made from other settings or data: .*{named}"):
            check_same("cnn14_ac_cl", other)


def test_a_setting_that_a_later_version_adds_is_no_difference(setting):
    check_same("cnn14_ac_cl", setting)
    noted = setting.out / "cnn14_ac_cl" / "experiment.toml"
    before = noted.read_text()
    old = "\n".join(line for line in before.splitlines() if not line.startswith("beta2"))
    assert old.rstrip() != before.rstrip()
    noted.write_text(old)
    check_same("cnn14_ac_cl", setting)
    assert noted.read_text() == before


def test_a_table_is_trained_reported_and_resumed(setting):
    arguments = ["table5", "--data", setting.data, "--out", setting.out, "--seeds", 2]
    arguments += ["--scale", setting.scale, "--cache", setting.cache]
    run = [str(each) for each in arguments]
    first = CliRunner().invoke(experiment, run, standalone_mode=False, catch_exceptions=False)
    assert first.return_value == 0
    report = json.loads((setting.out / "report.json").read_text())
    assert [row["training"] for row in report["rows"]] == 2 * list(TABLES["table5"])
    assert {row["pool"] for row in report["rows"]} == {3}
    assert all(row["seeds"] == 2 for row in report["rows"])
    assert all(row["training_pairs"] == 48 + 7 for row in report["rows"])
    assert len(report["claims"]) == 4
    text = (setting.out / "report.md").read_text()
    assert "Mei et al. 2022" in text
    assert "| 34.77 |" in text
    assert "nothing here is comparable" in text
    assert "here minus paper" in text
    stood_in = render_table({**report, "stand_ins": {"clotho": "my-sounds"}})
    assert "my-sounds, in the place of clotho" in stood_in
    assert "minus paper" not in stood_in
    results = sorted(setting.out.glob("*/seed*/result.npz"))
    assert len(results) == 4
    swapped = setting.out / "swapped.toml"
    swapped.write_text('audiocaps = "clotho"\nclotho = "audiocaps"')
    other = CliRunner().invoke(experiment, [*run, "--corpora", str(swapped)])
    assert "made from other settings" in str(other.exception)
    times = [path.stat().st_mtime_ns for path in results]
    results[0].unlink()
    again = CliRunner().invoke(
        experiment, [*run, "--jobs", "2"], standalone_mode=False, catch_exceptions=False
    )
    assert again.return_value == 0
    assert [path.stat().st_mtime_ns for path in results[1:]] == times[1:]
    assert json.loads((setting.out / "report.json").read_text()) == report
