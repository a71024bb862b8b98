"""The examples of README and docs, run in order, page by page, on synthetic sounds.

`wavtext` lines run in this process through the command's own entry; Python blocks run as they
stand; `curl` lines ask the real application, without a socket. A block that cannot run here says so
(doc_blocks.py) and is parsed by test_docs_parse.py.
"""

import dataclasses
import gc
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
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
from doc_world import make_world

from wavtext.cli.main import main
from wavtext.library.library import SoundLibrary
from wavtext.server.listening import bind as listening_bind

RUNNABLE = (*SHELL, "python")


def run(*arguments: str) -> None:
    """`wavtext ARGUMENTS`, which must succeed."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == 0, f"exit status {end.value.code}"


def needs_run(page: Path) -> bool:
    """Whether a page uses a trained run that it does not train itself."""
    text = "".join(block.text for block in read_blocks(page) if not block.reason)
    return "runs/small" in text and "wavtext train configs/small.toml" not in text


def runnable(page: Path) -> list[Block]:
    return [b for b in read_blocks(page) if b.language in RUNNABLE and not b.reason]


@pytest.fixture(scope="session")
def base_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world with its index, made once."""
    folder = tmp_path_factory.mktemp("docs")
    make_world(folder)
    with SoundLibrary.open(folder / "sounds") as library:
        library.index()
    return folder


@pytest.fixture(scope="session")
def trained(base_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("run") / "small"
    config, manifest = base_world / "configs" / "small.toml", base_world / "manifest.jsonl"
    run("train", str(config), "--data", str(manifest), "--out", str(folder))
    return folder


@pytest.fixture
def world(base_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the world, and in it the home, the caches and the working folder."""
    shutil.copytree(base_world, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.delenv("WAVTEXT_TOKEN", raising=False)
    do_not_wait(monkeypatch)
    thresholds = gc.get_threshold()
    environment = {**os.environ}
    yield tmp_path
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    os.environ.clear()
    os.environ.update(environment)


def do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that go on until Ctrl-C do their work once, and none changes this process."""

    def watch(self: SoundLibrary, stop: threading.Event, report: Any, **options: Any) -> None:
        report(self.index())

    class Server:
        """Closes what a server would listen on; uvicorn's own would also set up logging."""

        def __init__(self, config: object) -> None: ...

        def run(self, sockets: list[socket.socket]) -> None:
            for each in sockets:
                each.close()

    def bind(settings: Any) -> Any:  # its port may be taken by a server that someone uses
        return listening_bind(dataclasses.replace(settings, port=0))

    monkeypatch.setattr("uvicorn.Config", lambda *a, **k: None)
    monkeypatch.setattr("uvicorn.Server", Server)
    monkeypatch.setattr("wavtext.server.listening.bind", bind)
    monkeypatch.setattr(SoundLibrary, "watch", watch)
    monkeypatch.setattr("os.nice", lambda more: 0)  # this process goes on afterwards
    monkeypatch.setattr("webbrowser.open", lambda *a: True)


def curl(words: list[str], folder: Path) -> None:
    """One request to the application over the world's library."""
    from starlette.testclient import TestClient

    from wavtext.server.app import create_app

    url, headers, method = "", {}, "GET"
    fields: dict[str, str] = {}
    files: dict[str, Any] = {}
    body = None
    rest = iter(words[1:])
    for word in rest:
        if word == "-F":
            name, _, value = next(rest).partition("=")
            if value.startswith("@"):
                files[name] = (value[1:], (folder / value[1:]).read_bytes())
            else:
                fields[name] = value
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word in ("-d", "--data"):
            body = next(rest)
            headers.setdefault("Content-Type", "application/json")
        elif word == "-X":
            method = next(rest)
        elif word in ("-o", "-b", "-c"):
            next(rest)
        elif not word.startswith("-"):
            url = word
    method = "POST" if method == "GET" and (files or fields or body) else method
    url = re.sub(r"^https?://[^/]+", "", url)
    app = create_app(SoundLibrary.open(folder / "sounds"))
    address = {"base_url": "http://127.0.0.1:8765", "client": ("127.0.0.1", 50_000)}
    with TestClient(app, **address) as client:
        answer = client.request(
            method, url, headers=headers, data=fields or None, files=files or None, content=body
        )
    assert answer.is_success, f"{method} {url}: {answer.status_code} {answer.text}"


def run_block(block: Block, folder: Path) -> None:
    if block.language == "python":
        exec(compile(block.text, block.where, "exec"), {"__name__": "__example__"})
        return
    for line in command_lines(block):
        commands = split_commands(line)
        if {words[0] for words in commands} <= {"printf", "mkdir"}:  # they write what ours read
            subprocess.run(line, shell=True, check=True, cwd=folder)
        for words in commands:
            ours = wavtext_arguments(words)
            try:
                if ours is not None and words[0] == "wavtext":
                    run(*ours)
                elif words[0] == "curl":
                    curl(words, folder)
            except (Exception, SystemExit) as error:
                raise AssertionError(
                    f"{block.where}: {line}\n{error}\nMend the example, give doc_world.py the file "
                    "that it needs, or say before the block why it cannot run: "
                    "<!-- not run: REASON -->"
                ) from error


@pytest.mark.parametrize(
    "page", [each for each in pages() if runnable(each)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_examples_of_a_page_run(
    page: Path,
    world: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
):
    if needs_run(page):
        shutil.copytree(request.getfixturevalue("trained"), world / "runs" / "small")
    for block in runnable(page):
        run_block(block, world)
    capsys.readouterr()


def test_more_blocks_run_than_do_not():
    """What runs is what is shown: markers are for networks, GPUs, hours and other people's data."""
    everything = blocks(*RUNNABLE)
    marked = [block for block in everything if block.reason]
    assert len(marked) < len(everything) / 2, "\n".join(f"{b.where}: {b.reason}" for b in marked)
