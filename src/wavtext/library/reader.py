"""A library opened for reading: its store, its embeddings as of now, and the model they came from.

Thread-safe; follows what another process writes, and a file that was replaced.
"""

import threading
from pathlib import Path

from wavtext.errors import LibraryError
from wavtext.library.exact import ExactIndex, Index
from wavtext.library.matrix import Matrix
from wavtext.library.store import ModelRecord, Store


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
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store = self._matrix = None

    def store(self) -> Store:
        """The open store; opened again when its file was replaced.

        Raises:
            LibraryError: There is none yet.
        """
        with self._lock:
            if self._store is not None and self._store.replaced:
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
        """What searches the embeddings."""
        return ExactIndex(self.matrix())

    def _not_indexed(self) -> LibraryError:
        return LibraryError(
            f"{self.folder}: not indexed yet.", help=f"Index it: wavtext index {self.folder}"
        )
