"""Look at sound files once: decode each whole, on all cores, and remember what was found.

A path -> duration, rate, peak, checksum, fingerprint, or what is wrong with it. Findings are
appended to a cache as they come, so that an interrupted run goes on where it stopped.
"""

import base64
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soxr

from wavtext.audio.decode import probe, stream_audio
from wavtext.audio.waveform import SILENCE, peak
from wavtext.corpora.apt import file_checksum
from wavtext.corpora.fingerprint import MAX_DURATION, SAMPLE_RATE, Fingerprint, fingerprint
from wavtext.corpora.parallel import map_parallel
from wavtext.errors import AudioError, EmptyAudioError

CACHE_NAME = ".inspected.jsonl"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one sound file is; `fault` says why it cannot be used, and is empty when it can."""

    fault: str = ""  # missing audio, not audio, empty audio, silent audio, decoder crashed
    detail: str = ""  # the decoder's words
    duration: float = 0.0  # s
    sample_rate: int = 0  # Hz
    peak: float = 0.0  # largest magnitude; full scale is 1
    checksum: str = ""
    words: np.ndarray | None = None  # the fingerprint's, (frames,) uint32
    descriptor: np.ndarray | None = None  # the fingerprint's, (segments*bands,) float16


def inspect_file(path: Path) -> Inspection:
    """Decode the whole file in bounded memory; never raises for what a file holds."""
    if not path.is_file():
        return Inspection(fault="missing audio", detail="no such file")
    try:
        info = probe(path)
        num_samples, loudest = 0, 0.0
        found = Fingerprint(np.zeros(0, np.uint32), np.zeros(0, np.float32))
        # The first block is all the fingerprint needs.
        for block in stream_audio(path, block_duration=MAX_DURATION, on_warning=_ignore):
            if num_samples == 0:
                found = fingerprint(soxr.resample(block, info.sample_rate, SAMPLE_RATE, "HQ"))
            num_samples += len(block)
            loudest = max(loudest, peak(block))
        checksum = file_checksum(path)
    except EmptyAudioError as error:
        return Inspection(fault="empty audio", detail=str(error))
    except AudioError as error:
        return Inspection(fault="not audio", detail=str(error))
    except OSError as error:
        return Inspection(fault="not audio", detail=f"{error.strerror}")
    return Inspection(
        fault="empty audio" if not num_samples else "silent audio" if loudest < SILENCE else "",
        duration=num_samples / info.sample_rate,
        sample_rate=info.sample_rate,
        peak=loudest,
        checksum=checksum,
        words=found.words,
        descriptor=found.descriptor.astype(np.float16),
    )


def inspect_files(
    paths: Iterable[Path], *, cache: Path | None, workers: int
) -> Iterator[Inspection]:
    """Inspections in the order of `paths`, those of unchanged files from the cache.

    Args:
        paths: Sound files.
        cache: A file of earlier findings, appended to; None keeps nothing.
        workers: Processes.
    """
    known = _Cache(cache)
    stamped = [(path, known.stamp(path), path.is_file()) for path in paths]
    fresh = [path for path, stamp, there in stamped if there and stamp not in known]
    results = map_parallel(inspect_file, fresh, workers=workers, on_crash=_crashed)
    try:
        for path, stamp, there in stamped:
            if not there:
                yield inspect_file(path)
            elif stamp in known.at_start:
                yield known.read(stamp)
            else:
                found = next(results)
                known.add(stamp, found)
                yield found
    finally:
        results.close()
        known.close()


class Memory:
    """Where other passes over the files leave what they found, for later ones.

    Args:
        cache: The file of findings; None forgets.
    """

    def __init__(self, cache: Path | None) -> None:
        self._cache = _Cache(cache)

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *_: object) -> None:
        self._cache.close()

    def add(self, path: Path, found: Inspection) -> None:
        """Remember a file as it is now, unless it is known."""
        stamp = self._cache.stamp(path)
        if stamp not in self._cache:
            self._cache.add(stamp, found)


class _Cache:
    """Inspections by path, size and time of change, in a file that is only ever appended to."""

    def __init__(self, path: Path | None) -> None:
        self._file = None
        self._offsets: dict[str, int] = {}  # stamp -> where its line begins
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = path.parent.resolve()
            self._file = path.open("a+b")
            self._index(self._file)
        self.at_start = frozenset(self._offsets)

    def _index(self, file: BinaryIO) -> None:
        file.seek(0)
        offset = 0
        for line in file:
            if line.endswith(b"\n"):  # else the writer was killed within the line
                with suppress(ValueError, KeyError, TypeError):
                    self._offsets[json.loads(line)["stamp"]] = offset
            else:
                file.write(b"\n")
            offset += len(line)

    def __contains__(self, stamp: str) -> bool:
        return stamp in self._offsets

    def stamp(self, path: Path) -> str:
        """What changes when the file does; a file that cannot be looked at has none."""
        if self._file is None:
            return ""
        try:
            status = path.stat()
        except OSError:
            return ""
        absolute = Path(os.path.abspath(path))
        inside = absolute.is_relative_to(self._folder)
        name = absolute.relative_to(self._folder) if inside else absolute
        return f"{name.as_posix()}|{status.st_size}|{status.st_mtime_ns}"

    def read(self, stamp: str) -> Inspection:
        assert self._file is not None
        self._file.seek(self._offsets[stamp])
        return _from_json(json.loads(self._file.readline()))

    def add(self, stamp: str, found: Inspection) -> None:
        if self._file is not None and stamp:
            line = json.dumps({"stamp": stamp, **_to_json(found)})
            self._file.write(line.encode() + b"\n")  # at the end, whatever was read before
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _to_json(found: Inspection) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: getattr(found, name)
        for name in ("fault", "detail", "duration", "sample_rate", "peak", "checksum")
    }
    if found.words is not None and found.descriptor is not None:
        values["words"] = base64.b64encode(found.words.astype("<u4").tobytes()).decode()
        values["descriptor"] = base64.b64encode(found.descriptor.astype("<f2").tobytes()).decode()
    return values


def _from_json(values: dict[str, Any]) -> Inspection:
    del values["stamp"]
    if "words" in values:
        values["words"] = np.frombuffer(base64.b64decode(values["words"]), "<u4")
        values["descriptor"] = np.frombuffer(base64.b64decode(values["descriptor"]), "<f2")
    return Inspection(**values)


def _crashed(path: Path) -> Inspection:
    return Inspection(fault="decoder crashed", detail="the process that decoded it was killed")


def _ignore(warning: str) -> None:
    """A damaged tail is no reason to refuse a clip; its duration is what could be decoded."""
