"""Where files lie: folders, and whatever fsspec reaches (s3://, gs://).

A file's name -> its bytes, written whole or not at all.
"""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from wavtext.errors import LibraryError, MissingExtraError, WavtextError

OLD = 86_400  # seconds after which nobody writes to a file any more


def is_remote(place: str) -> bool:
    """Whether a place is an address rather than a path."""
    return "://" in place and not place.startswith("file://")


def join(root: str, path: str) -> str:
    """The address or path of a file below a root."""
    return f"{root.rstrip('/')}/{path}"


class Place:
    """A folder, here or at an address that fsspec knows.

    Args:
        url: A path, or an address such as s3://bucket/prefix.

    Raises:
        LibraryError: No file system goes by the address's first word.
        MissingExtraError: fsspec, or what it needs for this address, is not installed.
    """

    def __init__(self, url: str) -> None:
        self.remote = is_remote(url)
        self.url = url.rstrip("/") if self.remote else local_path(url)
        self._system: Any = None
        self._root = self.url
        if self.remote:
            self._system, self._root = file_system(self.url)

    def names(self, suffix: str) -> list[str]:
        """The files directly inside that end so, sorted; none where there is no such folder."""
        with named_errors(self.url, "listed"):
            if not self.remote:
                folder = Path(self.url)
                found = [each.name for each in folder.iterdir()] if folder.is_dir() else []
            else:
                self._system.invalidate_cache()
                if not self._system.exists(self._root):
                    return []
                listed = self._system.ls(self._root, detail=False)
                found = [str(each).rstrip("/").rsplit("/", 1)[-1] for each in listed]
        return sorted(each for each in found if each.endswith(suffix) and not each.startswith("."))

    def find(self) -> dict[str, tuple[int, int]]:
        """All files below: relative path -> (size in bytes, time in ns)."""
        with named_errors(self.url, "listed"):
            found: dict[str, Any] = self._system.find(self._root, detail=True)
        prefix = f"{self._root.rstrip('/')}/"
        return {
            str(name).removeprefix(prefix): file_state(info)
            for name, info in found.items()
            if str(name).startswith(prefix)
        }

    def state(self, name: str) -> tuple[int, int] | None:
        """(size, time) of a file; None when there is no such file."""
        try:
            if self.remote:
                found = self._system.info(join(self._root, name))
                return file_state(found) if found.get("type", "file") == "file" else None
            info = os.stat(join(self.url, name))
            return (info.st_size, info.st_mtime_ns) if stat.S_ISREG(info.st_mode) else None
        except FileNotFoundError:
            return None

    def open(self, name: str) -> Any:
        """A file for reading, as a binary stream that can seek."""
        if self.remote:
            return self._system.open(join(self._root, name), "rb")
        return Path(self.url, name).open("rb")

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to this machine."""
        if self.remote:
            self._system.get_file(join(self._root, name), str(target))
        else:
            shutil.copyfile(join(self.url, name), target)

    def remove(self, name: str) -> None:
        """Delete a file; no error when it is gone."""
        with named_errors(join(self.url, name), "removed"):
            try:
                if self.remote:
                    self._system.rm_file(join(self._root, name))
                else:
                    os.unlink(join(self.url, name))
            except FileNotFoundError:
                return

    def clear(self, beginning: str) -> None:
        """Delete what `writing` left under such names when it was killed, a day ago or longer."""
        if self.remote:
            return
        for path in Path(self.url).glob(f".{beginning}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > OLD:
                    path.unlink()

    @contextmanager
    def writing(self, name: str) -> Generator[Path]:
        """A path to write to; what is there when the block ends well takes the name at once."""
        with named_errors(join(self.url, name), "written"):
            if not self.remote:
                Path(self.url).mkdir(parents=True, exist_ok=True)
            folder = None if self.remote else self.url
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
            try:
                os.close(handle)
                yield Path(temporary)
                if self.remote:
                    self._system.put_file(temporary, join(self._root, name))
                    return
                with open(temporary, "rb") as file:
                    os.fsync(file.fileno())
                umask = os.umask(0)
                os.umask(umask)
                os.chmod(temporary, 0o666 & ~umask)
                os.replace(temporary, join(self.url, name))
            finally:
                Path(temporary).unlink(missing_ok=True)


def local_path(url: str) -> str:
    """A path without file://, absolute."""
    return os.path.abspath(Path(url.removeprefix("file://")).expanduser())


def file_state(info: dict[str, Any]) -> tuple[int, int]:
    """(size, time in ns) of what a file system tells of a file."""
    changed = info.get("LastModified") or info.get("updated") or info.get("mtime") or 0
    if isinstance(changed, str):
        changed = datetime.fromisoformat(changed)
    seconds = changed.timestamp() if isinstance(changed, datetime) else float(changed)
    return int(info.get("size") or 0), round(seconds * 1e9)


def file_system(url: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it, as fsspec has them.

    Raises:
        LibraryError: No file system goes by the address's first word.
        MissingExtraError: fsspec, or what it needs for this address, is not installed.
    """
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError("cloud", url) from error
    try:
        system, path = cast(Any, fsspec).core.url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError("cloud", url) from error
    except ValueError as error:
        raise LibraryError(f"{url}: {error}.", help="Use a path, or s3://...") from error
    return system, str(path)


@contextmanager
def named_errors(place: str, verb: str) -> Generator[None]:
    """Give errors of the file system the place's name."""
    try:
        yield
    except WavtextError:
        raise
    except Exception as error:  # clients of object stores have exceptions of their own
        if not isinstance(error, OSError) and not is_remote(place):
            raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise LibraryError(f"{place}: cannot be {verb}: {reason}.") from error
