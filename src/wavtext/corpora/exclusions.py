"""Exclusion lists: clips that must not be used, and why.  JSON lines <-> `Exclusions`.

`wavtext corpus check` writes them; `collect` and `pack` take one by `--exclude`, and training
honours the one called `exclude.jsonl` beside its manifest. A line names a clip by id,
and by checksum where it is known: the same id in another collection is another clip.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wavtext.corpora.manifest import Clip, read_manifest, write_atomically
from wavtext.errors import ManifestError

LIST_NAME = "exclude.jsonl"  # beside a manifest: the list that training honours


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One clip to leave out."""

    clip_id: str
    reason: str  # few, fixed words: they are counted
    detail: str = ""  # which other clip, which words
    checksum: str = ""  # of the sound, "sha256:..."; empty: the id alone decides


class Exclusions:
    """An exclusion list, for asking whether a clip is on it."""

    def __init__(self, exclusions: Iterable[Exclusion], *, path: Path = Path()) -> None:
        self.path = path
        self._by_id: dict[str, list[Exclusion]] = {}
        for each in exclusions:
            self._by_id.setdefault(each.clip_id, []).append(each)

    @classmethod
    def read(cls, path: Path | str) -> "Exclusions":
        """The list in a file.

        Raises:
            ManifestError: It cannot be read, or a line is not an exclusion.
        """
        path = Path(path)
        found: list[Exclusion] = []
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError(f"{path}: cannot be read: {error}.") from error
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                values: dict[str, Any] = json.loads(line)
                found.append(Exclusion(**values))
            except (ValueError, TypeError) as error:
                raise ManifestError(
                    f"{path}:{number}: not an exclusion: {error}.",
                    help="`wavtext corpus check` writes such lists.",
                ) from error
        return cls(found, path=path)

    def __len__(self) -> int:
        return sum(len(each) for each in self._by_id.values())

    def reason(self, clip: Clip) -> str:
        """Why the clip is to be left out; empty when it is not."""
        for each in self._by_id.get(clip.clip_id, ()):
            if not each.checksum or not clip.checksum or each.checksum == clip.checksum:
                return each.reason
        return ""

    def keep(self, clips: Iterable[Clip]) -> list[Clip]:
        """The clips that are not on the list."""
        return [clip for clip in clips if not self.reason(clip)]


def read_usable_clips(manifest: Path | str) -> list[Clip]:
    """A manifest's clips without those that `exclude.jsonl` in its folder lists, if it is there."""
    clips = read_manifest(manifest)
    listed = Path(manifest).parent / LIST_NAME
    return Exclusions.read(listed).keep(clips) if listed.is_file() else clips


def write_exclusions(path: Path, exclusions: Iterable[Exclusion]) -> None:
    """Write the list as JSON lines, atomically."""
    write_atomically(
        path, (json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in exclusions)
    )
