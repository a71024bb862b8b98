"""The limited decoder: it may die of a file, the server may not."""

import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from wavtext.errors import DecodeError, EmptyAudioError
from wavtext.server.decoding import Decoder
from wavtext.server.problems import Problem
from wavtext.server.settings import ServerSettings

RATE = 16_000


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(2 * RATE) / 20), RATE)
    return path


@pytest.fixture
def make_decoder(tmp_path):
    """`make_decoder(code, **settings)`: a decoder whose worker runs `code` in place of decoding."""
    made = []

    def make(code: str = "", **settings) -> Decoder:
        limits = ServerSettings(**{"decode_workers": 1, **settings})
        if code:
            script = tmp_path / "worker.py"
            body = textwrap.indent(textwrap.dedent(code), "    ")
            script.write_text(
                "import os, signal, sys, time\nimport numpy as np\n"
                "from wavtext.server import worker\n"
                f"def job(job):\n{body}\n    return {{}}, b''\n"
                "worker.JOBS['samples'] = job\nworker.main()\n"
            )
            made.append(Decoder(limits, (sys.executable, str(script))))
        else:
            made.append(Decoder(limits))
        return made[-1]

    yield make
    for decoder in made:
        decoder.close()


def test_samples_come_back_at_the_rate_asked_for(make_decoder, sound):
    waveform = make_decoder().samples(sound, 8_000)
    assert waveform.sample_rate == 8_000
    assert waveform.duration == pytest.approx(2.0)
    assert np.abs(waveform.samples).max() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    ("code", "settings", "words"),
    [
        ("os.abort()", {}, "crashed"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", {}, "crashed"),
        ("time.sleep(60)", {"decode_timeout": 0.5}, "longer than 0.5 s"),
        ("while True: pass", {"decode_cpu": 0.5, "decode_timeout": 20.0}, "crashed or used"),
        ("np.ones(2**30)", {"decode_memory": 2**26}, "too much memory"),
        ("sys.__stdout__.write('{nonsense\\n'); sys.__stdout__.flush(); time.sleep(9)", {}, "non"),
        ("raise RuntimeError(job['path'])", {}, "could not be decoded"),
        ("os._exit(0)", {}, "crashed"),
    ],
)
def test_a_worker_that_dies_of_a_file_is_replaced(make_decoder, sound, code, settings, words):
    decoder = make_decoder(f"if 'a.wav' in job['path']:\n    {code}", **settings)
    began = time.perf_counter()
    with pytest.raises(DecodeError, match=words) as raised:
        decoder.samples(sound, RATE)
    assert str(sound) not in str(raised.value)
    assert time.perf_counter() - began < 15
    other = sound.with_name("b.wav")
    with pytest.raises(EmptyAudioError, match="silent"):  # a new worker answers: no samples
        decoder.samples(other, RATE)


def test_a_worker_cannot_write_much_nor_open_many_files(make_decoder, sound, tmp_path):
    code = """
    import resource
    open(os.devnull).close()
    for name in ('RLIMIT_CORE', 'RLIMIT_FSIZE', 'RLIMIT_NOFILE', 'RLIMIT_AS', 'RLIMIT_CPU'):
        if resource.getrlimit(getattr(resource, name))[0] == resource.RLIM_INFINITY:
            os.abort()
    if any('TOKEN' in name for name in os.environ):
        os.abort()
    """
    decoder = make_decoder(code)
    with pytest.raises(EmptyAudioError, match="silent"):
        decoder.samples(sound, RATE)
    assert decoder.deaths == 0


def test_the_parent_s_secrets_do_not_reach_the_worker(make_decoder, sound, monkeypatch):
    monkeypatch.setenv("WAVTEXT_TOKEN", "a-token-of-some-length")
    decoder = make_decoder("if 'WAVTEXT_TOKEN' in os.environ: os.abort()")
    with pytest.raises(EmptyAudioError):
        decoder.samples(sound, RATE)


def test_when_every_decoder_is_busy_the_answer_is_busy(make_decoder, sound):
    decoder = make_decoder("time.sleep(1.5)", decode_timeout=0.4)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(decoder.samples, sound, RATE)
        time.sleep(0.1)
        worker_starts = decoder._idle.empty()
        assert worker_starts
        decoder._settings = ServerSettings(decode_workers=1, decode_timeout=0.05)
        with pytest.raises(Problem) as raised:
            decoder.samples(sound, RATE)
        assert raised.value.status_code == 503
        with pytest.raises(DecodeError):
            first.result()


def test_the_outline_of_a_long_sound_is_exact_in_bounded_memory(make_decoder, tmp_path):
    path = tmp_path / "long.wav"
    samples = np.zeros(200 * 8_000, np.float32)
    samples[50 * 8_000] = 0.9
    samples[150 * 8_000] = -0.5
    soundfile.write(path, samples, 8_000)
    duration, outline = make_decoder().peaks(path, 100)
    assert duration == pytest.approx(200.0)
    assert np.flatnonzero(outline[:, 1] > 100).tolist() == [25]
    assert np.flatnonzero(outline[:, 0] < -50).tolist() == [75]


def test_the_outline_of_a_very_short_sound_has_all_its_bins(make_decoder, tmp_path):
    path = tmp_path / "short.wav"
    soundfile.write(path, 0.5 * np.ones(40, np.float32), 8_000)
    _, outline = make_decoder().peaks(path, 64)
    assert outline.shape == (64, 2)
    assert (outline[:, 1] > 60).all()
