"""The process that decodes what may be hostile.  JSON lines in -> one JSON line and raw bytes out.

Run by `wavtext.server.decoding`, one job at a time.  Before the first job it gives up what it can:
no new files beyond the job's own output, no core dumps, no new privileges, a ceiling on memory;
each job has its seconds of CPU.  A job that breaks a limit ends the process, and the server starts
another.  Jobs:

    probe       path                            -> container and codec
    samples     path, sample_rate, max_duration -> float32 mono
    peaks       path, bins, max_duration        -> int8 (bins, 2), lowest and highest of each bin
    transcode   path, output, max_duration      -> FLAC, 16 bit, at `output`
    cut         path, output, start, end        -> WAV at `output`
"""

import contextlib
import ctypes
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from wavtext.audio.decode import probe, stream_audio
from wavtext.errors import AudioError, DecodeError, EmptyAudioError

PEAKS_SAMPLE_RATE = 8_000  # Hz: enough to see a sound's outline
MAX_COLUMNS = 2**18
EXACTLY_SEEKABLE = frozenset({"pcm_u8", "pcm_s8", "pcm_16", "pcm_24", "pcm_32", "float", "double"})
MAX_OUTPUT_BYTES = 2**30
PR_SET_NO_NEW_PRIVS = 38

Reply = tuple[dict[str, Any], bytes]


def inspect(job: dict[str, Any]) -> Reply:
    """What the file is, whatever its name says."""
    info = probe(job["path"])
    return {"format": info.format, "codec": info.codec}, b""


def samples(job: dict[str, Any]) -> Reply:
    """Decode an upload to mono at the model's rate."""
    max_samples = int(job["max_duration"] * job["sample_rate"])
    blocks: list[np.ndarray] = []
    count = 0
    for block in stream_audio(job["path"], job["sample_rate"]):
        blocks.append(block)
        count += len(block)
        if count > max_samples:
            raise DecodeError(
                f"the sound is longer than {job['max_duration']:g} s.",
                help="Cut out the part you mean.",
            )
    if not count:
        raise EmptyAudioError("the sound holds no samples.")
    data = np.concatenate(blocks).astype("<f4", copy=False)
    return {"sample_rate": job["sample_rate"]}, data.tobytes()


def peaks(job: dict[str, Any]) -> Reply:
    """Lowest and highest sample of each of `bins` equal stretches, as a player draws them."""
    bins: int = job["bins"]
    low = high = rest = np.zeros(0, np.float32)
    num_samples, step = 0, 4  # samples a column
    for block in stream_audio(job["path"], PEAKS_SAMPLE_RATE):
        num_samples += len(block)
        if num_samples > job["max_duration"] * PEAKS_SAMPLE_RATE:
            break
        block = np.concatenate([rest, block])
        whole = len(block) // step * step
        columns = block[:whole].reshape(-1, step)
        low = np.concatenate([low, columns.min(axis=1)])
        high = np.concatenate([high, columns.max(axis=1)])
        rest = block[whole:]
        while len(low) > MAX_COLUMNS:  # memory stays bounded however long the sound is
            pairs = len(low) // 2 * 2
            rest = np.concatenate([low[pairs:], high[pairs:], rest])  # the odd one waits
            low = low[:pairs].reshape(-1, 2).min(axis=1)
            high = high[:pairs].reshape(-1, 2).max(axis=1)
            step *= 2
    if rest.size:
        low, high = np.append(low, rest.min()), np.append(high, rest.max())
    if not num_samples:
        raise EmptyAudioError("the sound holds no samples.")
    edges = np.linspace(0, len(low), bins + 1)
    first = np.minimum(edges[:-1].astype(int), len(low) - 1)
    outline = np.stack([np.minimum.reduceat(low, first), np.maximum.reduceat(high, first)], axis=1)
    quantised = np.clip(np.rint(np.nan_to_num(outline) * 127), -127, 127).astype(np.int8)
    return {"duration": num_samples / PEAKS_SAMPLE_RATE}, quantised.tobytes()


