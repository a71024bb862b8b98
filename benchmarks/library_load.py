"""A library under load: unchanged files, the cost of the pipeline, readers beside an indexer.

    python benchmarks/library_load.py unchanged [--files 100000]
    python benchmarks/library_load.py pipeline FOLDER [--attempts 3]
    python benchmarks/library_load.py readers FOLDER [--minutes 10]

`unchanged` makes a folder of tiny files, marks them as indexed and times a run that finds nothing
to do. `pipeline` compares the CPU time of indexing FOLDER with decode + log-mel + encoder alone.
`readers` searches in four processes while a fifth, at the priority of `wavtext index`, indexes
a copy of FOLDER over and over, a seventh of whose files change between two runs; a search must find
as many as there are, and in the end every file must be found and the library sound.
"""

import argparse
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from wavtext.audio.decode import AUDIO_SUFFIXES
from wavtext.library.library import LIBRARY_FILE, SoundLibrary
from wavtext.library.pipeline import BATCH
from wavtext.library.priority import step_back
from wavtext.library.records import SPAN_TYPE, VECTOR_TYPE, ClipRecord
from wavtext.library.relevance import background_captions
from wavtext.library.rows import put_embeddings, put_record
from wavtext.library.store import Store

TEXTS = ("a dog barking", "rain", "a door slammed", "footsteps on gravel", "an engine starting")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("unchanged", "pipeline", "readers"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--attempts", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    print(f"commit {commit}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if arguments.what == "unchanged":
        unchanged(arguments.files)
    elif arguments.folder is None:
        parser.error("name a FOLDER of sounds")
    elif arguments.what == "pipeline":
        pipeline(arguments.folder, arguments.attempts)
    else:
        readers(arguments.folder, arguments.minutes)


def unchanged(files: int) -> None:
    from wavtext.model.model import load_model

    model = load_model()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / LIBRARY_FILE
        path.parent.mkdir()
        store = Store(path, write=True)
        stored = store.ensure_model(model.identity, model.name, model.dim, "compact")
        span = np.array([[0, 1]], SPAN_TYPE).tobytes()
        vector = np.full(model.dim, model.dim**-0.5, VECTOR_TYPE).tobytes()
        with store.writing() as connection:
            for i in range(files):
                place = folder / f"{i // 1000:03d}"
                place.mkdir(exist_ok=True)
                file = place / f"sound {i}.wav"
                file.write_bytes(b"RIFF")
                info = file.stat()
                record = ClipRecord(
                    path=f"{place.name}/{file.name}", size=4, mtime_ns=info.st_mtime_ns,
                    content=i.to_bytes(16, "big"), duration=1.0, sample_rate=44_100, channels=1,
                    format="WAV",
                )  # fmt: skip
                clip_id = put_record(connection, record, 1)
                put_embeddings(
                    connection, clip_id, stored.model_id, record.content, span, vector, 1
                )
            connection.execute("UPDATE meta SET value = 1 WHERE key = 'revision'")
            connection.execute("INSERT INTO notes SELECT id, '[]', '', '', '' FROM clips")
        store.close()
        with SoundLibrary.open(folder, model=model) as library:
            for run in ("first", "second"):
                began, cpu = time.perf_counter(), time.process_time()
                report = library.index()
                wall, cpu = time.perf_counter() - began, time.process_time() - cpu
                print(f"{run} run: {report.unchanged:,} unchanged files in {wall:.1f} s wall, "
                      f"{cpu:.1f} s CPU")  # fmt: skip


def pipeline(folder: Path, attempts: int) -> None:
    from wavtext.model.model import load_model

    model = load_model()
    files = sounds_in(folder)
    next(iter(model.embed_windows(files[0])))
    model.embed_text(["rain"])
    cpu = time.process_time()
    model.embed_text(background_captions())
    print(f"calibration captions, once a library: {time.process_time() - cpu:.2f} CPU-s")
    for attempt in range(attempts):
        cpu = time.process_time()
        batch = []
        for file in files:
            for _, _, log_mel in model.cut(file):
                batch.append(log_mel)
                if len(batch) == BATCH:
                    model.embed_log_mels(batch)
                    batch = []
        if batch:
            model.embed_log_mels(batch)
        alone = time.process_time() - cpu
        with tempfile.TemporaryDirectory() as temporary:
            cpu = time.process_time()
            library = SoundLibrary.open(folder, library=Path(temporary) / "l.sqlite", model=model)
            library.index()
            whole = time.process_time() - cpu
        print(f"run {attempt + 1}: {len(files)} files, alone {alone:.2f} CPU-s, "
              f"indexing {whole:.2f} CPU-s: {whole / alone - 1:+.1%}")  # fmt: skip


def sounds_in(folder: Path) -> list[Path]:
    """The sound files of a folder, as indexing sees them."""
    return sorted(
        each
        for each in folder.rglob("*")
        if each.suffix.lower() in AUDIO_SUFFIXES and ".wavtext" not in each.parts
    )


def readers(folder: Path, minutes: float) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / "sounds"
        shutil.copytree(folder, place, ignore=shutil.ignore_patterns(".wavtext"))
        SoundLibrary.open(place).index()
        ends = time.time() + 60 * minutes
        with multiprocessing.get_context("spawn").Pool(5) as pool:
            searches = [pool.apply_async(_read, (place, ends)) for _ in range(4)]
            indexer = pool.apply_async(_write, (place, ends))
            runs = indexer.get()
            times = [each for result in searches for each in result.get()]
        p50, p99 = np.percentile(times, [50, 99]) * 1e3
        with SoundLibrary.open(place) as library:
            state = library.check() or "sound"
            lost = set(sounds_in(place)) - {clip.path for clip in library.clips()}
            lost -= {failure.path for failure in library.failures()}
        print(f"{len(times):,} searches in {minutes:g} min beside {runs} indexing runs")
        print(f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {max(times) * 1e3:.1f} ms wall; "
              f"{len(lost)} files lost; the library is {state}")  # fmt: skip


def _read(place: Path, ends: float) -> list[float]:
    library = SoundLibrary.open(place)
    known = len(library.search("rain", limit=10_000))
    times: list[float] = []
    while time.time() < ends:
        began = time.perf_counter()
        found = library.search(TEXTS[len(times) % len(TEXTS)], limit=10)
        times.append(time.perf_counter() - began)
        assert len(found) == min(10, known)
        time.sleep(0.05)
    return times


def _write(place: Path, ends: float) -> int:
    step_back()
    library = SoundLibrary.open(place)
    files = sounds_in(place)
    runs = 0
    while time.time() < ends:
        for file in files[runs % 7 :: 7]:  # a change of its content, so that it is embedded again
            with file.open("ab") as handle:
                handle.write(b"\0")
        library.index()
        runs += 1
    return runs


if __name__ == "__main__":
    main()
