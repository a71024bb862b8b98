"""A small library of synthetic sounds, a tiny model that hears them, and an app over both."""

import contextlib
import hashlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from wavtext.audio.decode import stream_audio
from wavtext.audio.waveform import Waveform
from wavtext.audio.windows import WindowConfig, iter_windows
from wavtext.library.library import SoundLibrary
from wavtext.model.model import Window
from wavtext.server.app import create_app
from wavtext.server.listening import bind
from wavtext.server.queries import CachedModel
from wavtext.server.settings import ServerSettings

RATE = 16_000  # Hz
WORDS = ("hum", "tone", "beep", "whistle", "noise", "hiss", "click", "chirp")


def synthesise(word: str, duration: float, seed: int = 0) -> np.ndarray:
    """A sound for a word: (samples,) float32."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(duration * RATE)) / RATE
    pitches = {"hum": 110.0, "tone": 440.0, "beep": 1_500.0, "whistle": 3_500.0}
    if word in pitches:
        sound = np.sin(2 * np.pi * pitches[word] * (1 + 0.01 * seed) * time)
    elif word == "chirp":
        sound = np.sin(2 * np.pi * (300 + 1_500 * time) * time)
    elif word == "click":
        sound = np.where(np.arange(time.size) % 4_000 < 20, 1.0, 0.0) * rng.choice(
            [-1, 1], time.size
        )
    else:
        sound = rng.normal(0, 0.3, time.size)
        if word == "hiss":
            sound = np.diff(sound, prepend=0.0)
    envelope = np.minimum(1, np.minimum(time, time[::-1]) / 0.02)
    return (0.5 * envelope * sound).astype(np.float32)


class TinyModel:
    """Embeds a sound as its spectrum in 24 bands, and a text as the sounds of its words."""

    name, dim, sample_rate = "tiny", 24, RATE
    identity = hashlib.sha256(b"tiny").hexdigest()

    def __init__(self) -> None:
        self.text_calls: list[int] = []
        self.delay = threading.Event()
        self._words = {word: self._embed(synthesise(word, 1.0)) for word in WORDS}

    def cut(self, sound: str | Path | Waveform) -> Iterator[tuple[float, float, np.ndarray]]:
        blocks = (
            iter([sound.resample(RATE).samples])
            if isinstance(sound, Waveform)
            else stream_audio(sound, RATE)
        )
        config = WindowConfig(duration=1.0, hop=1.0, min_duration=0.25)
        for start, end, samples in iter_windows(blocks, RATE, config):
            yield start, end, samples[None, :]

    def embed_log_mels(self, log_mels: list[np.ndarray]) -> np.ndarray:
        return np.stack([self._embed(each[0]) for each in log_mels])

    def embed_windows(self, sound: str | Path | Waveform) -> list[Window]:
        return [Window(a, b, self._embed(samples[0])) for a, b, samples in self.cut(sound)]

    def embed_audio(self, sounds: list) -> np.ndarray:
        means = [np.mean([w.embedding for w in self.embed_windows(s)], axis=0) for s in sounds]
        return np.stack([mean / np.linalg.norm(mean) for mean in means])

    def embed_text(self, texts: list[str]) -> np.ndarray:
        self.text_calls.append(len(texts))
        rows = []
        for text in texts:
            known = [self._words[word] for word in text.lower().split() if word in self._words]
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
            other = np.random.default_rng(seed).normal(size=self.dim)
            row = np.sum(known, axis=0) if known else other
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, np.float32)

    def _embed(self, samples: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft(samples, RATE)) ** 2
        edges = np.geomspace(60, 7_900, self.dim + 1).astype(int)
        bands = np.log10(np.add.reduceat(power, edges)[: self.dim] + 1e-3)
        bands -= bands.mean()
        return (bands / np.linalg.norm(bands)).astype(np.float32)


def make_sounds(folder: Path) -> None:
    """Ten sounds in two folders, in several formats, one of which no browser plays."""
    for place in ("machines", "nature"):
        (folder / place).mkdir(parents=True)
    for word in ("hum", "tone", "beep", "click"):
        soundfile.write(folder / "machines" / f"{word}.wav", synthesise(word, 2.5), RATE)
    soundfile.write(folder / "machines" / "beep two.flac", synthesise("beep", 1.5, 3), RATE)
    for word in ("noise", "hiss", "whistle"):
        soundfile.write(folder / "nature" / f"{word}.ogg", synthesise(word, 2.0), RATE)
    soundfile.write(folder / "nature" / "chirp.aiff", synthesise("chirp", 3.0), RATE)
    parts = [synthesise(word, 3.0) for word in ("hum", "noise", "whistle")]
    soundfile.write(folder / "nature" / "long & “odd” name.wav", np.concatenate(parts), RATE)


@pytest.fixture(scope="session")
def model() -> CachedModel:
    return CachedModel(TinyModel(), 64)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory, model: CachedModel) -> Path:
    """An indexed folder; do not change it."""
    folder = tmp_path_factory.mktemp("sounds")
    make_sounds(folder)
    with SoundLibrary.open(folder, model=model) as library:
        report = library.index(workers=1)
    assert report.indexed == 10
    return folder


@pytest.fixture
def fresh(tmp_path: Path, sounds: Path) -> Path:
    """A folder that is not indexed yet, with a file that cannot be."""
    folder = tmp_path / "fresh"
    shutil.copytree(sounds / "machines", folder / "machines")
    (folder / "broken.wav").write_bytes(b"RIFF but no more")
    return folder


@pytest.fixture
def make_client(sounds: Path, model: CachedModel):
    """`make_client(folder=..., **settings)`: a client of an app, as a browser on this machine."""
    opened = []

    def make(folder: Path = sounds, client=("127.0.0.1", 50_000), **settings) -> TestClient:
        app = create_app(SoundLibrary.open(folder, model=model), ServerSettings(**settings))
        test_client = TestClient(
            app, base_url="http://127.0.0.1:8765", client=client, raise_server_exceptions=False
        )
        test_client.__enter__()
        opened.append(test_client)
        return test_client

    yield make
    for test_client in opened:
        test_client.__exit__(None, None, None)


@pytest.fixture(scope="module")
def client(sounds: Path, model: CachedModel) -> Iterator[TestClient]:
    """A client of an app with the default settings, but no rate limit to speak of."""
    settings = ServerSettings(rate=1e6, burst=10**6, heavy_rate=1e6, heavy_burst=10**6)
    app = create_app(SoundLibrary.open(sounds, model=model), settings)
    with TestClient(app, base_url="http://127.0.0.1:8765", client=("127.0.0.1", 50_000)) as opened:
        yield opened


@contextlib.contextmanager
def running(app: FastAPI, listener: socket.socket) -> Iterator[None]:
    """A real server in a thread, for what needs sockets."""
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def live(sounds: Path, model: CachedModel) -> Iterator[str]:
    """The address of a real server over the library."""
    limits = {"rate": 1e6, "burst": 10**6, "heavy_rate": 1e6, "heavy_burst": 10**6}
    listener, settings = bind(ServerSettings(port=0, **limits))
    app = create_app(SoundLibrary.open(sounds, model=model), settings)
    with running(app, listener):
        yield f"http://127.0.0.1:{settings.port}"


@pytest.fixture
def csrf(client: TestClient) -> dict[str, str]:
    """The header that the page sends to change anything."""
    return {"X-CSRF-Token": client.get("/api/session").json()["csrf_token"]}
