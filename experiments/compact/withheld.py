"""Which gathered sounds lie in the corpus's own packages, though the corpus does not hold them?

    python experiments/compact/withheld.py look 0ad-data UNPACKED --corpus CORPUS --out runs/withheld
    python experiments/compact/withheld.py look gh:runsy/petz CLONE --commit 48a3df7 --corpus CORPUS --out runs/withheld
    python experiments/compact/withheld.py compare --out runs/withheld --prepared runs/compact/gathered

The corpus takes a part of each of its packages (sources.csv).  What it leaves may be somebody's
test, so nothing of it should train.  `look` keeps checksum, duration and signature (split.py) of
each sound of a package, or of a commit of a clone, that is not in the corpus; sounds above 4 MB,
which are music, are not looked at.  `compare` prints, as rows for screened.csv, the gathered sounds
with the same bytes, or with the same look: cosine over 0.97 and durations within 3 %.
"""

import argparse
import csv
import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gather import LIST, read_blob
from mels import packed_mel
from prepare import MAX_DURATION
from split import near_duplicates, signature

from wavtext.audio.decode import AUDIO_SUFFIXES, load_audio
from wavtext.errors import WavtextError
from wavtext.training.compact import FRONT_END

LARGEST = 4_000_000  # bytes


def files_of(place: Path, commit: str | None) -> tuple[list[str], Callable[[str], bytes]]:
    """The files of a folder, or of a commit, and how to read one."""
    if not commit:
        names = [str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()]
        return names, lambda name: (place / name).read_bytes()
    command = ["git", "-C", str(place), "ls-tree", "-r", "-z", "--name-only", commit]
    names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    return names, lambda name: read_blob(place, commit, name)


def look(source: str, place: Path, commit: str | None, corpus: Path, out: Path) -> None:
    with (corpus / "index.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == source]
    known = {row["original"].split("#")[0] for row in rows}
    names, read = files_of(place, commit)
    sounds: list[tuple[str, str, float]] = []
    signatures: list[np.ndarray] = []
    held = 0
    for name in sorted(names):
        if Path(name).suffix.lower() not in AUDIO_SUFFIXES:
            continue
        if any(
            name == one or one.endswith("/" + name) or name.endswith("/" + one) for one in known
        ):
            held += 1
            continue
        content = read(name)
        if len(content) > LARGEST:
            continue
        with tempfile.NamedTemporaryFile(suffix=Path(name).suffix) as file:
            file.write(content), file.flush()
            try:
                sound = load_audio(file.name, FRONT_END.sample_rate, duration=MAX_DURATION)
            except WavtextError:
                continue
        sounds.append((name, hashlib.sha256(content).hexdigest(), float(sound.duration)))
        signatures.append(signature(packed_mel(sound.samples)))
    out.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", source)
    np.save(out / f"{name}.npy", np.array(signatures, np.float32).reshape(-1, 288))
    (out / f"{name}.json").write_text(json.dumps(sounds))
    print(f"{source}: {len(known)} in the corpus, {held} of them here, {len(sounds)} others")


def compare(out: Path, prepared: list[Path]) -> None:
    with LIST.open(encoding="utf-8") as file:
        checksums = {row["file"]: row["sha256"] for row in csv.DictReader(file)}
    others = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    signatures = np.concatenate([np.load(path) for path in sorted(out.glob("*.npy"))])
    durations = np.array([duration for some in others for _, _, duration in some])
    bytes_of_others = {checksum for some in others for _, checksum, _ in some}
    for folder in prepared:
        mel = np.load(folder / "mel.npy", mmap_mode="r")
        clips = json.loads((folder / "clips.json").read_text())
        spans = [clip["frames"] for clip in clips]
        mine = np.stack([signature(np.asarray(mel[a : a + n])) for a, n in spans])
        length = np.array([clip["duration"] for clip in clips])
        alike = near_duplicates(mine, signatures, length, durations)
        for clip, double in zip(clips, alike, strict=True):
            if double or checksums[clip["file"]] in bytes_of_others:
                print(f"{clip['file']},,corpus's packages")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("look")
    one.add_argument("source")
    one.add_argument("place", type=Path)
    one.add_argument("--commit")
    one.add_argument("--corpus", type=Path, required=True)
    one.add_argument("--out", type=Path, required=True)
    all_of_them = commands.add_parser("compare")
    all_of_them.add_argument("--out", type=Path, required=True)
    all_of_them.add_argument("--prepared", type=Path, nargs="+", required=True)
    arguments = parser.parse_args()
    if arguments.command == "look":
        look(arguments.source, arguments.place, arguments.commit, arguments.corpus, arguments.out)
    else:
        compare(arguments.out, arguments.prepared)


if __name__ == "__main__":
    main()
