"""Packs of `wavtext corpus pack` as training data.  A URL -> clips, and log-mels in the cache.

What was computed for the pack is copied into the cache, under the names that the same sound files
would have there; a pack without log-mels, or with those of another front end, is decoded. Each
shard is fetched once, and only if a clip of it is missing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import soxr

from wavtext.audio.log_mel import log_mel
from wavtext.corpora.exclusions import read_usable_clips
from wavtext.corpora.manifest import Clip
from wavtext.corpora.pack import PackOptions
from wavtext.corpora.packed import (
    is_pack,
    pack_digest,
    pack_options,
    read_packed,
    read_packed_clips,
)
from wavtext.errors import ManifestError, TrainingError
from wavtext.training.cache import Failure, LogMelCache, file_digest, write_log_mel


def read_training_clips(data: Path | str) -> list[Clip]:
    """The usable clips of a manifest, or of a pack, where a clip's path is its id."""
    if is_pack(data):
        return [replace(clip, path=Path(clip.clip_id)) for clip in read_packed_clips(str(data))]
    return read_usable_clips(data)


def data_digest(data: Path | str) -> str:
    """SHA-256 of a manifest, or of what a pack holds, in hex.

    Raises:
        ManifestError: It cannot be read.
    """
    if is_pack(data):
        return pack_digest(str(data))
    try:
        return file_digest(Path(data))
    except OSError as error:
        raise ManifestError(f"{data}: no manifest and no pack: {error.strerror}.") from error


def fetch_log_mels(
    url: str, clips: Sequence[Clip], cache: LogMelCache
) -> tuple[dict[Path, Path], list[Failure]]:
    """Fill the cache from a pack: path of each clip -> .npy file; and what the pack lacks.

    Raises:
        ManifestError: There is no pack, or a shard is damaged.
        TrainingError: The cache cannot be written.
    """
    options = pack_options(url)
    targets = {clip.clip_id: cache.file_of(_name(clip, options, cache)) for clip in clips}
    missing = {clip_id for clip_id, target in targets.items() if not target.is_file()}
    for packed in read_packed(url, only=missing) if missing else ():
        spectrogram = packed.log_mel
        if spectrogram is None or options.log_mel != cache.config:
            sound, rate = packed.waveform, cache.config.sample_rate
            samples = sound.samples
            if sound.sample_rate != rate:
                samples = soxr.resample(samples, sound.sample_rate, rate, "HQ")
            spectrogram = log_mel(samples, cache.config)
        try:
            write_log_mel(targets[packed.clip.clip_id], spectrogram)
        except OSError as error:
            raise TrainingError(
                f"{cache.folder}: no log-mels can be kept here: {error.strerror}.",
                help="Free some space, or choose another --cache; what is there is kept.",
            ) from error
    ready = {clip.path: targets[clip.clip_id] for clip in clips}
    failures = [Failure(path, f"{url} lacks it") for path, at in ready.items() if not at.is_file()]
    return {path: target for path, target in ready.items() if target.is_file()}, failures


def _name(clip: Clip, options: PackOptions, cache: LogMelCache) -> str:
    """The name of a clip's log-mel in the cache.

    That of the sound file, where the pack has what the file would give; else one of its own.
    """
    whole = clip.duration is not None and clip.duration < options.max_duration
    if options.log_mel == cache.config and whole:
        return clip.checksum.removeprefix("sha256:")
    text = f"{clip.checksum} packed at {options.sample_rate} Hz, {options.max_duration} s"
    return hashlib.sha256(text.encode()).hexdigest()
