"""One clip: facts, sound, outline, and showing it in the file manager."""

import contextlib
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from wavtext.server.guard import require_csrf
from wavtext.server.problems import Json, Problem
from wavtext.server.reveal import reveal_command
from wavtext.server.schemas import ClipResponse, OkResponse, WaveformResponse
from wavtext.server.services import Shared

router = APIRouter()

# A clip's sound may be kept by the browser while its address stays: `v` changes with the file.
CACHE = {"Cache-Control": "private, max-age=3600"}


@router.get("/api/clips/{clip_id}", response_model=ClipResponse)
async def clip_facts(clip_id: int, services: Shared) -> Json:
    """What is known of a clip."""
    clip = await services.quick(services.clip, clip_id)
    facts = {**clip.to_dict(), "name": clip.path.name, "folder": services.folder_of(clip)}
    return Json(facts)


@router.head("/api/clips/{clip_id}/audio", include_in_schema=False)
@router.get(
    "/api/clips/{clip_id}/audio",
    response_class=FileResponse,
    responses={200: {"content": {"audio/*": {}}}, 206: {"description": "The range asked for."}},
)
async def clip_audio(
    clip_id: int,
    services: Shared,
    start: Annotated[float | None, Query(ge=0, allow_inf_nan=False, description="s")] = None,
    end: Annotated[float | None, Query(gt=0, allow_inf_nan=False, description="s")] = None,
    original: Annotated[bool, Query(description="the file as it is, to save")] = False,
) -> FileResponse:
    """The sound: as it is where browsers play it, else as FLAC.

    With start or end: a WAV of that part, its channels and bit depth kept.  Answers range requests.
    """
    clip, file = await services.quick(services.file, clip_id)
    if start is not None or end is not None:
        first, last = start or 0.0, end if end is not None else clip.duration
        part = await services.slow(services.media.cut, file, first, last)
        name = _shown(f"{clip.path.stem} {first:.2f}-{last:.2f}.wav")
        return _OnceResponse(part, media_type="audio/wav", filename=name)
    if original:
        return FileResponse(
            file, media_type="application/octet-stream", filename=_shown(clip.path.name)
        )
    playable, media_type = await services.slow(services.media.playable, file)
    return FileResponse(playable, media_type=media_type, headers=CACHE)


@router.get("/api/clips/{clip_id}/waveform", response_model=WaveformResponse)
async def clip_waveform(
    clip_id: int,
    services: Shared,
    bins: Annotated[int, Query(ge=8, le=4096, description="columns to draw")] = 480,
) -> Json:
    """The sound's outline, to draw."""
    _, file = await services.quick(services.file, clip_id)
    duration, outline = await services.slow(services.media.outline, file, bins)
    values = {"duration": round(duration, 3), "bins": bins, "peaks": outline.ravel().tolist()}
    return Json(values, headers=CACHE)


@router.post("/api/clips/{clip_id}/reveal", response_model=OkResponse)
async def reveal(clip_id: int, request: Request, services: Shared) -> Json:
    """Show the file in this machine's file manager: only for a page on this machine."""
    client = request.client.host if request.client else ""
    if not services.settings.reveals_to(client):
        raise Problem(403, "Files are shown on the server's own machine only.")
    require_csrf(request.scope, services.sessions)
    _, file = await services.quick(services.file, clip_id)
    try:
        services.launch(reveal_command(file))
    except OSError as error:
        raise Problem(503, "No file manager could be started here.") from error
    return Json({"ok": True})


class _OnceResponse(FileResponse):
    """A file that is deleted when it was sent, or when it could not be."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with contextlib.suppress(OSError):
                Path(self.path).unlink()


def _shown(name: str) -> str:
    """A file name as Unicode, whatever its bytes."""
    return name.encode(errors="replace").decode()
