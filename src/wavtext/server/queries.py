"""Text embeddings for many askers: remembered, and computed together.

A search box asks the same words again and again ("rain", "rain on", "rain"), and many people ask at
once; a text encoder is quicker with eight texts in a batch than with one, eight times.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

MAX_BATCH = 32  # texts


class CachedModel:
    """A model that remembers text embeddings; whoever finds the encoder free takes all who wait.

    Everything else is the wrapped model's.

    Args:
        model: A `wavtext.model.model.Model`.
        size: Embeddings remembered; the least recently used is forgotten.
    """

    def __init__(self, model: Any, size: int) -> None:
        self._model = model
        self._size = size
        self._known: OrderedDict[str, np.ndarray] = OrderedDict()
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._encoder = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def announce(self, texts: Sequence[str]) -> bool:
        """Say that these will be asked for, so that the next run takes them; False: all known.

        Costs no time: for the event loop, before a thread calls `embed_text`.
        """
        with self._lock:
            unknown = [text for text in texts if text not in self._known]
            self._waiting.update((text, None) for text in unknown)
        return bool(unknown)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of length 1: (texts, dim) float32."""
        found: dict[str, np.ndarray] = {}
        wanted = list(dict.fromkeys(texts))
        with self._lock:
            for text in wanted:
                if text in self._known:
                    self._known.move_to_end(text)
                    found[text] = self._known[text]
                else:
                    self._waiting[text] = None
        while missing := [text for text in wanted if text not in found]:
            with self._encoder:
                self._encode_waiting(missing, found)
        return np.stack([found[text] for text in texts])

    def _encode_waiting(self, missing: list[str], found: dict[str, np.ndarray]) -> None:
        with self._lock:
            for text in missing:  # another thread may have encoded ours meanwhile
                if text in self._known:
                    found[text] = self._known[text]
            ours = [text for text in missing if text not in found][:MAX_BATCH]
            if not ours:
                return
            others = [text for text in self._waiting if text not in ours]
            batch = [*ours, *others[: MAX_BATCH - len(ours)]]
            for text in batch:
                self._waiting.pop(text, None)
        try:
            embeddings = self._model.embed_text(batch)
        except Exception:
            if batch == ours:
                raise
            batch = ours  # a text that cannot be embedded is its own asker's trouble
            embeddings = self._model.embed_text(ours)
        with self._lock:
            for text, embedding in zip(batch, embeddings, strict=True):
                self._known[text] = embedding
                if text in ours:
                    found[text] = embedding
            while len(self._known) > self._size:
                self._known.popitem(last=False)
