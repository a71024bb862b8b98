"""Free-software sounds: Debian's sound packages -> clips that anyone may redistribute and rebuild.

    OUT/packages/<package>/...     the sounds, where the package installs them, and its copyright
    OUT/packages/<package>/.complete.json    which version; a package without it is fetched again

Packages come from a committed list, by `apt-get download`, without root. A title is what the
package says of a sound where it says it (Tux Paint's texts), else the words of the file's name; the
description is the folders' names. Each file's licence is read from the package's copyright file.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

from wavtext.audio.decode import AUDIO_SUFFIXES
from wavtext.corpora.apt import Apt, apt_available, file_checksum, unpack
from wavtext.corpora.collection import Rejected
from wavtext.corpora.dep5 import UNCLEAR, CopyrightFile, FileLicense
from wavtext.corpora.manifest import Clip
from wavtext.corpora.names import family_of_name, words_of_folders, words_of_name
from wavtext.errors import CollectError, ManifestError

MARKER = ".complete.json"


@dataclass(frozen=True, slots=True)
class PackageRule:
    """One line of the package list."""

    package: str
    skip: tuple[str, ...] = ()  # shell patterns of files to leave out
    abbreviations: Mapping[str, str] = field(default_factory=dict[str, str])


def read_package_list(path: Path | None = None) -> list[PackageRule]:
    """The packages of a list; None: the one that comes with wavtext.

    Raises:
        ManifestError: The list cannot be read, or a line is not `package [!pattern] [word=words]`.
    """
    name = str(path) if path else "debian_packages.txt"
    try:
        place = path or files("wavtext.corpora").joinpath("data/debian_packages.txt")
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{name}: cannot be read: {error}.") from error
    rules: list[PackageRule] = []
    everywhere: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        package, *tokens = line.split("#")[0].split() or [""]
        skip = tuple(token[1:] for token in tokens if token.startswith("!"))
        pairs = [token.split("=", 1) for token in tokens if not token.startswith("!")]
        if any(len(pair) != 2 for pair in pairs):
            raise ManifestError(f"{name}:{number}: expected: package !skip-pattern word=words.")
        if package == "*":
            everywhere += skip
        elif re.fullmatch(r"[a-z0-9][a-z0-9+.\-]+", package):
            abbreviations = {word: words.replace("_", " ") for word, words in pairs}
            rules.append(PackageRule(package, skip + everywhere, abbreviations))
        elif package:
            raise ManifestError(f"{name}:{number}: {package!r} is not the name of a package.")
    return rules


def debian_clips(
    out: Path, *, packages: Path | None = None, say: Callable[[str], None] = lambda line: None
) -> Iterator[Clip | Rejected]:
    """Fetch the packages that are not there yet; then their sounds as clips, in the list's order.

    Args:
        out: The collection's folder.
        packages: Another package list.
        say: Told what is being fetched.

    Raises:
        CollectError: There is no apt-get, and nothing was fetched before.
    """
    rules = read_package_list(packages)
    root = out / "packages"
    if not apt_available() and not any(root.glob(f"*/{MARKER}")):
        raise CollectError(
            "this system has no apt-get and dpkg-deb.", help="Use a Debian or Ubuntu system."
        )
    apt = Apt(out / ".apt")
    failed: dict[str, str] = {}
    for rule in rules:
        if not (root / rule.package / MARKER).is_file():
            say(f"Fetching {rule.package}")
            try:
                _fetch(apt, rule, root / rule.package)
            except CollectError as error:
                failed[rule.package] = str(error)
                say(str(error))
    shutil.rmtree(out / ".apt", ignore_errors=True)
    for rule in rules:
        if rule.package in failed:
            yield Rejected(f"debian/{rule.package}", "package failed", failed[rule.package])
        else:
            yield from _package_clips(root / rule.package, rule)


def _fetch(apt: Apt, rule: PackageRule, folder: Path) -> None:
    archive = apt.download(rule.package)
    try:
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left
        unpack(archive, folder, lambda name: _wanted(name, rule))
        _, version, _ = (*archive.stem.split("_"), "", "")[:3]
        marker = {"version": version.replace("%3a", ":"), "checksum": file_checksum(archive)}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).write_text(json.dumps(marker) + "\n", encoding="utf-8")
    finally:
        archive.unlink()


def _wanted(name: str, rule: PackageRule) -> bool:
    path = PurePosixPath(name)
    if any(fnmatchcase(name, pattern) for pattern in rule.skip):
        return False
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return True
    copyright_file = PurePosixPath("usr/share/doc") / rule.package / "copyright"
    return path == copyright_file or (path.suffix == ".txt" and "stamps" in path.parts)


def _package_clips(folder: Path, rule: PackageRule) -> Iterator[Clip]:
    marker: dict[str, Any] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    copyright_path = folder / "usr/share/doc" / rule.package / "copyright"
    licenses = None
    if copyright_path.is_file():
        licenses = CopyrightFile(copyright_path.read_text(encoding="utf-8", errors="replace"))
    for path in sorted(folder.rglob("*")):
        installed = PurePosixPath(path.relative_to(folder).as_posix())
        is_sound = path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
        # Asked again: the list may leave out more than when the package was fetched.
        if not is_sound or not _wanted(str(installed), rule):
            continue
        title, title_from = _title(path, rule)
        if licenses is None:
            found = FileLicense(UNCLEAR, "", "the package has no copyright file of its own")
        else:
            found = licenses.license_of(str(installed))
        own_names = {rule.package, *rule.package.split("-")}
        folders = [part for part in installed.parts[:-1] if part.lower() not in own_names]
        context = words_of_folders(folders, rule.abbreviations)
        columns = {
            "title": title,
            "description": "" if context == title else context,
            "title_from": title_from,
            "license_from": found.basis,
            "package_version": str(marker["version"]),
        }
        yield Clip(
            clip_id=f"debian/{rule.package}/{installed}",
            path=path,
            group=f"debian/{rule.package}/{family_of_name(installed)}",
            source=f"debian/{rule.package}",
            license=found.license,
            credit=found.credit,
            columns={name: value for name, value in columns.items() if value},
        )


def _title(path: Path, rule: PackageRule) -> tuple[str, str]:
    """What the sound is called, and where that is from."""
    text = path.with_suffix(".txt")
    if text.is_file():  # Tux Paint: the first line is English, translations follow
        lines = text.read_text(encoding="utf-8", errors="replace").splitlines()
        if lines and lines[0].strip():
            return lines[0].strip().rstrip("."), "text of the package"
    return words_of_name(path.stem, rule.abbreviations), "file name"
