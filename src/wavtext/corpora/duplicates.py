"""Which clips are the same sound: equal files by checksum, near duplicates by fingerprint.

Fingerprints -> pairs. Each clip's nearest neighbours by descriptor are compared word by word, so
that 50,000 clips need no 1.25 billion comparisons. The fingerprints wait in a temporary file: in
memory, those of 50,000 clips of a minute would be 750 MB.
"""

from collections.abc import Iterable, Iterator
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from jaxtyping import Float, UInt32

from wavtext.corpora.fingerprint import DESCRIPTOR_SIZE, difference
from wavtext.corpora.inspection import Inspection

MAX_DIFFERENCE = 0.33  # of fingerprints; unrelated sounds are near 0.5 (docs/corpora.md)
MIN_SIMILARITY = 0.8  # of descriptors
NEIGHBOURS = 32  # compared word by word
_BLOCK = 128  # rows of similarities at a time: 25 MB for 50,000 clips
_WORDS_OVERLAP = 8  # neighbouring words share seven eighths of their samples


def near_duplicates(inspections: Iterable[Inspection]) -> Iterator[tuple[int, int, float]]:
    """Pairs (i, j, difference), i < j, that are one recording, re-encoded, resampled or louder.

    Files with equal checksums are not listed: they need no fingerprint. All inspections are taken
    before the first pair is given.
    """
    with TemporaryFile() as words, TemporaryFile() as descriptors:
        fingerprints = _Fingerprints(words, descriptors)
        for place, found in enumerate(inspections):
            fingerprints.add(place, found)
        for row, column in _candidates(fingerprints.descriptors()):
            one, other = sorted((row, column))
            if fingerprints.checksums[one] == fingerprints.checksums[other]:
                continue
            shorter, longer = sorted((fingerprints.sizes[one], fingerprints.sizes[other]))
            if shorter < 0.7 * longer:
                continue
            apart = difference(fingerprints.words(one), fingerprints.words(other))
            if apart <= _limit(shorter):
                yield fingerprints.places[one], fingerprints.places[other], apart


class _Fingerprints:
    """Fingerprints in two files, those of clips that have one."""

    def __init__(self, words: IO[bytes], descriptors: IO[bytes]) -> None:
        self.places: list[int] = []  # among all the inspections
        self.checksums: list[str] = []
        self.sizes: list[int] = []  # words
        self._starts: list[int] = []  # bytes
        self._words, self._descriptors = words, descriptors

    def add(self, place: int, found: Inspection) -> None:
        if found.fault or found.words is None or found.descriptor is None or not len(found.words):
            return
        self.places.append(place)
        self.checksums.append(found.checksum)
        self.sizes.append(len(found.words))
        self._starts.append(self._words.tell())
        self._words.write(found.words.astype("<u4").tobytes())
        descriptor = found.descriptor.astype(np.float32)
        length = float(np.linalg.norm(descriptor))
        self._descriptors.write((descriptor / length if length else descriptor).tobytes())

    def words(self, row: int) -> UInt32[np.ndarray, " frames"]:
        self._words.seek(self._starts[row])
        return np.frombuffer(self._words.read(4 * self.sizes[row]), "<u4")

    def descriptors(self) -> Float[np.ndarray, "clip values"]:
        self._descriptors.seek(0)
        return np.frombuffer(self._descriptors.read(), np.float32).reshape(-1, DESCRIPTOR_SIZE)


def _limit(num_words: int) -> float:
    """The difference up to which fingerprints of this length agree by more than chance.

    Four standard errors below 0.5, for the independent bits among the overlapping words.
    """
    independent = 32 * max(num_words / _WORDS_OVERLAP, 1.0)
    return min(MAX_DIFFERENCE, 0.5 - 4 * 0.5 / float(np.sqrt(independent)))


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
