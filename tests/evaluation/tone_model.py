"""A model that hears pitch: sounds by their spectrum, captions by the pitch they name."""

from pathlib import Path

import numpy as np
import soundfile

from wavtext.audio.decode import load_audio
from wavtext.audio.waveform import Waveform

RATE = 16_000  # Hz
PITCHES = 200 * 1.25 ** np.arange(12)  # Hz


class ToneModel:
    """Embeddings are the energy around each pitch; "tone 3" is a caption of the third pitch."""

    def __init__(self, identity: str = "tone-1", name: str = "tone", blur: float = 0.1) -> None:
        self.identity, self.name, self.blur = identity, name, blur
        self.sounds = self.texts = 0

    def embed_text(self, texts):
        self.texts += len(texts)
        rows = [int("".join(filter(str.isdigit, text)) or 0) % 12 for text in texts]
        return self._unit(np.eye(12)[rows] + 0.01)

    def embed_audio(self, sounds):
        self.sounds += len(sounds)
        return self._unit(np.stack([self._energy(sound) for sound in sounds]))

    def _energy(self, sound):
        waveform = sound if isinstance(sound, Waveform) else load_audio(sound)
        power = np.abs(np.fft.rfft(waveform.resample(RATE).samples, RATE)) ** 2
        bands = [power[int(f * 0.93) : int(f * 1.07)].sum() for f in PITCHES]
        return np.sqrt(np.array(bands) / max(sum(bands), 1e-12)) + self.blur

    def _unit(self, rows):
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def tone(pitch: int, *, seed: int = 0, duration: float = 0.5) -> Waveform:
    time = np.arange(round(duration * RATE)) / RATE
    hiss = 0.02 * np.random.default_rng(seed).standard_normal(len(time))
    return Waveform(0.5 * np.sin(2 * np.pi * PITCHES[pitch] * time) + hiss, RATE)


def write_tone(path: Path, pitch: int, *, seed: int = 0) -> Path:
    waveform = tone(pitch, seed=seed)
    soundfile.write(path, waveform.samples, waveform.sample_rate)
    return path
