"""One search: the API's parameters -> the library's -> JSON.  Runs in a search thread."""

import time
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from wavtext.server.problems import Problem
from wavtext.server.services import Services

MAX_SOUNDS = 8


class SearchQuery(BaseModel):
    """The parameters of GET /api/search."""

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


def search(services: Services, query: SearchQuery) -> dict[str, Any]:
    """Results as JSON values."""
    started = time.perf_counter()
    text = query.q.strip()
    if not text and not query.like:
        raise Problem(422, "Nothing was asked.", help="Give q, like, or both.")
    options: dict[str, Any] = {}
    results = services.shelf.search(text, limit=query.limit, **options)
    return {
        "query": text,
        "results": [{"rank": i, **each.to_dict()} for i, each in enumerate(results, 1)],
        "good_match": None,
        "like": query.like,
        "took_ms": round((time.perf_counter() - started) * 1000, 2),
    }
