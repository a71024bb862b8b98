"""Where sounds and Parquet files lie: folders, globs, and whatever fsspec reaches (s3://, gs://).

Sources -> a listing of sound files, all below one root; a file name -> its bytes, written whole or
not at all.
"""

import glob
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from wavtext.audio.decode import AUDIO_SUFFIXES
from wavtext.errors import LibraryError, MissingExtraError, WavtextError
from wavtext.library.scan import scan_folder

OLD = 86_400  # seconds after which nobody writes to a file any more
_WILD = "*?["


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A sound file, wherever it lies."""

    path: str  # relative to the listing's root, '/' between parts
    size: int  # bytes
    mtime_ns: int  # since 1970; 0 where the place does not say


@dataclass(frozen=True, slots=True)
class Listing:
    """The sound files that were named, in the order of their paths."""

    root: str  # an absolute path, or an address such as s3://bucket/prefix
    files: list[SourceFile]
    problems: dict[str, str] = field(default_factory=dict[str, str])  # path -> reason


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
            self._system, self._root = _file_system(self.url)

    def names(self, suffix: str) -> list[str]:
        """The files directly inside that end so, sorted; none where there is no such folder."""
        with _named(self.url, "listed"):
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
        with _named(self.url, "listed"):
            found: dict[str, Any] = self._system.find(self._root, detail=True)
        prefix = f"{self._root.rstrip('/')}/"
        return {
            str(name).removeprefix(prefix): _state(info)
            for name, info in found.items()
            if str(name).startswith(prefix)
        }

    def state(self, name: str) -> tuple[int, int] | None:
        """(size, time) of a file; None when there is no such file."""
        try:
            if self.remote:
                found = self._system.info(join(self._root, name))
                return _state(found) if found.get("type", "file") == "file" else None
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
        with _named(join(self.url, name), "removed"):
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
        with _named(join(self.url, name), "written"):
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


def list_sources(sources: Sequence[str | Path], leave_out: str = "") -> Listing:
    """The sound files of folders, files, globs and addresses.

    Args:
        sources: Folders (with all folders inside), files, globs such as "sounds/**/*.wav", and the
            same at an address: s3://bucket/prefix.
        leave_out: A folder inside the sources that is not to be read.

    Raises:
        LibraryError: Nothing is there, or sources lie in different places that share no root.
    """
    listings = [_list_source(str(each), leave_out) for each in sources]
    root = _common_root([each.root for each in listings])
    files: dict[str, SourceFile] = {}
    problems: dict[str, str] = {}
    for each in listings:
        inside = each.root.removeprefix(root).strip("/")
        prefix = f"{inside}/" if inside else ""
        for file in each.files:
            path = prefix + file.path
            files[path] = SourceFile(path, file.size, file.mtime_ns)
        problems.update({prefix + path: reason for path, reason in each.problems.items()})
    for path in [path for path in files if not _is_text(path)]:
        del files[path]
        shown = path.encode(errors="backslashreplace").decode()
        problems[shown] = "its name is not UTF-8, which Parquet asks for; rename it"
    return Listing(root, [files[path] for path in sorted(files)], problems)


def local_path(url: str) -> str:
    """A path without file://, absolute."""
    return os.path.abspath(Path(url.removeprefix("file://")).expanduser())


def _list_source(source: str, leave_out: str) -> Listing:
    if is_remote(source):
        return _list_remote(source)
    path = local_path(source)
    if os.path.isdir(path):
        scan = scan_folder(Path(path), AUDIO_SUFFIXES, exclude=Path(leave_out or "."))
        files = [SourceFile(name, *state) for name, state in scan.files.items()]
        return Listing(path, files, dict(scan.problems))
    if os.path.exists(path):
        return _local_files([path], os.path.dirname(path))
    root, found = _wild_root(path), []
    if root != path:
        found = sorted(each for each in glob.glob(path, recursive=True) if os.path.isfile(each))
    if not found:
        raise LibraryError(f"{source}: no such folder or file.", help="Check the spelling.")
    return _local_files([each for each in found if _is_sound(each)], root)


def _local_files(paths: Iterable[str], root: str) -> Listing:
    files: list[SourceFile] = []
    for path in paths:
        info = os.stat(path)
        files.append(SourceFile(os.path.relpath(path, root), info.st_size, info.st_mtime_ns))
    return Listing(root, files)


def _list_remote(source: str) -> Listing:
    scheme = source.split("://", 1)[0]
    if any(character in source for character in _WILD):
        root = _wild_root(source)
        system, pattern = _file_system(source)
        with _named(source, "listed"):
            found: dict[str, Any] = system.glob(pattern, detail=True)
        infos = {
            f"{scheme}://{name}".removeprefix(f"{root}/"): _state(info)
            for name, info in found.items()
            if info.get("type") == "file"
        }
    else:
        place = Place(source)
        root, infos = place.url, place.find()
        if not infos:  # a single file
            root, _, name = place.url.rpartition("/")
            state = Place(root).state(name)
            infos = {name: state} if state else {}
    files = [SourceFile(name, *state) for name, state in infos.items() if _is_sound(name)]
    if not files:
        raise LibraryError(f"{source}: no sounds are there.", help="Check the address.")
    return Listing(root, files)


def _common_root(roots: Sequence[str]) -> str:
    if len(set(roots)) == 1:
        return roots[0]
    schemes = {each.split("://", 1)[0] if is_remote(each) else "" for each in roots}
    common = os.path.commonpath([each.split("://", 1)[-1] for each in roots]) if roots else ""
    if len(schemes) != 1 or not common.strip("/"):
        raise LibraryError(
            f"{', '.join(roots)}: share no folder.", help="Embed each into an --out of its own."
        )
    (scheme,) = schemes
    return f"{scheme}://{common}" if scheme else common


def _wild_root(pattern: str) -> str:
    """The part of a pattern before the first folder with a wild card in it."""
    parts = pattern.split("/")
    wild = [i for i, part in enumerate(parts) if any(each in part for each in _WILD)]
    return "/".join(parts[: wild[0]]) if wild else pattern


def _is_sound(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return not last.startswith(".") and os.path.splitext(last)[1].lower() in AUDIO_SUFFIXES


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _state(info: dict[str, Any]) -> tuple[int, int]:
    """(size, time in ns) of what a file system tells of a file."""
    changed = info.get("LastModified") or info.get("updated") or info.get("mtime") or 0
    if isinstance(changed, str):
        changed = datetime.fromisoformat(changed)
    seconds = changed.timestamp() if isinstance(changed, datetime) else float(changed)
    return int(info.get("size") or 0), round(seconds * 1e9)


def _file_system(url: str) -> tuple[Any, str]:
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
def _named(place: str, verb: str) -> Generator[None]:
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
