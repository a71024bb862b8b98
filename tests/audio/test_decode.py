"""Any file people have becomes the same mono float32 samples, whole, in part or as a stream."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from wavtext.audio.decode import AUDIO_SUFFIXES, AudioInfo, load_audio, probe, stream_audio
from wavtext.errors import AudioError

RATE = 44_100
SOUNDFILE_FORMATS = [
    # name, subtype, greatest error of a sample
    ("u8.wav", "PCM_U8", 1 / 127),
    ("s16.wav", "PCM_16", 3e-5),
    ("s24.wav", "PCM_24", 1e-6),
    ("s32.wav", "PCM_32", 1e-6),
    ("f32.wav", "FLOAT", 0.0),
    ("f64.wav", "DOUBLE", 0.0),
    ("alaw.wav", "ALAW", 0.02),
    ("big.rf64", "PCM_24", 1e-6),
    ("wave.w64", "PCM_16", 3e-5),
    ("mac.aiff", "PCM_24", 1e-6),
    ("unix.au", "PCM_16", 3e-5),
    ("core.caf", "FLOAT", 0.0),
    ("s16.flac", "PCM_16", 3e-5),
    ("s24.flac", "PCM_24", 1e-6),
    ("vorbis.ogg", "VORBIS", 0.05),
    ("layer3.mp3", "MPEG_LAYER_III", 0.05),
]
FFMPEG_FORMATS = [
    # name, codec, container, video, greatest error, samples of delay that the container hides not
    ("aac.m4a", "aac", None, None, 0.05, 0),
    ("lossless.m4a", "alac", "ipod", None, 3e-5, 0),
    ("bare.aac", "aac", "adts", None, 0.05, 1024),
    ("windows.wma", "wmav2", "asf", None, 0.05, -2048),
    ("film.mp4", "aac", None, "mpeg4", 0.05, 0),
    ("film.mov", "pcm_s16le", None, "mjpeg", 5e-5, 0),
    ("film.mkv", "flac", None, "mpeg4", 5e-5, 0),
    ("film.avi", "mp2", None, "mpeg4", 0.05, 481),
    ("pack.wv", "wavpack", None, None, 5e-3, 0),
    ("true.tta", "tta", None, None, 5e-3, 0),
    ("dolby.ac3", "ac3", None, None, 0.05, 256),
]


def stereo(chirp, duration=2.0) -> np.ndarray:
    """(2, samples): the sweep, and its opposite at half the loudness; their mean is a quarter."""
    left = chirp(duration, RATE)
    return np.stack([left, -0.5 * left])


@pytest.mark.parametrize(("name", "subtype", "error"), SOUNDFILE_FORMATS)
def test_libsndfile_formats_give_the_mean_of_the_channels(tmp_path, chirp, name, subtype, error):
    samples = stereo(chirp)
    path = tmp_path / name
    format = {".rf64": "RF64", ".w64": "W64"}.get(path.suffix)
    soundfile.write(path, samples.T, RATE, subtype=subtype, format=format)
    waveform = load_audio(path)
    assert waveform.sample_rate == RATE
    assert waveform.samples.dtype == np.float32
    assert len(waveform.samples) == samples.shape[1]
    np.testing.assert_allclose(waveform.samples, samples.mean(axis=0), rtol=0, atol=error + 1e-7)


@pytest.mark.parametrize(("name", "codec", "format", "video", "error", "delay"), FFMPEG_FORMATS)
def test_ffmpeg_formats_give_the_mean_of_the_channels(
    tmp_path, chirp, encode, name, codec, format, video, error, delay
):
    samples = stereo(chirp)
    path = encode(tmp_path / name, samples, RATE, codec=codec, format=format, video=video)
    waveform = load_audio(path)
    assert waveform.sample_rate == RATE
    inner = slice(RATE // 2, 3 * RATE // 2)  # encoders bend the edges
    found = waveform.samples[inner.start + delay : inner.stop + delay]
    np.testing.assert_allclose(found, samples.mean(axis=0)[inner], rtol=0, atol=error)
    info = probe(path)
    assert info.channels == 2
    assert info.duration == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("name", ["speech.opus", "web.webm"])
def test_opus_is_read_at_48_khz_and_aligned(tmp_path, chirp, encode, name):
    samples = chirp(2.0, 48_000)[None]
    waveform = load_audio(encode(tmp_path / name, samples, 48_000, codec="libopus"))
    assert waveform.sample_rate == 48_000
    np.testing.assert_allclose(
        waveform.samples[24_000:72_000], samples[0, 24_000:72_000], atol=0.05
    )


@pytest.mark.parametrize(
    ("name", "codec", "video"),
    [
        ("broadcast.mxf", "pcm_s16le", "mpeg2video"),
        ("disc.mpg", "mp2", "mpeg2video"),
        ("stream.ts", "aac", "mpeg2video"),
        ("phone.3gp", "aac", "mpeg4"),
        ("windows.wmv", "wmav2", "wmv2"),
    ],
)
def test_the_sound_of_video_is_read_whole_and_in_part(tmp_path, chirp, encode, name, codec, video):
    samples = chirp(2.0, 48_000)[None]
    path = encode(tmp_path / name, samples, 48_000, codec=codec, video=video)
    whole = load_audio(path)
    assert whole.duration == pytest.approx(2.0, abs=0.08)
    assert whole.samples.std() == pytest.approx(samples.std(), rel=0.05)
    part = load_audio(path, start=1.5, duration=0.2)
    np.testing.assert_allclose(part.samples, whole.samples[72_000:81_600], atol=2e-3)


def test_amr_is_read(tmp_path, chirp, encode):
    path = encode(tmp_path / "phone.amr", chirp(1.0, 8_000)[None], 8_000, codec="libopencore_amrnb")
    waveform = load_audio(path)
    assert waveform.sample_rate == 8_000
    assert waveform.duration == pytest.approx(1.0, abs=0.05)
    assert waveform.samples.std() == pytest.approx(0.35, abs=0.1)


def test_a_misnamed_file_is_read_by_its_content(tmp_path, chirp):
    soundfile.write(tmp_path / "a.flac", chirp(0.5, RATE), RATE)
    for name in ("a.mp3", "a.wav", "a.xyz", "a"):
        copy = tmp_path / name
        copy.write_bytes((tmp_path / "a.flac").read_bytes())
        assert load_audio(copy).duration == 0.5


def test_six_channels_at_96_khz_are_averaged_and_resampled(tmp_path):
    time = np.arange(96_000) / 96_000
    tone = 0.6 * np.sin(2 * np.pi * 440 * time)
    channels = np.stack([tone, tone, 0 * tone, 0 * tone, 0 * tone, 0 * tone], axis=1)
    soundfile.write(tmp_path / "surround.wav", channels, 96_000, subtype="PCM_24")
    waveform = load_audio(tmp_path / "surround.wav", 44_100)
    assert len(waveform.samples) == 44_100
    expected = 0.2 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    np.testing.assert_allclose(waveform.samples[500:-500], expected[500:-500], atol=1e-4)


def test_six_channels_of_ffmpeg_are_averaged(tmp_path, encode):
    tone = np.full(RATE, 0.5, np.float32)
    channels = np.stack([tone, 0 * tone, 0 * tone, 0 * tone, 0 * tone, tone])
    path = encode(tmp_path / "surround.mkv", channels, RATE, codec="flac")
    np.testing.assert_allclose(load_audio(path).samples, 1 / 6, atol=1e-4)


def test_floats_beyond_full_scale_are_kept(tmp_path):
    soundfile.write(tmp_path / "loud.wav", np.array([2.0, -3.0]), 8_000, subtype="FLOAT")
    assert load_audio(tmp_path / "loud.wav").samples.tolist() == [2.0, -3.0]


@pytest.mark.parametrize("num_samples", [1, 2, 17])
@pytest.mark.parametrize("rate", [None, 8_000, 48_000])
def test_a_few_samples_are_a_sound(tmp_path, num_samples, rate):
    soundfile.write(tmp_path / "tick.wav", np.full(num_samples, 0.5), 22_050)
    waveform = load_audio(tmp_path / "tick.wav", rate)
    assert 1 <= len(waveform.samples) <= 1 + num_samples * (rate or 22_050) / 22_050


def test_resampling_is_soxr_high_quality(tmp_path, chirp):
    soundfile.write(tmp_path / "a.wav", chirp(1.0, RATE), RATE, subtype="FLOAT")
    expected = soxr.resample(chirp(1.0, RATE), RATE, 22_050, quality="HQ")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav", 22_050).samples, expected, atol=1e-6)


@pytest.mark.parametrize("rate", [None, 22_050, 48_000])
@pytest.mark.parametrize("block_duration", [0.01, 0.3, 60.0])
def test_a_stream_is_the_loaded_sound_in_pieces(tmp_path, chirp, rate, block_duration):
    path = tmp_path / "a.flac"
    soundfile.write(path, chirp(3.0, RATE), RATE)
    blocks = list(stream_audio(path, rate, block_duration=block_duration))
    assert all(len(block) for block in blocks)
    np.testing.assert_allclose(np.concatenate(blocks), load_audio(path, rate).samples, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *((name, None) for name in ("a.wav", "a.flac", "a.ogg", "a.mp3")),
        *[("a.m4a", "aac"), ("a.aac", "aac"), ("a.wma", "wmav2"), ("a.mov", "pcm_s16le")],
        *[("a.mkv", "flac"), ("a.flv", "aac"), ("a.ac3", "ac3"), ("a.avi", "mp2")],
    ],
)
def test_a_part_is_a_slice_of_the_whole(tmp_path, chirp, encode, name, codec):
    samples = chirp(4.0, RATE)
    path = tmp_path / name
    if codec:
        encode(path, samples[None], RATE, codec=codec)
    else:
        soundfile.write(path, samples, RATE)
    whole = load_audio(path).samples
    for start, duration in [(0.0, 0.5), (0.7, 0.25), (2.2, 1.0), (3.5, 9.0)]:
        part = load_audio(path, start=start, duration=duration)
        first = round(start * RATE)
        expected = whole[first : first + round(duration * RATE)]
        assert len(part.samples) == len(expected)
        # One codec frame's state may differ after a seek; a shift by a sample would show as 0.01.
        np.testing.assert_allclose(part.samples, expected, atol=2e-3)


def test_probe_tells_what_a_file_is(tmp_path, chirp, encode):
    soundfile.write(tmp_path / "a.wav", np.zeros((48_000, 6)), 48_000, subtype="PCM_24")
    assert probe(tmp_path / "a.wav") == AudioInfo(1.0, 48_000, 6, "wav", "pcm_24")
    encode(tmp_path / "b.mp4", chirp(1.0, RATE)[None], RATE, codec="aac", video="mpeg4")
    info = probe(tmp_path / "b.mp4")
    assert (info.sample_rate, info.channels, info.format, info.codec) == (RATE, 1, "mp4", "aac")


def test_suffixes_are_lower_case_and_include_video():
    assert {".wav", ".bwf", ".flac", ".opus", ".wma", ".m4a", ".mp4", ".mov"} <= AUDIO_SUFFIXES
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in AUDIO_SUFFIXES)
    assert not {".txt", ".jpg", ".raw", ".mid"} & AUDIO_SUFFIXES


@pytest.mark.parametrize(
    "arguments",
    [{"start": -1.0}, {"start": float("nan")}, {"duration": 0.0}, {"sample_rate": 0}],
)
def test_arguments_out_of_range_are_named(tmp_path, arguments):
    soundfile.write(tmp_path / "a.wav", np.ones(100), RATE)
    with pytest.raises(AudioError, match=next(iter(arguments))):
        load_audio(tmp_path / "a.wav", **arguments)


def test_names_that_are_not_utf8_are_read(tmp_path, chirp, encode):
    for name, codec in [(b"f\xfchre.wav", "pcm_s16le"), (b"h\xe9.m4a", "aac")]:
        path = tmp_path / os.fsdecode(name)
        encode(tmp_path / "plain", chirp(0.5, RATE)[None], RATE, codec=codec, format="mov")
        (tmp_path / "plain").rename(path)
        assert load_audio(path).duration == pytest.approx(0.5, abs=0.05)


MEMORY = """
import resource, sys
import numpy as np
from wavtext.audio.decode import stream_audio
from wavtext.audio.windows import WindowConfig, iter_windows
list(stream_audio(sys.argv[1], 8_000, duration=1.0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = 0
restoring = sys.argv[3] == "restoring"
blocks = stream_audio(sys.argv[2], 8_000, block_duration=10.0, restore_clipping=restoring)
for window in iter_windows(blocks, 8_000, WindowConfig()):
    count += 1
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(count, grown // 1024)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="ru_maxrss is in KiB on Linux only"
)
@pytest.mark.parametrize("how", ["as it is", "restoring"])
def test_a_long_file_is_cut_in_bounded_memory(tmp_path, how):
    """An hour of 8 kHz is 110 MiB as float32; blocks of 10 s and held minutes are under 20."""
    rng = np.random.default_rng(0)
    path = tmp_path / "hour.wav"
    with soundfile.SoundFile(path, "w", 8_000, 1, subtype="PCM_16") as file:
        minute = 0.1 * rng.standard_normal(60 * 8_000)
        for _ in range(60):
            file.write(minute)
    short = tmp_path / "short.wav"
    soundfile.write(short, minute, 8_000)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(short), str(path), how],
        capture_output=True,
        text=True,
        check=True,
    )
    count, grown = map(int, done.stdout.split())
    assert count == 720
    assert grown < 20, f"{grown} MiB"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs sparse files")
