"""What cannot be used is refused in one line that names the file, the reason and what to do."""

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from wavtext.audio import faults
from wavtext.audio.decode import load_audio, probe, stream_audio
from wavtext.errors import AudioError, DecodeError, EmptyAudioError

RATE = 44_100


def refusal(path, error=AudioError) -> str:
    """The one line that loading the file ends with; probing must not crash either."""
    with pytest.raises(error) as caught:
        load_audio(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    with pytest.raises(error):
        list(stream_audio(path, RATE))
    return text


def test_a_missing_file(tmp_path):
    assert "no such file" in refusal(tmp_path / "gone.wav", DecodeError)


@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_a_file_deleted_while_it_is_opened(tmp_path, chirp, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, chirp(0.5, RATE), RATE)
    read_head = faults.read_head

    def read_and_delete(path):
        head = read_head(path)
        path.unlink()
        return head

    monkeypatch.setattr(faults, "read_head", read_and_delete)
    with pytest.raises(DecodeError, match="no such file"):
        load_audio(path)


def test_a_folder(tmp_path):
    assert "is a folder" in refusal(tmp_path, DecodeError)


def test_a_device():
    assert "device or a pipe" in refusal("/dev/null", DecodeError)


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert "device or a pipe" in refusal(tmp_path / "pipe.wav", DecodeError)


def test_a_name_too_long(tmp_path):
    assert "cannot be read" in refusal(tmp_path / ("x" * 300 + ".wav"), DecodeError)


def test_an_empty_file(tmp_path):
    (tmp_path / "a.wav").touch()
    assert "0 bytes" in refusal(tmp_path / "a.wav", EmptyAudioError)


UNREADABLE = """
import os, sys
from wavtext.audio import faults
from wavtext.audio.decode import load_audio
from wavtext.errors import DecodeError
if os.geteuid() == 0:
    os.setuid(65534)
try:
    load_audio(sys.argv[1])
except DecodeError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_file_without_the_right_to_read_it(tmp_path):
    path = tmp_path / "secret.wav"
    soundfile.write(path, np.ones(10), RATE)
    path.chmod(0)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    # In a process of its own, because the superuser may read everything.
    command = [sys.executable, "-c", UNREADABLE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("permission denied. Ask for the right to read it.")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b"\xef\xbb\xbf\n<HTML>", "a web page"),
        ("Grüße aus dem Wald\n".encode() * 100, "text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG picture"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "macOS's companion"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive"),
        (bytes(100_000), "zero bytes"),
    ],
)
@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".m4a", ".ogg"])
def test_what_is_no_sound_is_named(tmp_path, content, reason, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert reason in refusal(path, DecodeError)
    with pytest.raises(DecodeError, match=reason):
        probe(path)


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".flac", ".opus", ".m4a", ".raw", ".wma"])
def test_random_bytes(tmp_path, suffix):
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(np.random.default_rng(7).bytes(200_000))
    assert "is not a sound file" in refusal(path, DecodeError)


@pytest.mark.parametrize("num_bytes", [1, 4, 12, 20, 40])
def test_a_header_cut_short(tmp_path, chirp, num_bytes):
    soundfile.write(tmp_path / "whole.wav", chirp(1.0, RATE), RATE)
    path = tmp_path / "cut.wav"
    path.write_bytes((tmp_path / "whole.wav").read_bytes()[:num_bytes])
    refusal(path, AudioError)


def test_a_header_without_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.empty(0), RATE)
    assert "holds no samples" in refusal(tmp_path / "a.wav", EmptyAudioError)


def test_a_video_without_sound(tmp_path):
    import av

    path = tmp_path / "mute.mp4"
    with av.open(path, "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        image = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux(picture.encode(image))
        container.mux(picture.encode(None))
    assert "no sound, only pictures" in refusal(path, DecodeError)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_refused_with_their_time(tmp_path, value):
    samples = np.zeros(3 * RATE)
    samples[2 * RATE :] = value
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    assert "not numbers (NaN or infinite), the first at 2.00 s" in refusal(
        tmp_path / "a.wav", EmptyAudioError
    )


def test_a_part_behind_the_end(tmp_path, chirp):
    soundfile.write(tmp_path / "a.wav", chirp(1.0, RATE), RATE)
    with pytest.raises(EmptyAudioError, match="ends before 5 s"):
        load_audio(tmp_path / "a.wav", start=5.0)


def test_a_playlist_does_not_lead_to_other_files(tmp_path, chirp, encode):
    encode(tmp_path / "secret.aac", chirp(1.0, RATE)[None], RATE, codec="aac", format="adts")
    playlists = {
        "a.m3u8": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n"
        "#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nsecret.aac\n#EXT-X-ENDLIST\n",
        "b.wav": "ffconcat version 1.0\nfile secret.aac\n",
    }
    for name, text in playlists.items():
        (tmp_path / name).write_text(text)
        refusal(tmp_path / name, DecodeError)


TRUNCATED = [
    # name, subtype, codec, share of the sound that must come back from 60 % of the file
    ("a.wav", "PCM_16", None, 0.55),
    ("a.aiff", "PCM_16", None, 0.55),
    ("a.flac", "PCM_16", None, 0.4),
    ("a.ogg", "VORBIS", None, 0.4),
    ("a.mp3", "MPEG_LAYER_III", None, 0.4),
    ("a.opus", None, "libopus", 0.4),
    ("a.wma", None, "wmav2", 0.4),
    ("a.mkv", None, "flac", 0.4),
]


@pytest.mark.parametrize(("name", "subtype", "codec", "share"), TRUNCATED)
def test_a_file_cut_short_is_read_up_to_there_with_a_warning(
    tmp_path, encode, capfd, name, subtype, codec, share
):
    rate = 48_000
    samples = 0.1 * np.random.default_rng(0).standard_normal(5 * rate).astype(np.float32)
    whole, path = tmp_path / f"whole{name[1:]}", tmp_path / name
    if codec:
        encode(whole, samples[None], rate, codec=codec)
    else:
        soundfile.write(whole, samples, rate, subtype=subtype)
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    warnings: list[str] = []
    waveform = load_audio(path, on_warning=warnings.append)
    assert share * 5 <= waveform.duration <= 0.62 * 5
    before = load_audio(whole).samples[:rate]
    np.testing.assert_allclose(waveform.samples[:rate], before, atol=1e-3)
    if name not in ("a.ogg", "a.opus"):  # whose length stands only at their end
        assert len(warnings) == 1
        assert str(path) in warnings[0]
        assert "cut short" in warnings[0] or "missing" in warnings[0]
    streamed = np.concatenate(list(stream_audio(path, None, block_duration=0.5)))
    np.testing.assert_array_equal(streamed, waveform.samples)
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out == ""


def wav(riff_size: int, data_size: int, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A second of sound with the sizes that its header claims."""
    data = (8_000 * np.sin(np.arange(RATE) * 0.05)).astype("<i2").tobytes()
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    head = b"RIFF" + struct.pack("<I", riff_size) + b"WAVE" + before + b"fmt " + form
    return head + b"data" + struct.pack("<I", data_size) + data + after


BEXT = b"bext" + struct.pack("<I", 602) + b"A broadcast wave".ljust(602, b"\0")


@pytest.mark.parametrize(
    "content",
    [
        wav(2 * RATE + 36, 2 * RATE),
        wav(2 * RATE + 646, 2 * RATE, before=BEXT),
        wav(0xFFFF_FFFF, 0xFFFF_FFFF),  # written to a pipe
        wav(0x7FFF_FFFF, 0x7FFF_FFFF - 36),
        wav(0, 0),  # a recorder that lost power
        wav(36, 0),
        wav(2 * RATE + 36, 2 * RATE, after=b"\1\2\3" * 50),
    ],
    ids=["plain", "broadcast", "pipe 4 GB", "pipe 2 GB", "no sizes", "no data size", "junk behind"],
)
def test_a_wav_is_read_whatever_sizes_its_header_claims(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    warnings: list[str] = []
    assert load_audio(path, on_warning=warnings.append).duration == 1.0
    assert warnings == []
    assert probe(path).duration in (None, 1.0)


def test_an_m4a_without_its_index_is_refused(tmp_path, chirp, encode):
    """The index of an M4A stands at its end: a download cut short has none, and no sample."""
    whole = encode(tmp_path / "whole.m4a", chirp(3.0, RATE)[None], RATE, codec="aac")
    path = tmp_path / "cut.m4a"
    path.write_bytes(whole.read_bytes()[:20_000])
    assert "damaged or cut short" in refusal(path, DecodeError)


def test_damage_in_the_middle_costs_little_and_is_told(tmp_path, encode):
    rate = 48_000
    samples = 0.1 * np.random.default_rng(0).standard_normal(5 * rate).astype(np.float32)
    for name, codec in [("a.flac", None), ("a.mp3", None), ("a.m4a", "aac"), ("a.opus", "libopus")]:
        path = tmp_path / name
        if codec:
            encode(path, samples[None], rate, codec=codec)
        else:
            soundfile.write(path, samples, rate)
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 3_000] = bytes(3_000)
        path.write_bytes(content)
        warnings: list[str] = []
        waveform = load_audio(path, on_warning=warnings.append)
        assert 3.5 < waveform.duration <= 5.1, name
        assert len(warnings) == 1, name
        assert np.isfinite(waveform.samples).all()


def test_a_rate_that_no_sound_has_is_refused(tmp_path):
    """At 3 Hz a small file would last hours and take gigabytes once resampled."""
    content = bytearray(wav(2 * RATE + 36, 2 * RATE))
    content[24:28] = struct.pack("<I", 3)
    (tmp_path / "a.wav").write_bytes(content)
    assert "claims 3 samples a second" in refusal(tmp_path / "a.wav", DecodeError)


def damage(content: bytes, generator: np.random.Generator) -> bytes:
    """The file with a few bytes overwritten, mostly in its header, or cut."""
    broken = bytearray(content)
    if generator.random() < 0.2:
        return bytes(broken[: generator.integers(1, len(broken))])
    reach = len(broken) if generator.random() < 0.3 else min(len(broken), 300)
    for _ in range(generator.integers(1, 10)):
        place = generator.integers(reach - 4)
        values = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", generator.bytes(1)]
        value = values[generator.integers(len(values))]
        broken[place : place + len(value)] = value
    return bytes(broken)


@pytest.mark.parametrize("name", ["a.wav", "a.rf64", "a.flac", "a.ogg", "a.mp3", "a.m4a", "a.mkv"])
def test_damaged_files_give_samples_or_an_audio_error_and_nothing_else(
    tmp_path, chirp, encode, capfd, name
):
    path = tmp_path / name
    codec = {"a.m4a": "aac", "a.mkv": "flac"}.get(name)
    if codec:
        encode(path, chirp(0.3, RATE)[None], RATE, codec=codec)
    else:
        format = "RF64" if name == "a.rf64" else None
        soundfile.write(path, chirp(0.3, RATE), RATE, format=format)
    content = path.read_bytes()
    generator = np.random.default_rng(11)
    messages: list[str] = []
    for _ in range(40):
        path.write_bytes(damage(content, generator))
        for use in (probe, load_audio, lambda path: load_audio(path, 8_000, start=0.1)):
            try:
                use(path)
            except AudioError as error:
                messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_nothing_is_written_to_the_terminal(tmp_path, capfd):
    """libsndfile's MP3 decoder does, so MP3 and what might be MP3 never reach it."""
    for name in ("a.mp3", "b.wav", "c.ogg", "d.mp3"):
        path = tmp_path / name
        path.write_bytes(
            b"ID3\x04" + bytes(5_000) + b"\xff\xfb\x90\x64" * 2_000
            if name == "d.mp3"
            else np.random.default_rng(1).bytes(50_000)
        )
        with pytest.raises(AudioError):
            load_audio(path)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
