"""What a library holds: its clips, their embeddings, what failed, what is damaged or twice there.

None of it needs a model.
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from wavtext.errors import DamagedLibraryError
from wavtext.library.choice import model_label
from wavtext.library.duplicates import same_sounds
from wavtext.library.export import write_embeddings
from wavtext.library.matrix import clip_means
from wavtext.library.quantised import EXACT_UP_TO
from wavtext.library.reader import Reader
from wavtext.library.records import ClipRecord
from wavtext.library.results import Failure, LibraryClip, LibraryStats


def list_clips(reader: Reader, clip_ids: Iterable[int] | None = None) -> Iterator[LibraryClip]:
    """All clips in the order they were added, or those asked for."""
    store, model_id = reader.store(), reader.model().model_id
    rows = store.clip_rows(clip_ids)
    while some := list(itertools.islice(rows, 500)):
        counts = store.window_counts([clip_id for clip_id, _ in some], model_id)
        for clip_id, record in some:
            if record.format:
                yield _clip(reader.folder, clip_id, record, counts.get(clip_id, 0))


def list_failures(reader: Reader) -> list[Failure]:
    """The files that could not be indexed, and why."""
    failures = reader.store().failures()
    return [Failure(path=reader.folder / path, reason=row[3]) for path, row in failures.items()]


def count_contents(reader: Reader) -> LibraryStats:
    """How much the library holds."""
    store, model = reader.store(), reader.model()
    windows = store.count_windows(model.model_id)
    if windows <= EXACT_UP_TO:
        damaged = len(reader.matrix().damaged)
    else:  # too many to hold
        damaged = sum(not row.intact for row in store.embedding_rows(model.model_id))
    clips, duration = 0, 0.0
    for _, record in store.clip_rows():
        clips += 1
        duration += record.duration
    files = [Path(f"{reader.path}{suffix}") for suffix in ("", "-wal")]
    return LibraryStats(
        clips=clips,
        windows=windows,
        duration=duration,
        failures=store.count("failures"),
        model=model_label(model),
        dim=model.dim,
        size=sum(file.stat().st_size for file in files if file.exists()),
        damaged=damaged,
        adapted=reader.adapted() is not None,
    )


def clip_embeddings(
    reader: Reader,
) -> tuple[Int64[np.ndarray, " clips"], Float32[np.ndarray, "clips dim"]]:
    """Clip ids, and one embedding for each: the mean of its windows, of length 1."""
    matrix = reader.matrix().compacted()
    if not len(matrix.clip_ids):
        return matrix.clip_ids, np.empty((0, matrix.vectors.shape[1]), np.float32)
    return matrix.clip_ids, clip_means(matrix.vectors, matrix.offsets[:-1])


def find_problems(reader: Reader) -> list[str]:
    """What is wrong with the library's file, one line each."""
    try:
        store = reader.store()
        store.verify()
    except DamagedLibraryError as error:
        return [str(error)]
    records = dict(store.clip_rows())
    return [
        f"{reader.folder / records[clip_id].path if clip_id in records else clip_id}: "
        "its row or embeddings do not match their checksum; index the folder again."
        for clip_id in store.damaged_clips()
    ]


def find_duplicates(
    reader: Reader, *, threshold: float, tolerance: float
) -> list[list[LibraryClip]]:
    """Groups of clips that sound the same, largest first."""
    ids, embeddings = clip_embeddings(reader)
    records = dict(reader.store().clip_rows(ids.tolist()))
    keep = np.array([clip_id in records for clip_id in ids.tolist()], bool)
    ids, embeddings = ids[keep], embeddings[keep]
    kept = [records[clip_id] for clip_id in ids.tolist()]
    groups = same_sounds(
        embeddings,
        np.array([record.duration for record in kept], np.float32),
        [record.content for record in kept],
        threshold=threshold,
        tolerance=tolerance,
    )
    clips = {clip.clip_id: clip for clip in list_clips(reader)}
    named = [[clips[int(ids[i])] for i in group if int(ids[i]) in clips] for group in groups]
    return sorted(named, key=lambda group: -len(group))


def export_embeddings(reader: Reader, path: Path, *, windows: bool) -> int:
    """Write the embeddings of windows or clips as Parquet or .npz; how many rows."""
    stored = reader.model()
    records = dict(reader.store().clip_rows())
    if windows:
        matrix = reader.matrix().compacted()
        ids = np.repeat(matrix.clip_ids, np.diff(matrix.offsets))
        spans, vectors = matrix.spans, matrix.vectors
    else:
        ids, vectors = clip_embeddings(reader)
        ends = [records[each].duration if each in records else 0.0 for each in ids.tolist()]
        spans = np.array([(0.0, end) for end in ends], np.float32).reshape(-1, 2)
    known = np.isin(ids, np.fromiter(records, np.int64, len(records)))
    ids, spans, vectors = ids[known], spans[known], vectors[known]
    paths = [records[each].path for each in ids.tolist()]
    write_embeddings(path, ids, paths, spans, vectors, model=stored.identity)
    return len(ids)


def _clip(folder: Path, clip_id: int, record: ClipRecord, num_windows: int) -> LibraryClip:
    return LibraryClip(
        clip_id=clip_id,
        path=folder / record.path,
        duration=record.duration,
        sample_rate=record.sample_rate,
        channels=record.channels,
        format=record.format,
        size=record.size,
        modified=record.mtime_ns / 1e9,
        num_windows=num_windows,
    )
