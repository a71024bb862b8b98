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
        picture = container.add_stream(video, rate=25) if video else None
        if picture is not None:
            picture.width, picture.height = (720, 576) if path.suffix == ".mxf" else (64, 48)
            picture.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
        sound = container.add_stream(codec, rate=sample_rate, layout=layout)
        if codec in ("wmav2", "aac", "libopus", "mp2"):
            sound.bit_rate = 192_000
        wanted = sound.codec_context.codec.audio_formats[0].name
        resampler = av.AudioResampler(format=wanted, layout=layout, rate=sample_rate)
        step = sample_rate // 25  # samples a picture; without pictures as good a portion as any
        for begin in range(0, samples.shape[1], step):
            if picture is not None:
                shape = (picture.height, picture.width, 3)
                image = np.full(shape, begin // step % 255, np.uint8)
                container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            planes = np.ascontiguousarray(samples[:, begin : begin + step], dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = sample_rate, begin
            for converted in resampler.resample(frame):
                container.mux(sound.encode(converted))
        if picture is not None:
            container.mux(picture.encode(None))
        container.mux(sound.encode(None))
    return path


@pytest.fixture(scope="session", name="encode")
def encode_fixture() -> Encoder:
    return encode


@pytest.fixture(scope="session", name="chirp")
def chirp_fixture() -> Callable[[float, int], np.ndarray]:
    return chirp
