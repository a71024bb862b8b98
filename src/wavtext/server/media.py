"""A library's sounds for the browser: which file may be read, which must be transcoded, outlines.

(clip) -> a path inside the allowed folders -> the file itself, a FLAC of it, or a cut of it.
"""

import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Int8

from wavtext.server.decoding import Decoder
from wavtext.server.problems import Problem

# What browsers play by themselves, by container; anything else is transcoded.
MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
    "mp4": "audio/mp4",
    "m4a": "audio/mp4",
    "webm": "audio/webm",
}
PLAYABLE_CODECS = frozenset(
    {"pcm_u8", "pcm_16", "pcm_24", "pcm_s16le", "pcm_s24le", "float", "pcm_f32le", "flac"}
    | {"vorbis", "opus", "mp3", "mp3float", "mpeg_layer_iii", "aac"}
)
MAX_CACHE_BYTES = 2 * 2**30
MAX_CUT = 600.0  # s
OUTLINES_KEPT = 4096
FOLDERS = "wavtext-media-"  # then the process that made it

T = TypeVar("T")


class _Remembered(Generic[T]):
    """Answers about files, until a file changes or is long not asked about."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[str, int, int, int], T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, file: Path, variant: int, compute: Callable[[], T]) -> T:
        """The answer for a file as it is now."""
        stat = file.stat()
        key = (str(file), stat.st_size, stat.st_mtime_ns, variant)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        value = compute()
        with self._lock:
            self._kept[key] = value
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return value


class Media:
    """Finds, draws and converts the sounds of a library.  The calls block.

    Args:
        decoder: Where files are decoded.
        roots: Folders that may be read.
    """

    def __init__(self, decoder: Decoder, roots: list[Path]) -> None:
        self._decoder = decoder
        self._roots = [root.resolve() for root in roots]
        _sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{FOLDERS}{os.getpid()}-"))
        self._locks = [threading.Lock() for _ in range(16)]
        self._outlines: _Remembered[tuple[float, np.ndarray]] = _Remembered(OUTLINES_KEPT)
        self._probed: _Remembered[tuple[str, str]] = _Remembered(OUTLINES_KEPT)

    def close(self) -> None:
        """Delete what was transcoded."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def file_of(self, path: Path) -> Path:
        """The real file behind a clip's path.

        Raises:
            Problem: It is gone (404), or a link leads out of the allowed folders (403).
        """
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise Problem(404, "The file is gone.", help="Index the library again.") from error
        if not any(real.is_relative_to(root) for root in self._roots):
            raise Problem(
                403,
                "The file is a link to a place outside the library.",
                help="Allow that folder: wavtext serve --allow-folder FOLDER",
            )
        if not real.is_file():
            raise Problem(404, "The file is gone.", help="Index the library again.")
        return real

    def playable(self, file: Path) -> tuple[Path, str]:
        """A file that a browser plays, and its media type: the file itself, or a FLAC of it."""
        container, codec = self._kinds(file)
        if container in MEDIA_TYPES and codec in PLAYABLE_CODECS:
            return file, MEDIA_TYPES[container]
        stat = file.stat()
        key = f"{abs(hash((str(file), stat.st_size, stat.st_mtime_ns))):x}"
        target = self._folder / f"{key}.flac"
        with self._locks[hash(key) % len(self._locks)]:
            if not target.exists():
                part = self._folder / f"{key}.part"
                self._decoder.transcode(file, part)
                part.rename(target)
                self._trim_cache(keep=target)
        return target, "audio/flac"

    def cut(self, file: Path, start: float, end: float) -> Path:
        """`start` to `end` seconds of a file as a new WAV; the caller deletes it."""
        if not 0 <= start < end or end - start > MAX_CUT:
            raise Problem(422, f"A part has 0 <= start < end, and at most {MAX_CUT:g} s.")
        output = Path(tempfile.mkstemp(prefix="cut-", suffix=".wav", dir=self._folder)[1])
        try:
            self._decoder.cut(file, output, start, end)
        except BaseException:
            output.unlink(missing_ok=True)
            raise
        return output

    def outline(self, file: Path, bins: int) -> tuple[float, Int8[np.ndarray, "bins 2"]]:
        """Duration in seconds, and the lowest and highest sample of each bin; remembered."""
        return self._outlines.get(file, bins, lambda: self._decoder.peaks(file, bins))

    def _kinds(self, file: Path) -> tuple[str, str]:
        return self._probed.get(file, 0, lambda: self._decoder.probe(file))

    def _trim_cache(self, keep: Path) -> None:
        files = sorted(self._folder.glob("*.flac"), key=lambda each: each.stat().st_mtime)
        total = sum(each.stat().st_size for each in files)
        for each in files:
            if total <= MAX_CACHE_BYTES:
                return
            if each != keep:
                total -= each.stat().st_size
                each.unlink(missing_ok=True)


def _sweep() -> None:
    """Delete what servers left behind that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
        process = folder.name.removeprefix(FOLDERS).split("-")[0]
        if process.isdecimal() and not _runs(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    if os.name != "posix":  # there, signal 0 is none to ask with
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or a system that cannot tell
        return True
    return True
