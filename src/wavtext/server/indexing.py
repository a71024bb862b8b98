"""Indexing in a process of its own, which may die.  A library -> its report, progress on the way.

    python -m wavtext.server.indexing

reads one line of JSON that names the library, writes lines of JSON: progress, at last the report or
an error. A line on its standard input, or the end of it, asks it to stop, and a minute later it
ends. It has the lowest priority, and a decoder that crashes on a file takes it along, not the
server (decision 0061).
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from wavtext.errors import LibraryError, WavtextError
from wavtext.library.choice import model_source
from wavtext.library.library import SoundLibrary
from wavtext.library.results import Failure, IndexProgress, IndexReport

TELL_EVERY = 0.1  # s between lines of progress
STOP_TIMEOUT = 60.0  # s that a process asked to stop may take to finish its files
# -P: a json.py in the folder that the server was started in is not ours to import
COMMAND = (sys.executable, "-P", "-m", "wavtext.server.indexing")
SECRET = ("TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")  # in names of the environment


def index_apart(
    library: SoundLibrary,
    progress: Callable[[IndexProgress], None],
    stop: threading.Event,
    command: tuple[str, ...] = COMMAND,
) -> IndexReport:
    """`library.index(progress, stop=stop)` in another process.

    A library whose model no other process could load, since it was handed over as an object, is
    indexed in this one.

    Raises:
        LibraryError: As `SoundLibrary.index`; or the process died, and what it had finished stays.
    """
    if getattr(library.model, "folder", None) is None:
        return library.index(progress, stop=stop)
    names = {"library": str(library.path), "model": model_source(library.model)}
    job = {"folder": str(library.folder), **names}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,  # what it says on stderr belongs to the server's log
        env={
            name: value
            for name, value in os.environ.items()
            if not any(word in name.upper() for word in SECRET)
        },
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C in the terminal is the server's to handle
    )
    assert process.stdin is not None
    assert process.stdout is not None
    ended = threading.Event()

    def ask_to_stop() -> None:
        while not ended.is_set() and not stop.wait(0.1):
            pass
        if ended.is_set():
            return
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        if not ended.wait(STOP_TIMEOUT):
            process.kill()

    last: dict[str, Any] = {}
    watcher = threading.Thread(target=ask_to_stop, daemon=True)
    try:
        with contextlib.suppress(OSError):  # it died at once: said below
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        watcher.start()
        for line in process.stdout:
            with contextlib.suppress(ValueError):  # half a line of a process that was killed
                last = json.loads(line)
                if "progress" in last:
                    progress(_progress(last["progress"]))
        code = process.wait()
    finally:
        ended.set()
        process.kill()
        process.wait()
        if watcher.ident is not None:
            watcher.join()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
    if "error" in last:
        raise LibraryError(str(last["error"]))
    if "report" not in last:
        done = last["progress"]["files_done"] if "progress" in last else 0
        if stop.is_set():
            raise LibraryError(
                f"indexing was ended {STOP_TIMEOUT:.0f} s after it was asked to stop; "
                "what was indexed is kept."
            )
        raise LibraryError(
            f"indexing died (exit status {code}) after {done} files; what was indexed is kept.",
            help="`wavtext index` on the folder says more.",
        )
    return _report(last["report"])


def main() -> None:
    """Index the library that a line on standard input names."""
    from wavtext.library.priority import step_back

    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a decoder prints is no line of ours
    job = json.loads(sys.stdin.readline())
    stop = threading.Event()

    def listen() -> None:
        sys.stdin.readline()
        stop.set()
        time.sleep(STOP_TIMEOUT)  # nobody may be there any more to end what hangs
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    told = 0.0

    def tell(progress: IndexProgress) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= TELL_EVERY or progress.files_done == progress.files_total:
            told = now
            _write(out, {"progress": _plain(asdict(progress))})

    step_back()
    try:
        with SoundLibrary.open(job["folder"], library=job["library"], model=job["model"]) as sounds:
            report = sounds.index(tell, stop=stop)
    except WavtextError as error:
        _write(out, {"error": str(error)})
        raise SystemExit(1) from None
    _write(out, {"report": _plain(asdict(report))})


def _write(out: Any, message: dict[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


def _plain(value: Any) -> Any:
    """Paths as text, tuples as lists."""
    if isinstance(value, dict):
        named = cast(dict[str, Any], value)
        return {name: _plain(each) for name, each in named.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast(list[Any], value)]
    return str(value) if isinstance(value, Path) else value


def _progress(values: dict[str, Any]) -> IndexProgress:
    path = values["path"]
    changed: dict[str, Any] = {"path": Path(path) if path is not None else None}
    return IndexProgress(**(values | changed))


def _report(values: dict[str, Any]) -> IndexReport:
    failures = tuple(
        Failure(path=Path(each["path"]), reason=each["reason"]) for each in values["failures"]
    )
    changed: dict[str, Any] = {"failures": failures, "notes": tuple(values["notes"])}
    return IndexReport(**(values | changed))


if __name__ == "__main__":
    main()
