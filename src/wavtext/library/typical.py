"""How a query's cosine spreads over a library: what its scores are measured in."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

SAMPLE = 2048  # windows that stand for the library


@dataclass(frozen=True, slots=True, eq=False)
class Typical:
    """The mean and the covariance of some of a library's windows.

    With them the mean and the standard deviation of any query's cosine cost one product with a
    (dim, dim) matrix in place of one with all of the windows.

    Attributes:
        mean: Of the windows' embeddings.
        covariance: Of the windows' embeddings.
    """

    mean: Float32[np.ndarray, " dim"]
    covariance: Float32[np.ndarray, "dim dim"]

    @classmethod
    def of(cls, windows: Float32[np.ndarray, "windows dim"]) -> "Typical":
        """Of one window or more."""
        mean = windows.mean(axis=0)
        apart = windows - mean
        return cls(mean, apart.T @ apart / np.float32(len(windows)))

    def cosine(self, query: Float32[np.ndarray, " dim"]) -> tuple[float, float]:
        """The mean and the standard deviation of the query's cosine."""
        variance = float(query @ (self.covariance @ query))
        return float(self.mean @ query), math.sqrt(max(variance, 0.0))
