"""Parts made by many machines: Ray Data hands them out, and hands out again what a dead one had.

A task makes one part and says what is in it, and is tried again when its machine dies. The sounds
and the part travel between the machine and the storage, not through Ray. Each worker process loads
the model once.
"""

import logging
import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import Any, cast

from wavtext.errors import LibraryError, MissingExtraError, WavtextError
from wavtext.library.bulk.embedding import Runner
from wavtext.library.bulk.plan import PartPlan
from wavtext.library.bulk.work import Job, PartResult, embed_part
from wavtext.library.pipeline import Embedder

STORE = 200_000_000  # bytes of shared memory for a cluster started here: only plans travel


def on_cluster(address: str | None = None, *, tasks: int | None = None, cores: int = 1) -> Runner:
    """What `embed` takes as its runner to work on a Ray cluster.

    Args:
        address: Of the cluster ("auto", "ray://head:10001"); None takes RAY_ADDRESS, or starts one
            on this machine that ends with the run.
        tasks: Parts made at a time; as many as the cluster has cores for when None.
        cores: Cores that a task takes.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    ray = _ray()

    def run(parts: Sequence[PartPlan], job: Job) -> Iterator[PartResult]:
        if not parts:
            return
        started = not ray.is_initialized()
        if started:
            _connect(ray, address)
        try:
            yield from _made(ray, parts, job, tasks, cores)
        finally:
            if started:
                ray.shutdown()

    return run


def _made(
    ray: Any, parts: Sequence[PartPlan], job: Job, tasks: int | None, cores: int
) -> Iterator[PartResult]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"part": pickle.dumps(part)} for part in parts]
    made = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _make_parts,
        batch_size=1,
        batch_format="numpy",
        fn_kwargs={"job": job, "cores": cores},
        num_cpus=cores,
        concurrency=tasks,
    )
    try:
        for row in made.iter_rows():
            yield pickle.loads(row["result"])
    except Exception as error:
        cause = _cause(error)
        if isinstance(cause, WavtextError):
            raise cause from error
        raise LibraryError(
            f"the cluster gave up: {str(cause).strip().splitlines()[-1]}",
            help="Finished parts are kept; run the command again to go on.",
        ) from error


def _make_parts(batch: dict[str, Any], job: Job, cores: int) -> dict[str, list[bytes]]:
    """Runs on the cluster: the parts of a batch, which is one."""
    os.environ["WAVTEXT_THREADS"] = str(cores)
    model = _model(job.model.source)
    made: Iterable[PartResult] = (
        embed_part(pickle.loads(part), job, model) for part in batch["part"]
    )
    return {"result": [pickle.dumps(each) for each in made]}


@cache
def _model(source: str) -> Embedder:
    """The model, once for each worker process."""
    from wavtext.model.model import load_model

    return cast(Embedder, load_model(source))


def _connect(ray: Any, address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None and not os.environ.get("RAY_ADDRESS"):
        settings |= {"include_dashboard": False, "object_store_memory": STORE}
    try:
        ray.init(address, **settings)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise LibraryError(
            f"no Ray cluster at {address or os.environ.get('RAY_ADDRESS') or 'this machine'}: "
            f"{str(error).strip().splitlines()[0]}",
            help="Start one: ray start --head",
        ) from error


def _ray() -> Any:
    try:
        import_module("ray.data")
        return import_module("ray")
    except ImportError as error:
        raise MissingExtraError("ray", "Embedding on a cluster") from error


def _cause(error: BaseException) -> BaseException:
    """What a task raised, out of Ray's wrappings."""
    while True:
        inner = getattr(error, "cause", None) or error.__cause__
        if not isinstance(inner, BaseException) or inner is error:
            return error
        if isinstance(error, WavtextError):
            return error
        error = inner
