"""A model: sounds and sentences -> embeddings of length 1 in one space, without torch.

model = wavtext.load_model()
model.embed_text(["a dog barking", "rain"]) @ model.embed_audio(["dog.wav"]).T
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from wavtext.audio.clipping import restore
from wavtext.audio.decode import stream_audio
from wavtext.audio.log_mel import log_mel
from wavtext.audio.waveform import Waveform
from wavtext.audio.windows import iter_windows
from wavtext.errors import ModelError
from wavtext.model.captions import read_captions
from wavtext.model.folder import PROBE, ModelConfig, TextGraphConfig, identity, read_folder
from wavtext.model.runtime import Graph
from wavtext.model.text_cache import cached_texts
from wavtext.model.tokens import read_tokenizer, token_ids

Sound = str | Path | Waveform
EMBEDDED = {"compact": Path(__file__).parent / "compact"}
_PROBE_COSINE = 0.9  # 8 bits and other instructions leave more than 0.99
_BATCH = 64  # windows held at once on the way through the audio encoder


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A stretch of a clip and its embedding."""

    start: float  # s
    end: float  # s
    embedding: Float[np.ndarray, " dim"]  # float32, of length 1


class CaptionScore(NamedTuple):
    """A caption and how well it fits a sound."""

    caption: str
    score: float  # cosine


def load_model(name: str | Path = "compact") -> "Model":
    """A model by name or folder.

    Args:
        name: "compact", which is inside the package, or a model folder.

    Raises:
        ModelError: There is no such model, or its folder is damaged.
    """
    if isinstance(name, str) and name.startswith("hf:"):
        from wavtext.model.hub import cached_folder

        return Model(cached_folder(name))
    folder = EMBEDDED.get(str(name), Path(name))
    if not folder.exists():
        known = ", ".join(repr(each) for each in EMBEDDED)
        raise ModelError(
            f"no model named {str(name)!r}, and no such folder.",
            help=f"Name {known}, or a folder that holds a model.toml.",
        )
    return Model(folder)


