"""Downloads that survive bad hosts.  Jobs with alternative URLs -> files, one outcome each.

Several hosts at once, few connections and a pause to each; time-outs, resets, 429 and 5xx are tried
again with growing pauses; partial files are resumed; what is too large, is a web page instead of a
sound, or lies at a private address is refused; each outcome is logged as soon as it is known.
"""

import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO
from urllib.parse import urlsplit

from wavtext.corpora.transfer import (
    RefusedError,
    TransferOptions,
    TryAgainError,
    transfer,
)
from wavtext.errors import MissingExtraError

if TYPE_CHECKING:
    import httpx

Status = Literal["downloaded", "present", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOptions(TransferOptions):
    """How hard to try, and how gently."""

    attempts: int = 5  # for each URL
    first_pause: float = 1.0  # s before the second attempt; doubles each time
    max_pause: float = 60.0  # s; also the longest Retry-After that is waited for
    per_host: int = 2  # connections to one host at a time
    host_pause: float = 0.25  # s between two requests of one connection


@dataclass(frozen=True, slots=True)
class Job:
    """One file wanted."""

    key: str
    urls: tuple[str, ...]  # in order of preference
    target: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job."""

    key: str
    status: Status
    url: str = ""  # where it came from; the last one tried when it failed
    reason: str = ""  # of each URL that failed
    attempts: int = 0
    num_bytes: int = 0
    checksum: str = ""  # of what was downloaded


Accept = Callable[[Path], str]  # a downloaded file -> why it is refused; empty when it is not


def download_all(
    jobs: Iterable[Job], *, options: DownloadOptions, log: Path, accept: Accept
) -> Iterator[Outcome]:
    """Fetch every job, in whatever order they finish; those whose target is there are not fetched.

    Args:
        jobs: Targets' folders are made.
        options: Limits and manners.
        log: JSON lines, appended to: one for each outcome, written when it is known.
        accept: Looks at a finished download before it gets its name; may run in several threads.

    Raises:
        MissingExtraError: httpx is not installed.
        OSError: The disk is full or not writable; what was finished is kept.
    """
    try:
        import httpx
    except ImportError as error:
        raise MissingExtraError("corpora", "downloading") from error
    by_host: dict[str, queue.SimpleQueue[Job]] = {}
    total = 0
    for job in jobs:
        by_host.setdefault(urlsplit(job.urls[0]).netloc, queue.SimpleQueue()).put(job)
        total += 1
    done: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
    stop = threading.Event()
    timeout = httpx.Timeout(options.timeout)
    log.parent.mkdir(parents=True, exist_ok=True)
    with httpx.Client(timeout=timeout, follow_redirects=False) as client:
        workers = [
            threading.Thread(
                target=_work, args=(waiting, done, client, options, accept, stop), daemon=True
            )
            for waiting in by_host.values()
            for _ in range(min(options.per_host, waiting.qsize()))
        ]
        for worker in workers:
            worker.start()
        try:
            with log.open("a", encoding="utf-8") as file:
                for _ in range(total):
                    outcome = done.get()
                    if isinstance(outcome, BaseException):
                        raise outcome
                    _write_line(file, outcome)
                    yield outcome
        finally:
            stop.set()
            for worker in workers:
                worker.join(timeout=options.timeout)


def _write_line(file: TextIO, outcome: Outcome) -> None:
    file.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
    file.flush()


def read_log(log: Path) -> dict[str, Outcome]:
    """The last outcome of each key; a line that a kill cut short is passed over."""
    outcomes: dict[str, Outcome] = {}
    if log.is_file():
        for line in log.read_text(encoding="utf-8").splitlines():
            try:
                outcome = Outcome(**json.loads(line))
            except (ValueError, TypeError):
                continue
            if outcome.status != "present":
                outcomes[outcome.key] = outcome
    return outcomes


def _work(
    waiting: "queue.SimpleQueue[Job]",
    done: "queue.SimpleQueue[Outcome | BaseException]",
    client: "httpx.Client",
    options: DownloadOptions,
    accept: Accept,
    stop: threading.Event,
) -> None:
    while not stop.is_set():
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            done.put(_download(job, client, options, accept, stop))
        except BaseException as error:  # the consumer raises it
            done.put(error)
            return


def _download(
    job: Job,
    client: "httpx.Client",
    options: DownloadOptions,
    accept: Accept,
    stop: threading.Event,
) -> Outcome:
    if job.target.exists():
        return Outcome(job.key, "present")
    job.target.parent.mkdir(parents=True, exist_ok=True)
    partial = job.target.with_name(job.target.name + ".part")
    outcome = Outcome(job.key, "failed")
    for url in job.urls:
        outcome = _try_url(url, partial, outcome, client, options, stop)
        if not outcome.checksum:
            continue
        refusal = accept(partial)
        if not refusal:
            partial.replace(job.target)
            return replace(outcome, status="downloaded")
        partial.unlink()
        outcome = replace(outcome, reason=_join(outcome.reason, refusal), checksum="", num_bytes=0)
    return outcome


def _try_url(
    url: str,
    partial: Path,
    before: Outcome,
    client: "httpx.Client",
    options: DownloadOptions,
    stop: threading.Event,
) -> Outcome:
    """The outcome after this URL: with a checksum when the partial file is whole."""
    reason = before.reason
    tries = 0
    for tries in range(1, options.attempts + 1):
        stop.wait(options.host_pause)
        if stop.is_set():
            return replace(before, url=url, reason=_join(reason, "interrupted"))
        try:
            num_bytes, checksum = transfer(url, partial, client, options)
        except RefusedError as error:
            reason = _join(reason, f"{error}")
            break
        except TryAgainError as error:
            if tries == options.attempts:
                reason = _join(reason, f"{error} ({tries} attempts)")
            else:
                pause = options.first_pause * 2 ** (tries - 1)
                stop.wait(min(max(pause, error.retry_after), options.max_pause))
        else:
            return replace(
                before,
                url=url,
                reason=reason,
                attempts=before.attempts + tries,
                num_bytes=num_bytes,
                checksum=checksum,
            )
    return replace(before, url=url, reason=reason, attempts=before.attempts + tries)


def _join(reason: str, more: str) -> str:
    return f"{reason}; {more}" if reason else more
