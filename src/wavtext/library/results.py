"""What the library hands out: clips, search results, failures, progress.  Plain frozen dataclasses.

All times are seconds.  `to_dict()` gives the JSON that `--json` and the server print.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class MatchingWindow(NamedTuple):
    """A stretch of a clip and how well it fits the query."""

    start: float  # seconds
    end: float  # seconds
    score: float  # cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """One clip that fits the query, and where in it.

    Attributes:
        clip_id: The clip's number in the library; never used again for another clip.
        path: The file.
        uri: Where the file lies when it is not on this machine: s3://bucket/a.wav; else empty.
        start: Where the best window begins, in seconds.
        end: Where it ends, in seconds.
        score: Cosine between the query and the best window; higher is better.
        relevance: Probability that the clip is what was asked for, or None when not calibrated.
        windows: The windows that match, best first; the first is (start, end, score).
        duration: The whole clip's length in seconds.
        matched: Words of the query found in the file's name, captions or tags.
        duplicates: Files that sound the same and were folded into this result.
        heat: The score of every window along time, when asked for (`explain=True`).
        why: (word, share of the score it carries), most first, when asked for.
    """

    clip_id: int
    path: Path
    start: float
    end: float
    score: float
    duration: float
    uri: str = ""
    relevance: float | None = None
    windows: tuple[MatchingWindow, ...] = ()
    matched: tuple[str, ...] = ()
    duplicates: tuple[Path, ...] = ()
    heat: tuple[MatchingWindow, ...] = ()
    why: tuple[tuple[str, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; empty optional parts are left out."""
        values: dict[str, Any] = {
            "clip_id": self.clip_id,
            "path": str(self.path),
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "score": round(self.score, 4),
            "relevance": None if self.relevance is None else round(self.relevance, 4),
            "duration": round(self.duration, 3),
            "windows": [_window(window) for window in self.windows],
            "matched": list(self.matched),
        }
        if self.uri:
            values["uri"] = self.uri
        if self.duplicates:
            values["duplicates"] = [str(path) for path in self.duplicates]
        if self.heat:
            values["heat"] = [_window(window) for window in self.heat]
        if self.why:
            values["why"] = {word: round(share, 4) for word, share in self.why}
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryClip:
    """One sound of a library, without its embeddings.

    Attributes:
        clip_id: The clip's number in the library.
        path: The file.
        duration: Seconds.
        sample_rate: Hz, as stored in the file.
        channels: As stored in the file.
        format: Container and codec, as `wavtext.audio.decode.probe` names them.
        size: Bytes.
        modified: When the file last changed, in seconds since 1970.
        num_windows: How many windows it was cut into.
    """

    clip_id: int
    path: Path
    duration: float
    sample_rate: int
    channels: int
    format: str
    size: int
    modified: float
    num_windows: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file that could not be indexed, and why."""

    path: Path
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"path": str(self.path), "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryStats:
    """What a library holds."""

    clips: int
    windows: int
    duration: float  # seconds of sound
    failures: int
    model: str  # name@identity, shortened
    dim: int
    size: int  # bytes on disk
    damaged: int  # clips whose embeddings no longer match their checksum
    adapted: bool = False  # searches use what `wavtext adapt` learned

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexProgress:
    """How far an indexing run has come; handed to the callback after every file."""

    files_done: int
    files_total: int
    failed: int
    audio_duration: float  # seconds of sound embedded so far
    elapsed: float  # seconds
    bytes_done: int
    bytes_total: int
    path: Path | None = None  # the file just finished

    @property
    def speed(self) -> float:
        """Seconds of sound per second of time."""
        return self.audio_duration / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def time_left(self) -> float | None:
        """Seconds until done, by bytes; None before anything is done."""
        if self.bytes_done <= 0:
            return None
        return self.elapsed * (self.bytes_total - self.bytes_done) / self.bytes_done


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """What an indexing run did.

    Attributes:
        files: Sound files found in the folder.
        embedded: Files decoded and embedded in this run.
        reused: Files whose content was known: touched, moved, renamed or copied.
        moved: Of these, files that had another path before.
        unchanged: Files skipped because size and time are as before.
        removed: Clips that left the library because their file is gone.
        failures: Files that failed, now or in an earlier run and not changed since.
        audio_duration: Seconds of sound embedded in this run.
        elapsed: Seconds the run took.
        stopped: True when the run was asked to stop before its end.
        notes: What else the user should know, one line each.
    """

    files: int
    embedded: int
    reused: int
    moved: int
    unchanged: int
    removed: int
    failures: tuple[Failure, ...]
    audio_duration: float
    elapsed: float
    stopped: bool = False
    notes: tuple[str, ...] = ()

    @property
    def indexed(self) -> int:
        """Files of the folder that can be found now."""
        return self.embedded + self.reused + self.unchanged

    def summary(self) -> str:
        """One line for people, such as '412 of 415 files indexed; 3 failed'."""
        line = f"{self.indexed} of {self.files} files indexed"
        if self.failures:
            line += f"; {len(self.failures)} failed"
        return line + "."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {name: _plain(getattr(self, name)) for name in self.__slots__}
        values["failures"] = [failure.to_dict() for failure in self.failures]
        values["notes"] = list(self.notes)
        return {"indexed": self.indexed, **values}


def _window(window: MatchingWindow) -> dict[str, float]:
    start, end, score = window
    return {"start": round(start, 3), "end": round(end, 3), "score": round(score, 4)}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return round(value, 3) if isinstance(value, float) else value
