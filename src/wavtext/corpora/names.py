"""What file names say: `DoorSlam_Heavy-03.wav` -> "door slam heavy"; UCS names -> their parts.

UCS is the sound-effects industry's category system: `CatID_FX name_creator_source.wav`, where CatID
is a short upper-case category and a subcategory, as in `DOORWood_Kitchen Door Slam_AB_HOME.wav`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

# The category part of UCS CatIDs and what it stands for, from memory of the published list; names
# outside it are not taken for UCS. https://universalcategorysystem.com
UCS_CATEGORIES: Mapping[str, str] = {
    "AERO": "aircraft", "AIR": "air", "ALRM": "alarms", "AMB": "ambience", "ANML": "animals",
    "ARCHV": "archived", "BEEP": "beeps", "BELL": "bells", "BIRD": "birds", "BOAT": "boats",
    "BLLT": "bullets", "CERM": "ceramics", "CHEM": "chemicals", "CHAIN": "chains",
    "CLOCK": "clocks", "CLOTH": "cloth", "CMPTR": "computers", "COM": "communications",
    "CREA": "creatures", "CRWD": "crowds", "DSGN": "designed", "DEST": "destruction",
    "DIRT": "dirt and sand", "DOOR": "doors", "DRWR": "drawers", "ELEC": "electricity",
    "EQUIP": "equipment", "EXPL": "explosions", "FARTS": "farts", "FGHT": "fight", "FIRE": "fire",
    "FEET": "footsteps", "FOLY": "foley", "FOOD": "food and drink", "FRWK": "fireworks",
    "GAME": "games", "GEO": "geothermal", "GLAS": "glass", "GORE": "gore", "GUN": "guns",
    "HMN": "human", "HORN": "horns", "ICE": "ice", "LASR": "lasers", "LETH": "leather",
    "LIQUID": "liquid and mud", "MACH": "machines", "MAGC": "magic", "MECH": "mechanical",
    "METL": "metal", "MOTR": "motors", "MOVE": "movement", "MUSC": "musical",
    "NATD": "natural disaster", "OBJ": "objects", "PAPR": "paper", "PLAS": "plastic",
    "RAIN": "rain", "ROBT": "robots", "ROCK": "rocks", "ROPE": "rope", "RUBR": "rubber",
    "SCI": "science fiction", "SNOW": "snow", "SPRT": "sports", "SWSH": "swooshes",
    "TOOL": "tools", "TOON": "cartoon", "TOY": "toys", "TRN": "trains", "UI": "user interface",
    "VEGE": "vegetation", "VEH": "vehicles", "VOX": "voices", "WATR": "water", "WEAP": "weapons",
    "WHSTL": "whistles", "WIND": "wind", "WNDW": "windows", "WING": "wings", "WOOD": "wood",
    "WTHR": "weather",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class UcsName:
    """The parts of a UCS file name."""

    category: str  # "doors"
    subcategory: str  # "wood"
    title: str  # the FX name, as words
    creator: str
    source: str


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


def parse_ucs_name(stem: str) -> UcsName | None:
    """The parts of a UCS name; None when the name is not one."""
    parts = [part.strip() for part in stem.split("_")]
    match = re.fullmatch(r"([A-Z]{2,6})([A-Z][a-z][A-Za-z]*|Misc)?(?:-.*)?", parts[0])
    if len(parts) < 2 or not match:
        return None
    letters = match.group(1) + (match.group(2) or "")
    for size in range(min(6, len(letters)), 1, -1):
        # DOORWood: the category is the longest known head; the rest, capitalised, is the sub.
        head, rest = letters[:size], letters[size:]
        if head in UCS_CATEGORIES and (not rest or rest[0].isupper()):
            return UcsName(
                category=UCS_CATEGORIES[head],
                subcategory=words_of_name(rest),
                title=words_of_name(parts[1]),
                creator=parts[2] if len(parts) > 2 else "",
                source=parts[3] if len(parts) > 3 else "",
            )
    return None
