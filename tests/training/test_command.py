"""`wavtext convert` and what the command line does with models of the hub."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from wavtext.cli.convert import convert, convert_named
from wavtext.errors import ModelError
from wavtext.model.hub import folder_for, split_name


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names: list[str] = []
    monkeypatch.setattr(
        "wavtext.training.hub.convert_from_hub", lambda name, *_, **__: names.append(name)
    )
    return names


@pytest.mark.parametrize(
    "arguments",
    [
        ["index", "sounds", "--model", "hf:laion/clap-htsat-unfused"],
        ["search", "rain", "--model=hf:laion/clap-htsat-unfused"],
        ["evaluate", "hf:laion/clap-htsat-unfused", "manifest.jsonl"],
    ],
)
def test_a_model_of_the_hub_is_fetched_on_its_first_use(fetched: list[str], arguments: list[str]):
    convert_named(arguments)
    assert fetched == ["hf:laion/clap-htsat-unfused"]
    folder = folder_for("hf:laion/clap-htsat-unfused")
    folder.mkdir(parents=True)
    (folder / "model.toml").touch()
    convert_named(arguments)
    assert len(fetched) == 1


def test_a_query_that_begins_like_a_name_is_a_query(fetched: list[str]):
    convert_named(["search", "hf: noise", "sounds"])
    assert not fetched


def test_msclap_without_a_file_and_names_of_the_hub_are_fetched(fetched: list[str]):
    for name in ("msclap-2023", "hf:laion/clap-htsat-unfused@v1"):
        assert CliRunner().invoke(convert, [name], catch_exceptions=False).exit_code == 0
    assert fetched == ["msclap-2023", "hf:laion/clap-htsat-unfused@v1"]


def test_names_have_a_repository_and_a_revision():
    assert split_name("hf:laion/clap-htsat-unfused") == ("laion/clap-htsat-unfused", "main")
    assert split_name("hf:laion/clap@abc") == ("laion/clap", "abc")
    assert folder_for("hf:laion/clap@abc").name == "laion--clap@abc"
    for wrong in ("hf:", "hf:a/b/c", "hf:../b", "hf:a/"):
        with pytest.raises(ModelError, match="is no name on the Hugging Face hub"):
            split_name(wrong)


def test_an_unknown_kind_or_a_missing_file_is_said_so(tmp_path: Path):
    with pytest.raises(ModelError, match="no kind of checkpoint"):
        CliRunner().invoke(convert, ["cnn99", "x", "--out", "y"], catch_exceptions=False)
    needs = CliRunner().invoke(convert, ["panns-cnn14", "--out", "y"])
    assert needs.exit_code == 2
    assert "needs a FILE" in needs.output
    with pytest.raises(ModelError, match="no such checkpoint file"):
        CliRunner().invoke(
            convert, ["htsat", str(tmp_path / "gone"), "--out", "y"], catch_exceptions=False
        )
