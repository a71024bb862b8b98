"""Which licences may train the shipped weights.  A clip's licence string -> clear or not, and why.

Every licence that the string names must be one of: CC0 / public domain, CC BY, CC BY-SA,
ODbL/DbCL, MIT, BSD, zlib, Apache, WTFPL, GPL, LGPL.  A string that names anything else, names
nothing, or is cut short ("...") is not clear.  Words such as "per file" or "mod licence file" say
where the licence stands and name none.
"""

import re

ALLOWED = re.compile(
    r"^(cc0|cc[- ]?0|public[- ]domain|pd"
    r"|cc[- ]by([- ]sa)?|odbl|dbcl"
    r"|mit|expat|bsd([- ][23][- ]clause)?|zlib|apache([- ]license)?|wtfpl"
    r"|l?gpl(v)?)"  # also "-or-later"
    r"([- ]?v?[0-9](\.[0-9])?(/[0-9](\.[0-9])?)*\+?(-or-later|-only)?)?\+?$"
)
BANNED = re.compile(
    r"\bnc\b|\bnd\b|noncommercial|unspecified|unclear|mixed|\bmix\b|resale|pixabay|\.\.\.",
    re.IGNORECASE,
)
# Parts of a string that say where a licence was read, or whose collection it is: they name no
# licence.
REMARK = re.compile(
    r"\([^)]*\)|\brepo default\b|\bper (file|folder)\b|\bdebian copyright\b|^copyright-format.*",
    re.IGNORECASE,
)


def is_clear(licence: str) -> bool:
    """True when every licence named is on the list and at least one is named."""
    return bool(licence.strip()) and not BANNED.search(licence) and not _unknown(licence)


def named(licence: str) -> list[str]:
    """The single licences that a string names, as written."""
    text = REMARK.sub("", licence)
    text = re.sub(r"(?<=\d)/(?=\d)", "|", text)  # "3.0/4.0" is one licence in two versions
    parts = re.split(r"[;,/]| or | and ", text, flags=re.IGNORECASE)
    return [part.strip().replace("|", "/") for part in parts if part.strip()]


def _unknown(licence: str) -> list[str]:
    names = named(licence)
    return [name for name in names if not ALLOWED.match(name.lower())] if names else [licence]
