"""Parquet shards of `pack` -> clips, sounds and log-mels; or files and a manifest again."""

import hashlib
import io
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jaxtyping import Float

from wavtext.audio.log_mel import LogMelConfig
from wavtext.audio.waveform import Waveform
from wavtext.config import from_dict
from wavtext.corpora.apt import file_checksum
from wavtext.corpora.manifest import Clip, write_manifest
from wavtext.corpora.pack import PackOptions
from wavtext.corpora.shards import CLIP_COLUMNS, INDEX, ShardStore


@dataclass(frozen=True, slots=True)
class PackedClip:
    """One clip out of a shard."""

    clip: Clip  # its path is the name it had
    audio: bytes  # FLAC
    log_mel: Float[np.ndarray, "frames mels"] | None  # float16 dB

    @property
    def waveform(self) -> Waveform:
        """The sound, decoded each time it is asked for."""
        samples, rate = soundfile.read(io.BytesIO(self.audio), dtype="float32")
        return Waveform(samples, rate)


def is_pack(data: Path | str) -> bool:
    """Whether training data is a pack: a URL, or a folder that holds one."""
    return "://" in str(data) or (Path(data) / INDEX).is_file()


def pack_options(url: str) -> PackOptions:
    """What the pack was made with.

    Raises:
        ManifestError: There is no pack.
    """
    settings = dict(ShardStore(url).read_index()["settings"])
    front_end = settings.pop("log_mel", None)
    if front_end is not None:
        front_end = {name: value for name, value in front_end.items() if value is not None}
        front_end = from_dict(LogMelConfig, front_end, where=f"{url}/{INDEX}", table="log_mel")
    return PackOptions(**settings, log_mel=front_end)


def pack_digest(url: str) -> str:
    """SHA-256 of the names of the shards, which name their content, in hex."""
    names = [shard["name"] for shard in ShardStore(url).read_index()["shards"]]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def read_packed_clips(url: str) -> Iterator[Clip]:
    """The clips of a pack in order, without fetching their sounds.

    Raises:
        ManifestError: There is no pack, or a shard is damaged.
    """
    store = ShardStore(url)
    for shard in store.read_index()["shards"]:
        for row in store.read_rows(shard["name"], CLIP_COLUMNS):
            yield _to_clip(row)


def read_packed(url: str, *, only: Collection[str] | None = None) -> Iterator[PackedClip]:
    """The clips of a pack in order, a few at a time in memory.

    Args:
        url: The pack.
        only: Ids; shards without any of them are not fetched. None: all.

    Raises:
        ManifestError: There is no pack, or a shard is damaged.
    """
    store = ShardStore(url)
    content = store.read_index()
    settings = content["settings"].get("log_mel")
    mels = settings["n_mels"] if settings else 0
    for shard in content["shards"]:
        if only is not None:
            ids = (row["clip_id"] for row in store.read_rows(shard["name"], ["clip_id"]))
            if not any(clip_id in only for clip_id in ids):
                continue
        for row in store.read_rows(shard["name"]):
            if only is None or row["clip_id"] in only:
                packed = row["log_mel"]
                image = np.frombuffer(packed, "<f2").reshape(-1, mels) if packed else None
                yield PackedClip(_to_clip(row), row["audio"]["bytes"], image)


def unpack(url: str, folder: Path) -> int:
    """Write a pack's clips as FLAC files and a manifest; returns how many."""

    def clips() -> Iterator[Clip]:
        for number, packed in enumerate(read_packed(url)):
            path = folder / "audio" / f"{number:06d}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(packed.audio)
            yield replace(packed.clip, path=path, checksum=file_checksum(path))

    return write_manifest(folder / "manifest.jsonl", clips())


def _to_clip(row: dict[str, Any]) -> Clip:
    name = (row.get("audio") or {}).get("path") or row["clip_id"]
    fields = {key: row[key] for key in CLIP_COLUMNS if key not in ("captions", "columns")}
    return Clip(
        **fields,
        path=Path(name),
        captions=tuple(row["captions"]),
        columns=json.loads(row["columns"]),
    )
