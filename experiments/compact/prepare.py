"""Sounds -> log-mels and the teacher's view of them, packed for a machine with a GPU.

    python experiments/compact/prepare.py --index ../shared/corpus/index.csv --out
    runs/compact/corpus

Writes mel.npy (frames, 72) packed (mels.py), yamnet scores (patches, 521) and representations
(patches, 1024) as float16, one patch each 0.48 s, and clips.json (offsets, titles, group, licence).
YAMNet (Apache-2.0) is a teacher only: nothing of it is shipped.
"""

import argparse
import csv
import json
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from mels import packed_mel
from teachers import YAMNET_RATE, Yamnet, hear_in_patches

MAX_DURATION = 20.0  # s

_teacher: Yamnet | None = None


def view(job: tuple[str, str]):
    """One file -> (log-mel uint8, scores, representations, duration), or the reason why not."""
    global _teacher
    path, teacher_path = job
    from wavtext.audio.decode import load_audio
    from wavtext.training.compact import FRONT_END

    try:
        sound = load_audio(path, FRONT_END.sample_rate, duration=MAX_DURATION)
        low = load_audio(path, YAMNET_RATE, duration=MAX_DURATION)
    except Exception as error:
        return str(error)
    packed = packed_mel(sound.samples)
    _teacher = _teacher or Yamnet(teacher_path)
    scores, middles = hear_in_patches(_teacher, low.samples)
    return packed, scores.astype(np.float16), middles.astype(np.float16), float(sound.duration)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, default=Path("../shared/teacher/yamnet.tflite"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    rows = list(csv.DictReader(arguments.index.open()))
    arguments.out.mkdir(parents=True, exist_ok=True)
    jobs = [(str(arguments.index.parent / row["file"]), str(arguments.teacher)) for row in rows]
    mels, scores, middles, clips, failed = [], [], [], [], []
    frames = patches = 0
    begin = time.time()
    with ProcessPoolExecutor(arguments.workers) as pool:
        for i, (row, result) in enumerate(
            zip(rows, pool.map(view, jobs, chunksize=16), strict=True)
        ):
            if isinstance(result, str):
                failed.append((row["file"], result))
                continue
            mel, score, middle, duration = result
            clips.append(
                row
                | {
                    "frames": [frames, len(mel)],
                    "patches": [patches, len(score)],
                    "duration": duration,
                }
            )
            frames, patches = frames + len(mel), patches + len(score)
            mels.append(mel), scores.append(score), middles.append(middle)
            if i % 500 == 0:
                print(i, len(failed), f"{time.time() - begin:.0f} s", flush=True)
    np.save(arguments.out / "mel.npy", np.concatenate(mels))
    np.save(arguments.out / "scores.npy", np.concatenate(scores))
    np.save(arguments.out / "middles.npy", np.concatenate(middles))
    (arguments.out / "clips.json").write_text(json.dumps(clips))
    print(len(clips), "clips", frames, "frames;", len(failed), "failed", failed[:5])


if __name__ == "__main__":
    main()
