"""Every block of README and docs is sound: commands exist, Python compiles, TOML and JSON load."""

import ast
import importlib
import json
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from click_tree import fault
from doc_blocks import (
    ROOT,
    SHELL,
    Block,
    blocks,
    command_lines,
    pages,
    read_blocks,
    split_commands,
    wavtext_arguments,
)

SCRIPTS = ("python", "python3")
# Programs whose arguments are not ours to check.
OTHERS = {"cd", "mkdir", "export", "eval", "source", "unzip", "ls", "cat", "nvidia-smi"}
OTHERS |= {"git", "docker", "ray", "curl", "pytest", "echo", "printf", "apt-get", "sudo", "hf"}
LANGUAGES = {
    *SHELL,
    "python",
    "toml",
    "json",
    "text",
    "mermaid",
    "nginx",
    "ini",
    "yaml",
    "js",
    "html",
}


def where(block: Block) -> str:
    return block.where


@cache
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_block_names_a_language_and_every_marker_a_reason():
    for page in pages():
        for block in read_blocks(page):
            assert block.language in LANGUAGES, f"{block.where}: {block.language or 'no language'}"
        text = page.read_text(encoding="utf-8")
        markers = re.findall(r"^<!-- *not run:.*$", text, re.MULTILINE)
        used = [block for block in read_blocks(page) if block.reason]
        assert len(markers) == len(used), f"{page}: a marker stands before no block"


@pytest.mark.parametrize("block", blocks(*SHELL), ids=where)
def test_each_command_line_parses(block: Block):
    for line in command_lines(block):
        assert "..." not in line, f"{block.where}: no one can type this: {line}"
        for words in split_commands(line):
            problem = check_command(words)
            assert not problem, f"{block.where}: {line}\n  {problem}"


def check_command(words: list[str]) -> str:
    """What is wrong with one command; empty when nothing is."""
    ours = wavtext_arguments(words)
    for word in words:
        if word.startswith("configs/") and not (ROOT / word).exists():
            return f"there is no {word}"
    if ours is not None:
        return fault(ours)
    program = Path(words[0]).name
    if program == "pip":
        return check_pip(words)
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        missing = [w for w in words[1:] if "=" not in w and w not in targets]
        return f"the Makefile has no {missing}" if missing else ""
    if program in SCRIPTS:
        return check_script(words[1:])
    if program.startswith((".ci", "run", "scripts")) or words[0].startswith((".", "scripts/")):
        return "" if (ROOT / words[0]).exists() else f"there is no {words[0]}"
    return "" if program in OTHERS else f"{program} is not known to {Path(__file__).name}"


def check_pip(words: list[str]) -> str:
    extras = set(pyproject()["project"]["optional-dependencies"])
    for word in words:
        named = re.search(r"(?:wavtext|\.)\[([\w,-]+)\]", word)
        unknown = set(named[1].split(",")) - extras if named else set()
        if unknown:
            return f"wavtext has no extra {unknown}"
    return ""


def check_script(words: list[str]) -> str:
    if not words or not words[0].endswith(".py"):
        return ""  # python -m venv, python -c
    script = ROOT / words[0]
    if not script.is_file():
        return f"there is no {words[0]}"
    sources = [script, *script.parent.glob("*.py")]
    known = {
        value.value
        for path in sources
        for value in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    }
    options = [word.split("=")[0] for word in words if word.startswith("--")]
    unknown = [each for each in options if not {each, each[2:]} & known]  # or f"--{name}"
    return f"{words[0]} knows no {unknown}" if unknown else ""


@pytest.mark.parametrize("block", blocks("python"), ids=where)
def test_each_python_block_compiles_and_its_imports_exist(block: Block):
    tree = ast.parse(block.text, filename=block.where)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wavtext"):
            module = importlib.import_module(node.module or "")
            for name in node.names:
                found = hasattr(module, name.name)
                assert found or importlib.import_module(f"{node.module}.{name.name}")
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.startswith("wavtext"):
                    importlib.import_module(name.name)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "wavtext":
            wavtext = importlib.import_module("wavtext")
            assert hasattr(wavtext, node.attr), f"{block.where}: no wavtext.{node.attr}"


@pytest.mark.parametrize("block", blocks("toml"), ids=where)
def test_each_toml_block_is_settings_that_load(block: Block, tmp_path: Path):
    from wavtext.config import load_config
    from wavtext.errors import ConfigError
    from wavtext.model.folder import ModelConfig
    from wavtext.training.config import TrainConfig

    path = tmp_path / "block.toml"
    path.write_text(block.text, encoding="utf-8")
    faults: list[str] = []
    for kind in (TrainConfig, ModelConfig):
        try:
            load_config(kind, path)
            return
        except ConfigError as error:
            faults.append(f"{kind.__name__}: {error}")
    pytest.fail(f"{block.where}: " + "\n".join(faults))


@pytest.mark.parametrize("block", blocks("json"), ids=where)
def test_each_json_block_is_json(block: Block):
    json.loads(block.text)


def inline_commands() -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for page in pages():
        prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        found += [
            (str(page.relative_to(ROOT)), text)
            for text in re.findall(r"`(wavtext [^`\n]+)`", prose)
        ]
    return sorted(set(found))


@pytest.mark.parametrize(("page", "text"), inline_commands())
def test_each_command_in_a_sentence_names_commands_and_options_that_exist(page: str, text: str):
    """`wavtext corpus check MANIFEST... [--against OTHER]`: values and arguments may be missing."""
    import click

    from wavtext.cli.main import wavtext

    words = re.sub(r"[\[\]|]|\.\.\.", " ", text).split()[1:]
    command: click.Command = wavtext
    while words and isinstance(command, click.Group):
        if words[0].isupper() or words[0].startswith("-"):
            break
        child = command.get_command(click.Context(command), words[0])
        assert child is not None, f"{page}: there is no `{text}`"
        command, words = child, words[1:]
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    known |= {"--help", "-h", "--version", "--debug"}
    for word in words:
        if word.startswith("-") and len(word) > 1:
            assert word.split("=")[0] in known, f"{page}: `{text}` has no {word}"
