"""The API's JSON, for the OpenAPI document.  `results` are what `wavtext search --json` prints."""

from typing import Any

from pydantic import BaseModel, Field


class ErrorDetail(BaseModel):
    """What went wrong and what to do."""

    code: str
    message: str
    help: str = ""


class ErrorResponse(BaseModel):
    """Every answer that is not a success."""

    error: ErrorDetail


class WindowModel(BaseModel):
    """A stretch of a clip, in seconds, and its cosine to the query."""

    start: float
    end: float
    score: float


class ResultModel(BaseModel):
    """One clip that fits the query."""

    rank: int
    clip_id: int
    path: str
    start: float
    end: float
    score: float
    relevance: float | None
    duration: float
    uri: str = Field(default="", description="where the file lies when not on the server's disk")
    windows: list[WindowModel]
    matched: list[str]
    duplicates: list[str] = []
    heat: list[WindowModel] = []
    why: dict[str, float] = {}


class SearchResponse(BaseModel):
    """Results, best first.  `good_match` is false when nothing in the library fits well."""

    query: str
    results: list[ResultModel]
    good_match: bool | None = Field(description="null: this library's scores are not calibrated")
    like: list[str] = Field(
        default=[], description="the sounds asked with: clip ids and upload ids"
    )
    took_ms: float


class UploadSearchResponse(SearchResponse):
    """As a search; `upload_id` may be sent as `like` for an hour."""

    upload_id: str
    upload_duration: float


class ClipResponse(BaseModel):
    """One sound of the library."""

    clip_id: int
    path: str
    name: str
    folder: str
    duration: float
    sample_rate: int
    channels: int
    format: str
    size: int
    modified: float
    num_windows: int


class WaveformResponse(BaseModel):
    """Outline of a sound: lowest and highest sample of each bin, in 1/127 of full scale."""

    duration: float
    bins: int
    peaks: list[int] = Field(description="low, high, low, high, ...: 2 x bins numbers")


class MapResponse(BaseModel):
    """Clips on a plane, near when they sound alike; x and y are 0 to 65535."""

    state: str = Field(description="'ready' or 'computing'")
    progress: float
    revision: str = ""
    clip_ids: list[int] = []
    x: list[int] = []
    y: list[int] = []
    group: list[int] = Field(default=[], description="index into groups")
    groups: list[str] = Field(default=[], description="folders, most clips first")


class TextsRequest(BaseModel):
    """Texts to embed."""

    texts: list[str] = Field(min_length=1, max_length=256)


class EmbeddingsResponse(BaseModel):
    """Embeddings of length 1, one for each text."""

    model: str
    identity: str
    dim: int
    embeddings: list[list[float]]


class AudioEmbeddingResponse(BaseModel):
    """The clip's embedding (length 1), and one for each window."""

    model: str
    identity: str
    dim: int
    duration: float
    embedding: list[float]
    windows: list[dict[str, Any]]


class LabelScore(BaseModel):
    """How well a label fits."""

    label: str
    score: float = Field(description="cosine")
    probability: float = Field(description="share among the labels given")


class ClassifyResponse(BaseModel):
    """Labels, best first."""

    duration: float
    labels: list[LabelScore]


class JobRequest(BaseModel):
    """A folder to index, by its id in GET /api/library."""

    folder: int = Field(default=0, ge=0, le=1000)


class JobResponse(BaseModel):
    """An indexing run."""

    job_id: str
    folder: int
    state: str = Field(description="'running', 'done', 'stopped' or 'failed'")
    files_done: int
    files_total: int
    failed: int
    speed: float = Field(description="seconds of sound a second")
    time_left: float | None
    name: str = Field(description="the file just finished")
    summary: str
    failures: list[dict[str, str]]


class FolderModel(BaseModel):
    """A folder that the page may index."""

    folder: int
    name: str


class LibraryResponse(BaseModel):
    """What the library holds, and what may be done to it from here."""

    clips: int
    windows: int
    duration: float
    failures: int
    model: str
    dim: int
    size: int
    damaged: int = Field(default=0, description="clips whose stored embeddings are damaged")
    adapted: bool = Field(default=False, description="searches use what `wavtext adapt` learned")
    folders: list[FolderModel]
    job: JobResponse | None
    facets: dict[str, list[str]]


class FailuresResponse(BaseModel):
    """Files that could not be indexed, and why."""

    failures: list[dict[str, str]]


class SessionResponse(BaseModel):
    """What the page needs to know about itself."""

    csrf_token: str
    can_reveal: bool
    can_index: bool
    max_upload_bytes: int
    max_upload_duration: float
    version: str


class TokenRequest(BaseModel):
    """The token, in exchange for a cookie."""

    token: str = Field(max_length=512)


class OkResponse(BaseModel):
    """Done."""

    ok: bool
