"""A manifest -> Parquet shards of resampled audio and log-mels.  `packed` reads them.

Training reads the shards from disk or from object storage (fsspec); Hugging Face `datasets` reads
them too: `audio` is its Audio feature. Each clip is decoded once, and checked in the same pass. A
shard's name holds a hash of what is in it, so an interrupted run goes on with the next shard, and a
changed manifest packs only what changed.

    URL/part-00000-<hash>.parquet    clip_id, audio {bytes, path}, captions, ..., log_mel, frames
    URL/pack.json                    the shards in order, settings, counts
    URL/rejected.jsonl               clips that could not be packed, with reasons
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from jaxtyping import Float

from wavtext.audio.decode import load_audio, probe
from wavtext.audio.log_mel import LogMelConfig, log_mel
from wavtext.audio.waveform import SILENCE, peak
from wavtext.corpora.apt import file_checksum
from wavtext.corpora.fingerprint import MAX_DURATION, SAMPLE_RATE, fingerprint
from wavtext.corpora.inspection import Inspection, Memory
from wavtext.corpora.manifest import Clip
from wavtext.corpora.parallel import default_workers, map_parallel
from wavtext.corpora.shards import ShardStore
from wavtext.errors import AudioError, EmptyAudioError, ManifestError


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """What goes into the shards."""

    sample_rate: int = 44_100  # Hz
    log_mel: LogMelConfig | None = None  # None: audio only; else at `sample_rate`
    max_duration: float = 300.0  # s; longer clips are cut, and counted
    clips_per_shard: int = 256

    def __post_init__(self) -> None:
        if self.log_mel is not None and self.log_mel.sample_rate != self.sample_rate:
            raise ManifestError(
                f"the log-mels are for {self.log_mel.sample_rate} Hz and the audio is packed at"
                f" {self.sample_rate} Hz; they must agree."
            )


@dataclass(frozen=True, slots=True)
class PackSummary:
    """What was packed."""

    clips: int
    shards: int
    new_shards: int  # the others were there
    duration: float  # s
    cut: int  # clips longer than max_duration
    rejected: dict[str, int]  # reason -> clips


def pack(
    clips: Sequence[Clip],
    url: str,
    *,
    options: PackOptions,
    workers: int | None = None,
    cache: Path | None = None,
) -> PackSummary:
    """Pack clips under a URL that fsspec knows (a folder, s3://, gs://, memory://).

    Args:
        clips: In the order they are to be read.
        url: Where the shards go.
        options: What goes into them.
        workers: Processes; None: all cores.
        cache: Where `wavtext corpus check` looks for what was found about the files.

    Raises:
        MissingExtraError: pyarrow or fsspec is not installed.
    """
    store = ShardStore(url)
    size = options.clips_per_shard
    parts = [clips[start : start + size] for start in range(0, len(clips), size)]
    names = [
        f"part-{number:05d}-{_content_hash(part, options)}.parquet"
        for number, part in enumerate(parts)
    ]
    notes = [store.read_note(name) for name in names]
    todo = [clip for part, note in zip(parts, notes, strict=True) if note is None for clip in part]
    # One pool for all shards: starting processes takes as long as packing a few clips.
    packed = map_parallel(
        partial(pack_clip, options=options),
        todo,
        workers=workers or default_workers(),
        on_crash=_crashed,
    )
    shards: list[dict[str, Any]] = []
    with closing(packed), Memory(cache) as memory:
        for name, part, known in zip(names, parts, notes, strict=True):
            note = known or _write_shard(store, name, part, packed, memory, options)
            shards.append({"name": name, **note})
    rejected = [each for shard in shards for each in shard["rejected"]]
    store.finish(shards, settings=_settings(options), rejected=rejected)
    counts: dict[str, int] = {}
    for each in rejected:
        counts[each["reason"]] = counts.get(each["reason"], 0) + 1
    return PackSummary(
        clips=sum(shard["clips"] for shard in shards),
        shards=len(shards),
        new_shards=notes.count(None),
        duration=round(sum(shard["duration"] for shard in shards), 3),
        cut=sum(shard["cut"] for shard in shards),
        rejected=counts,
    )


_Packed = tuple[dict[str, Any] | None, Inspection, bool]


def pack_clip(clip: Clip, options: PackOptions) -> _Packed:
    """One row of a shard, what was found about the file, and whether it was cut."""
    try:
        limit = options.max_duration
        original_rate = probe(clip.path).sample_rate
        waveform = load_audio(
            clip.path, options.sample_rate, duration=limit + 1.0, on_warning=lambda warning: None
        )
        checksum = file_checksum(clip.path)
    except EmptyAudioError as error:
        return None, Inspection(fault="empty audio", detail=str(error)), False
    except (AudioError, OSError) as error:
        fault = "not audio" if clip.path.is_file() else "missing audio"
        return None, Inspection(fault=fault, detail=str(error)), False
    loudest = peak(waveform.samples)
    if loudest < SILENCE:
        return None, Inspection(fault="silent audio"), False
    cut = waveform.duration > limit
    samples = waveform.samples[: round(limit * options.sample_rate)]
    for_fingerprint = samples[: round(MAX_DURATION * options.sample_rate)]
    found = fingerprint(soxr.resample(for_fingerprint, options.sample_rate, SAMPLE_RATE, "HQ"))
    inspection = Inspection(
        duration=waveform.duration,
        sample_rate=original_rate,
        peak=loudest,
        checksum=checksum,
        words=found.words,
        descriptor=found.descriptor.astype(np.float16),
    )
    mels = log_mel(samples, options.log_mel) if options.log_mel else None
    row = {
        "clip_id": clip.clip_id,
        "audio": {"bytes": to_flac(samples, options.sample_rate), "path": clip.path.name},
        "captions": list(clip.captions),
        "split": clip.split,
        "group": clip.group,
        "source": clip.source,
        "license": clip.license,
        "credit": clip.credit,
        "duration": len(samples) / options.sample_rate,
        "sample_rate": options.sample_rate,
        "checksum": checksum,
        "columns": json.dumps(dict(clip.columns), ensure_ascii=False),
        "log_mel": None if mels is None else mels.astype("<f2").tobytes(),
        "frames": 0 if mels is None else len(mels),
    }
    return row, inspection, cut


def to_flac(samples: Float[np.ndarray, " samples"], sample_rate: int) -> bytes:
    """16-bit FLAC; what goes beyond full scale is clipped."""
    buffer = io.BytesIO()
    # The lowest level packs three times as fast and costs a few per cent of size.
    soundfile.write(
        buffer, samples, sample_rate, format="FLAC", subtype="PCM_16", compression_level=0.0
    )
    return buffer.getvalue()


def _write_shard(
    store: ShardStore,
    name: str,
    clips: Sequence[Clip],
    packed: Iterator[_Packed],
    memory: Memory,
    options: PackOptions,
) -> dict[str, Any]:
    note: dict[str, Any] = {"clips": 0, "duration": 0.0, "cut": 0, "rejected": []}

    def rows() -> Iterator[dict[str, Any]]:
        for clip, (row, found, cut) in zip(clips, packed, strict=False):
            if not cut:
                memory.add(clip.path, found)
            if row is None:
                rejected = {
                    "clip_id": clip.clip_id,
                    "reason": found.fault,
                    "detail": found.detail,
                }
                note["rejected"].append(rejected)
                continue
            note["clips"] += 1
            note["duration"] += row["duration"]
            note["cut"] += cut
            yield row

    store.write_rows(name, rows(), note=note, sample_rate=options.sample_rate)
    return note


def _crashed(clip: Clip) -> _Packed:
    return None, Inspection(fault="decoder crashed"), False


def _settings(options: PackOptions) -> dict[str, Any]:
    return asdict(options)


def _content_hash(clips: Sequence[Clip], options: PackOptions) -> str:
    stamps: list[Any] = []
    for clip in clips:
        try:
            status = clip.path.stat()
            stamp = [status.st_size, clip.checksum or status.st_mtime_ns]
        except OSError:
            stamp = ["missing"]
        stamps.append(
            [clip.clip_id, clip.captions, clip.split, clip.group, dict(clip.columns), *stamp]
        )
    text = json.dumps([_settings(options), stamps])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
