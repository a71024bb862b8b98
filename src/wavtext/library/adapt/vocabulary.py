"""What a library's clips are called: one text for each clip, and which texts belong together.

Texts that say nothing ("REC0001.wav", "track 3") are dropped. Texts of one family are never on both
sides of a held-out split: numbered takes have one text to begin with; texts of the same words in
another order or number, and texts whose sounds are copies of each other, are joined here.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64

from wavtext.corpora.names import words_of_name
from wavtext.corpora.ucs import parse_ucs_name
from wavtext.library.candidates import content_words
from wavtext.library.notes import Notes

Source = Literal["auto", "names", "captions", "tags", "folders"]
SAME_COSINE = 0.995  # of two clips' embeddings: copies
MAX_WORDS = 12  # of a caption

# Words that recorders, editors and file managers give, which say nothing about the sound.
_EMPTY_WORDS = frozenset(
    {"rec", "record", "recording", "recordings", "recorder", "track", "take", "file", "clip"}
    | {"zoom", "tascam", "marantz", "olympus", "memo", "dictaphone", "mix", "mixdown", "bounce"}
    | {"region", "edit", "edited", "export", "output", "out", "test", "part", "loop", "left"}
    | {"right", "master", "version", "ver", "raw", "demo", "session", "channel", "stem", "unnamed"}
    | {"unknown", "dsc", "mov", "img", "vid", "pcm", "aiff", "opus", "bit", "kbps", "hz", "misc"}
)


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """The texts of a library.

    Attributes:
        texts: Distinct, in order.
        text_of_clip: The text of each clip; -1 where its name says nothing.
        family: The family of each text.
    """

    texts: tuple[str, ...]
    text_of_clip: Int64[np.ndarray, " clips"]
    family: Int64[np.ndarray, " texts"]

    @property
    def dropped(self) -> int:
        """Clips whose name says nothing."""
        return int((self.text_of_clip < 0).sum())

    @property
    def num_families(self) -> int:
        """How many names there are that share no words' set and no sound."""
        return len(np.unique(self.family))


def read_vocabulary(
    paths: Sequence[str],
    notes_of: Callable[[int], Notes],
    embeddings: Float32[np.ndarray, "clips dim"],
    source: Source = "auto",
) -> Vocabulary:
    """The texts of clips and their families.

    Args:
        paths: Of the clips, relative to the library's folder, '/' between parts.
        notes_of: What is written about the i-th clip.
        embeddings: Of the clips, of length 1.
        source: Where texts come from; "auto" takes the first that says something: the name, the
            first caption, the tags, the folder.
    """
    found = [clip_text(path, lambda i=i: notes_of(i), source) for i, path in enumerate(paths)]
    texts = tuple(sorted({text for text in found if text}))
    number = {text: i for i, text in enumerate(texts)}
    text_of_clip = np.array([number.get(text, -1) for text in found], np.int64)
    return Vocabulary(texts, text_of_clip, _families(texts, text_of_clip, embeddings))


def clip_text(path: str, notes: Callable[[], Notes], source: Source = "auto") -> str:
    """What one clip is called; empty when that says nothing."""
    place = PurePosixPath(path.encode(errors="ignore").decode())
    if source in ("auto", "names"):
        text = _name_text(place.stem)
        if text or source == "names":
            return text
    if source in ("auto", "captions"):
        captions = [_words(each) for each in notes().captions]
        text = next((each for each in captions if says_something(each)), "")
        if text or source == "captions":
            return text
    if source in ("auto", "tags"):
        text = ", ".join(each for each in notes().tags if says_something(each))
        if text or source == "tags":
            return text
    folders = (words_of_name(part) for part in reversed(place.parts[:-1]))
    return next((words for words in folders if says_something(words)), "")


def says_something(text: str) -> bool:
    """True when a word is left that could describe a sound, or name one in any alphabet."""
    return any(
        word not in _EMPTY_WORDS
        and (not word.isascii() or (len(word) > 2 and re.search("[aeiouy]", word) is not None))
        for word in re.findall(r"[^\W\d_]+", text.lower())
    )


def _name_text(stem: str) -> str:
    ucs = parse_ucs_name(stem)
    if ucs is not None:
        text = " ".join(part for part in (ucs.title, ucs.subcategory, ucs.category) if part)
        return text if says_something(text) else ""
    words = [word for word in words_of_name(stem).split() if word not in _EMPTY_WORDS]
    text = " ".join(words)
    return text if says_something(text) else ""


def _words(caption: str) -> str:
    return " ".join(caption.lower().split()[:MAX_WORDS])


def _families(
    texts: Sequence[str],
    text_of_clip: Int64[np.ndarray, " clips"],
    embeddings: Float32[np.ndarray, "clips dim"],
) -> Int64[np.ndarray, " texts"]:
    """Texts with the same words, and texts whose clips are copies, in one family."""
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[frozenset[str], int] = {}
    for i, text in enumerate(texts):
        key = frozenset(word.rstrip("s") for word in content_words(text)) or frozenset([text])
        parent[root(i)] = root(first.setdefault(key, i))
    for i, j in _copies(embeddings, np.flatnonzero(text_of_clip >= 0)):
        parent[root(int(text_of_clip[i]))] = root(int(text_of_clip[j]))
    return np.array([root(i) for i in range(len(texts))], np.int64)


def _copies(
    embeddings: Float32[np.ndarray, "clips dim"], named: Int64[np.ndarray, " named"]
) -> Iterable[tuple[int, int]]:
    """Pairs of clips that sound the same, block by block."""
    vectors = embeddings[named]
    for begin in range(0, len(named), 1024):
        block = vectors[begin : begin + 1024] @ vectors[begin:].T
        for i, j in np.argwhere(block >= SAME_COSINE):
            if i < j:
                yield int(named[begin + i]), int(named[begin + j])
