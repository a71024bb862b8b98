"""Captions from a list or a file.  One caption a line, or a manifest -> list of captions."""

import json
from collections.abc import Sequence
from pathlib import Path

from wavtext.errors import ManifestError

CAPTION_BANK = Path(__file__).with_name("caption_bank.txt")
"""Captions of everyday sounds that the project wrote: one or two for each kind of sound."""


def read_captions(captions: Sequence[str] | Path | str) -> list[str]:
    """Distinct captions in their order.

    Args:
        captions: The captions themselves; or the path of a text file with one caption a line, or
            of a JSON-lines manifest whose rows have "captions" (a list) or "caption".

    Raises:
        ManifestError: The file cannot be read, or there is no caption.
    """
    if not isinstance(captions, str | Path):
        listed, place = list(captions), "the list of captions"
    else:
        place = str(captions)
        try:
            text = Path(captions).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ManifestError(
                f"{place}: captions cannot be read: {reason}.",
                help="Give a text file with one caption a line, or a manifest.",
            ) from error
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        listed = _from_json(lines, place) if lines and lines[0].startswith("{") else lines
    distinct = list(dict.fromkeys(caption.strip() for caption in listed if caption.strip()))
    if not distinct:
        raise ManifestError(f"{place} holds no caption.")
    return distinct


def _from_json(lines: list[str], place: str) -> list[str]:
    captions: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            found = row["captions"] if "captions" in row else [row["caption"]]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ManifestError(
                f"{place}: line {number} is no JSON object with 'captions' or 'caption'."
            ) from error
        captions += [str(caption) for caption in found]
    return captions
