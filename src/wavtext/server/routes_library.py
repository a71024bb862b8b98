"""The library as a whole: what it holds, its map, and indexing runs with their progress."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from wavtext.server.guard import require_csrf
from wavtext.server.jobs import Job
from wavtext.server.problems import Json, Problem
from wavtext.server.schemas import (
    FailuresResponse,
    JobRequest,
    JobResponse,
    LibraryResponse,
    MapResponse,
)
from wavtext.server.services import Services, Shared

router = APIRouter()

POLL = 0.25  # s between looks at a run
HEARTBEAT = 15.0  # s of quiet after which a comment keeps the stream open


@router.get("/api/library", response_model=LibraryResponse)
async def library(services: Shared) -> Json:
    """What the library holds, the folders that may be indexed, and the last run."""
    stats = await services.slow(services.shelf.stats)
    job = services.jobs.latest()
    return Json(
        {
            **stats.to_dict(),
            "folders": [
                {"folder": i, "name": folder.name}
                for i, folder in enumerate(services.shelf.folders)
            ],
            "job": job.to_dict() if job else None,
            "facets": await services.slow(services.facets),
        }
    )


@router.get("/api/library/failures", response_model=FailuresResponse)
async def failures(services: Shared) -> Json:
    """Files that could not be indexed, and why."""
    listed = await services.slow(services.shelf.failures)
    return Json({"failures": [{"name": each.path.name, "reason": each.reason} for each in listed]})


@router.get(
    "/api/map",
    response_model=MapResponse,
    responses={202: {"model": MapResponse, "description": "It is being made."}},
)
async def library_map(services: Shared) -> Json:
    """Clips on a plane; ask again while its state is 'computing'."""
    found = await services.quick(services.map.get)
    return Json(found, status_code=200 if found["state"] == "ready" else 202)


@router.post("/api/library/jobs", response_model=JobResponse, status_code=201)
async def start_job(body: JobRequest, request: Request, services: Shared) -> Json:
    """Begin to index a folder that the server allows."""
    require_csrf(request.scope, services.sessions)
    if body.folder >= len(services.shelf.folders):
        raise Problem(404, "There is no such folder.", help="GET /api/library lists them.")
    job = services.jobs.start(body.folder)
    return Json(job.to_dict(), status_code=201)


@router.get("/api/library/jobs/{job_id}", response_model=JobResponse)
async def job_state(job_id: str, services: Shared) -> Json:
    """How far a run has come."""
    return Json(services.jobs.get(job_id).to_dict())


@router.delete("/api/library/jobs/{job_id}", response_model=JobResponse)
async def stop_job(job_id: str, request: Request, services: Shared) -> Json:
    """Stop a run; what was finished is kept."""
    require_csrf(request.scope, services.sessions)
    job = services.jobs.get(job_id)
    job.stop.set()
    return Json(job.to_dict())


@router.get(
    "/api/library/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def job_events(job_id: str, request: Request, services: Shared) -> StreamingResponse:
    """Server-sent events: `progress` with the run's JSON whenever it changes, at last `end`."""
    job = services.jobs.get(job_id)
    return StreamingResponse(_events(job, services), media_type="text/event-stream")


async def _events(job: Job, services: Services) -> AsyncGenerator[str]:
    last: dict[str, Any] = {}
    quiet = 0.0
    while True:
        now = job.to_dict()
        if now != last:
            event = "progress" if now["state"] == "running" else "end"
            yield f"event: {event}\ndata: {json.dumps(now)}\n\n"
            last, quiet = now, 0.0
            if event == "end":
                return
        elif quiet >= HEARTBEAT:
            yield ": still here\n\n"
            quiet = 0.0
        if services.closing.is_set():
            return
        await asyncio.sleep(POLL)
        quiet += POLL
