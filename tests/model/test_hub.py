"""Model folders on the Hugging Face hub, without a network: a cache folder, a hub that notes."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi

import wavtext
from wavtext.cli.main import main
from wavtext.errors import MissingExtraError, ModelError
from wavtext.model.folder import CONFIG_FILE
from wavtext.model.hub import cached_folder, fetch_model_folder
from wavtext.model.push import metadata, prepare_push, push

COMPACT = Path(wavtext.__file__).parent / "model" / "compact"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in the hub's layout that holds the compact model as owner/sounds."""
    repository = tmp_path / "hub" / "models--owner--sounds"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for path in COMPACT.iterdir():
        (snapshot / path.name).symlink_to(path)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return snapshot


class Hub:
    """An HfApi that notes what it is asked, with the real one's signatures."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.created: list[tuple[str, bool]] = []
        self.files: dict[str, bytes] = {}

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        if self.fails:
            raise OSError(self.fails)
        self.created.append((repo_id, private))

    def create_commit(self, repo_id: str, operations: Any, *, commit_message: str) -> Any:
        for each in operations:
            with each.as_file() as file:
                self.files[each.path_in_repo] = file.read()
        return SimpleNamespace(repo_url=f"https://hub.example/{repo_id}")


def test_a_model_folder_of_the_hub_loads_by_name_without_torch_and_without_a_network(hub: Path):
    model = wavtext.load_model("hf:owner/sounds")
    assert model.identity == wavtext.load_model("compact").identity
    assert model.folder == hub
    assert wavtext.load_model(f"hf:owner/sounds@{COMMIT}").folder == hub


def test_a_half_fetched_model_folder_is_not_used(hub: Path):
    (hub / "audio.onnx").unlink()
    with pytest.raises(ModelError, match=r"audio\.onnx is missing"):
        cached_folder("hf:owner/sounds")


def test_a_repository_that_is_no_model_folder_has_to_be_converted(hub: Path):
    (hub / CONFIG_FILE).unlink()
    assert fetch_model_folder("hf:owner/sounds") is None
    with pytest.raises(ModelError, match="wavtext convert hf:owner/sounds"):
        cached_folder("hf:owner/sounds")


def test_a_model_folder_of_the_hub_is_not_converted_by_the_command_line(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def convert(*_: object, **__: object) -> None:
        raise AssertionError("converted")

    monkeypatch.setattr("wavtext.training.hub.convert", convert)
    from wavtext.cli.convert import convert_named
    from wavtext.training.hub import convert_from_hub

    convert_named(["index", "sounds/", "--model", "hf:owner/sounds"])
    assert convert_from_hub("hf:owner/sounds") == hub
    copy = convert_from_hub("hf:owner/sounds", tmp_path / "copy")
    assert wavtext.load_model(copy).identity == wavtext.load_model("compact").identity


def test_push_sends_the_files_of_the_model_and_its_card_with_metadata():
    hub = Hub()
    address = push(prepare_push(COMPACT, "owner/sounds"), private=True, api=hub)
    assert address == "https://hub.example/owner/sounds"
    assert hub.created == [("owner/sounds", True)]
    names = {path.name for path in COMPACT.iterdir()}
    assert set(hub.files) == names | {"README.md"}
    for name in names:
        assert hub.files[name] == (COMPACT / name).read_bytes()
    head, card = hub.files["README.md"].decode().removeprefix("---\n").split("\n---\n\n", 1)
    assert 'license_name: "Apache-2.0 AND CC-BY-4.0"' in head
    assert card == (COMPACT / "card.md").read_text(encoding="utf-8")


def test_what_was_pushed_is_the_same_model(tmp_path: Path):
    hub = Hub()
    push(prepare_push(COMPACT, "owner/sounds"), api=hub)
    for name, content in hub.files.items():
        (tmp_path / name).write_bytes(content)
    assert wavtext.load_model(tmp_path).identity == wavtext.load_model("compact").identity


def test_the_real_client_takes_what_push_gives_it():
    import inspect

    for name in ("create_repo", "create_commit"):
        ours = inspect.signature(getattr(Hub, name)).parameters
        theirs = inspect.signature(getattr(HfApi, name)).parameters
        assert set(ours) <= set(theirs)
        assert all(ours[each].kind == theirs[each].kind for each in ours)


def test_weights_for_training_go_along_unless_left_out(tmp_path: Path):
    folder = Path(shutil.copytree(COMPACT, tmp_path / "model"))
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "notes.txt").write_text("private")
    names = set(prepare_push(folder, "owner/sounds").files)
    assert "weights.safetensors" in names
    assert "notes.txt" not in names
    assert "weights.safetensors" not in prepare_push(folder, "owner/sounds", weights=False).files


@pytest.mark.parametrize("name", ["sounds", "owner/sounds/x", "owner/sounds@main", "/", "../.."])
def test_a_name_that_is_no_repository_is_refused(name: str):
    with pytest.raises(ModelError):
        prepare_push(COMPACT, name)


def test_a_folder_without_a_card_is_refused(tmp_path: Path):
    folder = Path(shutil.copytree(COMPACT, tmp_path / "model"))
    (folder / "card.md").unlink()
    with pytest.raises(ModelError, match=r"no card\.md"):
        prepare_push(folder, "owner/sounds")


def test_a_hub_that_refuses_is_an_error_that_says_what_to_do():
    with pytest.raises(ModelError, match=r"401 Client Error.*hf auth login"):
        push(prepare_push(COMPACT, "owner/sounds"), api=Hub("401 Client Error\nmore"))


def test_push_without_huggingface_hub_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"wavtext\[hub\]"):
        push(prepare_push(COMPACT, "owner/sounds"))
    assert fetch_model_folder("hf:owner/sounds") is None


def test_licences_that_the_hub_knows_are_named_its_way_and_unknown_ones_not_at_all():
    from dataclasses import replace

    config = wavtext.load_model().config
    assert "license: mit\n" in metadata(replace(config, license="MIT"))
    assert "license" not in metadata(replace(config, license="unclear"))
    odd = metadata(replace(config, license='x"\nlicense: mit'))
    assert "\nlicense: mit" not in odd


def test_a_dry_run_lists_the_files_and_connects_to_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def connect(*_: object, **__: object) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr("wavtext.model.push.push", connect)
    with pytest.raises(SystemExit) as end:
        main(["push", str(COMPACT), "owner/sounds", "--dry-run"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "audio.onnx" in shown
    assert "Nothing was sent." in shown
