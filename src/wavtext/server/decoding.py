"""Decoding in limited processes that may die.  A path -> samples, peaks, or a file to play.

The calls block: run them in a thread.  Source of the limits: `ServerSettings`.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wavtext.audio.waveform import Waveform
from wavtext.errors import DecodeError, EmptyAudioError
from wavtext.server.problems import Problem
from wavtext.server.settings import ServerSettings

START_TIMEOUT = 60.0  # s for a worker's imports on a busy machine
MAX_HEADER_BYTES = 2**16
MAX_PAYLOAD_BYTES = 2**28  # ten minutes at 96 kHz and some
KEPT_ENVIRONMENT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "SYSTEMROOT",
    "PYTHONPATH",
    "TMPDIR",
)


class Decoder:
    """A few worker processes, started when first needed and replaced when they die.

    Args:
        settings: Limits on time, memory and the number of workers.
        command: What starts a worker; its memory limit in bytes is appended.
    """

    def __init__(
        self,
        settings: ServerSettings,
        command: Sequence[str] = (sys.executable, "-P", "-m", "wavtext.server.worker"),
    ) -> None:
        self._settings = settings
        self._command = [*command, str(settings.decode_memory)]
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(settings.decode_workers):
            self._idle.put(None)
        self.deaths = 0  # workers that a job killed

    def samples(self, path: Path, sample_rate: int) -> Waveform:
        """An upload as mono samples.

        Raises:
            DecodeError: Not audio, too long, or the decoder ran out of time or memory, or crashed.
            EmptyAudioError: No samples, or only silence.
            Problem: All workers stay busy (503).
        """
        limit = self._settings.max_upload_duration
        job = {
            "job": "samples",
            "path": str(path),
            "sample_rate": sample_rate,
            "max_duration": limit,
        }
        header, payload = self._run(job, timeout=self._settings.decode_timeout)
        data = np.frombuffer(payload, "<f4")
        if not np.isfinite(data).all():
            raise EmptyAudioError("the sound holds values that are not numbers.")
        if not data.any():
            raise EmptyAudioError("the sound is silent.")
        return Waveform(data, int(header["sample_rate"]))

    def probe(self, path: Path) -> tuple[str, str]:
        """The container and the codec, such as ("wav", "pcm_16")."""
        header, _ = self._run({"job": "probe", "path": str(path)}, timeout=10.0)
        return str(header["format"]), str(header["codec"])

    def peaks(self, path: Path, bins: int) -> tuple[float, np.ndarray]:
        """A file's duration in seconds and its outline: int8 (bins, 2)."""
        job = {"job": "peaks", "path": str(path), "bins": bins, "max_duration": 6 * 3600.0}
        header, payload = self._run(job, timeout=self._settings.playback_timeout)
        return float(header["duration"]), np.frombuffer(payload, np.int8).reshape(bins, 2)

    def transcode(self, path: Path, output: Path) -> None:
        """Write a FLAC that browsers play; at most three hours of it."""
        job = {"job": "transcode", "path": str(path), "output": str(output)}
        self._run(job | {"max_duration": 3 * 3600.0}, timeout=self._settings.playback_timeout)

    def cut(self, path: Path, output: Path, start: float, end: float) -> None:
        """Write `start` to `end` seconds of a file as WAV."""
        job = {"job": "cut", "path": str(path), "output": str(output), "start": start, "end": end}
        self._run(job, timeout=self._settings.playback_timeout)

    def close(self) -> None:
        """End the idle workers."""
        for _ in range(self._settings.decode_workers):
            with contextlib.suppress(queue.Empty):
                worker = self._idle.get_nowait()
                if worker is not None:
                    worker.kill()

    def _run(self, job: dict[str, Any], *, timeout: float) -> tuple[dict[str, Any], bytes]:
        try:
            worker = self._idle.get(timeout=timeout)
        except queue.Empty as error:
            raise Problem(503, "Every decoder is busy.", headers={"Retry-After": "5"}) from error
        alive = None
        try:
            if worker is None or worker.process.poll() is not None:
                worker = _Worker(self._command)
            cpu = min(timeout, self._settings.decode_cpu) if job["job"] == "samples" else timeout
            header, payload = worker.run(job | {"cpu": cpu}, timeout=timeout)
            alive = worker
        except _WorkerDiedError as error:
            self.deaths += 1
            raise DecodeError(
                f"the sound could not be decoded: {error}.", help="Convert it to WAV or FLAC."
            ) from error
        finally:
            if alive is None and worker is not None:
                worker.kill()
            self._idle.put(alive)
        if header.get("ok") is True:
            return header, payload
        return _raise(header, job["path"])


class _WorkerDiedError(Exception):
    """The process ended, hung, or answered nonsense."""


class _Worker:
    """One process that answers jobs."""

    def __init__(self, command: list[str]) -> None:
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            close_fds=True,
            start_new_session=True,  # Ctrl-C in the terminal is the server's to handle
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        with self._deadline(START_TIMEOUT):
            if self._stdout.readline(MAX_HEADER_BYTES) != b"ready\n":
                self.kill()
                raise _WorkerDiedError("the decoder did not start")

    def run(self, job: dict[str, Any], *, timeout: float) -> tuple[dict[str, Any], bytes]:
        with self._deadline(timeout) as timed_out:
            try:
                self._stdin.write(json.dumps(job).encode() + b"\n")
                self._stdin.flush()
                line = self._stdout.readline(MAX_HEADER_BYTES)
                header: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
                size = min(int(header.get("bytes", 0)), MAX_PAYLOAD_BYTES)
                payload = self._stdout.read(size) if size else b""
            except (OSError, ValueError) as error:
                raise _WorkerDiedError("the decoder answered nonsense") from error
        if timed_out.is_set():
            raise _WorkerDiedError(f"the decoder took longer than {timeout:g} s")
        if not header or len(payload) != size:
            raise _WorkerDiedError("the decoder crashed or used too much time or memory")
        return header, payload

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    @contextlib.contextmanager
    def _deadline(self, seconds: float) -> Generator[threading.Event]:
        timed_out = threading.Event()

        def end() -> None:
            timed_out.set()
            self.process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield timed_out
        finally:
            timer.cancel()


def _raise(header: dict[str, Any], path: str) -> Any:
    kind, message, help = (str(header.get(name, "")) for name in ("kind", "message", "help"))
    message = message.replace(path, "the sound")  # where uploads lie is nobody's business
    if kind == "empty":
        raise EmptyAudioError(message, help=help)
    if kind == "decode":
        raise DecodeError(message, help=help)
    if kind == "memory":
        raise DecodeError("the sound needs too much memory to decode.", help="Convert it to WAV.")
    raise DecodeError("the sound could not be decoded.", help="Convert it to WAV or FLAC.")
