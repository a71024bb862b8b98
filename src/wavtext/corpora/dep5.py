"""Licences of files from Debian's machine-readable copyright files (DEP 5).

A copyright file names files by their place in the *source*; we have them where the package
installs them. So a pattern is matched by its last parts, and the answer says how it was found. What
cannot be told is "unclear".
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

UNCLEAR = "unclear"

# Debian's short names -> SPDX. Names that are already SPDX's stay.
_SPDX = {
    "expat": "MIT", "mit": "MIT", "cc0": "CC0-1.0", "cc-0": "CC0-1.0", "cc0-1.0": "CC0-1.0",
    "public-domain": "LicenseRef-public-domain", "public domain": "LicenseRef-public-domain",
    "bsd-3-clause": "BSD-3-Clause", "bsd-2-clause": "BSD-2-Clause", "zlib": "Zlib",
    "artistic": "Artistic-1.0-Perl", "artistic-2.0": "Artistic-2.0", "wtfpl": "WTFPL",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileLicense:
    """The licence of one file and how it was found."""

    license: str  # SPDX where the short name is known; UNCLEAR
    credit: str  # the copyright holders, one after another
    basis: str  # "file", "pattern", "folder", "whole package", or why it is unclear


@dataclass(frozen=True, slots=True)
class _Paragraph:
    patterns: tuple[str, ...]
    license: str
    credit: str


class CopyrightFile:
    """A package's copyright file, asked for the licence of an installed file."""

    def __init__(self, text: str) -> None:
        self._paragraphs: list[_Paragraph] = []
        self.machine_readable = bool(
            re.match(r"\s*(?:#[^\n]*\n)*\s*Format(?:-Specification)?:", text, re.IGNORECASE)
        )
        for fields in _paragraphs(text) if self.machine_readable else ():
            if "files" in fields:
                self._paragraphs.append(
                    _Paragraph(
                        patterns=tuple(fields["files"].replace(",", " ").split()),
                        license=_spdx(fields.get("license", "").split("\n")[0]),
                        credit=_holders(fields.get("copyright", "")),
                    )
                )

    def license_of(self, installed: str) -> FileLicense:
        """The licence of a file, by the place it is installed at (without a leading `/`).

        The most telling pattern wins; of equally telling ones the last, as DEP 5 says, unless they
        differ in licence: then it cannot be told which of them is meant.
        """
        if not self.machine_readable:
            return FileLicense(UNCLEAR, "", "copyright file is not machine-readable")
        best: list[tuple[tuple[int, int], str, _Paragraph]] = []
        for paragraph in self._paragraphs:
            found = [match for each in paragraph.patterns if (match := _match(each, installed))]
            if found:
                best.append((*max(found), paragraph))
        if not best:
            return FileLicense(UNCLEAR, "", "no pattern fits")
        top = max(score for score, _, _ in best)
        winners = [(basis, paragraph) for score, basis, paragraph in best if score == top]
        licenses = {paragraph.license for _, paragraph in winners}
        basis, paragraph = winners[-1]
        if basis != "whole package" and len(licenses) > 1:
            return FileLicense(UNCLEAR, "", f"could be {' or '.join(sorted(licenses))}")
        return FileLicense(paragraph.license or UNCLEAR, paragraph.credit, basis)


def _match(pattern: str, installed: str) -> tuple[tuple[int, int], str] | None:
    """How well a source pattern fits an installed file: ((kind, parts in common), basis)."""
    if pattern in ("*", "./*"):
        return (0, 0), "whole package"
    path = PurePosixPath(installed)
    parts = PurePosixPath(pattern.removeprefix("./")).parts
    last = parts[-1]
    if last in ("*", "*.*", "**"):
        folders = [part for part in parts[:-1] if part != "*"]
        if not folders:
            return None
        # data/sounds/*: the folder "sounds" somewhere on the way, with what stood before it.
        for position in range(len(path.parts) - 2, -1, -1):
            if fnmatchcase(path.parts[position], folders[-1]):
                return (1, _common(folders, path.parts[: position + 1])), "folder"
        return None
    if not fnmatchcase(path.name, last):
        return None
    exact = not any(sign in last for sign in "*?")
    common = _common(list(parts[:-1]), path.parts[:-1])
    return (3 if exact else 2, common), "file" if exact else "pattern"


def _common(pattern: list[str] | tuple[str, ...], path: tuple[str, ...]) -> int:
    """Folders that agree, counted from the innermost outwards."""
    count = 0
    for one, other in zip(reversed(pattern), reversed(path), strict=False):
        if not fnmatchcase(other, one):
            break
        count += 1
    return count


def _paragraphs(text: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for block in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in " \t" and name:
                fields[name] += "\n" + line.strip()
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        found.append(fields)
    return found


def _spdx(short_name: str) -> str:
    names = re.split(r"\s+(and|or)\s+", short_name.strip(), flags=re.IGNORECASE)
    return " ".join(n.upper() if n.lower() in ("and", "or") else _spdx_one(n) for n in names)


def _spdx_one(name: str) -> str:
    name = name.strip().strip(",")
    known = _SPDX.get(name.lower())
    if known or not name:
        return known or ""
    match = re.fullmatch(r"(A?L?GPL)[- ]?v?(\d)(\.\d)?(\+)?", name, re.IGNORECASE)
    if match:
        family, major, minor, later = match.groups()
        kind = "or-later" if later else "only"
        return f"{family.upper()}-{major}{minor or '.0'}-{kind}"
    if re.fullmatch(r"CC-BY(-NC)?(-SA|-ND)?(-\d\.\d)(-\w+)?", name, re.IGNORECASE):
        return name.upper()
    return name.replace(" ", "-")


def _holders(text: str) -> str:
    lines = [re.sub(r"\s+", " ", line).strip(" .") for line in text.splitlines()]
    return "; ".join(line for line in lines if line)[:500]
