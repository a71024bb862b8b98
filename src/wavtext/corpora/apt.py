"""Debian packages without root.  A package name -> its files, inside a folder of ours.

`apt-get download` needs no root, and where the system's package lists are empty or stale it works
with lists of our own, kept in a folder. Packages are unpacked by reading `dpkg-deb`'s tar stream:
only wanted regular files are written, and never outside the folder.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from wavtext.errors import CollectError

MAX_FILE_BYTES = 512 * 2**20  # one unpacked file; sounds are smaller, tar bombs are not


def apt_available() -> bool:
    """Whether this system can fetch and unpack Debian packages."""
    return bool(shutil.which("apt-get") and shutil.which("dpkg-deb"))


class Apt:
    """Fetches packages with `apt-get download`, with package lists of our own if need be.

    Args:
        folder: Where lists, cache and downloads go; made if it is not there.
        timeout: Seconds after which one `apt-get` is given up.
    """

    def __init__(self, folder: Path, *, timeout: float = 900.0) -> None:
        self._folder = folder.resolve()
        self._timeout = timeout
        self._private_lists = False

    def download(self, package: str) -> Path:
        """Fetch one package as a `.deb` into the folder.

        Raises:
            CollectError: apt-get is missing, or fails with the system's lists and with ours.
        """
        if not apt_available():
            raise CollectError(
                "this system has no apt-get and dpkg-deb.", help="Use a Debian or Ubuntu system."
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            return self._download(package)
        except CollectError:
            if self._private_lists:
                raise
        self._update()
        return self._download(package)

    def _download(self, package: str) -> Path:
        # An empty folder for each call: what lies in it afterwards is what apt fetched.
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="download-") as temporary:
            self._apt_get("download", package, cwd=Path(temporary))
            found = list(Path(temporary).glob("*.deb"))
            if len(found) != 1:
                raise CollectError(f"{package}: apt-get fetched {len(found)} packages, not 1.")
            target = self._folder / found[0].name
            found[0].replace(target)
        return target

    def _update(self) -> None:
        (self._folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (self._folder / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        self._private_lists = True
        # One source that fails must not stop us: the download that follows says what is wrong.
        self._apt_get("update", cwd=self._folder, check=False)

    def _apt_get(self, *arguments: str, cwd: Path, check: bool = True) -> None:
        options = {
            "Acquire::Retries": "3",
            "Acquire::http::Timeout": "60",
            "APT::Sandbox::User": "",
        }
        if self._private_lists:
            options["Dir::State::Lists"] = str(self._folder / "lists")
            options["Dir::Cache"] = str(self._folder / "cache")
        command = ["apt-get", "-q", "-y"]
        for name, value in options.items():
            command += ["-o", f"{name}={value}"]
        try:
            done = subprocess.run(
                [*command, *arguments],
                cwd=cwd,
                env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=self._timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CollectError(
                f"apt-get {' '.join(arguments)}: no end after {self._timeout:.0f} s."
            ) from error
        if check and done.returncode != 0:
            lines = [line for line in done.stdout.splitlines() if line.startswith("E:")]
            reason = lines[0] if lines else f"exit status {done.returncode}"
            raise CollectError(f"apt-get {' '.join(arguments)}: {reason}")


def unpack(package: Path, folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """Write the wanted files of a `.deb` under `folder`; returns where they are.

    Raises:
        CollectError: The package is damaged.
    """
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(package)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        try:
            written = list(unpack_tar(process.stdout, folder, wanted))
        except tarfile.TarError as error:
            raise CollectError(f"{package.name}: damaged package: {error}.") from error
        finally:
            process.stdout.close()
    if process.returncode != 0:
        raise CollectError(f"{package.name}: dpkg-deb cannot read it; it may be cut short.")
    return written


def unpack_tar(
    stream: IO[bytes], folder: Path, wanted: Callable[[str], bool], *, limit: int = MAX_FILE_BYTES
) -> Iterator[Path]:
    """Write the wanted regular files of a tar stream; links, devices and escapes are passed over.

    Args:
        stream: An uncompressed tar; read to its end.
        folder: Nothing is written outside it.
        wanted: Called with the name without a leading `./`.
        limit: Bytes; larger files are passed over.
    """
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            inside = not name.is_absolute() and ".." not in name.parts
            if not (inside and member.isfile() and member.size <= limit and wanted(str(name))):
                continue
            source = archive.extractfile(member)
            assert source is not None
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(folder.resolve()):
                continue  # a link that was there before leads outside
            partial = target.with_name(f".{target.name}.partial")
            with partial.open("wb") as file:
                shutil.copyfileobj(source, file, 2**20)
            partial.replace(target)
            yield target
    while stream.read(2**20):  # to the end, or dpkg-deb fails on a closed pipe
        pass


def file_checksum(path: Path) -> str:
    """SHA-256 of a file as `sha256:<hex>`."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