def transcode(job: dict[str, Any]) -> Reply:
    """Write a file that every browser plays: FLAC at the sound's own rate, or 48 kHz above it."""
    sample_rate = min(probe(job["path"]).sample_rate, 48_000)
    left = int(job["max_duration"] * sample_rate)
    with soundfile.SoundFile(
        job["output"], "w", samplerate=sample_rate, channels=1, format="FLAC", subtype="PCM_16"
    ) as file:
        for block in stream_audio(job["path"], sample_rate, block_duration=10.0):
            file.write(np.clip(block[:left], -1.0, 1.0))
            left -= len(block)
            if left <= 0:
                break
    return {}, b""


def cut(job: dict[str, Any]) -> Reply:
    """Write `start` to `end` seconds as WAV: PCM with its channels and depth, the rest in mono."""
    info = probe(job["path"])
    start, end = job["start"], job["end"]
    if info.codec in EXACTLY_SEEKABLE and info.format in (
        "wav",
        "aiff",
        "flac",
        "w64",
        "caf",
        "rf64",
    ):
        with soundfile.SoundFile(job["path"]) as source:
            rate, keep = source.samplerate, source.subtype
            subtype = keep if keep in ("PCM_16", "PCM_24", "PCM_32", "FLOAT") else "PCM_16"
            source.seek(min(round(start * rate), source.frames))
            blocks = _blocks(source, round((end - start) * rate))
            _write_wav(job["output"], blocks, rate, source.channels, subtype)
    else:
        rate = info.sample_rate
        blocks = stream_audio(
            job["path"], rate, block_duration=10.0, start=start, duration=end - start
        )
        _write_wav(job["output"], blocks, rate, 1, "PCM_16")
    return {}, b""


JOBS: dict[str, Callable[[dict[str, Any]], Reply]] = {
    "probe": inspect,
    "samples": samples,
    "peaks": peaks,
    "transcode": transcode,
    "cut": cut,
}


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer jobs until the pipe closes."""
    for line in requests:
        job: dict[str, Any] = json.loads(line)
        limit_cpu(job["cpu"])
        try:
            header, payload = JOBS[job["job"]](job)
            header = {"ok": True, "bytes": len(payload), **header}
        except AudioError as error:
            kind = "empty" if isinstance(error, EmptyAudioError) else "decode"
            header, payload = {"ok": False, "kind": kind, "message": error.args[0]}, b""
            header["help"] = error.help
        except MemoryError:
            header, payload = {"ok": False, "kind": "memory"}, b""
        except Exception as error:
            header, payload = {"ok": False, "kind": "broken", "message": repr(error)[:500]}, b""
        replies.write(json.dumps(header).encode() + b"\n" + payload)
        replies.flush()


def limit_cpu(seconds: float) -> None:
    """Let this process use so many more seconds of CPU before it is killed."""
    with contextlib.suppress(ImportError):
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF)
        soft = int(usage.ru_utime + usage.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def give_up_powers(memory: int) -> None:
    """Limit this process for good: memory beyond what it holds now, files, cores, privileges."""
    try:
        import resource
    except ImportError:  # Windows has no such limits: the parent's wall clock is what remains
        return
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_OUTPUT_BYTES, MAX_OUTPUT_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _blocks(source: soundfile.SoundFile, frames: int) -> Iterator[np.ndarray]:
    while frames > 0:
        block = source.read(min(frames, 2**16), dtype="float32", always_2d=True)
        if not len(block):
            return
        frames -= len(block)
        yield block


def _write_wav(
    output: str, blocks: Iterator[np.ndarray], rate: int, channels: int, subtype: str
) -> None:
    count = 0
    with soundfile.SoundFile(
        output, "w", samplerate=rate, channels=channels, format="WAV", subtype=subtype
    ) as file:
        for block in blocks:
            file.write(block)
            count += len(block)
    if not count:
        raise EmptyAudioError("the sound ends before that part begins.")


def main() -> None:
    """Give up powers, say so, and serve the parent."""
    stdout = sys.stdout.buffer
    sys.stdout = sys.stderr  # a decoder that prints must not break the protocol
    give_up_powers(int(sys.argv[1]))
    stdout.write(b"ready\n")
    stdout.flush()
    serve(sys.stdin.buffer, stdout)


if __name__ == "__main__":
    main()
