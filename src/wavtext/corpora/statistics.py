"""What is in a collection, in the terms of Deshmukh et al. 2022: Tables 1 and 2, Figure 1.

A manifest -> hours, audios, captions, durations, words; captions that hold a word; frequent words.
A word is what white space separates, as in the paper: only so does Clotho come to its 11.34 words.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from typing import Any

from wavtext.corpora.captions import CaptionBuilder
from wavtext.corpora.manifest import Clip


@dataclass(frozen=True, slots=True)
class CorpusStatistics:
    """One row of Table 1."""

    dataset: str
    hours: float | None  # None: no clip's duration is known
    audios: int
    captions: int
    max_duration: float | None  # s
    mean_duration: float | None  # s
    max_words: int
    mean_words: float | None  # a caption
    mean_words_per_audio: float | None  # audios without a caption count as zero words
    distinct_captions: int
    distinct_words: int
    without_audio: int  # clips known by their captions alone


def corpus_statistics(
    clips: Iterable[Clip], *, dataset: str, captions: CaptionBuilder | None = None
) -> CorpusStatistics:
    """Count a collection once through.

    Args:
        clips: Read one by one; memory grows with the distinct captions only.
        dataset: The row's name.
        captions: Makes the captions from the clips' columns instead of taking their own.
    """
    audios = without_audio = total_captions = total_words = max_words = 0
    durations: list[float] = []
    seen: set[int] = set()  # hashes: half the memory of the captions
    vocabulary: set[str] = set()
    for clip in clips:
        audios += 1
        if clip.duration is None:
            without_audio += 1
        else:
            durations.append(clip.duration)
        for caption in captions_of(clip, captions):
            words = caption.split()
            total_captions += 1
            total_words += len(words)
            max_words = max(max_words, len(words))
            seen.add(hash(caption.strip()))
            vocabulary.update(content_words(caption))
    return CorpusStatistics(
        dataset=dataset,
        hours=sum(durations) / 3600 if durations else None,
        audios=audios,
        captions=total_captions,
        max_duration=max(durations, default=None),
        mean_duration=sum(durations) / len(durations) if durations else None,
        max_words=max_words,
        mean_words=total_words / total_captions if total_captions else None,
        mean_words_per_audio=total_words / audios if audios else None,
        distinct_captions=len(seen),
        distinct_words=len(vocabulary),
        without_audio=without_audio,
    )


def captions_of(clip: Clip, captions: CaptionBuilder | None) -> tuple[str, ...]:
    """The clip's own captions that are not blank, or those built from its columns."""
    if captions is not None:
        return captions.build(clip.columns)
    return tuple(caption for caption in clip.captions if caption.strip())


def content_words(text: str) -> Iterator[str]:
    """Lower-case words of letters, with inner apostrophes."""
    for match in re.finditer(r"[^\W\d_]+(?:['’][^\W\d_]+)*", text.lower()):
        yield match.group().replace("’", "'")


def read_stop_words() -> frozenset[str]:
    """The words the figure leaves out: function words, and words of any description of a sound."""
    text = files("wavtext.corpora").joinpath("data/stop_words.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(word for line in lines for word in line.split())


def frequent_words(
    captions: Iterable[str], *, stop_words: frozenset[str], limit: int = 30
) -> list[tuple[str, int]]:
    """The most frequent words that are no stop words, and how often they come; ties by alphabet."""
    counts = Counter(word for caption in captions for word in content_words(caption))
    kept = [(word, n) for word, n in counts.items() if word not in stop_words and len(word) > 1]
    return sorted(kept, key=lambda pair: (-pair[1], pair[0]))[:limit]


def sample_captions(
    captions: Iterable[str], word: str, *, count: int = 1, seed: int = 0
) -> list[str]:
    """Captions that hold the word, drawn by the seed, each text once."""
    pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
    found = sorted({caption.strip() for caption in captions if pattern.search(caption)})
    return random.Random(seed).sample(found, min(count, len(found)))


# Column title, field, format, as in the paper's Table 1.
_COLUMNS = (
    ("Dataset", "dataset", "{}"),
    ("Dur. (h)", "hours", "{:.2f}"),
    ("Audios", "audios", "{}"),
    ("Captions", "captions", "{}"),
    ("Max dur. (s)", "max_duration", "{:.2f}"),
    ("Avg dur. (s)", "mean_duration", "{:.2f}"),
    ("Max words", "max_words", "{}"),
    ("Avg words", "mean_words", "{:.2f}"),
    ("Words per audio", "mean_words_per_audio", "{:.2f}"),
)


def statistics_table(rows: Iterable[CorpusStatistics]) -> str:
    """Table 1 in Markdown; an unknown value is a dash."""
    lines = [
        "| " + " | ".join(title for title, _, _ in _COLUMNS) + " |",
        "|" + "|".join("---" if name == "dataset" else "---:" for _, name, _ in _COLUMNS) + "|",
    ]
    for row in rows:
        cells = [(form, getattr(row, name)) for _, name, form in _COLUMNS]
        shown = ["–" if value is None else form.format(value) for form, value in cells]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def statistics_csv(rows: Iterable[CorpusStatistics]) -> list[list[Any]]:
    """All fields as cells, a header first."""
    header: list[Any] = [each.name for each in fields(CorpusStatistics)]
    return [header, *(list(asdict(row).values()) for row in rows)]
