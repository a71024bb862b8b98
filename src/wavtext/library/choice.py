"""Which model a library uses: the one asked for, the one that made it, or the default."""

import threading
from pathlib import Path
from typing import cast

from wavtext.errors import DamagedLibraryError, ModelMismatchError
from wavtext.library.pipeline import Embedder
from wavtext.library.reader import Reader
from wavtext.library.records import ModelRecord


class ModelChoice:
    """The model that embeds queries and sounds, loaded on first use.

    Args:
        reader: Knows the model that made the library.
        wanted: A loaded model, the name of one, or a model folder; None takes the library's, and
            "compact" for a new one.
    """

    def __init__(self, reader: Reader, wanted: Embedder | str | Path | None) -> None:
        self._reader = reader
        self._wanted = wanted
        self._model: Embedder | None = None
        self._lock = threading.RLock()

    @property
    def model(self) -> Embedder:
        """The model."""
        with self._lock:
            if self._model is None:
                self._model = self._load(None)
            return self._model

    def without_library(self) -> Embedder:
        """The model when the library's file cannot be asked for the one that made it."""
        return self._load("compact") if self._wanted is None else self.model

    def check(self, stored: ModelRecord) -> None:
        """Refuse a model that did not make the library.

        Raises:
            ModelMismatchError: It is another one.
        """
        model = self.model
        if model.identity == stored.identity:
            return
        asked = ModelRecord(0, model.identity, model.name, model.dim)
        raise ModelMismatchError(
            f"{self._reader.path} was made by model {model_label(stored)} ({stored.dim}-d); "
            f"you asked with {model_label(asked)} ({model.dim}-d).",
            help=f"Re-index: wavtext index {self._reader.folder} --model {model.name}",
        )

    def _load(self, default: str | None) -> Embedder:
        if self._wanted is not None and not isinstance(self._wanted, str | Path):
            return self._wanted
        from wavtext.model.model import load_model

        name = self._wanted or default
        if name is None:
            name = self._source_of_library() or "compact"
        return cast(Embedder, load_model(name))

    def _source_of_library(self) -> str | None:
        """What loads the library's model; None where there is none, or none that can be read."""
        if not self._reader.path.exists():
            return None
        try:
            stored = self._reader.store().active_model()
        except DamagedLibraryError:  # indexing salvages it, and a search says that it is damaged
            return None
        return stored.source if stored else None


def model_source(model: Embedder) -> str:
    """What `load_model` takes to get the model again."""
    from wavtext.model.model import EMBEDDED

    folder = getattr(model, "folder", None)
    for name, place in EMBEDDED.items():
        if folder is not None and Path(folder).resolve() == place.resolve():
            return name
    return str(Path(folder).resolve()) if folder is not None else model.name


def model_label(model: ModelRecord) -> str:
    """A model's name and the beginning of its identity."""
    return f"{model.name}@{model.identity[:6]}"
