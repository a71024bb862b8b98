"""Many askers at once: text embeddings are shared, and so is the scan; answers stay the same."""

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from wavtext.library.exact import COARSE_AFTER, ExactIndex, SharedScan
from wavtext.library.matrix import Matrix
from wavtext.server.queries import CachedModel


class CountingModel:
    """Embeds a text as its characters' codes, slowly enough that askers meet."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()

    def embed_text(self, texts):
        self.gate.wait(5)
        self.batches.append(list(texts))
        return np.array([[ord(text[0]), len(text)] for text in texts], np.float32)


def test_a_text_is_embedded_once_and_remembered():
    plain = CountingModel()
    plain.gate.set()
    model = CachedModel(plain, 8)
    first = model.embed_text(["rain", "wind", "rain"])
    assert np.array_equal(first, model.embed_text(["rain", "wind", "rain"]))
    assert plain.batches == [["rain", "wind"]]


def test_those_who_wait_are_embedded_together():
    plain = CountingModel()
    model = CachedModel(plain, 64)
    texts = [f"{chr(97 + i)} sound" for i in range(9)]
    with ThreadPoolExecutor(9) as threads:
        asked = [threads.submit(model.embed_text, [text]) for text in texts]
        while len(model._waiting) < 8:  # the first is being embedded
            pass
        plain.gate.set()
        answers = [each.result() for each in asked]
    assert len(plain.batches) <= 3
    for text, answer in zip(texts, answers, strict=True):
        assert answer.tolist() == [[ord(text[0]), len(text)]]


def test_the_least_recently_used_is_forgotten():
    plain = CountingModel()
    plain.gate.set()
    model = CachedModel(plain, 2)
    for text in ("a", "b", "a", "c", "a", "b"):
        model.embed_text([text])
    assert [batch[0] for batch in plain.batches] == ["a", "b", "c", "b"]


def test_a_failure_reaches_its_asker_and_nobody_hangs():
    class Failing:
        def embed_text(self, texts):
            if "bad" in texts:
                raise ValueError("bad")
            return np.ones((len(texts), 2), np.float32)

    model = CachedModel(Failing(), 8)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(model.embed_text, [text]) for text in ("bad", "x", "bad", "y")]
        outcomes = [each.exception(timeout=10) for each in asked]
    assert [outcome is not None for outcome in outcomes] == [True, False, True, False]
    with model._lock:
        model._waiting["bad"] = None
    assert model.embed_text(["z"]).shape == (1, 2)


def make_matrix(clips: int = 300, windows: int = 4, dim: int = 32) -> Matrix:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(clips * windows, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Matrix(
        vectors=vectors,
        spans=np.zeros((len(vectors), 2), np.float32),
        clip_ids=np.arange(clips) * 3 + 1,
        offsets=np.arange(clips + 1) * windows,
        alive=np.arange(clips) % 7 != 0,
        revision=1,
        model_id=1,
    )


def test_a_shared_scan_answers_each_what_it_would_alone():
    matrix = make_matrix()
    index = ExactIndex(matrix)
    rng = np.random.default_rng(6)
    queries = rng.normal(size=(40, 32)).astype(np.float32)
    alone = [ExactIndex(matrix).best(query, 10, None) for query in queries]
    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(lambda query: index.best(query, 10, None), queries))
    for (ids, scores), (other_ids, other_scores) in zip(alone, together, strict=True):
        assert ids.tolist() == other_ids.tolist()
        assert scores.tobytes() == other_scores.tobytes()


def test_the_best_clips_are_those_of_a_plain_loop():
    matrix = make_matrix()
    query = np.random.default_rng(7).normal(size=32).astype(np.float32)
    ids, scores = ExactIndex(matrix).best(query, 12, None)
    plain = {
        int(clip_id): float((matrix.vectors[4 * i : 4 * i + 4] @ query).max())
        for i, clip_id in enumerate(matrix.clip_ids)
        if matrix.alive[i]
    }
    expected = sorted(plain, key=lambda clip_id: -plain[clip_id])[:12]
    assert ids.tolist() == expected
    assert np.allclose(scores, [plain[each] for each in expected], atol=1e-5)
    some = np.array([1, 4, 7, 5, 10**6])
    found = ExactIndex(matrix).best_of(some, query)
    assert np.isneginf(found[[0, 3, 4]]).all()  # gone, never was, never was
    assert found[1] == np.float32(ExactIndex(matrix).best_of(np.array([4]), query)[0])


def test_four_bit_codes_find_the_same_as_a_full_pass():
    rng = np.random.default_rng(9)
    centres = rng.normal(size=(50, 32))
    vectors = centres[rng.integers(0, 50, 24_000)] + rng.normal(size=(24_000, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    plain = make_matrix(clips=6_000, windows=4)
    matrix = dataclasses.replace(plain, vectors=vectors)
    index = ExactIndex(matrix)
    for i in range(COARSE_AFTER + 40):
        query = (centres[i % 50] + rng.normal(size=32)).astype(np.float32)
        query /= np.linalg.norm(query)
        ids, scores = index.best(query, 25, None)
        if i == COARSE_AFTER:  # codes are made in the background
            until = time.monotonic() + 30
            while index._coarse is None and time.monotonic() < until:
                time.sleep(0.01)
        assert (index._coarse is not None) == (i >= COARSE_AFTER)
        by_clip = (vectors @ query).reshape(6_000, 4).max(axis=1)
        by_clip[~matrix.alive] = -np.inf
        order = np.argsort(-by_clip, kind="stable")[:25]
        assert ids.tolist() == matrix.clip_ids[order].tolist()
        assert np.allclose(scores, by_clip[order], atol=1e-5)
    some = matrix.clip_ids[100:140]
    assert set(index.best(query, 25, some)[0]) <= set(some.tolist())


def test_a_scan_that_fails_for_one_does_not_hang_the_others():
    scan = SharedScan(np.ones((5, 3), np.float32))
    try:
        scan.scores(np.ones(4, np.float32))
    except ValueError:
        pass
    else:
        raise AssertionError("a query of the wrong size was taken")
    assert scan.scores(np.ones(3, np.float32)).tolist() == [3.0] * 5
