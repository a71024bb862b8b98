"""What is wrong with a file that is not sound.  A path or its first bytes -> the error to raise."""

import os
import stat
from pathlib import Path

from wavtext.errors import DecodeError, EmptyAudioError

_HEAD = 1024  # bytes looked at

_SIGNATURES = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"MThd": "a MIDI file, notes without sound",
    b"\x00\x05\x16\x07": "macOS's companion of a file, without the sound itself",
}


def read_head(path: Path) -> bytes:
    """The first bytes of a regular file that can be read; a DecodeError or EmptyAudioError else."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise DecodeError(f"{path}: is a folder, not a sound file.")
        if not stat.S_ISREG(mode):
            raise DecodeError(f"{path}: is a device or a pipe, not a sound file.")
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError as error:
        raise DecodeError(f"{path}: no such file.", help="Check the name.") from error
    except PermissionError as error:
        raise DecodeError(
            f"{path}: cannot be read: permission denied.", help="Ask for the right to read it."
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DecodeError(f"{path}: cannot be read: {reason}.") from error
    if not head:
        raise EmptyAudioError(
            f"{path}: the file is empty (0 bytes).", help="Copy or download it again."
        )
    return head


def not_sound(path: Path, head: bytes, reasons: list[str]) -> DecodeError:
    """The error for a file that no reader can open; it may have gone since its head was read."""
    read_head(path)
    kind = _kind(head)
    if kind:
        return DecodeError(
            f"{path}: is not a sound file but {kind}.", help="Remove it, or get the sound again."
        )
    return DecodeError(
        f"{path}: is not a sound file, or its header is damaged or cut short ({_join(reasons)}).",
        help="Check that it plays elsewhere; copy or download it again.",
    )


def broken(path: Path, reasons: list[str]) -> DecodeError:
    """The error for a file that opens and gives no sample."""
    return DecodeError(
        f"{path}: is damaged before its first sample ({_join(reasons)}).",
        help="Copy or download it again.",
    )


def empty(path: Path, start: float) -> EmptyAudioError:
    """The error for a sound file without samples from `start` (s) on."""
    if start:
        return EmptyAudioError(f"{path}: ends before {start:g} s, where reading should start.")
    return EmptyAudioError(f"{path}: holds no samples.", help="Remove it, or get the sound again.")


def _kind(head: bytes) -> str:
    """What the first bytes say the file is, where that is no sound; empty: unknown."""
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if not head.strip(b"\0"):
        return "zero bytes, as an interrupted copy or download leaves them"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "a web page"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer"
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        try:
            head[: -3 if len(head) == _HEAD else None].decode()
        except UnicodeDecodeError:
            return ""
        return "text"
    return ""


def _join(reasons: list[str]) -> str:
    return "; ".join(dict.fromkeys(reasons))
