"""`wavtext embed --ray` on a cluster of three nodes, one of which is killed mid-way."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sound_factory import Write

from wavtext.library.bulk.embedding import EmbedProgress, embed
from wavtext.model.model import load_model

ray = pytest.importorskip("ray", reason="ray is not installed")
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves sockets to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MEMORY = 80_000_000  # bytes of shared memory a node


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A cluster of three nodes with one core each, which this process is connected to."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
    head = {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true in that time: the cluster learns of a death by itself."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def test_a_node_killed_mid_way_costs_nothing(
    cluster: object, write_sound: Write, tmp_path: Path
) -> None:
    from wavtext.library.bulk.cluster import on_cluster

    for seed in range(12):
        kind = ("hum", "tone", "whistle", "hiss")[seed % 4]
        path = write_sound(f"{kind}{seed}.wav", kind, duration=1 + seed % 3, seed=seed)
    sounds = path.parent
    (sounds / "broken.wav").write_bytes(b"no sound at all")
    nodes = list(cluster.worker_nodes)  # type: ignore[attr-defined]
    killed: list[int] = []

    def kill(progress: EmbedProgress) -> None:
        if not killed:
            cluster.remove_node(nodes[0], allow_graceful=False)  # type: ignore[attr-defined]
            killed.append(progress.files_done)

    out = tmp_path / "out"
    report = embed([sounds], out, part_files=1, progress=kill, runner=on_cluster())
    assert killed[0] < 13  # parts were left
    assert _within(60, lambda: sum(node["Alive"] for node in ray.nodes()) == 2)
    assert (report.files, report.embedded, len(report.failures)) == (13, 12, 1)
    assert len(list(out.glob("part-*"))) == report.parts == 13
    table = pq.read_table(out).to_pylist()
    model = load_model()
    for path in sounds.glob("*[0-9].wav"):
        rows = [row for row in table if row["path"] == path.name]
        windows = model.embed_windows(path)
        assert [(row["start"], row["end"]) for row in rows] == [
            (pytest.approx(each.start), pytest.approx(each.end)) for each in windows
        ]
        found = np.array([row["embedding"] for row in rows], np.float32)
        assert np.array_equal(found, np.stack([each.embedding for each in windows]))
    again = embed([sounds], out, part_files=1, runner=on_cluster())
    assert (again.embedded, again.finished, again.parts) == (0, 12, 0)


@pytest.mark.skipif(not os.environ.get("WAVTEXT_LONG"), reason="WAVTEXT_LONG=1 runs it")
def test_a_cluster_reads_from_a_bucket_and_writes_to_it(
    sounds: Path, bucket: str, cluster: object
) -> None:
    import s3fs

    from wavtext.library.bulk.cluster import on_cluster
    from wavtext.library.importing import open_parts

    out = "s3://archive/embeddings"
    report = embed([bucket], out, part_files=2, runner=on_cluster(tasks=2))
    assert (report.embedded, report.parts, report.failures) == (8, 4, ())
    model = load_model()
    clips = [clip for part in open_parts(out) for clip in part.clips()]
    assert len(s3fs.S3FileSystem().ls("archive/embeddings")) == 4
    for clip in clips:
        expected = np.stack([each.embedding for each in model.embed_windows(sounds / clip.path)])
        assert np.array_equal(clip.embeddings, expected)


def test_embedding_on_one_machine_does_not_load_ray(tmp_path: Path, write_sound: Write) -> None:
    sounds = write_sound("hum.wav", "hum").parent
    code = (
        "import sys; from wavtext.library.bulk.embedding import embed; "
        f"embed([{str(sounds)!r}], {str(tmp_path / 'out')!r}); "
        "assert not {'ray', 'torch', 'fsspec', 'qdrant_client'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
