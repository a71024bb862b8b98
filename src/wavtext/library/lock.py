"""One indexer at a time: a lock that the operating system releases when its holder dies."""

import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from wavtext.errors import BusyLibraryError, LibraryError


class IndexLock:
    """Held while a process writes to a library; a second one is refused with the first's number.

    The file `LIBRARY.lock` stays behind on purpose: deleting it would let two processes lock two
    different files of one name.
    """

    def __init__(self, library: Path) -> None:
        self.path = Path(f"{library}.lock")
        self._file = -1

    def __enter__(self) -> Self:
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise LibraryError(
                f"{self.path.parent}: cannot be written: {error.strerror}.",
                help="Keep the library elsewhere: --library FILE",
            ) from error
        if not _try_lock(self._file):
            holder = os.pread(self._file, 200, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise BusyLibraryError(
                f"{self.path.with_suffix('')}: being indexed by {holder or 'another process'}.",
                help="Searching works meanwhile; wait until it has finished, or stop it.",
            )
        since = time.strftime("%H:%M:%S")
        note = f"process {os.getpid()} on {socket.gethostname()} since {since}\n"
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, note.encode(), 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._file)


def _try_lock(file: int) -> bool:
    """Lock an open file without waiting; False when another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return _try_lock_windows(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_lock_windows(file: int) -> bool:
    import importlib

    msvcrt = importlib.import_module("msvcrt")
    os.lseek(file, 1_000_000, os.SEEK_SET)  # beyond the note, which stays readable
    try:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True
