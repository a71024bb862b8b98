"""A question to an open library: its parts -> one vector, the relevance of scores, the search."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wavtext.errors import LibraryError
from wavtext.library.candidates import SearchOptions
from wavtext.library.choosing import clip_vector
from wavtext.library.pipeline import Embedder
from wavtext.library.query import Like, Query, query_vector, read_part
from wavtext.library.reader import Reader
from wavtext.library.relevance import Relevance
from wavtext.library.results import SearchResult
from wavtext.library.search import search


def answer(
    reader: Reader,
    model: Embedder,
    query: Query,
    options: SearchOptions,
    *,
    adapted: bool = True,
) -> list[SearchResult]:
    """The clips that fit a query best; the clips it names as examples are left out.

    Args:
        reader: The library.
        model: The one that made it.
        query: What to look for.
        options: How to search.
        adapted: Use what was learned of the library's names.
    """
    with reader.store().reading():  # all of one search sees the same library
        index, store = reader.index(), reader.store()
        typical = index.typical()
        if typical is None:
            return []  # every sound has left
        background = reader.background()
        served = reader.adapted() if adapted else None
        if served is not None:
            model, background = served.embedder(model), served.background

        def spread(vector: np.ndarray) -> float:
            return typical.cosine(vector)[1]

        def vector_of(clip_id: int) -> np.ndarray:
            windows = index.windows([clip_id])[0]
            if windows is None:
                raise LibraryError(f"{reader.path}: no clip {clip_id}.")
            return clip_vector(windows[1])

        vector = query_vector(query, model, spread, vector_of)
        relevance = None
        if background is not None and query.text and not (query.like or query.unlike):
            relevance = Relevance.of_query(vector, background, typical)
        return search(
            reader.folder,
            store,
            index,
            vector,
            query.text,
            _options_for(options, query, reader),
            relevance=relevance,
            embed_text=model.embed_text,
        )


def _options_for(options: SearchOptions, query: Query, reader: Reader) -> SearchOptions:
    """The clips it names are left out; beside a sound, names do not count.

    Scores of such searches are cosines, not probabilities that names are part of, and the order
    must be theirs.
    """
    names = options.names and not (query.like or query.unlike)
    return replace(options, names=names, exclude=_own_clips(reader, query.like))


def _own_clips(reader: Reader, sounds: Sequence[Like]) -> frozenset[int]:
    """The library's clips among sounds that others should resemble."""
    clips = {sound for sound in sounds if isinstance(sound, int)}
    paths: set[str] = set()
    for sound in sounds:
        if isinstance(sound, str | Path):
            path = Path(os.path.abspath(read_part(sound)[0]))
            if path.is_relative_to(reader.folder):
                paths.add(path.relative_to(reader.folder).as_posix())
    return frozenset(clips | set(reader.store().clips_at(paths)))
