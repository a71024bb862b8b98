"""What a million clips cost: embedding here and on Ray, importing, searching in SQLite and Qdrant.

    python benchmarks/scale.py embed FOLDER [--clips 300]
    python benchmarks/scale.py library FOLDER [--clips 10000]

`embed` takes random sounds of FOLDER and embeds them into Parquet, by itself and by Ray on this
machine with one task at a time -> processor seconds of all processes, and bytes, for a clip.
`library` embeds some sounds of FOLDER, makes of their embeddings as many clips of one window as
asked (resampled with noise, as there are no more real ones), and imports them into a library in
SQLite and into one in Qdrant (local mode; WAVTEXT_QDRANT=qdrant://host:6333 names a server) ->
processor seconds and bytes a clip; and the time of a search by text in both, with the share of the
top ten that both give.
"""

import argparse
import os
import random
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from machine import machine

from wavtext.audio.decode import AUDIO_SUFFIXES
from wavtext.library.bulk.cluster import on_cluster
from wavtext.library.bulk.embedding import EmbedReport, embed
from wavtext.library.bulk.parts import EmbeddedClip, ModelLabel, Part, part_writer
from wavtext.library.library import SoundLibrary
from wavtext.library.notes import Notes
from wavtext.library.records import ClipRecord
from wavtext.model.model import load_model

TEXTS = (
    "a dog barking", "rain on a roof", "a door slammed", "footsteps on gravel", "an engine starts",
    "a crowd cheering", "glass breaking", "a piano chord", "wind in trees", "a phone ringing",
    "a laser gun", "someone coughing", "a bell", "water dripping", "a drum loop", "birds at dawn",
    "a keyboard typing", "thunder", "a cat", "applause",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("embed", "library"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int)
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "embed":
            embedding(arguments.folder, Path(folder), arguments.clips or 300)
        else:
            libraries(arguments.folder, Path(folder), arguments.clips or 10_000)


def embedding(folder: Path, place: Path, clips: int) -> None:
    sounds = some_sounds(folder, place / "sounds", clips)
    model = load_model()
    model.embed_windows(next(sounds.iterdir()))  # the graph is compiled
    spent = processor_seconds()
    report = embed([sounds], place / "here", model=model, workers=1, part_files=50)
    alone = processor_seconds() - spent
    show("here", report, alone, place / "here")

    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
             object_store_memory=200_000_000)  # fmt: skip
    spent = processor_seconds()
    report = embed([sounds], place / "ray", part_files=50, runner=on_cluster(tasks=1))
    shared = processor_seconds() - spent
    ray.shutdown()
    show("Ray", report, shared, place / "ray")
    print(f"Ray costs {shared / alone:.2f} times the processor seconds, starting a worker included")


def libraries(folder: Path, place: Path, clips: int) -> None:
    parts, sounds = many_clips(folder, place, clips)
    server = os.environ.get("WAVTEXT_QDRANT")
    name = f"{server}/wavtext-{os.getpid()}" if server else f"qdrant://{place}/qdrant"
    where = {"SQLite": str(sounds), "Qdrant server" if server else "Qdrant, local mode": name}
    found: dict[str, list[list[str]]] = {}
    for kind, address in where.items():
        with warnings.catch_warnings(action="ignore"), SoundLibrary.open(address) as library:
            library.model.embed_text(["once"])
            spent, began = time.process_time(), time.perf_counter()
            report = library.import_embeddings(parts)
            spent, took = time.process_time() - spent, time.perf_counter() - began
            assert report.added == clips, report.failures[:3]
            size = library.stats().size
            print(f"{kind}: {spent / clips * 1e6:,.0f} CPU-s and {took / clips * 1e6:,.0f} s to "
                  f"import a million clips; {size / clips:,.0f} bytes a clip on disk")  # fmt: skip
            times: list[float] = []
            found[kind] = []
            for text in ("once", *TEXTS):
                spent = time.process_time()
                results = library.search(text, names=False)
                times.append(1e3 * (time.process_time() - spent))
                found[kind].append([each.path.name for each in results])
            print(f"{kind}: search by text, p50 {np.median(times[1:]):,.1f} CPU-ms")
    one, other = (lists[1:] for lists in found.values())
    same = np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(one, other, strict=True)])
    print(f"top ten of {clips:,} clips that both give: {same:.3f}")


def many_clips(folder: Path, place: Path, clips: int) -> tuple[Path, Path]:
    """Parts of clips with one window each, and a folder with an empty file for each."""
    model = load_model()
    embed([some_sounds(folder, place / "few", 200)], place / "real", model=model)
    real = np.concatenate(
        [c.embeddings for p in (place / "real").iterdir() for c in Part(p, p.name).clips()
         if not c.error]
    )  # fmt: skip
    generator = np.random.default_rng(0)
    sounds, parts = place / "sounds", place / "parts"
    sounds.mkdir()
    parts.mkdir()
    label = ModelLabel(model.identity, model.name, "compact", model.dim)
    span = np.array([[0.0, 5.0]], np.float32)
    for begin in range(0, clips, 500):
        with part_writer(parts / f"part-{begin:08d}.parquet", label, str(sounds)) as writer:
            for i in range(begin, min(begin + 500, clips)):
                vector = real[generator.integers(len(real))] + generator.normal(
                    scale=0.5 / np.sqrt(model.dim), size=model.dim
                )
                path = sounds / f"{i:08d}.wav"
                path.touch()
                info = path.stat()
                record = ClipRecord(
                    path=path.name, size=0, mtime_ns=info.st_mtime_ns, duration=5.0,
                    content=generator.bytes(16), sample_rate=44_100, channels=1, format="wav",
                )  # fmt: skip
                unit = (vector / np.linalg.norm(vector)).astype(np.float32)[None]
                writer.write(EmbeddedClip(path.name, str(path), span, unit, record, Notes()))
    return parts, sounds


def some_sounds(folder: Path, place: Path, count: int) -> Path:
    """A folder of links to random sounds."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    place.mkdir()
    for i, path in enumerate(random.Random(0).sample(paths, min(count, len(paths)))):
        (place / f"{i:06d}{path.suffix}").symlink_to(path.resolve())
    return place


def show(kind: str, report: EmbedReport, spent: float, out: Path) -> None:
    size = sum(path.stat().st_size for path in out.iterdir())
    clips, hours = report.embedded, report.audio_duration / 3600
    print(f"{kind}: {clips} clips, {report.windows} windows, {hours:.2f} h of sound, "
          f"{len(report.failures)} failed: {spent:.1f} CPU-s, {1000 * spent / clips:.1f} CPU-ms a "
          f"clip, {spent / hours:.0f} CPU-s an hour of sound; {size / clips:,.0f} bytes a clip, "
          f"{size / report.windows:,.0f} a window")  # fmt: skip


def processor_seconds() -> float:
    """Of this process and all that it started and that are still there."""
    ticks: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            ticks[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    mine = {os.getpid()}
    while grown := {pid for pid, (parent, _) in ticks.items() if parent in mine} - mine:
        mine |= grown
    return sum(ticks[pid][1] for pid in mine if pid in ticks) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
