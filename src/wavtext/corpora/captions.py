"""Captions: columns -> one caption by a template -> a cleaned caption.

The paper builds captions as "{title}. {description}" (Deshmukh et al. 2022, section 5.4). Cleaning
is a list of small named rules, each of which can be turned off; the rules were written against the
released WavText5K table and are counted there in docs/corpora.md.
"""

import html
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from wavtext.errors import ConfigError

PAPER_TEMPLATE = "{title}. {description}"

Rule = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class CaptionBuilder:
    """Makes captions from columns.

    Args:
        templates: One caption each, as "{title}. {description}"; a column that is empty takes its
            punctuation with it; a template all of whose columns are empty gives no caption.
        rules: Names out of `CLEANING_RULES`, applied in that dictionary's order.
    """

    templates: tuple[str, ...] = (PAPER_TEMPLATE,)
    rules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for template in self.templates:
            if not template_columns(template):
                raise ConfigError(
                    f"the caption template {template!r} names no column.",
                    help="Write columns in braces: '{title}. {description}'.",
                )
        for rule in self.rules:
            if rule not in CLEANING_RULES:
                raise ConfigError(
                    f"no cleaning rule {rule!r}.", help=f"Rules: {', '.join(CLEANING_RULES)}."
                )

    def build(self, columns: Mapping[str, str]) -> tuple[str, ...]:
        """The cleaned captions of one clip, empty ones and repetitions left out."""
        captions = (self.clean(fill_template(template, columns)) for template in self.templates)
        return tuple(dict.fromkeys(caption for caption in captions if caption))

    def clean(self, caption: str) -> str:
        """The caption after the chosen rules; empty when nothing is left."""
        for name, (_, rule) in CLEANING_RULES.items():
            if name in self.rules:
                caption = rule(caption)
        return caption.strip()


def template_columns(template: str) -> list[str]:
    """The columns a template names, in order.

    Raises:
        ConfigError: The braces do not match, or hold more than a name.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"the caption template {template!r} is not one: {error}.") from error
    names = [name for _, name, _, _ in parts if name is not None]
    if any(
        spec or conversion or not name for _, name, spec, conversion in parts if name is not None
    ):
        raise ConfigError(f"the caption template {template!r}: braces must hold a column's name.")
    return names


def fill_template(template: str, columns: Mapping[str, str]) -> str:
    """The template with its columns filled in; empty when all are.

    The text after a column up to the next one goes when the column is empty, and a full stop is not
    doubled: "{title}. {description}" of "Crow." and "Caws." is "Crow. Caws.".
    """
    filled = ""
    skipped = False
    for literal, name, _, _ in string.Formatter().parse(template):
        if not skipped:
            if filled and filled[-1] in ".!?" and literal.startswith("."):
                literal = literal[1:]
            filled += literal
        value = columns.get(name, "").strip() if name else ""
        skipped = name is not None and not value
        filled += value
    used = any(columns.get(name, "").strip() for name in template_columns(template))
    return filled.strip() if used else ""


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?])\s+", text) if part]


def _drop_sentences(pattern: str) -> Rule:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda text: " ".join(each for each in _sentences(text) if not compiled.search(each))


def _remove(pattern: str, flags: re.RegexFlag = re.IGNORECASE) -> Rule:
    compiled = re.compile(pattern, flags)
    return lambda text: compiled.sub("", text)


def _has_words(text: str) -> str:
    return text if re.search(r"[^\W\d_]{2}", text) else ""


# Words that name no particular sound, each with the space after it.
_GENERIC = (
    r"(?:(?:this|the|these|it|its|a|an|another|also|which|sounds?|effects?|clip|song|is|are|was|were"
    r"|would|be|very|cool|great|nice|awesome)\b[ ,]{0,2})*"
)

CLEANING_RULES: dict[str, tuple[str, Rule]] = {
    "markup": (
        "HTML tags and entities become plain text",
        lambda text: html.unescape(re.sub(r"</?[a-zA-Z][^<>]*>", " ", text)),
    ),
    "urls": (
        "web and mail addresses are removed",
        _remove(r"\(?\b(?:https?://|www\.)\S+|\b\S+@\S+\.\w+"),
    ),
    "credits": (
        "sentences that only name or thank people are removed",
        _drop_sentences(
            r"^(?:(?:special |many )?thanks\b|thank you\b|credits?\b|courtesy of\b|by request\b"
            r"|(?:field |sound )?record(?:ed|ing)s? by (?!tickling)"
            r"|(?:created|made|designed|uploaded|provided|voiced|performed) by (?-i:[A-Z])"
            r"|.*\bgive (?:us|me) (?:some |the )?credit\b)"
        ),
    ),
    "requests": (
        'that a sound was requested, and by whom, is removed ("requested by Sam")',
        lambda text: _remove(r",?\s*\b(?:was |were )?requested by\b[^.!?]*")(
            _drop_sentences(rf"^{_GENERIC}request(?:ed)?\b")(text)
        ),
    ),
    "licences": (
        "sentences about licences, prices and downloads are removed",
        _drop_sentences(
            r"\b(?:public domain|royalty[- ]free|creative commons|copyright\w*|personal use"
            r"|free (?:to|for) (?:use|download)|licen[cs]e[ds]?)\b"
        ),
    ),
    "advertising": (
        'sentences of praise and use are removed ("Great for Halloween")',
        _drop_sentences(
            rf"^{_GENERIC}(?:great|good|perfect|useful|ideal|works?)"
            r"(?: (?:sounds?|effects?|clip|also|too))* for\b"
            r"|\b(?:can|could|may|might) (?:also )?be used (?:for|as|in)\b"
            r"|\beasy to loop\b|^enjoy\b"
        ),
    ),
    "cross_references": (
        'references to other sounds of the site are removed ("see sound 0070")',
        _drop_sentences(r"\b(?:see|same .{0,30}as|synchroni[sz]e)\b.{0,25}\b(?:no\.? ?)?\d{3,4}\b"),
    ),
    "emoticons": ("smileys are removed", _remove(r"(?<!\w)[:;=]-?[)(DPp](?!\w)", re.NOFLAG)),
    "whitespace": ("runs of white space become one space", lambda text: " ".join(text.split())),
    "wordless": ("a caption without a word of two letters is emptied", _has_words),
}
"""Rule name -> what it does, and the rule. Applied in this order."""

DEFAULT_RULES: tuple[str, ...] = ("markup", "urls", "emoticons", "whitespace", "wordless")
"""Safe for any collection; the others are for user-written descriptions such as WavText5K's."""


def choose_rules(names: Sequence[str] | None, *, turned_off: Sequence[str] = ()) -> tuple[str, ...]:
    """Rules by name without `turned_off`; None takes DEFAULT_RULES and "all" every rule."""
    chosen = DEFAULT_RULES if names is None else tuple(names)
    if "all" in chosen:
        chosen = tuple(CLEANING_RULES)
    for name in (*chosen, *turned_off):
        if name not in CLEANING_RULES:
            raise ConfigError(
                f"no cleaning rule {name!r}.", help=f"Rules: {', '.join(CLEANING_RULES)}."
            )
    return tuple(name for name in CLEANING_RULES if name in chosen and name not in turned_off)
