"""Indexing runs started from the page: one at a time, watched, stopped, remembered."""

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wavtext.errors import WavtextError
from wavtext.server.problems import Problem

log = logging.getLogger("wavtext.server")

MAX_FAILURES_SHOWN = 200
JOBS_KEPT = 20


@dataclass(slots=True)
class Job:
    """One run: written by its thread, read by anyone."""

    job_id: str
    folder: int
    state: str = "running"
    files_done: int = 0
    files_total: int = 0
    failed: int = 0
    speed: float = 0.0  # seconds of sound a second
    time_left: float | None = None  # s
    name: str = ""
    summary: str = ""
    failures: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    stop: threading.Event = field(default_factory=threading.Event, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "stop"}

    def watch(self, progress: Any) -> None:
        """Take over an IndexProgress."""
        self.files_done, self.files_total = progress.files_done, progress.files_total
        self.failed, self.speed, self.time_left = (
            progress.failed,
            progress.speed,
            progress.time_left,
        )
        self.name = progress.path.name if progress.path is not None else ""


class Jobs:
    """The indexing runs of this server.

    Args:
        index: Called as `index(folder, progress, stop)`; returns an IndexReport.
        finished: Called after each run.
    """

    def __init__(self, index: Callable[..., Any], finished: Callable[[], None]) -> None:
        self._index, self._finished = index, finished
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, folder: int) -> Job:
        """Begin a run in a thread of its own.

        Raises:
            Problem: 409, when one is running.
        """
        with self._lock:
            if any(job.state == "running" for job in self._jobs.values()):
                raise Problem(409, "An indexing run is under way.", help="Wait for it, or stop it.")
            job = Job(secrets.token_hex(8), folder)
            self._jobs[job.job_id] = job
            while len(self._jobs) > JOBS_KEPT:
                del self._jobs[next(iter(self._jobs))]
        self._thread = threading.Thread(target=self._run, args=(job,), name="wavtext-index")
        self._thread.start()
        return job

    def get(self, job_id: str) -> Job:
        """A run by its id, or a 404."""
        job = self._jobs.get(job_id)
        if job is None:
            raise Problem(404, "There is no such run.")
        return job

    def latest(self) -> Job | None:
        """The run under way, or else the last one."""
        return next(reversed(self._jobs.values()), None)

    def close(self) -> None:
        """Stop what runs and wait for it; what was finished is kept."""
        for job in list(self._jobs.values()):
            job.stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, job: Job) -> None:
        try:
            report = self._index(job.folder, job.watch, job.stop)
            job.failures = [
                {"name": failure.path.name, "reason": failure.reason}
                for failure in report.failures[:MAX_FAILURES_SHOWN]
            ]
            job.failed = len(report.failures)
            job.summary = report.summary()
            job.state = "stopped" if report.stopped else "done"
        except WavtextError as error:
            job.summary, job.state = str(error), "failed"
        except Exception:
            log.exception("indexing failed")
            job.summary, job.state = "Something broke; the server's log says what.", "failed"
        finally:
            self._finished()
