"""The store's promises one by one; scripts/mutation_walk.py found some of them untested."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from wavtext.library.records import SPAN_TYPE, VECTOR_TYPE, ClipRecord
from wavtext.library.store import Store

SPANS = np.array([[0.0, 5.0], [5.0, 7.5]], np.float32)
VECTORS = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], np.float32)


def record(name: str, content: bytes = b"content") -> ClipRecord:
    return ClipRecord(
        path=name, size=10, mtime_ns=1, content=content, duration=7.5, sample_rate=8000,
        channels=1, format="wav",
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "library.sqlite", write=True)
    yield opened
    opened.close()


@pytest.fixture
def model_id(store: Store) -> int:
    return store.ensure_model("identity", "stub", 3, "stub").model_id


def revision_of(store: Store, model_id: int, clip_id: int) -> int:
    [row] = store.embeddings_of([clip_id], model_id)
    return row.revision


def test_what_is_put_in_comes_out(store: Store, model_id: int):
    clip_id = store.put_clip(record("rain.wav"), model_id, SPANS, VECTORS)
    [row] = store.embedding_rows(model_id)
    assert (row.clip_id, row.intact) == (clip_id, True)
    np.testing.assert_array_equal(np.frombuffer(row.spans, SPAN_TYPE).reshape(-1, 2), SPANS)
    found = np.frombuffer(row.vectors, "<f2").reshape(-1, 3)  # as the file's format says
    np.testing.assert_array_equal(found, VECTORS.astype(np.float16))
    assert np.dtype("<f2") == VECTOR_TYPE
    assert store.count_windows(model_id) == 2
    assert list(store.clip_rows()) == [(clip_id, record("rain.wav"))]


def test_only_what_was_written_after_a_revision_is_read_again(store: Store, model_id: int):
    first = store.put_clip(record("rain.wav"), model_id, SPANS, VECTORS)
    seen = revision_of(store, model_id, first)
    second = store.put_clip(record("wind.wav"), model_id, SPANS, VECTORS)
    assert revision_of(store, model_id, second) > seen
    assert [row.clip_id for row in store.embedding_rows(model_id, seen)] == [second]
    assert store.count_windows(model_id, seen) == 2


def test_a_clip_s_row_that_was_damaged_is_left_out_and_named(store: Store, model_id: int):
    damaged = store.put_clip(record("rain.wav"), model_id, SPANS, VECTORS)
    sound = store.put_clip(record("wind.wav"), model_id, SPANS, VECTORS)
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE clips SET duration = 75.0 WHERE id = ?", (damaged,))
    connection.close()
    assert [clip_id for clip_id, _ in store.clip_rows()] == [sound]
    assert [clip_id for clip_id, _ in store.clip_rows([damaged, sound])] == [sound]
    assert store.damaged_clips() == [damaged]


def test_embeddings_with_a_flipped_bit_are_not_intact(store: Store, model_id: int):
    clip_id = store.put_clip(record("rain.wav"), model_id, SPANS, VECTORS)
    [row] = store.embedding_rows(model_id)
    flipped = bytes([row.vectors[0] ^ 1]) + row.vectors[1:]
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE embeddings SET vectors = ?", (flipped,))
    connection.close()
    assert [each.intact for each in store.embedding_rows(model_id)] == [False]
    assert [each.intact for each in store.embeddings_of([clip_id], model_id)] == [False]
    assert store.damaged_clips() == [clip_id]


def test_nothing_of_a_removed_clip_stays_but_that_it_went(store: Store, model_id: int):
    clip_id = store.put_clip(record("heavy rain.wav"), model_id, SPANS, VECTORS)
    before = revision_of(store, model_id, clip_id)
    store.remove_clips([clip_id])
    assert list(store.clip_rows()) == []
    assert list(store.embedding_rows(model_id)) == []
    assert store.removed_after(before) == [clip_id]
    with sqlite3.connect(store.path) as connection:
        for table in ("clips", "embeddings", "notes", "words"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    connection.close()


def test_a_moved_clip_takes_the_place_of_the_one_that_was_there(store: Store, model_id: int):
    moved = store.put_clip(record("rain.wav", b"a"), model_id, SPANS, VECTORS)
    store.put_clip(record("wind.wav", b"b"), model_id, SPANS, VECTORS)
    store.move_clip(moved, record("wind.wav", b"a"))
    assert list(store.clip_rows()) == [(moved, record("wind.wav", b"a"))]


def test_a_failure_is_final_or_not_and_forgets_the_clip_when_asked(store: Store, model_id: int):
    store.put_clip(record("rain.wav"), model_id, SPANS, VECTORS)
    store.put_failure("rain.wav", 10, 1, "broken", final=True, remove=False)
    assert store.failures() == {"rain.wav": (10, 1, True, "broken")}
    assert len(list(store.clip_rows())) == 1
    store.put_failure("rain.wav", 10, 2, "gone", final=False, remove=True)
    assert store.failures() == {"rain.wav": (10, 2, False, "gone")}
    assert list(store.clip_rows()) == []


def test_content_is_known_only_with_the_embeddings_of_the_model_that_asks(
    store: Store, model_id: int
):
    clip_id = store.put_clip(record("rain.wav"), model_id, SPANS, VECTORS)
    other = store.ensure_model("other", "other", 3, "stub").model_id
    assert store.clip_of_content(b"content", model_id) == (clip_id, "rain.wav")
    assert store.clip_of_content(b"content", other) is None
    assert store.files(model_id)["rain.wav"].embedded
    assert not store.files(other)["rain.wav"].embedded
