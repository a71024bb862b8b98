"""Runs in a process of its own: imports once, then forks a child for each command on stdin.

A command is one JSON line: {"folder", "library", "kill_at", "log", "user", "pages", "delay",
"kill_after", "exact_up_to"}.  The child indexes the folder with the stub model, appends each
committed file's name to `log`, kills itself with SIGKILL at the `kill_at`-th write (SQL statement,
or change of a file of the library), and its report or error goes to `log` last, after "= ".
The parent prints the child's process id, kills it after `kill_after` seconds where given, waits for
it and prints its exit status.
"""

import contextlib
import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import mutagen
from stub_model import StubModel

import wavtext.model.model  # noqa: F401
from wavtext.errors import WavtextError
from wavtext.library import quantised, reader, schema, upkeep
from wavtext.library.library import SoundLibrary

CHANGES = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.truncate", "shutil.copyfile"}


class Killer:
    """Counts writes and kills this very process at the one asked for."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self.count = 0

    def statement(self, sql: str) -> None:
        if not sql.startswith("--"):  # what full-text search does inside a statement
            self.step()

    def event(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            if writes and "library" in str(path):
                self.step()
        elif event in CHANGES and "library" in str(arguments):
            self.step()

    def step(self) -> None:
        self.count += 1
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def connect_with(killer: Killer, pages: int):
    plain = schema.connect

    def connect(path: Path, *, write: bool) -> sqlite3.Connection:
        connection = plain(path, write=write)
        if pages:
            connection.execute(f"PRAGMA max_page_count = {pages}")
        connection.set_trace_callback(killer.statement)
        return connection

    return connect


class SlowModel(StubModel):
    delay = 0.0  # seconds a file takes longer

    def cut(self, sound):
        time.sleep(self.delay)
        yield from super().cut(sound)


def child(command: dict) -> None:
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    if command.get("user"):
        os.setgid(command["user"])
        os.setuid(command["user"])
    killer = Killer(command.get("kill_at", 0))
    schema.connect = connect_with(killer, command.get("pages", 0))
    sys.addaudithook(killer.event)
    if "exact_up_to" in command:  # windows that a library searches without codes
        for module in (upkeep, quantised, reader):
            module.EXACT_UP_TO = command["exact_up_to"]
    model = SlowModel()
    model.delay = command.get("delay", 0.0)
    try:
        library = SoundLibrary.open(command["folder"], library=command.get("library"), model=model)
        report = library.index(
            lambda progress: os.write(log, os.fsencode(progress.path.name) + b"\n"), workers=2
        )
        found = [result.path.name for result in library.search("hum", limit=100, names=False)]
        answer = {**report.to_dict(), "writes": killer.count, "found": found}
    except WavtextError as error:
        answer = {"error": str(error), "writes": killer.count}
    os.write(log, b"= " + json.dumps(answer).encode() + b"\n")


def main() -> None:
    with contextlib.suppress(
        Exception
    ):  # have mutagen load all its modules before forking, because
        mutagen.File("nothing.wav")  # children may not be allowed to read the interpreter's files
    for line in sys.stdin:
        process = os.fork()
        if not process:
            status = 0
            try:
                child(json.loads(line))
            except BaseException as error:
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
                status = 3
            os._exit(status)
        sys.stdout.write(f"{process}\n")
        sys.stdout.flush()
        kill_after = json.loads(line).get("kill_after")
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
