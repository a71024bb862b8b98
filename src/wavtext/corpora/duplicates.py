"""Which clips are the same sound: equal files by checksum, near duplicates by fingerprint.

Fingerprints -> pairs. Each clip's nearest neighbours by descriptor are compared word by word, so
that 50,000 clips need no 1.25 billion comparisons.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from wavtext.corpora.fingerprint import difference
from wavtext.corpora.inspection import Inspection

MAX_DIFFERENCE = 0.33  # of fingerprints; unrelated sounds are near 0.5 (docs/corpora.md)
MIN_SIMILARITY = 0.8  # of descriptors
NEIGHBOURS = 32  # compared word by word
_BLOCK = 128  # rows of similarities at a time: 25 MB for 50,000 clips
_WORDS_OVERLAP = 8  # neighbouring words share seven eighths of their samples


def near_duplicates(
    inspections: Sequence[Inspection],
) -> Iterator[tuple[int, int, float]]:
    """Pairs (i, j, difference), i < j, that are one recording, re-encoded, resampled or louder.

    Files with equal checksums are not listed: they need no fingerprint.
    """
    usable = [
        i
        for i, found in enumerate(inspections)
        if not found.fault and found.words is not None and len(found.words)
    ]
    if len(usable) < 2:
        return
    matrix = np.stack([_descriptor(inspections[i]) for i in usable])
    for row, column in _candidates(matrix):
        i, j = sorted((usable[row], usable[column]))
        one, other = inspections[i], inspections[j]
        if one.checksum == other.checksum or one.words is None or other.words is None:
            continue
        shorter, longer = sorted((len(one.words), len(other.words)))
        if shorter < 0.7 * longer:
            continue
        apart = difference(one.words, other.words)
        if apart <= _limit(shorter):
            yield i, j, apart


def _limit(num_words: int) -> float:
    """The difference up to which fingerprints of this length agree by more than chance.

    Four standard errors below 0.5, for the independent bits among the overlapping words.
    """
    independent = 32 * max(num_words / _WORDS_OVERLAP, 1.0)
    return min(MAX_DIFFERENCE, 0.5 - 4 * 0.5 / float(np.sqrt(independent)))


def _descriptor(found: Inspection) -> Float[np.ndarray, " segments*bands"]:
    assert found.descriptor is not None
    vector = found.descriptor.astype(np.float32)
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def _candidates(matrix: Float[np.ndarray, "clip values"]) -> Iterator[tuple[int, int]]:
    """Pairs whose descriptors are similar, each once; of each clip the nearest NEIGHBOURS."""
    for begin in range(0, len(matrix), _BLOCK):
        # Only later clips: each pair is met from its earlier side.
        similarity = matrix[begin : begin + _BLOCK] @ matrix[begin:].T
        square = similarity[:, : len(similarity)]
        square[np.tril_indices(len(similarity))] = -1.0
        if similarity.shape[1] > NEIGHBOURS:
            nearest = np.argpartition(-similarity, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        else:
            nearest = np.broadcast_to(np.arange(similarity.shape[1]), similarity.shape)
        for row, columns in enumerate(nearest):
            for column in columns:
                if similarity[row, column] >= MIN_SIMILARITY:
                    yield begin + row, begin + int(column)
