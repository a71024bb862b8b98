"""A small sound library for the demo: `python scripts/demo_sounds.py --out demo/sounds`.

Real sounds come from Debian's sound packages (no root; nothing outside the folder is written).
Where there is no apt-get, 41 sounds are synthesised instead, and the script says so.
A second run finds the folder complete and returns at once.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from synthesise import RECIPES, synthesise  # beside this script

from wavtext.audio.decode import AUDIO_SUFFIXES, load_audio
from wavtext.audio.waveform import is_silent
from wavtext.corpora.apt import Apt, apt_available, unpack
from wavtext.errors import CollectError

PACKAGES = ("sonic-pi-samples", "sound-icons", "tuxpaint-stamps-default")
INSTEAD = ("sound-theme-freedesktop", "gnome-audio", "lmms-common")  # one for each that is missing
MARKER = ".complete.json"


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch or synthesise sounds for the demo.")
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    parser.add_argument("--require-real", action="store_true", help="exit 1 if not real sounds")
    arguments = parser.parse_args()
    counts = fetch_real(arguments.out)
    if counts:
        listing = ", ".join(f"{count} from {name}" for name, count in counts.items())
        print(f"Real sounds: {sum(counts.values())} in {arguments.out} ({listing}).")
        return 0
    if arguments.require_real:
        print("No real sounds could be fetched.", file=sys.stderr)
        return 1
    for name in RECIPES:
        synthesise(name, arguments.out / "synthesised" / f"{name}.wav")
    print(f"Synthesised sounds: {len(RECIPES)} in {arguments.out}; no real ones could be fetched.")
    return 0


def fetch_real(out: Path) -> dict[str, int]:
    """Sounds of each package that could be had; a missing one is replaced from INSTEAD."""
    counts: dict[str, int] = {}
    instead = list(INSTEAD)
    waiting = list(PACKAGES)
    with tempfile.TemporaryDirectory(prefix="wavtext-demo-") as temporary:
        apt = Apt(Path(temporary))
        while waiting:
            package = waiting.pop(0)
            try:
                counts[package] = fetch_package(apt, package, out / package)
            except CollectError as error:
                print(f"{package}: {error}", file=sys.stderr)
                if not apt_available():
                    break
                if instead:
                    waiting.append(instead.pop(0))
    return counts


def fetch_package(apt: Apt, package: str, folder: Path) -> int:
    """Put one package's sounds under `folder`, unless they are there; returns how many."""
    marker = folder / MARKER
    if marker.is_file():
        return json.loads(marker.read_text())["sounds"]
    print(f"Fetching {package} ...", file=sys.stderr, flush=True)
    archive = apt.download(package)
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left
    sounds = unpack(archive, folder, is_sound)
    archive.unlink()
    silent = [path for path in sounds if is_silent(load_audio(path).samples)]
    for path in silent:  # placeholders: a demo should not begin with failures
        path.unlink()
    if silent:
        print(f"{package}: {len(silent)} silent files left out.", file=sys.stderr)
    if len(sounds) == len(silent):
        raise CollectError(f"{package}: holds no sounds.")
    count = len(sounds) - len(silent)
    marker.write_text(json.dumps({"package": archive.name, "sounds": count}) + "\n")
    return count


def is_sound(name: str) -> bool:
    """Whether to unpack this file: audio, but not spoken words (Tux Paint's names of stamps)."""
    path = Path(name)
    spoken = "tuxpaint" in path.parts and ("_desc" in path.stem or "symbols" in path.parts)
    return path.suffix.lower() in AUDIO_SUFFIXES and not spoken


if __name__ == "__main__":
    sys.exit(main())
