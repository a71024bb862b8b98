"""The map keeps together what sounds alike, always the same way."""

import numpy as np
import pytest

from wavtext.server.projection import project


def clusters(count: int, groups: int, dim: int = 48) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(groups, dim))
    group = rng.integers(0, groups, count)
    points = centres[group] + 0.5 * rng.normal(size=(count, dim))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points.astype(np.float32), group


def test_neighbours_on_the_map_are_of_one_group():
    embeddings, group = clusters(600, 8)
    points = project(embeddings, sweeps=80).astype(np.float64)
    distances = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :8]
    assert (group[nearest] == group[:, None]).mean() > 0.97


def test_the_map_fills_its_frame_and_is_the_same_every_time():
    embeddings, _ = clusters(300, 5)
    points = project(embeddings, sweeps=40)
    assert points.dtype == np.uint16
    assert np.ptp(points.astype(int), axis=0).max() > 45_000
    assert np.array_equal(points, project(embeddings, sweeps=40))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 20])
def test_small_libraries_have_a_map_too(count):
    rng = np.random.default_rng(count)
    embeddings = rng.normal(size=(count, 16)).astype(np.float32)
    assert project(embeddings, sweeps=5).shape == (count, 2)


def test_clips_that_sound_the_same_do_not_break_it():
    assert project(np.ones((30, 16), np.float32), sweeps=5).shape == (30, 2)


def test_progress_is_told_and_ends_at_one():
    told = []
    embeddings, _ = clusters(100, 3)
    project(embeddings, sweeps=30, progress=told.append)
    assert told[-1] == 1.0
    assert told == sorted(told)
