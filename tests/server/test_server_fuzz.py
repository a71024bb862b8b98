"""Nonsense against the server: mutated sound files, and requests made from the OpenAPI document."""

import io
import json
import os
import time
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import soundfile

from wavtext.errors import AudioError
from wavtext.server.problems import Problem

RATE = 16_000
FORMATS = (
    ("WAV", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("AIFF", "PCM_24"),
    ("MP3", None),
)
CONTAINERS = (
    ("mp4", "aac", 16_000),
    ("ogg", "libopus", 48_000),
    ("matroska", "aac", 16_000),
    ("asf", "wmav2", 44_100),
)
MUTATIONS = int(os.environ.get("WAVTEXT_FUZZ_FILES", "300"))
RESULT = os.environ.get("WAVTEXT_FUZZ_RESULT")  # a file for the counts


def seeds() -> list[bytes]:
    samples = 0.3 * np.sin(np.arange(RATE // 2) / 5)
    files = []
    for name, subtype in FORMATS:
        data = io.BytesIO()
        soundfile.write(data, samples, RATE, format=name, subtype=subtype)
        files.append(data.getvalue())
    return files + [encoded(samples, *kind) for kind in CONTAINERS]


def encoded(samples: np.ndarray, container: str, codec: str, rate: int) -> bytes:
    """What libsndfile cannot write: the sound in a container of FFmpeg's."""
    data = io.BytesIO()
    with av.open(data, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout, stream.bit_rate = "mono", 64_000
        values = np.interp(np.arange(rate // 2) * RATE / rate, np.arange(len(samples)), samples)
        frame = av.AudioFrame.from_ndarray(values[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate = rate
        frames = av.AudioResampler(
            stream.format.name, "mono", rate, stream.codec_context.frame_size or None
        )
        for each in [*frames.resample(frame), *frames.resample(None)]:
            out.mux(stream.encode(each))
        out.mux(stream.encode(None))
    return data.getvalue()


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One of: flipped bytes, a cut, a doubled or zeroed stretch, a huge number in the header."""
    changed = bytearray(data)
    kind = rng.integers(5)
    if kind == 0:
        for _ in range(int(rng.integers(1, 30))):
            changed[rng.integers(len(changed))] = rng.integers(256)
    elif kind == 1:
        del changed[int(rng.integers(1, len(changed))) :]
    elif kind == 2:
        start, size = rng.integers(len(changed)), int(rng.integers(1, 500))
        changed[start:start] = changed[start : start + size]
    elif kind == 3:
        start, size = int(rng.integers(len(changed))), int(rng.integers(1, 200))
        changed[start : start + size] = bytes(len(changed[start : start + size]))
    else:
        place = int(rng.integers(4, 64))
        changed[place : place + 4] = int(rng.choice([0, 2**31 - 1, 2**32 - 1, 1])).to_bytes(
            4, "little"
        )
    return bytes(changed)


def test_each_seed_is_a_sound(client):
    for body in seeds():
        answer = client.post("/api/search", files={"file": ("a", body)}, data={"limit": "1"})
        assert answer.status_code == 200, body[:16]


def test_mutated_sound_files_neither_crash_nor_hang_the_server(make_client, tmp_path):
    limits = {"heavy_rate": 1e6, "heavy_burst": 10**6, "decode_timeout": 5.0, "decode_cpu": 3.0}
    client = make_client(**limits)
    rng = np.random.default_rng(8)
    files = seeds()
    statuses: dict[int, int] = {}
    slowest, handled = 0.0, 0
    decoder = client.app.state.services.decoder
    for i in range(MUTATIONS):
        body = mutate(files[i % len(files)], rng)
        began = time.perf_counter()
        answer = client.post("/api/search", files={"file": ("a", body)}, data={"limit": "1"})
        slowest = max(slowest, time.perf_counter() - began)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        assert answer.status_code in (200, 422), answer.text
        assert "wavtext-upload" not in answer.text
        assert "Traceback" not in answer.text
        if i % 6 == 0:  # what a library's own file goes through: probing, drawing, playing, cutting
            path = tmp_path / "sound"
            path.write_bytes(body)
            for call in (
                lambda path=path: decoder.probe(path),
                lambda path=path: decoder.peaks(path, 32),
                lambda path=path: decoder.transcode(path, tmp_path / "sound.flac"),
                lambda path=path: decoder.cut(path, tmp_path / "cut.wav", 0.1, 0.3),
            ):
                try:
                    call()
                except (Problem, AudioError):
                    handled += 1
    assert handled > 20
    assert statuses[200] > 20  # many survive their wounds
    assert statuses[422] > 20
    assert slowest < 30
    found = {"files": MUTATIONS, "answers": statuses, "decoders that died": decoder.deaths}
    found |= {"refused by other calls": handled, "slowest, s": round(slowest, 2)}
    if RESULT:
        Path(RESULT).write_text(json.dumps(found, indent=1) + "\n")
    assert client.get("/api/search?q=hum").is_success


CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)


@pytest.mark.filterwarnings("ignore")  # of schemathesis's own
def test_requests_made_from_the_openapi_document_get_documented_answers(live):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings

    schemathesis.checks.load_all_checks()
    checks = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKED]
    session = httpx.get(f"{live}/api/session")
    headers = {
        "X-CSRF-Token": session.json()["csrf_token"],
        "Cookie": session.headers["set-cookie"].split(";")[0],
    }
    schema = schemathesis.openapi.from_url(f"{live}/api/openapi.json")
    bounds = settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    tried: dict[str, int] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith("/reveal"):  # would start a program here
            continue

        @bounds
        @given(case=operation.as_strategy())
        def ask(case):
            tried[case.operation.label] = tried.get(case.operation.label, 0) + 1
            case.call_and_validate(base_url=live, headers=headers, checks=checks, timeout=60)

        ask()
    assert len(tried) >= 15
    assert sum(tried.values()) >= 80
