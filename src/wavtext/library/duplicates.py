"""Clips that sound the same -> groups, by embedding and duration, or by equal content."""

import numpy as np
from jaxtyping import Float32

BLOCK = 2048  # clips compared at a time


def same_sounds(
    embeddings: Float32[np.ndarray, "clips dim"],
    durations: Float32[np.ndarray, " clips"],
    contents: list[bytes],
    *,
    threshold: float,
    tolerance: float,
) -> list[list[int]]:
    """Groups of two or more positions; a clip joins a group when it is like any of its members.

    Args:
        embeddings: One for each clip, of length 1.
        durations: Seconds.
        contents: Hashes; equal ones are the same whatever the rest.
        threshold: Least cosine.
        tolerance: Share by which durations may differ.
    """
    parent = list(range(len(embeddings)))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    def join(one: int, other: int) -> None:
        first, second = sorted((root(one), root(other)))
        parent[second] = first

    seen: dict[bytes, int] = {}
    for position, content in enumerate(contents):
        join(position, seen.setdefault(content, position))
    order = np.argsort(durations, kind="stable")  # only neighbours in duration are compared
    sorted_durations = durations[order]
    sorted_embeddings = embeddings[order]
    for begin in range(0, len(order), BLOCK):
        end = min(begin + BLOCK, len(order))
        longest = sorted_durations[end - 1] / (1 - tolerance)
        last = int(np.searchsorted(sorted_durations, longest, side="right"))
        for other in range(begin, last, BLOCK):
            stop = min(other + BLOCK, last)
            alike = sorted_embeddings[begin:end] @ sorted_embeddings[other:stop].T >= threshold
            longer = np.maximum(sorted_durations[begin:end, None], sorted_durations[other:stop])
            gap = np.abs(sorted_durations[begin:end, None] - sorted_durations[other:stop])
            alike &= gap <= tolerance * longer
            for i, j in np.argwhere(alike):
                if begin + i < other + j:
                    join(int(order[begin + i]), int(order[other + j]))
    groups: dict[int, list[int]] = {}
    for position in range(len(parent)):
        groups.setdefault(root(position), []).append(position)
    return [group for group in groups.values() if len(group) > 1]
