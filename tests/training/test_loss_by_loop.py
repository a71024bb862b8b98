"""The loss against its definition, written as loops, where positives are not tidy groups.

scripts/mutation_walk.py found the other tests blind to the axis along which targets are spread:
where positives are groups of equal size, rows and columns of the target are alike.
"""

import math

import numpy as np
import pytest
import torch

from wavtext.training.loss import contrastive_loss

# Sound i and caption j belong together: a chain (0-1-2 are no group), and one that holds one way.
POSITIVES = np.array(
    [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]], bool
)


def by_loop(logits: np.ndarray, positives: np.ndarray, duplicates: str) -> float:
    """Mean cross-entropy of the rows: sounds that ask for captions."""
    total = 0.0
    for i, row in enumerate(logits):
        kept = [
            j for j in range(len(row)) if duplicates != "ignored" or j == i or not positives[i, j]
        ]
        normaliser = math.log(sum(math.exp(row[j]) for j in kept))
        right = np.flatnonzero(positives[i]) if duplicates == "positives" else [i]
        total += sum(normaliser - row[j] for j in right) / len(right)
    return total / len(logits)


@pytest.mark.parametrize("duplicates", ["negatives", "positives", "ignored"])
def test_the_loss_is_its_definition(duplicates: str):
    generator = np.random.default_rng(0)
    audio, text = generator.normal(size=(2, 5, 4))
    audio /= np.linalg.norm(audio, axis=1, keepdims=True)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    logits = 7.0 * audio @ text.T
    expected = 0.5 * (
        by_loop(logits, POSITIVES, duplicates) + by_loop(logits.T, POSITIVES.T, duplicates)
    )
    found = contrastive_loss(
        torch.from_numpy(audio).float(),
        torch.from_numpy(text).float(),
        7.0,
        positives=torch.from_numpy(POSITIVES),
        duplicates=duplicates,  # type: ignore[arg-type]
    )
    assert float(found) == pytest.approx(expected, rel=1e-5)
