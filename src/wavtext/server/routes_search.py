"""Searching, embedding, classifying: GET and POST /api/search, POST /api/embed/*, /api/classify."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, File, Form, Query, UploadFile

from wavtext.server.problems import Json, Problem
from wavtext.server.schemas import (
    AudioEmbeddingResponse,
    ClassifyResponse,
    EmbeddingsResponse,
    SearchResponse,
    TextsRequest,
    UploadSearchResponse,
)
from wavtext.server.search import SearchQuery, search, texts_of
from wavtext.server.services import Services, Shared
from wavtext.server.uploads import on_disk

router = APIRouter()

MAX_LABELS = 200
LABEL_TEMPERATURE = 0.05  # of the softmax over labels

SoundFile = Annotated[UploadFile, File(description="a sound file; its name plays no part")]


@router.get("/api/search", response_model=SearchResponse)
async def search_by_text(query: Annotated[SearchQuery, Query()], services: Shared) -> Json:
    """Find clips by a description, by sounds of the library or uploads, or by both."""
    await services.embed_texts(texts_of(query))
    return Json(await services.quick(search, services, query))


@router.post("/api/search", response_model=UploadSearchResponse)
async def search_by_sound(
    file: SoundFile,
    services: Shared,
    query: Annotated[SearchQuery, Query()],
    q: Annotated[str | None, Form(max_length=500, description="a description beside it")] = None,
    limit: Annotated[int | None, Form(ge=1, le=200)] = None,
) -> Json:
    """Find clips that sound like an upload; its `upload_id` may be used as `like` from then on.

    Filters and all else that GET takes stand in the address; `q` and `limit` there or in the form.
    """
    duration, _, embedding = await _embed(services, file)
    upload = services.uploads.add(duration, embedding)
    form = {name: given for name, given in (("q", q), ("limit", limit)) if given is not None}
    query = query.model_copy(update={**form, "like": [*query.like, upload.upload_id]})
    await services.embed_texts(texts_of(query))
    found = await services.quick(search, services, query)
    return Json({**found, "upload_id": upload.upload_id, "upload_duration": round(duration, 3)})


@router.post("/api/embed/text", response_model=EmbeddingsResponse)
async def embed_text(body: TextsRequest, services: Shared) -> Json:
    """Embeddings of texts, of length 1."""
    if any(not text.strip() or len(text) > 2000 for text in body.texts):
        raise Problem(422, "Each text has 1 to 2000 characters, not all blank.")
    embeddings = await services.slow(services.model.embed_text, body.texts)
    return Json({**_model(services), "embeddings": _numbers(embeddings)})


@router.post("/api/embed/audio", response_model=AudioEmbeddingResponse)
async def embed_audio(file: SoundFile, services: Shared) -> Json:
    """The embedding of a sound and those of its windows."""
    duration, windows, embedding = await _embed(services, file)
    return Json(
        {
            **_model(services),
            "duration": round(duration, 3),
            "embedding": _numbers(embedding),
            "windows": [
                {"start": each.start, "end": each.end, "embedding": _numbers(each.embedding)}
                for each in windows
            ],
        }
    )


@router.post("/api/classify", response_model=ClassifyResponse)
async def classify(
    file: SoundFile,
    labels: Annotated[str, Form(max_length=20_000, description="labels, separated by commas")],
    services: Shared,
) -> Json:
    """Which of the labels fits the sound (zero-shot)."""
    names = list(dict.fromkeys(part.strip() for part in labels.split(",") if part.strip()))
    if not 1 <= len(names) <= MAX_LABELS:
        raise Problem(422, f"Give 1 to {MAX_LABELS} labels, separated by commas.")
    duration, _, embedding = await _embed(services, file)
    texts = await services.slow(services.model.embed_text, names)
    scores = texts @ embedding
    shares = np.exp((scores - scores.max()) / LABEL_TEMPERATURE)
    shares /= shares.sum()
    best = np.argsort(-scores, kind="stable")
    ranked = [
        {
            "label": names[i],
            "score": round(float(scores[i]), 4),
            "probability": round(float(shares[i]), 4),
        }
        for i in best
    ]
    return Json({"duration": round(duration, 3), "labels": ranked})


async def _embed(services: Services, file: UploadFile) -> tuple[float, list[Any], np.ndarray]:
    async with on_disk(file, services.settings.max_upload_bytes) as path:
        return await services.slow(services.embed_file, path)


def _model(services: Services) -> dict[str, Any]:
    model = services.model
    return {"model": model.name, "identity": model.identity, "dim": model.dim}


def _numbers(array: np.ndarray) -> list[Any]:
    return np.round(array.astype(np.float64), 7).tolist()
