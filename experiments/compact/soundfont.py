"""A sample of a SoundFont 2 file, as it was recorded.  bytes -> WAV.

SoundFont Technical Specification 2.04: "smpl" holds 16-bit samples, "shdr" 46 bytes on each.
"""

import io
import struct
import wave
from collections.abc import Iterator

_HEADER = struct.Struct("<20sIIIIIBbHH")
_IN_ROM = 0x8000  # its samples are not in the file


def read_sample(font: bytes, name: str) -> bytes:
    """The first sample of that name, one channel, 16 bits, at its own rate; loops do not repeat.

    Raises:
        LookupError: The font has no such sample.
    """
    chunks = dict(_chunks(font))
    headers, samples = chunks[b"shdr"], chunks[b"smpl"]
    for begin in range(0, len(headers) - 2 * _HEADER.size + 1, _HEADER.size):  # the last is an end
        title, start, end, _, _, rate, _, _, _, kind = _HEADER.unpack_from(headers, begin)
        if title.split(b"\0")[0].decode("latin-1").strip() == name and not kind & _IN_ROM:
            file = io.BytesIO()
            with wave.open(file, "wb") as out:
                out.setnchannels(1), out.setsampwidth(2), out.setframerate(rate)
                out.writeframes(samples[2 * start : 2 * end])
            return file.getvalue()
    raise LookupError(f"the font has no sample {name!r}")


def sample_names(font: bytes) -> list[str]:
    """The names of a font's samples, in its order."""
    headers = dict(_chunks(font))[b"shdr"]
    titles = [headers[i : i + 20] for i in range(0, len(headers) - _HEADER.size, _HEADER.size)]
    return [title.split(b"\0")[0].decode("latin-1").strip() for title in titles]


def _chunks(
    content: bytes, begin: int = 12, end: int | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a RIFF file, those within lists too: (name, content)."""
    end = len(content) if end is None else end
    while begin + 8 <= end:
        tag, size = struct.unpack_from("<4sI", content, begin)
        if tag == b"LIST":
            yield from _chunks(content, begin + 12, begin + 8 + size)
        else:
            yield tag, content[begin + 8 : begin + 8 + size]
        begin += 8 + size + size % 2
