"""Which clips a search may find: by duration, folder, format, rate, date, licence, tag."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import PurePosixPath
from typing import Any

from wavtext.errors import QueryError

_NEVER = 2**63  # nanoseconds: what SQLite holds, the year 2262


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Conditions that all must hold; the defaults let everything pass.

    Attributes:
        min_duration: Seconds.
        max_duration: Seconds.
        folder: A folder inside the library's, which the clip lies in at any depth.
        formats: Any of these words in the format or the suffix, such as "wav" or "flac".
        min_sample_rate: Hz.
        channels: Exactly so many.
        after: File changed on this day or later, "2024-05-31".
        before: File changed before this day.
        licence: Words in the licence, such as "CC0".
        tags: All of these tags.
    """

    min_duration: float | None = None
    max_duration: float | None = None
    folder: str | None = None
    formats: tuple[str, ...] = ()
    min_sample_rate: int | None = None
    channels: int | None = None
    after: str | None = None
    before: str | None = None
    licence: str | None = None
    tags: tuple[str, ...] = ()

    def to_sql(self) -> tuple[str, list[Any]]:
        """A condition on `clips LEFT JOIN notes`, and its values; "" when everything passes.

        Raises:
            LibraryError: A date is not one.
        """
        terms: list[tuple[str, list[Any]]] = []
        if self.min_duration is not None:
            terms.append(("duration >= ?", [self.min_duration]))
        if self.max_duration is not None:
            terms.append(("duration <= ?", [self.max_duration]))
        if self.folder:
            inside = str(PurePosixPath(self.folder.strip("/")))
            if inside != ".":
                terms.append(("substr(path, 1, ?) = ?", [len(inside) + 1, f"{inside}/"]))
        if self.formats:
            words = [f"%{_escape(word.lower().lstrip('.'))}%" for word in self.formats]
            suffixes = [f"%.{_escape(word.lower().lstrip('.'))}" for word in self.formats]
            either = " OR ".join(
                ["lower(format) LIKE ? ESCAPE '!'"] * len(words)
                + ["lower(path) LIKE ? ESCAPE '!'"] * len(suffixes)
            )
            terms.append((f"({either})", [*words, *suffixes]))
        if self.min_sample_rate is not None:
            terms.append(("sample_rate >= ?", [self.min_sample_rate]))
        if self.channels is not None:
            terms.append(("channels = ?", [self.channels]))
        if self.after:
            terms.append(("mtime_ns >= ?", [nanoseconds(self.after)]))
        if self.before:
            terms.append(("mtime_ns < ?", [nanoseconds(self.before)]))
        if self.licence:
            terms.append(("notes.licence LIKE ? ESCAPE '!'", [f"%{_escape(self.licence)}%"]))
        terms += [
            ("notes.tags LIKE ? ESCAPE '!'", [f"%|{_escape(tag.strip().lower())}|%"])
            for tag in self.tags
        ]
        condition = " AND ".join(term for term, _ in terms)
        return condition, [value for _, values in terms for value in values]


def _escape(text: str) -> str:
    """A text for LIKE ... ESCAPE '!' that stands for itself."""
    for character in "!%_":
        text = text.replace(character, f"!{character}")
    return text


def nanoseconds(day: str) -> int:
    """The beginning of a day, here, in nanoseconds since 1970."""
    try:
        begin = datetime.combine(date.fromisoformat(day), time()).astimezone()
        found = (begin - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    except (ValueError, OverflowError):
        found = _NEVER
    if abs(found) >= _NEVER:
        raise QueryError(
            f"'{day}' is no date that a file can have.", help="Write it as 2024-05-31."
        )
    return found
