"""What names of files and folders say: `DoorSlam_Heavy-03.wav` -> "door slam heavy"."""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath

_NOISE_WORDS = frozenset({
    "sfx", "snd", "sound", "sounds", "fx", "audio", "wav", "wave", "ogg", "mp3", "flac", "mono",
    "stereo", "hifi", "lofi", "final", "orig", "original", "copy", "new", "tmp", "temp",
    "untitled", "sample", "samples", "snds", "effect", "effects", "44k", "48k", "96k", "khz", "db",
})  # fmt: skip
_GENERIC_FOLDERS = _NOISE_WORDS | {
    "usr", "share", "lib", "local", "opt", "data", "games", "game", "assets", "asset", "resources",
    "resource", "res", "media", "base", "default", "common", "misc", "main", "src", "www", "html",
    "public", "files", "etc", "package", "packages", "content",
}  # fmt: skip


def words_of_name(name: str, abbreviations: Mapping[str, str] | None = None) -> str:
    """The words in a file's or folder's name, lower-case, without numbers and technical words.

    Args:
        name: Without suffix.
        abbreviations: Word -> what it stands for.
    """
    text = re.sub(r"[_\-.+~,;#&()\[\]{}!@'’]+", " ", name)
    text = re.sub(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])|(?<=[A-ZÀ-Þ])(?=[A-ZÀ-Þ][a-zà-ÿ])", " ", text)
    text = re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", text)
    words = [word for word in text.lower().split() if not word.isdigit()]
    expanded = [(abbreviations or {}).get(word, word) for word in words]
    kept = [word for word in expanded if word not in _NOISE_WORDS and _says_something(word)]
    return " ".join(kept)


def _says_something(word: str) -> bool:
    return len(word) > 1 or word in {"a", "i"}


def words_of_folders(folders: Iterable[str], abbreviations: Mapping[str, str] | None = None) -> str:
    """The telling folder names on the way to a file, from the outermost in, commas between."""
    found: list[str] = []
    for folder in folders:
        words = words_of_name(folder, abbreviations)
        if words and not all(word in _GENERIC_FOLDERS for word in words.split()):
            found.append(words)
    return ", ".join(dict.fromkeys(found))


def family_of_name(path: PurePath) -> str:
    """The name without numbers and takes: `crow_03.wav` and `crow 1.wav` are one family."""
    stem = re.sub(r"[\s_\-.#()]*\d+[\s_\-.()]*", " ", path.stem).strip().lower()
    return (path.parent / (stem or path.name)).as_posix()
