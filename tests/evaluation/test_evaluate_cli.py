"""`wavtext evaluate` from manifest to report, and what it says when it cannot."""

import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from tone_model import ToneModel

import wavtext.model.model
from wavtext.cli.evaluate import evaluate
from wavtext.corpora.manifest import write_manifest
from wavtext.errors import EvaluationError, ModelError


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The command with tone models in place of files: "sharp", "blurred" and "deaf"."""
    models = {
        "sharp": ToneModel("1", "sharp"),
        "blurred": ToneModel("2", "blurred", blur=0.5),
        "deaf": ToneModel("3", "deaf", blur=1e10),
    }

    def load(name):
        if name not in models:
            raise ModelError(f"no model named '{name}'")
        return models[name]

    monkeypatch.setattr(wavtext.model.model, "load_model", load)

    def call(*arguments):
        options = ["--out", tmp_path / "report", "--cache", tmp_path / "cache.sqlite"]
        options += ["--resamples", 50, "--no-plots"]
        return CliRunner().invoke(
            evaluate, [str(each) for each in (*arguments, *options)], catch_exceptions=False
        )

    call.models = models
    call.folder = tmp_path / "report"
    return call


def test_the_report_holds_the_papers_table_and_agrees_with_itself(run, tone_manifest):
    result = run("sharp", tone_manifest)
    assert result.exit_code == 0
    report = json.loads((run.folder / "report.json").read_text())
    text = report["models"][0]["text_to_audio"]
    assert (text["queries"], text["pool"]) == (24, 12)
    assert text["metrics"]["R@1"]["estimate"] == 1.0
    assert report["data"]["split"] == "test"
    assert report["models"][0]["identity"] == "1"
    markdown = (run.folder / "report.md").read_text()
    assert "| Model | queries | pool | mAP@10 | R@1 | R@5 | R@10 | R@50 |" in markdown
    assert "| sharp | 24 | 12 | 100.0 [100.0, 100.0] |" in markdown
    assert "100.0 [100.0, 100.0]" in result.output


def test_html_plays_the_hardest_clips_and_needs_no_network(run, tone_manifest):
    run("deaf", tone_manifest)
    html = (run.folder / "report.html").read_text()
    assert 'src="../tone%20' in html
    assert not re.search(r"https?://", html)


def test_plots_are_inside_the_html(run, tone_manifest):
    arguments = ["sharp", tone_manifest, "--out", run.folder, "--cache", run.folder / "c.sqlite"]
    result = CliRunner().invoke(
        evaluate, [*map(str, arguments), "--resamples", "20"], catch_exceptions=False
    )
    assert result.exit_code == 0
    html = (run.folder / "report.html").read_text()
    assert html.count("<svg") == 3
    assert "<script" not in html


def test_two_models_are_compared_clip_by_clip(run, tone_manifest):
    run("sharp", tone_manifest, "--compare", "deaf")
    report = json.loads((run.folder / "report.json").read_text())
    found = report["comparison"]["text_to_audio"]["R@1"]
    assert found["difference"]["estimate"] > 0.5
    assert found["better"] > 8
    assert found["worse"] == 0
    assert found["permutation_p"] <= found["permutation_p_holm"] < 0.05
    assert "sharp minus deaf" in (run.folder / "report.md").read_text()


def test_a_second_run_embeds_nothing(run, tone_manifest):
    run("sharp", tone_manifest)
    first = (run.folder / "report.json").read_text()
    run("sharp", tone_manifest)
    assert run.models["sharp"].sounds == 12
    assert (run.folder / "report.json").read_text() == first


def test_labels_and_damages_join_the_report(run, tone_clips, tmp_path):
    labelled = [
        replace(clip, columns={"kind": f"tone {number % 12}"})
        for number, clip in enumerate([*tone_clips, replace(tone_clips[0], clip_id="again")])
    ]
    write_manifest(tmp_path / "labelled.jsonl", labelled)
    result = run("sharp", tmp_path / "labelled.jsonl", "--labels", "kind", "--robustness", "3")
    assert result.exit_code == 0
    model = json.loads((run.folder / "report.json").read_text())["models"][0]
    assert model["zero_shot"]["accuracy"]["estimate"] == 1.0
    assert (model["audio_to_audio"]["queries"], model["audio_to_audio"]["excluded"]) == (2, 11)
    assert model["robustness"]["gain -20 dB"]["cosine"] == pytest.approx(1, abs=1e-3)
    unlike = [replace(clip, columns={"kind": clip.captions[0]}) for clip in tone_clips]
    write_manifest(tmp_path / "unlike.jsonl", unlike)
    assert "of its own" in run("sharp", tmp_path / "unlike.jsonl", "--labels", "kind").output
    model = json.loads((run.folder / "report.json").read_text())["models"][0]
    assert model["zero_shot"]["accuracy"]["estimate"] == 1.0
    assert "audio_to_audio" not in model
    with pytest.raises(EvaluationError, match="no 'colour'"):
        run("sharp", tmp_path / "labelled.jsonl", "--labels", "colour")


def test_unreadable_clips_stop_the_run_unless_left_out_by_name(run, tone_clips, tone_manifest):
    tone_clips[4].path.write_text("not a sound")
    with pytest.raises(EvaluationError, match=r"1 of 12 clips cannot be read; clip04.*--skip"):
        run("sharp", tone_manifest)
    run("sharp", tone_manifest, "--skip-unreadable")
    report = json.loads((run.folder / "report.json").read_text())
    assert [each["clip_id"] for each in report["data"]["left_out"]] == ["clip04"]
    assert report["models"][0]["text_to_audio"]["pool"] == 11
    assert report["models"][0]["text_to_audio"]["metrics"]["R@1"]["estimate"] == 1.0


def test_repeated_captions_are_counted_and_can_be_relevant(run, tone_clips, tmp_path):
    twice = [*tone_clips, replace(tone_clips[0], clip_id="copy")]
    write_manifest(tmp_path / "twice.jsonl", twice)
    result = run("sharp", tmp_path / "twice.jsonl")
    assert "4 captions are borne by several clips" in result.output
    first = json.loads((run.folder / "report.json").read_text())["models"][0]["text_to_audio"]
    assert first["metrics"]["R@1"]["estimate"] < 1
    run("sharp", tmp_path / "twice.jsonl", "--relevance", "same-caption")
    second = json.loads((run.folder / "report.json").read_text())["models"][0]["text_to_audio"]
    assert second["metrics"]["R@1"]["estimate"] == 1
    assert second["queries"] == 24


def test_clips_without_a_split_may_have_trained_the_model_and_the_report_says_so(
    run, tone_clips, tone_manifest, tmp_path
):
    path = tmp_path / "unsplit.jsonl"
    write_manifest(path, [replace(clip, split="") for clip in tone_clips])
    assert "Not a held-out split" in run("sharp", path).output
    assert "Not a held-out split" not in run("sharp", tone_manifest).output


def test_an_empty_split_names_those_that_exist(run, tone_manifest):
    with pytest.raises(EvaluationError, match=r"split 'train' is empty. It has: test"):
        run("sharp", tone_manifest, "--split", "train")


def test_a_model_without_text_tower_and_a_missing_one_are_clear(run, tone_manifest, monkeypatch):
    def no_text(texts):
        raise ModelError("sharp has no text encoder.")

    monkeypatch.setattr(run.models["sharp"], "embed_text", no_text)
    with pytest.raises(ModelError, match="no text encoder"):
        run("blurred", tone_manifest, "--compare", "sharp")
    assert run.models["blurred"].sounds == run.models["sharp"].sounds == 0  # before hours of sounds
    with pytest.raises(ModelError, match="no model named"):
        run("absent", tone_manifest)
    with pytest.raises(EvaluationError, match="same"):
        run("blurred", tone_manifest, "--compare", "blurred")