def test_rf64_beyond_4_gb_is_read_to_its_end(tmp_path):
    """Sparse: 4.4 GB of silence that no disk holds, then a second of tone."""
    path = tmp_path / "long.rf64"
    rate, num_silent = 48_000, 2_200_000_000
    tone = (8_000 * np.sin(np.arange(rate) * 0.05)).astype("<i2")
    num_bytes = 2 * (num_silent + rate)
    header = b"RF64\xff\xff\xff\xffWAVE"
    header += b"ds64" + (28).to_bytes(4, "little") + (num_bytes + 72).to_bytes(8, "little")
    header += num_bytes.to_bytes(8, "little") + (num_bytes // 2).to_bytes(8, "little") + bytes(4)
    header += b"fmt " + (16).to_bytes(4, "little") + (1).to_bytes(2, "little") * 2
    header += rate.to_bytes(4, "little") + (2 * rate).to_bytes(4, "little")
    header += (2).to_bytes(2, "little") + (16).to_bytes(2, "little") + b"data\xff\xff\xff\xff"
    with path.open("wb") as file:
        file.write(header)
        file.seek(2 * num_silent, 1)
        file.write(tone.tobytes())
    assert probe(path).duration == pytest.approx((num_silent + rate) / rate)
    end = load_audio(path, start=num_silent / rate)
    np.testing.assert_allclose(end.samples, tone / 32_768)


def test_corpus_files_that_libsndfile_calls_malformed_are_read(shared: Path):
    """The first of the 247: libsndfile breaks off in them, PyAV reads them to their end."""
    for name in ("00003.opus", "00005.opus", "00016.opus", "00080.opus"):
        path = shared / "corpus" / "audio" / name
        warnings: list[str] = []
        waveform = load_audio(path, on_warning=warnings.append)
        info = probe(path)
        assert info.duration is not None
        assert waveform.duration == pytest.approx(info.duration, abs=0.05)
        assert not warnings


def test_reading_a_wav_loads_neither_ffmpeg_nor_torch(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(100), RATE)
    code = (
        "import sys; from wavtext.audio.decode import load_audio; load_audio(sys.argv[1], 8000); "
        "import wavtext.audio.windows, wavtext.audio.log_mel; "
        "print({'av', 'torch', 'librosa', 'scipy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.wav")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
