"""Sounds anywhere -> Parquet files of embeddings.

    report = embed(["s3://bucket/sounds"], "s3://bucket/embeddings")

A part is a Parquet file of some hundred sounds. It appears whole or not at all, under a name that
follows from what is in it, so that a run that was killed goes on with the parts that are missing,
and a part that two machines made is there once.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from wavtext.library.bulk.parts import ModelLabel
from wavtext.library.bulk.places import Place, join
from wavtext.library.bulk.plan import PART_FILES, PartPlan, make_plan
from wavtext.library.bulk.work import Job, PartResult, embed_part
from wavtext.library.choice import model_source
from wavtext.library.pipeline import Embedder


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedProgress:
    """How far a run has come; handed to the callback after each file, or part on a cluster."""

    files_done: int
    files_total: int
    failed: int
    audio_duration: float  # seconds of sound embedded so far
    elapsed: float  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedReport:
    """What a run did.

    Attributes:
        files: Sound files found.
        embedded: Files embedded in this run.
        finished: Files that an earlier run had embedded.
        failures: (address or path, reason) of files that failed, now or in an earlier run.
        windows: Windows embedded in this run.
        audio_duration: Seconds of sound embedded in this run.
        parts: Parquet files written in this run.
        elapsed: Seconds the run took.
    """

    files: int
    embedded: int
    finished: int
    failures: tuple[tuple[str, str], ...]
    windows: int
    audio_duration: float
    parts: int
    elapsed: float

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        values: dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        values["failures"] = [{"path": path, "reason": reason} for path, reason in self.failures]
        return values


Progress = Callable[[EmbedProgress], None]
Runner = Callable[[Sequence[PartPlan], Job], Iterable[PartResult]]


def embed(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    model: Embedder | str | Path = "compact",
    part_files: int = PART_FILES,
    workers: int | None = None,
    retry: bool = False,
    progress: Progress | None = None,
    runner: Runner | None = None,
) -> EmbedReport:
    """Embed sounds into Parquet files; what an earlier run has finished is kept.

    Args:
        sources: Folders, files, globs, or addresses that fsspec reaches: s3://bucket/prefix.
        out: The folder or address that the Parquet files go to.
        model: A loaded model, the name of one, or a model folder.
        part_files: Sounds in a Parquet file.
        workers: Threads that decode; one for each core when None.
        retry: Try files again that failed before.
        progress: Called after each file.
        runner: Makes the parts, on other machines (see cluster.py); this one when None.

    Raises:
        LibraryError: Nothing is there to embed, or `out` holds the embeddings of other sounds.
        ModelMismatchError: `out` holds another model's embeddings.
    """
    began = time.perf_counter()
    if isinstance(model, str | Path):
        from wavtext.model.model import load_model

        model = cast(Embedder, load_model(model))
    label = ModelLabel(model.identity, model.name, model_source(model), model.dim)
    plan = make_plan(sources, str(out), label, part_files=part_files, retry=retry)
    root = plan.listing.root
    job = Job(root, Place(str(out)).url, label, workers or os.cpu_count() or 1)
    todo = sum(len(part.files) for part in plan.parts)
    done, failed, duration = 0, 0, 0.0

    def count(files: int, failures: int, seconds: float) -> None:
        nonlocal done, failed, duration
        done, failed, duration = done + files, failed + failures, duration + seconds
        if progress is not None:
            elapsed = time.perf_counter() - began
            progress(
                EmbedProgress(
                    files_done=done,
                    files_total=todo,
                    failed=failed,
                    audio_duration=duration,
                    elapsed=elapsed,
                )
            )

    results: list[PartResult] = []
    if runner is None:
        for part in plan.parts:
            results.append(embed_part(part, job, model, lambda ok, s: count(1, int(not ok), s)))
    else:
        for result in runner(plan.parts, job):
            results.append(result)
            files = result.embedded + len(result.failures)
            count(files, len(result.failures), result.duration)
    failures = {**plan.listing.problems, **plan.failures}
    for result in results:
        failures.update(result.failures)
    return EmbedReport(
        files=len(plan.listing.files) + len(plan.listing.problems),
        embedded=sum(result.embedded for result in results),
        finished=plan.finished,
        failures=tuple((join(root, path), failures[path]) for path in sorted(failures)),
        windows=sum(result.windows for result in results),
        audio_duration=sum(result.duration for result in results),
        parts=len(results),
        elapsed=time.perf_counter() - began,
    )