class Model:
    """A model folder, loaded.  Graphs are read on first use; embedding is thread-safe.

    Every embedding has length 1 and depends on its own input alone: not on the batch, the order or
    the number of threads.  The model inside the package computes in 8 bits and in float32 on every
    CPU, so that kinds of CPU agree on sounds to a cosine of 0.99999, on texts to 0.999.  Folders
    with `precision = "auto"` in model.toml run their audio graph in bfloat16 where the CPU has it,
    which may move embeddings by 0.005.

    Args:
        folder: A model folder (wavtext.model.folder).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.config: ModelConfig = read_folder(self.folder)
        self.name = self.config.name
        self.dim = self.config.dim
        self.sample_rate = self.config.log_mel.sample_rate
        self.text_threads: int | None = None  # texts embedded at once; set before the first one
        self._tokenizer_lock = threading.Lock()
        self._checked = False  # the text graph against its probe

    def __repr__(self) -> str:
        return f"Model({self.name}@{self.identity[:6]}, {self.dim}-d)"

    @cached_property
    def identity(self) -> str:
        """Hex digest: two models with the same identity give the same embeddings."""
        return identity(self.folder, self.config)

    def embed_text(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
        """Embed sentences.

        Raises:
            ModelError: The model has no text encoder, a text is empty or not Unicode, or this CPU
                does not embed a known sentence as it should.
        """
        if isinstance(texts, str):
            raise ModelError("embed_text takes a list of texts.", help="Pass [text].")
        if self._text_graph is None or self.config.text is None:
            raise ModelError(f"{self.name} has no text encoder.")
        settings = self.config.text
        for i, text in enumerate(texts):
            if not text.strip():
                raise ModelError(
                    f"text {i + 1} of {len(texts)} is empty.", help="Describe a sound."
                )
            if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
                raise ModelError(
                    f"text {i + 1} of {len(texts)} is not Unicode.", help="Send it as UTF-8."
                )
        if texts:
            self.check()
        return self._embed_text(self._text_graph, settings, texts)

    def check(self) -> None:
        """Embed a known sentence, the first time; `embed_text` does so before its first text.

        OpenVINO computes wrongly, and says nothing, on x86 CPUs without AVX2
        (docs/decisions/0099-a-known-sentence.md).

        Raises:
            ModelError: It does not come out as it did where the folder was made.
        """
        settings, graph = self.config.text, self._text_graph
        if self._checked or graph is None or settings is None:
            return
        expected = np.array(settings.probe)
        if len(expected):
            found = self._embed_text(graph, settings, [PROBE])[0, : len(expected)]
            cosine = expected @ found / np.linalg.norm(expected) / np.linalg.norm(found)
            if not cosine > _PROBE_COSINE:
                raise ModelError(
                    f"{self.folder / settings.graph}: on this machine a known sentence is not "
                    f"embedded as it was where the model was made (cosine {cosine:.2f}).",
                    help="On x86, wavtext needs a CPU with AVX2. If yours has it, the model is "
                    "damaged: copy its folder again, or reinstall wavtext.",
                )
        self._checked = True

    def embed_audio(self, sounds: Sequence[Sound]) -> Float[np.ndarray, "clips dim"]:
        """Embed whole sounds: the mean of a sound's windows, of length 1.

        Raises:
            AudioError: A sound cannot be read, or is empty or silent.
        """
        if isinstance(sounds, str | Path | Waveform):
            raise ModelError("embed_audio takes a list of sounds.", help="Pass [sound].")
        means = [
            np.mean([window.embedding for window in self.stream_windows(sound)], axis=0)
            for sound in sounds
        ]
        return _unit(np.array(means, np.float32), self.dim)

    def embed_windows(self, sound: Sound) -> list[Window]:
        """The windows of one sound, in order."""
        return list(self.stream_windows(sound))

    def stream_windows(self, sound: Sound) -> Iterator[Window]:
        """The windows of one sound as they come, in bounded memory whatever the sound's length."""
        batch: list[tuple[float, float, np.ndarray]] = []
        for window in self.cut(sound):
            batch.append(window)
            if len(batch) == _BATCH:
                yield from self._embed_batch(batch)
                batch = []
        yield from self._embed_batch(batch)

    def cut(self, sound: Sound) -> Iterator[tuple[float, float, Float[np.ndarray, "frames mels"]]]:
        """Decode a sound and cut it: windows of (start in s, end in s, log-mel in dB), one by one.

        This is the half of the work that needs no model graph, for indexers that decode in
        parallel.
        """
        rate = self.sample_rate
        if isinstance(sound, Waveform):
            heard = restore(sound) if self.config.restore_clipping else sound
            blocks = iter([heard.resample(rate).samples])
            name = "The waveform"
        else:
            restoring = self.config.restore_clipping
            blocks, name = stream_audio(sound, rate, restore_clipping=restoring), str(sound)
        for start, end, samples in iter_windows(blocks, rate, self.config.windows, name=name):
            yield start, end, log_mel(samples, self.config.log_mel)

    def embed_log_mels(
        self, log_mels: Sequence[Float[np.ndarray, "frames mels"]]
    ) -> Float[np.ndarray, "windows dim"]:
        """Embed windows that `cut` made."""
        if self._audio_graph is None:
            raise ModelError(f"{self.name} has no audio encoder.")
        return _unit(self._audio_graph.run(log_mels), self.dim)

    def describe(
        self, sound: Sound, captions: Sequence[str] | Path | str, limit: int | None = 5
    ) -> list[CaptionScore]:
        """The captions that fit a sound best: audio-to-text retrieval.

        Source: Deshmukh et al. 2022, section 3.2.

        Args:
            sound: A file or a waveform.
            captions: Captions, or a file of them: one a line, or a manifest.
            limit: How many to return; None for all.

        Returns:
            The best captions, best first; equal scores in the captions' order.
        """
        listed = read_captions(captions)
        heard = self.embed_audio([sound])[0]
        score = cached_texts(self, listed) @ heard
        order = np.argsort(-score, kind="stable")[:limit]
        return [CaptionScore(listed[i], float(score[i])) for i in order]

    def classify(self, sound: Sound, labels: Sequence[str]) -> list[CaptionScore]:
        """Zero-shot classification: the share of each label, best first; shares add up to 1.

        Args:
            sound: A file or a waveform.
            labels: Names or captions, one of which is taken to be right.
        """
        scored = self.describe(sound, labels, limit=None)
        logits = self.config.logit_scale * np.array([each.score for each in scored])
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        return [
            CaptionScore(each.caption, float(share))
            for each, share in zip(scored, shares, strict=True)
        ]

    def _embed_batch(self, batch: list[tuple[float, float, np.ndarray]]) -> Iterator[Window]:
        if batch:
            embeddings = self.embed_log_mels([mel for _, _, mel in batch])
            for (start, end, _), embedding in zip(batch, embeddings, strict=True):
                yield Window(start, end, embedding)

    @cached_property
    def _audio_graph(self) -> Graph | None:
        settings = self.config.audio
        return Graph(self.folder / settings.graph, settings.precision) if settings else None

    @cached_property
    def _text_graph(self) -> Graph | None:
        settings = self.config.text
        if settings is None:
            return None
        path = self.folder / settings.graph
        return Graph(path, settings.precision, dynamic=True, threads=self.text_threads)

    def _embed_text(
        self, graph: Graph, settings: TextGraphConfig, texts: Sequence[str]
    ) -> Float[np.ndarray, "texts dim"]:
        ids = [token_ids(self._tokenizer, settings, text) for text in texts]
        return _unit(graph.run(ids), self.dim)

    @property
    def _tokenizer(self) -> Any:
        with self._tokenizer_lock:
            return self._loaded_tokenizer

    @cached_property
    def _loaded_tokenizer(self) -> Any:
        if self.config.text is None:
            raise ModelError(f"{self.name} has no text encoder.")
        path = self.folder / self.config.text.tokenizer
        try:
            return read_tokenizer(path.read_text(encoding="utf-8"), self.config.text)
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: not a tokenizer: {error}.") from error


def _unit(embeddings: np.ndarray, dim: int) -> Float[np.ndarray, "n dim"]:
    if not embeddings.size:
        return np.empty((0, dim), np.float32)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


__all__ = ["CaptionScore", "Model", "Sound", "Window", "load_model"]
