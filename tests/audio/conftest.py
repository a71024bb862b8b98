"""Synthesised sounds, written in every format that the installed encoders offer."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

Encoder = Callable[..., Path]


def chirp(duration: float, sample_rate: int) -> np.ndarray:
    """A sweep from 200 Hz to 1 kHz at half of full scale, (samples,) float32."""
    time = np.arange(round(duration * sample_rate)) / sample_rate
    slope = 400.0 / duration
    return (0.5 * np.sin(2 * np.pi * (200.0 + slope * time) * time)).astype(np.float32)


def encode(
    path: Path,
    samples: np.ndarray,
    sample_rate: int,
    *,
    codec: str,
    format: str | None = None,
    video: str | None = None,
) -> Path:
    """Write (channels, samples) with one of ffmpeg's encoders, beside a small picture or not."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
    with av.open(path, "w", format=format) as container:
        picture = container.add_stream(video, rate=10) if video else None
        sound = container.add_stream(codec, rate=sample_rate, layout=layout)
        if codec in ("wmav2", "aac", "libopus", "mp2"):
            sound.bit_rate = 192_000
        if picture is not None:
            picture.width, picture.height = 64, 48
            picture.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
            for index in range(round(10 * samples.shape[1] / sample_rate)):
                image = np.full((48, 64, 3), index % 255, np.uint8)
                container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(picture.encode(None))
        wanted = sound.codec_context.codec.audio_formats[0].name
        resampler = av.AudioResampler(format=wanted, layout=layout, rate=sample_rate)
        planes = np.ascontiguousarray(samples, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = sample_rate, 0
        for converted in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(sound.encode(converted))
        container.mux(sound.encode(None))
    return path


@pytest.fixture(scope="session", name="encode")
def encode_fixture() -> Encoder:
    return encode


@pytest.fixture(scope="session", name="chirp")
def chirp_fixture() -> Callable[[float, int], np.ndarray]:
    return chirp
