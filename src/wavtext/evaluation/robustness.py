"""Clips, each damaged in a known way -> how far embeddings and results move.

A model that finds a sound in a studio file should find it in a quiet, noisy or compressed copy.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from wavtext.audio.decode import load_audio
from wavtext.audio.waveform import Waveform
from wavtext.errors import EvaluationError
from wavtext.evaluation.embedding import Encoder
from wavtext.evaluation.metrics import Ranks, ranks
from wavtext.evaluation.ranking import dot
from wavtext.evaluation.statistics import Comparison, compare
from wavtext.evaluation.validation import Relevant

_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # Hz


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What one kind of damage does."""

    cosine: float  # of an embedding to that of the clean clip, mean
    cosine_5_percent: float  # below it lie the worst twentieth
    overlap: float  # share of each query's top 10 that stays
    recall_at_10: Comparison  # damaged minus clean, text to audio


def gain(waveform: Waveform, decibels: float) -> Waveform:
    """Louder or quieter, clipped to full scale as a file would be."""
    samples = waveform.samples * np.float32(10 ** (decibels / 20))
    return Waveform(np.clip(samples, -1, 1), waveform.sample_rate)


def through_rate(waveform: Waveform, sample_rate: int) -> Waveform:
    """Resampled to `sample_rate` (Hz) and back: what lies above half of it is lost."""
    return waveform.resample(sample_rate).resample(waveform.sample_rate)


def noise(waveform: Waveform, decibels: float, *, seed: int = 0) -> Waveform:
    """White noise added at a signal-to-noise ratio in dB over the whole clip; not clipped."""
    power = float(np.mean(np.square(waveform.samples, dtype=np.float64)))
    level = np.sqrt(power / 10 ** (decibels / 10))
    hiss = np.random.default_rng(seed).standard_normal(len(waveform.samples)) * level
    return Waveform(waveform.samples + hiss.astype(np.float32), waveform.sample_rate)


def lead_in(waveform: Waveform, duration: float) -> Waveform:
    """Silence of `duration` seconds before the sound."""
    silence = np.zeros(round(duration * waveform.sample_rate), np.float32)
    return Waveform(np.concatenate([silence, waveform.samples]), waveform.sample_rate)


def mp3(waveform: Waveform, bit_rate: int) -> Waveform:
    """Through an MP3 file of `bit_rate` bits a second (LAME, by PyAV) and back."""
    import av

    rate = waveform.sample_rate
    source = waveform if rate in _MP3_RATES else waveform.resample(44_100)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp3"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libmp3lame", rate=source.sample_rate, layout="mono")
            stream.bit_rate = bit_rate
            planar = np.ascontiguousarray(np.clip(source.samples, -1, 1)[None])
            frame = av.AudioFrame.from_ndarray(planar, format="fltp", layout="mono")
            frame.sample_rate = source.sample_rate
            frame.pts = 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
        return load_audio(path, rate)


DAMAGES: Mapping[str, Callable[[Waveform], Waveform]] = {
    "gain -20 dB": partial(gain, decibels=-20.0),
    "gain +12 dB, clipped": partial(gain, decibels=12.0),
    "through 16 kHz": partial(through_rate, sample_rate=16_000),
    "through 8 kHz": partial(through_rate, sample_rate=8_000),
    "MP3 at 32 kbit/s": partial(mp3, bit_rate=32_000),
    "noise at 20 dB": partial(noise, decibels=20.0),
    "noise at 5 dB": partial(noise, decibels=5.0),
    "1 s of silence before": partial(lead_in, duration=1.0),
}


def robustness(
    model: Encoder,
    sounds: Sequence[Path | Waveform],
    query_embeddings: Float[np.ndarray, "query dim"],
    relevant: Relevant,
    *,
    damages: Mapping[str, Callable[[Waveform], Waveform]] = DAMAGES,
    seed: int = 0,
) -> dict[str, Shift]:
    """How far each damage moves the embeddings of the sounds and the results of the queries.

    The whole pool is damaged alike; the queries are not.

    Args:
        model: The encoder.
        sounds: The pool, files or waveforms.
        query_embeddings: Captions embedded by the same model.
        relevant: For each query the rows of `sounds` that answer it.
        damages: Name -> what is done to a waveform.
        seed: Of the bootstrap.
    """
    if not len(sounds):
        raise EvaluationError("there are no sounds to damage.")
    waveforms = [load_audio(each) if isinstance(each, Path) else each for each in sounds]
    clean = np.concatenate([model.embed_audio([each]) for each in waveforms])
    before = ranks(query_embeddings, clean, relevant)
    top_before = _top(query_embeddings, clean)
    result: dict[str, Shift] = {}
    for name, damage in damages.items():
        moved = np.concatenate([model.embed_audio([damage(each)]) for each in waveforms])
        cosines = np.sum(clean * moved, axis=1)
        after = ranks(query_embeddings, moved, relevant)
        top_after = _top(query_embeddings, moved)
        shared = [len(set(a) & set(b)) / len(a) for a, b in zip(top_before, top_after, strict=True)]
        result[name] = Shift(
            cosine=float(cosines.mean()),
            cosine_5_percent=float(np.quantile(cosines, 0.05)),
            overlap=float(np.mean(shared)),
            recall_at_10=_compare_recall(after, before, relevant, seed),
        )
    return result


def _compare_recall(after: Ranks, before: Ranks, relevant: Relevant, seed: int) -> Comparison:
    clusters = [tuple(np.atleast_1d(np.asarray(rows)).tolist()) for rows in relevant]
    return compare(after.hits_at(10), before.hits_at(10), clusters, seed=seed)


def _top(queries: np.ndarray, clips: np.ndarray, k: int = 10) -> list[list[int]]:
    k = min(k, len(clips))
    score = dot(np.asarray(queries, np.float32), clips)
    return np.argpartition(-score, k - 1, axis=1)[:, :k].tolist()
