"""Texts inside WAV files: RIFF INFO, BWF bext and iXML chunks.  A path -> named texts.

mutagen reads the ID3 chunk of a WAV file only; broadcast and sound-effects libraries write these.
Sources: EBU Tech 3285 (bext), the iXML specification, Microsoft's RIFF INFO.
"""

import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_MAX_CHUNK = 4 << 20  # bytes; a text chunk larger than this is not one
_INFO_NAMES = {
    b"INAM": "title", b"ICMT": "comment", b"ISBJ": "subject", b"IKEY": "keywords",
    b"IGNR": "genre", b"IART": "artist", b"ICOP": "copyright", b"ISRC": "source",
    b"IPRD": "product",
}  # fmt: skip
_IXML_NAMES = {
    "FXNAME": "title", "DESCRIPTION": "description", "NOTE": "comment", "KEYWORDS": "keywords",
    "CATEGORY": "category", "SUBCATEGORY": "subcategory", "CATID": "category_id",
    "LIBRARY": "product", "DESIGNER": "artist",
}  # fmt: skip


def read_riff_texts(path: Path) -> dict[str, str]:
    """The texts of a RIFF, RF64 or BW64 WAV file, the first of a name kept; empty for other files.

    Damaged chunks are passed over: what can be read is returned.
    """
    texts: dict[str, str] = {}
    with path.open("rb") as file:
        for name, data in _chunks(file):
            if name == b"LIST" and data[:4] == b"INFO":
                found = _info(data[4:])
            elif name == b"bext":
                found = _bext(data)
            elif name in (b"iXML", b"IXML"):
                found = _ixml(data)
            else:
                continue
            for key, value in found.items():
                if value.strip():
                    texts.setdefault(key, value.strip())
    return texts


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    head = file.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return
    data_size = 0  # of the data chunk, where 32 bits do not hold it
    while len(header := file.read(8)) == 8:
        name, size = header[:4], int(struct.unpack("<I", header[4:])[0])
        if name == b"ds64" and size >= 16:
            data = file.read(size + size % 2)
            data_size = int(struct.unpack("<Q", data[8:16])[0])
            continue
        if name == b"data" and size == 0xFFFFFFFF:
            size = data_size
        if name in (b"LIST", b"bext", b"iXML", b"IXML") and size <= _MAX_CHUNK:
            data = file.read(size)
            file.seek(size % 2, 1)
            yield name, data
        else:
            file.seek(size + size % 2, 1)


def _info(data: bytes) -> dict[str, str]:
    texts: dict[str, str] = {}
    position = 0
    while position + 8 <= len(data):
        name = data[position : position + 4]
        size = int(struct.unpack("<I", data[position + 4 : position + 8])[0])
        value = data[position + 8 : position + 8 + size]
        if name in _INFO_NAMES:
            texts.setdefault(_INFO_NAMES[name], _text(value))
        position += 8 + size + size % 2
    return texts


def _bext(data: bytes) -> dict[str, str]:
    # Description 256, originator 32, originator's reference 32, date 10, time 8 bytes.
    return {"description": _text(data[:256]), "artist": _text(data[256:288])}


def _ixml(data: bytes) -> dict[str, str]:
    text = _text(data)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return {}  # entities can be made to fill the memory, and iXML needs none
    try:
        root = ElementTree.fromstring(text[text.index("<") :])
    except (ElementTree.ParseError, ValueError):
        return {}
    texts: dict[str, str] = {}
    for element in root.iter():
        name = _IXML_NAMES.get(element.tag.split("}")[-1].upper())
        if name and element.text and element.text.strip():
            texts.setdefault(name, element.text)
    return texts


def _text(data: bytes) -> str:
    data = data.split(b"\0")[0] if b"\0" in data else data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
