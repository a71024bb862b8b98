"""Texts embedded in sound files, whatever the format.  A path -> title, description, keywords, ...

ID3, Vorbis comments, MP4 atoms, ASF and APE tags by mutagen; RIFF chunks by `riff`.
"""

from pathlib import Path
from typing import Any, cast

import mutagen

from wavtext.corpora.riff import read_riff_texts

# Tag names of ID3, Vorbis/APE, MP4 and ASF -> ours. Lower-case; the first that is filled wins.
_NAMES = {
    "title": ("tit2", "title", "\xa9nam"),
    "description": ("tit3", "description", "subtitle", "desc", "wm/subtitle"),
    "comment": ("comm", "comment", "comments", "\xa9cmt"),
    "keywords": ("keywords", "txxx:keywords", "----:com.apple.itunes:keywords"),
    "genre": ("tcon", "genre", "\xa9gen", "wm/genre"),
    "artist": ("tpe1", "artist", "\xa9art", "author"),
    "product": ("talb", "album", "\xa9alb", "wm/albumtitle"),
    "copyright": ("tcop", "copyright", "cprt"),
    "license": ("wcop", "license", "txxx:license"),
}


def read_tags(path: Path) -> dict[str, str]:
    """Named texts of a sound file; empty when it has none or they cannot be read."""
    texts: dict[str, str] = {}
    if path.suffix.lower() in (".wav", ".wave", ".bwf", ".rf64"):
        try:
            texts |= read_riff_texts(path)
        except OSError:
            return {}
    try:
        file: Any = mutagen.File(path)  # pyright: ignore[reportPrivateImportUsage]
    except Exception:  # mutagen raises many kinds on damaged files, and a tag is not worth a clip
        return texts
    if file is None or not file.tags:
        return texts
    found: dict[str, str] = {}
    for key, value in _items(file.tags):
        name = key.lower()
        found.setdefault(name, _as_text(value))
        found.setdefault(name.split(":")[0], _as_text(value))  # COMM::eng
    for ours, names in _NAMES.items():
        value = next((found[name] for name in names if found.get(name, "").strip()), "")
        if value:
            texts.setdefault(ours, value.strip())
    return texts


def _items(tags: Any) -> list[tuple[str, Any]]:
    return [(str(key), value) for key, value in tags.items()]


def _as_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_as_text(each) for each in cast(list[Any], value))
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    text = getattr(value, "text", None)
    return _as_text(text) if isinstance(text, list) else str(value)
