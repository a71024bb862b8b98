"""A stand-in for a model: sounds by the energy in four bands, texts by words.

Deterministic, a few milliseconds a file, and right about what tests ask for:
"hum" finds low tones, "tone" middle ones, "whistle" high ones, "hiss" noise.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import numpy as np

from wavtext.audio.decode import stream_audio
from wavtext.audio.waveform import Waveform
from wavtext.audio.windows import WindowConfig, iter_windows

RATE = 8000  # Hz
WORDS = {"hum": 0, "tone": 1, "whistle": 2, "hiss": 3}
WINDOWS = WindowConfig(duration=2.0, hop=2.0, min_duration=0.5)


class StubModel:
    sample_rate = RATE

    def __init__(self, identity: str = "stub-1", dim: int = 32, name: str = "stub") -> None:
        self.identity = identity
        self.name = name
        self.dim = dim
        self.files_cut: list[str] = []

    def cut(self, sound: str | Path | Waveform) -> Iterator[tuple[float, float, np.ndarray]]:
        if isinstance(sound, Waveform):
            blocks = iter([sound.resample(RATE).samples])
        else:
            self.files_cut.append(Path(sound).name)
            blocks = stream_audio(sound, RATE)
        for start, end, samples in iter_windows(blocks, RATE, WINDOWS, name=str(sound)):
            power = np.abs(np.fft.rfft(samples)) ** 2
            yield start, end, np.log1p(power).astype(np.float32)[None, :]

    def embed_log_mels(self, log_mels: Sequence[np.ndarray]) -> np.ndarray:
        vectors = np.zeros((len(log_mels), self.dim), np.float32)
        for vector, log_mel in zip(vectors, log_mels, strict=True):
            power = np.expm1(log_mel[0].astype(np.float64))
            frequency = np.linspace(0, RATE / 2, len(power))
            flatness = np.exp(np.log(power + 1e-9).mean()) / (power.mean() + 1e-9)
            noisy = flatness > 0.2
            centre = (frequency * power).sum() / power.sum()
            band = 3 if noisy else int(np.searchsorted([400, 1500], centre))
            vector[band] = 1.0
            vector[4 + crc32(np.round(log_mel[0, :50], 1).tobytes()) % (self.dim - 4)] += 0.2
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in text.lower().split():
                index = WORDS.get(word, 4 + crc32(word.encode()) % (self.dim - 4))
                vector[index] += 1.0 if word in WORDS else 0.3
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_windows(self, sound: str | Path | Waveform) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(start=start, end=end, embedding=self.embed_log_mels([log_mel])[0])
            for start, end, log_mel in self.cut(sound)
        ]

    def embed_audio(self, sounds: Sequence[str | Path | Waveform]) -> np.ndarray:
        means = [
            np.mean([window.embedding for window in self.embed_windows(sound)], axis=0)
            for sound in sounds
        ]
        return np.array([mean / np.linalg.norm(mean) for mean in means], np.float32)
