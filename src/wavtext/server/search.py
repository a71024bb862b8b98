"""One search: the API's parameters -> the library's -> JSON.  Runs in a search thread."""

import time
from datetime import date
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from wavtext.library.filters import Filters
from wavtext.library.relevance import nothing_matches
from wavtext.library.results import SearchResult
from wavtext.server.problems import Problem
from wavtext.server.services import Services
from wavtext.server.uploads import PREFIX

MAX_SOUNDS = 8


class SearchQuery(BaseModel):
    """The parameters of a search, in the address."""

    model_config = ConfigDict(extra="forbid")

    q: str = Field(default="", max_length=500, description="what to find, in words")
    limit: int = Field(default=20, ge=1, le=200)
    like: list[str] = Field(
        default=[], max_length=MAX_SOUNDS, description="clip ids or upload ids to sound like"
    )
    unlike: list[str] = Field(
        default=[], max_length=MAX_SOUNDS, description="clip ids or upload ids not to sound like"
    )
    without: list[str] = Field(
        default=[], max_length=MAX_SOUNDS, description="what should not be heard, in words"
    )
    min_duration: float | None = Field(default=None, ge=0, le=1e9, description="s")
    max_duration: float | None = Field(default=None, ge=0, le=1e9, description="s")
    folder: str | None = Field(default=None, max_length=1000, description="below the library's")
    format: list[str] = Field(default=[], max_length=16, description="such as wav or flac")
    min_sample_rate: int | None = Field(default=None, ge=1, le=10**7, description="Hz")
    channels: int | None = Field(default=None, ge=1, le=1024)
    after: date | None = Field(default=None, description="file changed on this day or later")
    before: date | None = Field(default=None, description="file changed before this day")
    licence: str | None = Field(default=None, max_length=100, description="words in the licence")
    tag: list[str] = Field(default=[], max_length=16)
    names: bool = Field(default=True, description="let words in file names and captions count")
    group: bool = Field(default=True, description="fold clips that sound the same into one")
    diversity: float = Field(default=0.0, ge=0, lt=1, allow_inf_nan=False)
    explain: bool = Field(default=False, description="give `heat` along time, and `why`")


def texts_of(query: SearchQuery) -> list[str]:
    """The texts that a search will embed, as it will write them."""
    return [text for each in (query.q, *query.without) if (text := each.strip())]


def search(services: Services, query: SearchQuery) -> dict[str, Any]:
    """Results as JSON values."""
    started = time.perf_counter()
    text = query.q.strip()
    if not text and not query.like:
        raise Problem(422, "Nothing was asked.", help="Give q, like, or both.")
    results = services.shelf.search(
        text,
        limit=query.limit,
        like=[_sound(services, each) for each in query.like],
        unlike=[_sound(services, each) for each in query.unlike],
        without=query.without,
        filters=_filters(query),
        names=query.names,
        group=query.group,
        diversity=query.diversity,
        explain=query.explain,
    )
    return {
        "query": text,
        "results": [{"rank": i, **each.to_dict()} for i, each in enumerate(results, 1)],
        "good_match": _good_match(results, text),
        "like": query.like,
        "took_ms": round((time.perf_counter() - started) * 1000, 2),
    }


def _good_match(results: list[SearchResult], text: str) -> bool | None:
    if all(result.relevance is None for result in results):
        return None
    return not nothing_matches(results, text)


def _filters(query: SearchQuery) -> Filters:
    return Filters(
        min_duration=query.min_duration,
        max_duration=query.max_duration,
        folder=query.folder,
        formats=tuple(query.format),
        min_sample_rate=query.min_sample_rate,
        channels=query.channels,
        after=query.after.isoformat() if query.after else None,
        before=query.before.isoformat() if query.before else None,
        licence=query.licence,
        tags=tuple(query.tag),
    )


def _sound(services: Services, name: str) -> int | np.ndarray:
    """A clip's id, or the embedding of an upload."""
    if name.startswith(PREFIX):
        return services.uploads.get(name).embedding
    if not (name.isascii() and name.isdecimal() and len(name) <= 16):
        raise Problem(422, "A sound is named by its clip id or upload id.")
    return services.clip(int(name)).clip_id
