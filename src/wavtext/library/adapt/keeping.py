"""Learn from a library and keep what is better; forget it again."""

import contextlib
from collections.abc import Generator
from dataclasses import replace

import numpy as np

from wavtext.library.adapt.learn import AdaptReport, learn
from wavtext.library.adapt.serving import CONTENT, KEY, key_of
from wavtext.library.adapt.vocabulary import Source
from wavtext.library.contents import clip_embeddings
from wavtext.library.lock import IndexLock
from wavtext.library.pipeline import Embedder
from wavtext.library.reader import Reader
from wavtext.library.store import Store


def adapt_library(
    reader: Reader, model: Embedder, *, source: Source = "auto", dry_run: bool = False
) -> AdaptReport:
    """Learn from what a library's clips are called; keep it when held-out names profit.

    Always from the model's own embeddings, whatever was learned before. Where it is not better, the
    library stays as it was. The embeddings of sounds never change.

    Args:
        reader: The library.
        model: The one that made it.
        source: Where the clips' texts come from.
        dry_run: Measure only.

    Raises:
        LibraryError: Too few clips have a name that says something.
        BusyLibraryError: Another process is indexing.
    """
    store = reader.store()
    ids, embeddings = clip_embeddings(reader)
    records = dict(store.clip_rows(ids.tolist()))
    kept = np.array([i in records and bool(records[i].format) for i in ids.tolist()], bool)
    ids, embeddings = ids[kept], embeddings[kept]
    adaptation, report = learn(
        [records[i].path for i in ids.tolist()],
        lambda i: store.notes(int(ids[i])),
        embeddings,
        model,
        source=source,
    )
    if adaptation is None or dry_run:
        return report
    content = adaptation.to_bytes()
    with _writing(reader) as writer:
        writer.set_meta(**{CONTENT: content, KEY: key_of(model.identity, content)})
    return replace(report, saved=True)


def forget(reader: Reader) -> bool:
    """Search as before; False when nothing had been learned."""
    if not reader.store().meta(KEY):
        return False
    with _writing(reader) as writer:
        writer.forget_meta(CONTENT, KEY)
    return True


@contextlib.contextmanager
def _writing(reader: Reader) -> Generator[Store]:
    with IndexLock(reader.path), contextlib.closing(Store(reader.path, write=True)) as store:
        yield store
