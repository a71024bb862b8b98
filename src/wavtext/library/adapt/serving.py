"""An adaptation on its way to searches: read from the library, put before the text encoder.

A search looks at the adaptation's key, so that an open library (a server) follows what `wavtext
adapt` writes from another process.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from wavtext.library.adapt.residual import Adaptation
from wavtext.library.pipeline import Embedder
from wavtext.library.records import ModelRecord
from wavtext.library.relevance import background_captions
from wavtext.library.store import Store

CONTENT, KEY = "adaptation", "adaptation_key"  # in the library's notebook


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What searches need of an adaptation.

    Attributes:
        adaptation: The correction.
        background: The general captions that scores are calibrated against, corrected as queries
            are, so that what lifts a query's cosines lifts those it is compared with; None where
            the library has none.
    """

    adaptation: Adaptation
    background: Float32[np.ndarray, "captions dim"] | None

    def embedder(self, model: Embedder) -> "AdaptedEmbedder":
        """The model, its texts corrected."""
        return AdaptedEmbedder(model, self.adaptation)


@dataclass(frozen=True, slots=True, eq=False)
class AdaptedEmbedder:
    """A model whose texts are corrected; its sounds are not."""

    model: Embedder
    adaptation: Adaptation

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    @property
    def identity(self) -> str:
        """The model's: sounds are embedded as before."""
        return self.model.identity

    @property
    def dim(self) -> int:
        """Size of an embedding."""
        return self.model.dim

    def cut(self, sound: str | Path, /) -> Iterator[tuple[float, float, np.ndarray]]:
        """(start, end, log-mel) of each window."""
        return self.model.cut(sound)

    def embed_log_mels(self, log_mels: Sequence[np.ndarray], /) -> np.ndarray:
        """(windows, dim) embeddings of length 1."""
        return self.model.embed_log_mels(log_mels)

    def embed_text(self, texts: Sequence[str], /) -> np.ndarray:
        """(texts, dim) corrected embeddings of length 1."""
        return self.adaptation(texts, self.model.embed_text(texts))


class Serving:
    """The adaptation of one open library, read when it is new."""

    def __init__(self) -> None:
        self._key = ""
        self._held: Served | None = None
        self._lock = threading.Lock()

    def current(
        self,
        store: Store,
        stored: ModelRecord,
        background: Callable[[], Float32[np.ndarray, "captions dim"] | None],
    ) -> Served | None:
        """What searches use now; None when nothing was learned, or for another model.

        Raises:
            DamagedLibraryError: It cannot be read.
        """
        with self._lock, store.reading():
            key = store.meta(KEY) or ""
            if not key.startswith(f"{stored.identity}:"):
                return None
            if key != self._key:
                adaptation = Adaptation.from_bytes(store.meta(CONTENT) or b"", store.path)
                captions = background()
                if captions is not None:
                    captions = adaptation(background_captions(), captions)
                self._held, self._key = Served(adaptation, captions), key
            return self._held


def key_of(identity: str, content: bytes) -> str:
    """Names an adaptation: the model it is for, and its content."""
    return f"{identity}:{hashlib.blake2b(content, digest_size=8).hexdigest()}"
