"""Embeddings made elsewhere (`wavtext embed`, `wavtext export`) -> the library of a folder.

Parquet with the columns path, start, end, embedding, the windows of one clip in adjacent rows, and
the model's identity in its metadata as `wavtext.model`. The sounds themselves must be in the
folder. Files of `wavtext embed` also hold the hash of every sound: one of the same size and time is
taken as it is, another is hashed; without a hash in the file, the sound is opened and hashed.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wavtext.audio.decode import probe
from wavtext.errors import AudioError, LibraryError, ModelMismatchError
from wavtext.library.bulk.parts import EmbeddedClip, ModelLabel, Part
from wavtext.library.bulk.places import Place, join
from wavtext.library.pipeline import Embedder, hash_file
from wavtext.library.records import SPAN_TYPE, VECTOR_TYPE, ClipRecord, StoredFile
from wavtext.library.results import Failure
from wavtext.library.rows import next_revision, put_embeddings, put_record
from wavtext.library.scan import FileState
from wavtext.library.store import Store
from wavtext.library.upkeep import refresh_background, refresh_codes, update_notes

AT_ONCE = 500  # clips in a transaction


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Attributes:
        added: Clips that were added or replaced.
        unchanged: Clips that the library had from this model already.
        failures: Files that could not be added, and why.
    """

    added: int
    unchanged: int
    failures: tuple[Failure, ...]


def import_embeddings(
    source: str,
    folder: Path,
    store: Store,
    model: Embedder,
    place: str,
    root: Path | None = None,
) -> ImportReport:
    """Add the clips of Parquet files to the library of a folder.

    Args:
        source: A Parquet file, or a folder or address of some.
        folder: The library's folder.
        store: Open for writing, locked by this process.
        model: Must be the one that made the embeddings.
        place: What `load_model` takes to get the model again.
        root: What the paths in the files are relative to, inside the folder; when None, the folder
            that was embedded if it is there, else the library's.

    Raises:
        LibraryError: A file cannot be read or lacks a column.
        ModelMismatchError: Another model made the embeddings.
    """
    stored = None
    known: dict[str, StoredFile] = {}
    added = unchanged = 0
    failures: list[Failure] = []
    batch: list[tuple[ClipRecord, EmbeddedClip]] = []
    for part in open_parts(source):
        check_model(part, ModelLabel(model.identity, model.name, place, model.dim))
        if stored is None:
            stored = store.ensure_model(model.identity, model.name, model.dim, place)
            known = store.files(stored.model_id)
        base = _base(part, folder, root)
        for clip in part.clips():
            path = base / clip.path
            try:
                name, state = _place_of(path, folder)
                stored_file = known.get(name)
                if stored_file and stored_file.embedded and stored_file[1:3] == state:
                    unchanged += 1
                    continue
                check_embeddings(clip, model.dim)
                batch.append((_record(path, name, state, clip), clip))
            except (AudioError, LibraryError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                failures.append(Failure(path=path, reason=str(reason).replace(f"{path}: ", "")))
                continue
            if len(batch) == AT_ONCE:
                added += _put(store, batch, stored.model_id)
                batch = []
    if stored is not None:
        added += _put(store, batch, stored.model_id)
        update_notes(folder, store)
        refresh_codes(store)
        refresh_background(store, model)
    return ImportReport(added, unchanged, tuple(failures))


def open_parts(source: str) -> Iterator[Part]:
    """The Parquet files of a place, one after the other.

    Raises:
        LibraryError: There is none.
    """
    place, names = Place(source), [""]
    if place.remote or Path(place.url).is_dir():
        names = place.names(".parquet")
    if not names or names == [""]:  # the file itself
        folder, _, name = place.url.rpartition("/")
        place, names = Place(folder or "/"), [name]
        if place.state(name) is None or not name:
            raise LibraryError(f"{source}: no Parquet file is there.", help="Check the spelling.")
    for name in names:
        with place.open(name) as file, closing(Part(file, join(place.url, name))) as part:
            yield part


def check_model(part: Part, model: ModelLabel) -> None:
    """Refuse embeddings that another model made.

    Raises:
        ModelMismatchError: They are another's.
    """
    made_by = part.model
    if made_by.identity != model.identity:
        raise ModelMismatchError(
            f"{part.name}: made by model {made_by.identity[:6] or 'unknown'}, "
            f"not by {model.name}@{model.identity[:6]}.",
            help="Embed the sounds with the library's model, or name the other one with --model.",
        )


def check_embeddings(clip: EmbeddedClip, dim: int) -> None:
    """Refuse a file that failed, and vectors that are no embeddings.

    Raises:
        LibraryError: They are not.
    """
    if clip.error:
        raise LibraryError(clip.error)
    vectors = clip.embeddings
    norms = np.linalg.norm(vectors, axis=1) if vectors.ndim == 2 else np.zeros(0)
    if not len(norms) or vectors.shape[1] != dim or not np.allclose(norms, 1.0, atol=0.01):
        raise LibraryError(f"embeddings are not {dim}-d directions of length 1")


def _base(part: Part, folder: Path, root: Path | None) -> Path:
    """The folder that the paths of a file are relative to, here."""
    if root is not None:
        return Path(os.path.abspath(root.expanduser()))
    embedded = Path(part.root)
    if part.root and embedded.is_dir() and embedded.is_relative_to(folder):
        return embedded
    return folder


def _place_of(path: Path, folder: Path) -> tuple[str, FileState]:
    """A sound's path relative to the folder, which it must lie in; its size and time."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise LibraryError("lies outside the folder")
    info = path.stat()
    if not path.is_relative_to(folder):  # the root was named by a link to it
        path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder).as_posix(), FileState(info.st_size, info.st_mtime_ns)


def _record(path: Path, name: str, state: FileState, clip: EmbeddedClip) -> ClipRecord:
    """What the library keeps of a file."""
    if clip.record is not None:
        same = (clip.record.size, clip.record.mtime_ns) == state
        if not same and hash_file(path) != clip.record.content:
            raise LibraryError("is not the file that was embedded")
        return replace(clip.record, path=name, size=state.size, mtime_ns=state.mtime_ns)
    info = probe(path)
    return ClipRecord(
        path=name,
        size=state.size,
        mtime_ns=state.mtime_ns,
        content=hash_file(path),
        duration=info.duration or 0.0,
        sample_rate=info.sample_rate,
        channels=info.channels,
        format=info.format,
    )


def _put(store: Store, batch: list[tuple[ClipRecord, EmbeddedClip]], model_id: int) -> int:
    """Add clips in one transaction, and what is written about them; how many."""
    ids: list[int] = []
    if not batch:
        return 0
    with store.writing() as connection:
        revision = next_revision(connection)
        for record, clip in batch:
            spans = np.ascontiguousarray(clip.spans, SPAN_TYPE).tobytes()
            vectors = np.ascontiguousarray(clip.embeddings, VECTOR_TYPE).tobytes()
            clip_id = put_record(connection, record, revision)
            put_embeddings(connection, clip_id, model_id, record.content, spans, vectors, revision)
            ids.append(clip_id)
    store.put_notes(
        (clip_id, clip.notes)
        for clip_id, (_, clip) in zip(ids, batch, strict=True)
        if clip.record is not None
    )
    return len(batch)
