"""Validation's clips, window by window, with what the teachers hear in each, as generate.py leaves
crops.

    python experiments/compact/heard.py --packed runs/compact/packed --roots ../shared/corpus \
        runs/gathered --mobile-net mn04_as_mAP_432.pt --out runs/compact/held

One shard for each length of window.  Nothing trains on them: tutor.py says with them what it is
worth.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from crops import write_shard
from generate import heard_in, load_sounds, stacked
from mels import packed_mel
from split import locate, split_of
from teachers import MobileNet, Yamnet

from wavtext.audio.windows import WindowConfig, window_spans
from wavtext.training.compact import FRONT_END

LEVEL, WINDOWS = 10 ** (-9 / 20), 6  # in the middle of the crops'; of a clip at most


def windows_of(sound: np.ndarray) -> list[np.ndarray]:
    """What the model hears of a sound; short ones repeat."""
    spans = window_spans(len(sound), FRONT_END.sample_rate, WindowConfig())[:WINDOWS]
    return [np.resize(sound[span.start : span.stop], span.length) for span in spans]


def at_level(window: np.ndarray) -> np.ndarray:
    """A window in int16 as the teachers and the student hear it."""
    return window.astype(np.float32) / 32_000 * np.float32(LEVEL)


def by_length(paths: list[Path]) -> dict[int, list[tuple[int, np.ndarray]]]:
    """Samples of a window -> all windows of that length, each with its sound's number."""
    found: dict[int, list[tuple[int, np.ndarray]]] = {}
    for number, sound in enumerate(load_sounds(paths)[0]):
        for window in windows_of(sound):
            found.setdefault(len(window), []).append((number, window))
    return found


def hear(job: tuple[str, str, list[tuple[int, np.ndarray]]]) -> dict[str, np.ndarray]:
    """Windows of one length, each with its clip's number -> a shard."""
    yamnet_path, mobile_net_path, windows = job
    yamnet, mobile_net = Yamnet(yamnet_path), MobileNet(mobile_net_path)
    mixes = [at_level(window) for _, window in windows]
    who = np.array([(number, -1) for number, _ in windows], np.int32)
    heard = stacked([heard_in(mix, yamnet, mobile_net) for mix in mixes])
    mel = np.stack([packed_mel(mix) for mix in mixes])
    return heard | {"mel": mel, "who": who, "below": np.zeros(len(who), np.float32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--packed", type=Path, required=True)
    parser.add_argument("--roots", type=Path, nargs="+", required=True)
    parser.add_argument("--teacher", type=Path, default=Path("../shared/teacher/yamnet.tflite"))
    parser.add_argument("--mobile-net", type=Path, required=True, help="see teachers.py")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    clips = json.loads((arguments.packed / "clips.json").read_text())
    clips = [clip for clip in clips if split_of(clip) == "validation"]
    paths = [locate(clip["file"], arguments.roots) for clip in clips]
    windows = by_length(paths)
    arguments.out.mkdir(parents=True, exist_ok=True)
    teachers = str(arguments.teacher), str(arguments.mobile_net)
    with ProcessPoolExecutor(2) as pool:
        jobs = [(*teachers, windows[length]) for length in sorted(windows, reverse=True)]
        for number, found in enumerate(pool.map(hear, jobs)):
            write_shard(arguments.out / f"{number:04d}.npz", found)
            print(len(found["who"]), "windows of", found["mel"].shape[1], "frames", flush=True)
    (arguments.out / "clips.json").write_text(json.dumps(clips))


if __name__ == "__main__":
    main()
