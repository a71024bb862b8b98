"""Sounds and captions -> embeddings, computed once: kept by model identity and content hash."""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from wavtext.corpora.manifest import Clip
from wavtext.errors import AudioError, EvaluationError

_TEXT_BATCH = 64


class Encoder(Protocol):
    """What can be evaluated: `wavtext.load_model(...)`, or an adapter of another kind of model."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    @property
    def identity(self) -> str:
        """Hex digest of all that decides its embeddings."""
        ...

    def embed_text(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
        """Rows of length 1."""
        ...

    def embed_audio(self, sounds: Sequence[Any]) -> Float[np.ndarray, "clips dim"]:
        """Rows of length 1, from paths or waveforms."""
        ...


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A clip whose sound could not be embedded."""

    clip_id: str
    reason: str


class EmbeddingCache:
    """Embeddings in one SQLite file, by model identity and content; safe to share and to kill.

    Args:
        path: The file; made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = sqlite3.connect(path, timeout=60)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS embedding (model TEXT, content TEXT, vector BLOB, "
                "PRIMARY KEY (model, content)) WITHOUT ROWID"
            )
        except sqlite3.DatabaseError as error:
            raise EvaluationError(
                f"{path}: not an embedding cache: {error}.", help="Delete it or name another."
            ) from error

    def get(self, model: str, content: str) -> Float[np.ndarray, " dim"] | None:
        """The embedding kept for this content, or None."""
        query = "SELECT vector FROM embedding WHERE model = ? AND content = ?"
        row = self._database.execute(query, (model, content)).fetchone()
        return None if row is None else np.frombuffer(row[0], "<f4").astype(np.float32)

    def put(self, model: str, content: str, vector: Float[np.ndarray, " dim"]) -> None:
        """Keep an embedding; on disk when this returns."""
        with self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO embedding VALUES (?, ?, ?)",
                (model, content, np.asarray(vector, "<f4").tobytes()),
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def embed_clips(
    model: Encoder,
    clips: Sequence[Clip],
    *,
    cache: Path | None = None,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Float[np.ndarray, "clips dim"], list[Unreadable]]:
    """One embedding a clip; rows of unreadable clips are left out and the clips are named.

    Args:
        model: The encoder.
        clips: From a manifest.
        cache: File of an `EmbeddingCache`.
        workers: Threads; a clip's embedding does not depend on their number.
        progress: Called with clips done and clips in all.
    """

    def content_of(clip: Clip) -> str | Exception:
        try:
            return "audio:" + hash_file(clip.path)
        except OSError as error:
            return error

    def embed(clip: Clip) -> np.ndarray | Exception:
        try:
            return model.embed_audio([clip.path])[0]
        except (AudioError, OSError) as error:
            return error

    with closing(EmbeddingCache(cache) if cache else _NoCache()) as store:
        found: dict[str, np.ndarray | Exception] = {}
        with ThreadPoolExecutor(workers) as pool:
            contents = list(pool.map(content_of, clips))
            missing: dict[str, Clip] = {}
            for clip, content in zip(clips, contents, strict=True):
                if isinstance(content, str) and content not in found and content not in missing:
                    row = store.get(model.identity, content)
                    if row is None:
                        missing[content] = clip
                    else:
                        found[content] = row
            done = len(clips) - len(missing)
            for content, row in zip(missing, pool.map(embed, missing.values()), strict=True):
                found[content] = row
                if not isinstance(row, Exception):
                    store.put(model.identity, content, row)
                if progress:
                    done += 1
                    progress(done, len(clips))
    rows: list[np.ndarray] = []
    failed: list[Unreadable] = []
    for clip, content in zip(clips, contents, strict=True):
        row = content if isinstance(content, Exception) else found[content]
        if isinstance(row, Exception):
            failed.append(Unreadable(clip.clip_id, str(row)))
        else:
            rows.append(row)
    if not rows:
        reason = f" The first: {failed[0].reason}" if failed else ""
        raise EvaluationError(f"none of {len(clips)} clips can be read.{reason}")
    return np.stack(rows), failed


def embed_captions(
    model: Encoder, captions: Sequence[str], *, cache: Path | None = None
) -> Float[np.ndarray, "captions dim"]:
    """One embedding a caption; equal captions are embedded once."""
    if not captions:
        raise EvaluationError("there are no captions to embed.")
    with closing(EmbeddingCache(cache) if cache else _NoCache()) as store:
        found: dict[str, np.ndarray | None] = {
            text: store.get(model.identity, _text_key(text)) for text in dict.fromkeys(captions)
        }
        missing = [text for text, row in found.items() if row is None]
        for first in range(0, len(missing), _TEXT_BATCH):
            batch = missing[first : first + _TEXT_BATCH]
            for text, row in zip(batch, model.embed_text(batch), strict=True):
                found[text] = row
                store.put(model.identity, _text_key(text), row)
    return np.stack([row for text in captions if (row := found[text]) is not None])


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _NoCache:
    """Keeps nothing."""

    def get(self, model: str, content: str) -> None:
        return None

    def put(self, model: str, content: str, vector: np.ndarray) -> None:
        pass

    def close(self) -> None:
        pass


def _text_key(text: str) -> str:
    return "text:" + hashlib.sha256(text.encode()).hexdigest()
