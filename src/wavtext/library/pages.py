"""The rows in a SQLite file, read page by page, where SQLite itself has given up.

Only what is needed: the leaves of table trees, overflow pages, and what is committed in
the write-ahead log. Format: https://www.sqlite.org/fileformat2.html
"""

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

_LEAF = 0x0D  # a page of table rows

Value = None | int | float | str | bytes
Page = Callable[[int], bytes]  # page number, from 1 -> its bytes


def stored_rows(path: Path, page_size: int) -> Iterator[tuple[int, list[Value]]]:
    """(row id, values) of every row on every page that can still be parsed.

    Args:
        path: The SQLite file.
        page_size: Bytes of a page, for a file whose header no longer says.
    """
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        size = int.from_bytes(data[16:18], "big")
        size = 65_536 if size == 1 else size
        if data[:16] != b"SQLite format 3\0" or size < 512 or size & (size - 1):
            size = page_size
        newer = wal_pages(Path(f"{path}-wal"), size)
        count = -(-len(data) // size)

        def page(number: int) -> bytes:
            if number in newer:
                return newer[number]
            return data[(number - 1) * size : number * size].ljust(size, b"\0")

        for number in range(1, max([count, *newer]) + 1):
            yield from _page_rows(page, number, size)


def _page_rows(page: Page, number: int, size: int) -> Iterator[tuple[int, list[Value]]]:
    content = page(number)
    begin = 100 if number == 1 else 0
    if content[begin] != _LEAF:
        return
    num_cells = int.from_bytes(content[begin + 3 : begin + 5], "big")
    for cell in range(min(num_cells, size // 4)):
        pointer = begin + 8 + 2 * cell
        place = int.from_bytes(content[pointer : pointer + 2], "big")
        try:
            row_id, payload = _payload(page, content, place, size)
            yield row_id, _values(payload)
        except (IndexError, struct.error, ValueError, UnicodeDecodeError):
            continue


def _payload(page: Page, content: bytes, place: int, size: int) -> tuple[int, bytes]:
    """A cell's row id and bytes, its overflow pages included."""
    length, place = _varint(content, place)
    row_id, place = _varint(content, place)
    most, least = size - 35, (size - 12) * 32 // 255 - 23
    if length <= most:
        return row_id, content[place : place + length]
    local = least + (length - least) % (size - 4)
    local = local if local <= most else least
    parts = [content[place : place + local]]
    following = int.from_bytes(content[place + local : place + local + 4], "big")
    missing = length - local
    while missing > 0:
        if following == 0:
            raise ValueError("the overflow chain is cut")
        overflow = page(following)
        following = int.from_bytes(overflow[:4], "big")
        parts.append(overflow[4 : 4 + missing])
        missing -= len(parts[-1])
    return row_id, b"".join(parts)


def _values(payload: bytes) -> list[Value]:
    """The columns of a record."""
    header, place = _varint(payload, 0)
    kinds: list[int] = []
    while place < header:
        kind, place = _varint(payload, place)
        kinds.append(kind)
    values: list[Value] = []
    for kind in kinds:
        value, place = _value(payload, place, kind)
        values.append(value)
    return values


def _value(payload: bytes, place: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, place
    if kind in (8, 9):
        return kind - 8, place
    if kind <= 6:
        width = (0, 1, 2, 3, 4, 6, 8)[kind]
        return int.from_bytes(payload[place : place + width], "big", signed=True), place + width
    if kind == 7:
        return struct.unpack(">d", payload[place : place + 8])[0], place + 8
    if kind < 12:
        raise ValueError("a reserved serial type")
    width = (kind - 12) // 2
    if place + width > len(payload):
        raise ValueError("a value runs past its record")
    value = payload[place : place + width]
    return (value if kind % 2 == 0 else value.decode()), place + width


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = 0
    for step in range(9):
        byte = content[place + step]
        if step == 8:
            value = value << 8 | byte
            break
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    else:
        step = 8
    if value >= 1 << 63:
        value -= 1 << 64
    return value, place + step + 1


def wal_pages(wal: Path, size: int) -> dict[int, bytes]:
    """Page number -> the newest committed copy in the write-ahead log."""
    if not wal.exists() or wal.stat().st_size < 32:
        return {}
    data = wal.read_bytes()
    salts = data[16:24]
    pages: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    for begin in range(32, len(data) - 24 - size + 1, 24 + size):
        frame = data[begin : begin + 24]
        if frame[8:16] != salts:
            break
        number, committed = struct.unpack(">II", frame[:8])
        pending[number] = data[begin + 24 : begin + 24 + size]
        if committed:
            pages.update(pending)
            pending = {}
    return pages
