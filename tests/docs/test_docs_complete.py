"""Nothing a user can set is undocumented: commands, options, settings, endpoints, variables."""

import importlib.util
import re
import subprocess
import sys
from functools import cache
from types import ModuleType

import click
import pytest
from click_tree import options, walk
from doc_blocks import ROOT, pages, written_pages

COMMANDS = {" ".join(path): command for path, command in walk()}


@cache
def reference() -> ModuleType:
    """scripts/reference.py, which makes the pages from the code."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def written() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in written_pages())


def test_the_pages_made_from_the_code_are_current():
    # In a process of its own: click keeps a command's help option from its first call, and tests
    # that call a command without its group would leave it without the group's -h.
    script = [sys.executable, str(ROOT / "scripts" / "reference.py"), "--check"]
    checked = subprocess.run(script, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_shown_on_a_page_that_people_write(name: str):
    if not isinstance(COMMANDS[name], click.Group):
        assert re.search(rf"wavtext {name}\b", written()), f"no page shows `wavtext {name}`"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_says_what_it_is(name: str):
    silent = [option.opts[-1] for option in options(COMMANDS[name]) if not option.help]
    assert not silent, f"wavtext {name}: no help for {silent}"


def test_each_setting_says_what_it_is():
    from wavtext.model.folder import ModelConfig
    from wavtext.server.settings import ServerSettings
    from wavtext.training.config import TrainConfig

    settings_of = reference().settings_of
    for config in (TrainConfig, ModelConfig, ServerSettings):
        settings = list(settings_of(config))
        assert len(settings) >= 20
        silent = [each.name for each in settings if not each.comment]
        assert not silent, f"{config.__name__}: no comment beside {silent}"


def test_a_setting_without_a_comment_would_be_found():
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Config:
        said: int = 1  # steps
        silent: int = 2

    found = {each.name: each.comment for each in reference().settings_of(Config)}
    assert found == {"said": "steps", "silent": ""}


def endpoints() -> dict[str, set[str]]:
    """Path -> methods, of the real application."""
    from fastapi import FastAPI

    from wavtext.server import routes_clips, routes_library, routes_page, routes_search

    app = FastAPI()
    for module in (routes_search, routes_clips, routes_library, routes_page):
        app.include_router(module.router)
    return {path: {m.upper() for m in methods} for path, methods in app.openapi()["paths"].items()}


def documented_endpoints() -> set[tuple[str, str]]:
    """(method, path) of the first column of the tables in docs/api.md; {id} stands for any name."""
    found: set[tuple[str, str]] = set()
    for row in re.findall(r"^\| (.*?) \|", (ROOT / "docs/api.md").read_text("utf-8"), re.MULTILINE):
        methods: list[str] = []
        for text in re.findall(r"`([^`]+)`", row):
            matched = re.match(r"(GET|POST|DELETE|PUT|HEAD)\b ?(/\S*)?", text)
            if matched and matched[2]:
                path = matched[2].split("?")[0]
                found |= {(method, path) for method in (*methods, matched[1])}
                methods = []
            elif matched:
                methods.append(matched[1])
    return found


def test_each_endpoint_is_in_the_api_page_and_each_of_the_page_exists():
    real = {
        (method, re.sub(r"\{\w+\}", "{id}", path))
        for path, methods in endpoints().items()
        for method in methods
    }
    assert real == documented_endpoints()


def test_each_parameter_of_an_endpoint_is_in_the_api_page():
    from fastapi import FastAPI

    from wavtext.server import routes_clips, routes_library, routes_page, routes_search

    app = FastAPI()
    for module in (routes_search, routes_clips, routes_library, routes_page):
        app.include_router(module.router)
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query":
                    name = parameter["name"]
                    assert re.search(rf"\b{name}\b", page), f"{method} {path}: no word of {name}"


def test_each_environment_variable_is_named_in_a_page():
    variables: set[str] = set()
    for folder in ("src", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            variables |= set(re.findall(r"\bWAVTEXT_[A-Z_]+", path.read_text(encoding="utf-8")))
    variables -= {"WAVTEXT_COMPLETE"}
    missing = sorted(name for name in variables if name not in written())
    assert not missing, missing


def test_each_public_name_is_in_the_python_reference():
    import wavtext

    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    missing = [name for name in wavtext.__all__ if f"::: wavtext.{name}\n" not in page]
    assert not missing, missing


def test_every_page_is_in_the_navigation():
    """But the decisions, which their index lists, and the two that only GitHub shows."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in pages():
        name = str(page.relative_to(ROOT))
        if name.startswith("docs/") and not re.match(r"docs/decisions/\d", name):
            assert name.removeprefix("docs/") in navigation, f"{name} is not in mkdocs.yml"
