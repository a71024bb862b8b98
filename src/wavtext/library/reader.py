"""A library opened for reading: its store, its embeddings as of now, and the model they came from.

Thread-safe; follows what another process writes, and a file that was replaced.
"""

import contextlib
import threading
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from wavtext.errors import LibraryError
from wavtext.library.adapt.serving import Served, Serving
from wavtext.library.codes import build_codes, codes_folder, open_codes
from wavtext.library.exact import ExactIndex, Index
from wavtext.library.lock import IndexLock
from wavtext.library.matrix import Matrix
from wavtext.library.quantised import EXACT_UP_TO, QuantisedIndex
from wavtext.library.records import VECTOR_TYPE, ModelRecord
from wavtext.library.relevance import background_key
from wavtext.library.store import Store


class Reader:
    """The reading side of one library.

    Args:
        folder: The sounds, for messages.
        path: The library's file.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        self.folder = folder
        self.path = path
        self._store: Store | None = None
        self._matrix: Matrix | None = None
        self._exact: ExactIndex | None = None
        self._quantised: QuantisedIndex | None = None
        self._mark = 0  # time of the derived files in use
        self._refused = (0, 0)  # time of some that could not be used, and the revision then
        self._rebuilding = False
        self._background: tuple[str, Float32[np.ndarray, "captions dim"]] | None = None
        self._serving = Serving()
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store = self._matrix = self._exact = self._quantised = None

    def store(self) -> Store:
        """The open store; opened again when its file was replaced.

        Raises:
            LibraryError: There is none yet.
        """
        with self._lock:
            held = self._store
            if held is not None and not held.looking and held.replaced:
                self.close()
            if self._store is None:
                if not self.path.exists():
                    raise self._not_indexed()
                self._store = Store(self.path)
            return self._store

    def model(self) -> ModelRecord:
        """The model that made the embeddings.

        Raises:
            LibraryError: Nothing was indexed yet.
        """
        stored = self.store().active_model()
        if stored is None:
            raise self._not_indexed()
        return stored

    def matrix(self) -> Matrix:
        """All embeddings, as of now."""
        store, stored = self.store(), self.model()
        with self._lock:
            matrix = self._matrix
            if matrix is None or matrix.model_id != stored.model_id:
                matrix = Matrix.load(store, stored.model_id, stored.dim)
            else:
                matrix = matrix.refreshed(store)
            self._matrix = matrix
            return matrix

    def index(self) -> Index:
        """What searches the embeddings: all of them, or in a large library its derived files."""
        store, stored = self.store(), self.model()
        with self._lock:
            quantised = self._quantised_index(store, stored)
            if quantised is not None:
                self._matrix = self._exact = None
                return quantised
            matrix = self.matrix()
            if len(matrix.vectors) > EXACT_UP_TO:
                self._rebuild()
            if self._exact is None or self._exact.matrix is not matrix:
                self._exact = ExactIndex(matrix)
            return self._exact

    def background(self) -> Float32[np.ndarray, "captions dim"] | None:
        """The general captions' embeddings; None before they were made."""
        store, stored = self.store(), self.model()
        with self._lock:
            if self._background is None or self._background[0] != stored.identity:
                if store.meta("background_key") != background_key(stored.identity):
                    return None
                steps = np.frombuffer(store.meta("background"), VECTOR_TYPE)
                vectors = steps.reshape(-1, stored.dim).astype(np.float32)
                self._background = (stored.identity, vectors)
            return self._background[1]

    def adapted(self) -> Served | None:
        """What `wavtext adapt` learned; None when nothing was, or for another model."""
        return self._serving.current(self.store(), self.model(), self.background)

    def _quantised_index(self, store: Store, stored: ModelRecord) -> QuantisedIndex | None:
        """The derived files and what was written since; None where there are none to trust."""
        try:
            mark = (codes_folder(self.path) / "current.json").stat().st_mtime_ns
        except OSError:
            self._quantised = None
            return None
        held = self._quantised
        if held is None or mark != self._mark or held.codes.model_id != stored.model_id:
            attempt = (mark, store.revision())
            codes = open_codes(store, stored) if attempt != self._refused else None
            if codes is None:
                self._quantised, self._refused = None, attempt
                return None
            tail = Matrix.load(store, stored.model_id, stored.dim, after=codes.revision)
        else:
            codes = held.codes
            tail = held.tail.matrix.refreshed(store)
            if tail is held.tail.matrix:
                return held
        removed = store.removed_after(codes.revision)
        self._quantised, self._mark = QuantisedIndex(store, codes, tail, removed), mark
        return self._quantised

    def _rebuild(self) -> None:
        """Make the derived files in the background, once; searches are exact meanwhile."""
        if self._rebuilding:
            return
        self._rebuilding = True

        def build() -> None:
            try:
                with contextlib.suppress(LibraryError, OSError), IndexLock(self.path):
                    store = Store(self.path, write=True)
                    with contextlib.closing(store):
                        stored = store.active_model()
                        if stored is not None:
                            build_codes(store, stored)
            finally:
                self._rebuilding = False

        threading.Thread(target=build, daemon=True).start()

    def _not_indexed(self) -> LibraryError:
        return LibraryError(
            f"{self.folder}: not indexed yet.", help=f"Index it: wavtext index {self.folder}"
        )
