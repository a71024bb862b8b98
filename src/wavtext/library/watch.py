"""Follow a folder: index whenever it has changed and come to rest.

Polls, because that works on every disk, network shares included: one look costs about as much as
`ls -R`, and files that are still being written wait until their size and time stay the same.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from wavtext.audio.decode import AUDIO_SUFFIXES
from wavtext.errors import BusyLibraryError, LibraryError
from wavtext.library.scan import FileState, scan_folder


def watch_folder(
    folder: Path,
    act: Callable[[], None],
    stop: threading.Event,
    *,
    trouble: Callable[[LibraryError], None],
    interval: float = 2.0,
) -> None:
    """Call `act` now and after every change, until `stop` is set.

    Args:
        folder: What to follow; may be away for a while, as a disk that is unplugged.
        act: Brings the library up to date.
        stop: Ends the watch.
        trouble: Told of what kept `act` from working after the first time; the watch goes on.
        interval: Seconds between looks.
    """
    done = last = _look(folder)
    try:
        act()
    except BusyLibraryError as error:
        trouble(error)
        done = None
    while not stop.wait(interval):
        began = time.monotonic()
        now = _look(folder)
        if now is not None and now != done and now == last:  # changed, and at rest since
            try:
                act()
                done = now
            except BusyLibraryError as error:  # another process indexes: look again afterwards
                if done is not None:
                    trouble(error)
                done = None
            except LibraryError as error:  # no sound is left, a disk that cannot be written, ...
                done = now
                trouble(error)
        last = now
        looking = time.monotonic() - began
        if looking > interval / 10 and stop.wait(10 * looking):  # a huge folder: look less often
            return


def _look(folder: Path) -> dict[str, FileState] | None:
    try:
        return scan_folder(folder, AUDIO_SUFFIXES).files
    except LibraryError:
        return None
