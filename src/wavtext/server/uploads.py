"""Sounds that people search with: their embeddings are kept for an hour, the sounds never.

A multipart file -> a temporary file -> samples (in the decoder) -> an embedding with an id.
"""

import contextlib
import os
import secrets
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from starlette.datastructures import UploadFile

from wavtext.server.limits import too_large
from wavtext.server.problems import Problem

CHUNK_BYTES = 2**20
PREFIX = "upload-"


@dataclass(frozen=True, slots=True)
class Upload:
    """A sound someone searched with."""

    upload_id: str
    duration: float  # s
    embedding: Float32[np.ndarray, " dim"]


class Uploads:
    """The last uploads' embeddings, by unguessable id.

    Args:
        size: How many are kept.
        lifetime: Seconds that each is kept.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        size: int = 512,
        lifetime: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size, self._lifetime, self._clock = size, lifetime, clock
        self._kept: OrderedDict[str, tuple[float, Upload]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, duration: float, embedding: Float32[np.ndarray, " dim"]) -> Upload:
        """Keep an embedding under a new id."""
        upload = Upload(PREFIX + secrets.token_urlsafe(12), duration, embedding)
        with self._lock:
            self._kept[upload.upload_id] = (self._clock() + self._lifetime, upload)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return upload

    def get(self, upload_id: str) -> Upload:
        """An embedding that was kept.

        Raises:
            Problem: 410, when it was dropped, or never was.
        """
        with self._lock:
            deadline, upload = self._kept.get(upload_id, (0.0, None))
        if upload is None or deadline < self._clock():
            raise Problem(410, "That sound is no longer kept.", help="Drop it on the page again.")
        return upload


@contextlib.asynccontextmanager
async def on_disk(file: UploadFile, max_bytes: int) -> AsyncGenerator[Path]:
    """The upload as a temporary file that only this user can read; gone afterwards.

    The name the client gave plays no part.
    """
    handle, name = tempfile.mkstemp(prefix="wavtext-upload-")
    path = Path(name)
    try:
        size = 0
        with os.fdopen(handle, "wb") as target:
            while chunk := await file.read(CHUNK_BYTES):
                size += len(chunk)
                if size > max_bytes:
                    raise too_large(max_bytes)
                target.write(chunk)
        if not size:
            raise Problem(422, "The upload is empty.", help="Send a sound file.")
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
