"""What an indexing run brings up to date beside the embeddings.

What the files and a manifest say of themselves, the captions that scores are compared with, and
the derived files that large libraries are searched with.
"""

import shutil
from pathlib import Path

from wavtext.errors import WavtextError
from wavtext.library.codes import build_codes, codes_folder, open_codes
from wavtext.library.notes import Notes, manifest_notes, merge, read_notes
from wavtext.library.pipeline import Embedder
from wavtext.library.quantised import EXACT_UP_TO, REBUILD_AT
from wavtext.library.records import VECTOR_TYPE
from wavtext.library.relevance import background_captions, background_key
from wavtext.library.store import Store


def refresh_background(store: Store, model: Embedder) -> None:
    """Embed the captions that scores are calibrated against, once for each model."""
    if not has_background(store, model):
        vectors = model.embed_text(background_captions())
        key = background_key(model.identity)
        store.set_meta(background=vectors.astype(VECTOR_TYPE).tobytes(), background_key=key)


def has_background(store: Store, model: Embedder) -> bool:
    """Whether `refresh_background` has nothing to do."""
    return store.meta("background_key") == background_key(model.identity)


def refresh_codes(store: Store) -> None:
    """Make the files that large libraries are searched with, when they are missing or too old."""
    model = store.active_model()
    if model is None:
        return
    total = store.count_windows(model.model_id)
    if total <= EXACT_UP_TO:
        shutil.rmtree(codes_folder(store.path), ignore_errors=True)
        return
    codes = open_codes(store, model)
    if codes is not None:
        late = store.count_windows(model.model_id, after=codes.revision)
        gone = len(store.removed_after(codes.revision))
        if late + gone <= REBUILD_AT * total:
            return
    build_codes(store, model)


def update_notes(folder: Path, store: Store) -> list[str]:
    """Read what is written in new files and in a manifest beside them; lines for the report."""
    manifest = folder / "manifest.jsonl"
    listed: dict[str, Notes] = {}
    problems: list[str] = []
    state = ""
    if manifest.is_file():
        info = manifest.stat()
        state = f"{info.st_size} {info.st_mtime_ns}"
    if state != store.meta("manifest", ""):
        store.forget_notes()
        store.set_meta(manifest=state)
    todo = store.clips_without_notes()
    if todo and state:
        try:
            listed = manifest_notes(manifest)
        except WavtextError as error:
            problems.append(f"The manifest is left out: {error}")
    for begin in range(0, len(todo), 200):
        store.put_notes(
            (clip_id, merge([listed.get(path, Notes()), read_notes(folder / path)]))
            for clip_id, path in todo[begin : begin + 200]
        )
    return problems
