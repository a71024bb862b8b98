"""The correction of a query: its embedding, plus what names like it sound like in the library.

    r(q) = Σ_i k(q, t_i) α_i,   q' = (q + s r(q)) / |q + s r(q)|
    k(q, t) = (1 - w) exp(γ (cos(q - c, t - c) - 1)) + w cos_idf(words of q, words of t)
    α = (K + λ I)^-1 Y,   Y_i = the mean sound of name i, less that of the library, of length 1

This is kernel ridge regression from a text to the direction of its sounds. Only queries move: the
embeddings of sounds stay as they are. Far from every name k is nearly 0, so that a query about
something else stays where it was; the word part knows names that mean nothing to the text encoder.
"""

import io
import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32

from wavtext.errors import DamagedLibraryError
from wavtext.library.candidates import content_words

LOCALITY = 6.0  # γ: a cosine of 0.5 between centred texts counts e^-3 = 0.05
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What cross-validation chooses.

    Attributes:
        ridge: λ, against fitting single names.
        strength: s, how far a query is moved.
        words: w, the share of the word part.
    """

    ridge: float
    strength: float
    words: float


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """The names that a correction knows: texts, embeddings, and words weighed by rarity.

    Attributes:
        texts: The names.
        embeddings: Of the names, of length 1.
        centre: The mean embedding of general captions, c.
    """

    texts: tuple[str, ...]
    embeddings: Float32[np.ndarray, "names dim"]
    centre: Float32[np.ndarray, " dim"]
    _centred: Float32[np.ndarray, "names dim"] = field(init=False)
    _holders: dict[str, list[tuple[int, float]]] = field(init=False)
    _weights: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        words = [content_words(text) for text in self.texts]
        counts: dict[str, int] = {}
        for each in words:
            for word in each:
                counts[word] = counts.get(word, 0) + 1
        weights = {word: math.log(1 + len(words) / count) for word, count in counts.items()}
        holders: dict[str, list[tuple[int, float]]] = {word: [] for word in counts}
        for i, each in enumerate(words):
            length = math.sqrt(sum(weights[word] ** 2 for word in each))
            for word in each:
                holders[word].append((i, weights[word] / length))
        object.__setattr__(self, "_centred", unit(self.embeddings - self.centre))
        object.__setattr__(self, "_weights", weights)
        object.__setattr__(self, "_holders", holders)

    def near(
        self, embeddings: Float32[np.ndarray, "texts dim"]
    ) -> Float32[np.ndarray, "texts names"]:
        """The text encoder's part of the kernel."""
        cosine = unit(embeddings - self.centre) @ self._centred.T
        return np.exp(LOCALITY * (cosine - 1))

    def shared(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts names"]:
        """The word part of the kernel; words that no name has count as the rarest."""
        result = np.zeros((len(texts), len(self.texts)), np.float32)
        rarest = math.log(1 + len(self.texts))
        for row, text in zip(result, texts, strict=True):
            words = content_words(text)
            weights = [self._weights.get(word, rarest) for word in words]
            length = math.sqrt(sum(weight**2 for weight in weights))
            for word, weight in zip(words, weights, strict=True):
                for i, share in self._holders.get(word, ()):
                    row[i] += share * weight / length
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Adaptation:
    """A learned correction.

    Attributes:
        names: What it knows.
        coefficients: α.
        setting: λ, s and w.
        model: Identity of the model whose embeddings it corrects.
        report: What was measured before it was kept, as plain values.
    """

    names: Names
    coefficients: Float32[np.ndarray, "names dim"]
    setting: Setting
    model: str
    report: dict[str, Any]

    def __call__(
        self, texts: Sequence[str], embeddings: Float32[np.ndarray, "texts dim"]
    ) -> Float32[np.ndarray, "texts dim"]:
        """Corrected embeddings of texts, of length 1."""
        share = self.setting.words
        kernel = (1 - share) * self.names.near(embeddings) + share * self.names.shared(texts)
        return unit(embeddings + self.setting.strength * (kernel @ self.coefficients))

    def to_bytes(self) -> bytes:
        """For the library's file: NumPy's .npz, each part with its checksum; no pickle."""
        header = {
            "version": VERSION,
            "model": self.model,
            "setting": asdict(self.setting),
            "report": self.report,
            "texts": self.names.texts,
        }
        file = io.BytesIO()
        np.savez(
            file,
            header=np.frombuffer(json.dumps(header).encode(), np.uint8),
            embeddings=self.names.embeddings.astype(np.float16),
            centre=self.names.centre.astype(np.float32),
            coefficients=self.coefficients.astype(np.float16),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, path: object = "") -> "Adaptation":
        """The reverse of `to_bytes`.

        Args:
            content: What `to_bytes` gave.
            path: The library, for the message.

        Raises:
            DamagedLibraryError: The content is damaged, or of a newer wavtext.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as parts:
                header = json.loads(parts["header"].tobytes())
                if header["version"] != VERSION:
                    raise ValueError(f"version {header['version']}")
                embeddings = parts["embeddings"].astype(np.float32)
                names = Names(tuple(header["texts"]), embeddings, parts["centre"])
                coefficients = parts["coefficients"].astype(np.float32)
            if not len(names.texts) == len(embeddings) == len(coefficients):
                raise ValueError("its parts differ in length")
            return cls(
                names, coefficients, Setting(**header["setting"]), header["model"], header["report"]
            )
        except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise DamagedLibraryError(
                f"{path}: what was learned of its names cannot be read ({error}).",
                help="Forget it: wavtext adapt --undo, or learn it again: wavtext adapt",
            ) from error


def solve(
    kernel: Float32[np.ndarray, "names names"],
    targets: Float32[np.ndarray, "names dim"],
    ridge: float,
) -> Float32[np.ndarray, "names dim"]:
    """The coefficients α of kernel ridge regression."""
    return np.linalg.solve(kernel + ridge * np.eye(len(kernel), dtype=np.float32), targets)


def unit(vectors: np.ndarray) -> Float32[np.ndarray, "n dim"]:
    """Rows of length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
