"""What was asked for -> one vector: by words, by a sound, by both, without something.

A blend is linear: each part counts by how much it varies over the library, so that a text and a
sound, whose cosines differ in size, weigh the same. One vector means that every index
can search blends.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from wavtext.audio.decode import load_audio
from wavtext.audio.waveform import Waveform
from wavtext.errors import QueryError
from wavtext.library.pipeline import Embedder

WITHOUT_WEIGHT = 0.5  # of what is unwanted, beside 1 for what is wanted
_PART = re.compile(r"^(?P<path>.+)@(?P<start>\d+(\.\d+)?)-(?P<end>\d+(\.\d+)?)$")

# A file, "FILE@START-END", a waveform, the number of a clip in the library, or an embedding.
Like = str | Path | Waveform | int | np.ndarray
Spread = Callable[[Float32[np.ndarray, " dim"]], float]
Vector = Float32[np.ndarray, " dim"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for; at least a text or a sound.

    Attributes:
        text: In words.
        like: Sounds to resemble: files, parts of files (`dog.wav@3.5-5.0`), waveforms, clips.
        without: What the sounds should not be, in words.
        unlike: Sounds they should not resemble.
    """

    text: str = ""
    like: tuple[Like, ...] = ()
    without: tuple[str, ...] = ()
    unlike: tuple[Like, ...] = ()

    @classmethod
    def make(
        cls,
        text: str | None,
        like: Like | Sequence[Like] | None = None,
        without: str | Sequence[str] = (),
        unlike: Like | Sequence[Like] | None = None,
    ) -> "Query":
        """From what `SoundLibrary.search` takes.

        Raises:
            QueryError: Nothing was asked for.
        """
        text = (text or "").strip()
        sounds = _tuple(like)
        unwanted = (without,) if isinstance(without, str) else tuple(without)
        unwanted = tuple(each.strip() for each in unwanted if each.strip())
        if not text and not sounds:
            raise QueryError("the query is empty.", help="Describe a sound: 'a dog barking'.")
        return cls(text=text, like=sounds, without=unwanted, unlike=_tuple(unlike))


def query_vector(
    query: Query, model: Embedder, spread: Spread, clip_vector: Callable[[int], Vector]
) -> Vector:
    """The query's direction, of length 1.

    Args:
        query: What to look for.
        model: Embeds texts and sounds.
        spread: Standard deviation of a direction's cosine over the library.
        clip_vector: A clip's embedding by its number.
    """
    texts = [each for each in (query.text, *query.without) if each]
    embedded = list(model.embed_text(texts)) if texts else []
    parts: list[tuple[float, Vector]] = []
    if query.text:
        parts.append((1.0, embedded.pop(0)))
    parts += [
        (1.0 / len(query.like), _sound_vector(sound, model, clip_vector)) for sound in query.like
    ]
    parts += [(-WITHOUT_WEIGHT, vector) for vector in embedded]
    parts += [(-WITHOUT_WEIGHT, _sound_vector(sound, model, clip_vector)) for sound in query.unlike]
    if len(parts) == 1:
        return _unit(parts[0][1])
    return _unit(
        np.sum([weight / max(spread(vector), 1e-4) * vector for weight, vector in parts], axis=0)
    )


def read_part(sound: str | Path) -> tuple[Path, float, float | None]:
    """A file, or a part of it: `dog.wav@3.5-5.0` -> (dog.wav, 3.5, 1.5); durations in seconds.

    A file whose own name looks like that is taken as a whole.

    Raises:
        QueryError: The part ends before it starts.
    """
    path = Path(sound).expanduser()
    match = _PART.match(str(path))
    if match is None or path.exists():
        return path, 0.0, None
    start, end = float(match["start"]), float(match["end"])
    if end <= start:
        raise QueryError(
            f"{sound}: the part ends at {end:g} s, not after its start at {start:g} s.",
            help="Write FILE@START-END in seconds: dog.wav@3.5-5.0",
        )
    return Path(match["path"]), start, end - start


def _sound_vector(sound: Like, model: Embedder, clip_vector: Callable[[int], Vector]) -> Vector:
    if isinstance(sound, int):
        return clip_vector(sound)
    if isinstance(sound, np.ndarray):
        return _unit(sound)
    whole: Any = sound
    if not isinstance(sound, Waveform):
        path, start, duration = read_part(sound)
        whole = path if duration is None else load_audio(path, start=start, duration=duration)
    total = np.zeros(model.dim, np.float64)
    batch: list[np.ndarray] = []
    for _, _, log_mel in model.cut(whole):
        batch.append(log_mel)
        if len(batch) == 32:
            total += model.embed_log_mels(batch).sum(axis=0)
            batch = []
    if batch:
        total += model.embed_log_mels(batch).sum(axis=0)
    return _unit(total)


def _tuple(sounds: Like | Sequence[Like] | None) -> tuple[Like, ...]:
    if sounds is None:
        return ()
    if isinstance(sounds, str | Path | Waveform | int | np.ndarray):
        return (sounds,)
    return tuple(sounds)


def _unit(vector: np.ndarray) -> Vector:
    norm = float(np.linalg.norm(vector))
    if not norm:
        raise QueryError("the parts of the query cancel out.", help="Ask for something else.")
    return (vector / norm).astype(np.float32)
