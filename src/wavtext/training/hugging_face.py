"""A CLAP folder of Hugging Face transformers -> what `wavtext evaluate` takes.

Evaluates other people's checkpoints by our protocol.  Differs from transformers' own pipeline where
that is random: sounds longer than the model's window are cut into equal windows whose embeddings
are averaged (transformers crops at random), and no short clip is declared "longer" (transformers
draws one in each batch, so that embeddings depend on the batch: LAION-AI/CLAP issue 90).
"""

import hashlib
import json
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from transformers import ClapModel, ClapProcessor

from wavtext.audio.decode import load_audio
from wavtext.audio.waveform import Waveform, is_silent
from wavtext.errors import EmptyAudioError, ModelError


class HuggingFaceClap:
    """A local folder with config.json, weights, preprocessor and tokenizer of a transformers CLAP.

    Args:
        folder: As `ClapModel.save_pretrained` and `ClapProcessor.save_pretrained` write it.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.name = self.folder.name
        if not is_hugging_face_clap(self.folder):
            raise ModelError(f"{folder}: no config.json of a CLAP model.")
        if any(self.folder.glob("*.bin")) and not any(self.folder.glob("*.safetensors")):
            raise ModelError(
                f"{folder}: its weights are a pickle, which can run code.",
                help="Convert them once: model.save_pretrained(folder, safe_serialization=True).",
            )
        try:
            model = ClapModel.from_pretrained(self.folder, local_files_only=True)
            self._processor = ClapProcessor.from_pretrained(self.folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{folder}: cannot be loaded: {error}") from error
        self._model: Any = cast(Any, model).eval()
        extractor = cast(Any, self._processor).feature_extractor
        self.sample_rate = int(extractor.sampling_rate)  # Hz
        self._window = int(extractor.nb_max_samples)
        self._lock = threading.Lock()  # fast tokenizers are not re-entrant

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the names and bytes of the folder's settings, tokenizer and weights."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            if path.suffix in (".json", ".safetensors", ".txt"):
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                digest.update(f"{path.name} {content}\n".encode())
        return digest.hexdigest()

    def embed_text(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
        """Rows of length 1."""
        processor = cast(Any, self._processor)
        with self._lock, torch.inference_mode():
            inputs = processor.tokenizer(
                list(texts), padding=True, truncation=True, return_tensors="pt"
            )
            return _unit(self._model.get_text_features(**inputs))

    def embed_audio(self, sounds: Sequence[Any]) -> Float[np.ndarray, "clips dim"]:
        """Rows of length 1, from paths or waveforms: means over windows of the model's length."""
        return np.stack([self._embed(sound) for sound in sounds])

    def _embed(self, sound: Any) -> Float[np.ndarray, " dim"]:
        if isinstance(sound, Waveform):
            waveform = sound.resample(self.sample_rate)
        else:
            waveform = load_audio(sound, self.sample_rate)
        if is_silent(waveform.samples):
            raise EmptyAudioError(f"{sound}: silence.")
        samples = waveform.samples
        # Equal strides that reach both ends: nothing of a long sound is left out.
        count = -(-len(samples) // self._window)
        last = max(0, len(samples) - self._window)
        starts = np.linspace(0, last, count).round().astype(int)
        windows = [samples[start : start + self._window] for start in starts]
        extractor = cast(Any, self._processor).feature_extractor
        rows: list[np.ndarray] = []
        with torch.inference_mode():
            for window in windows:
                inputs = extractor(window, sampling_rate=self.sample_rate, return_tensors="pt")
                longer = torch.zeros((1, 1), dtype=torch.bool)
                found = self._model.get_audio_features(inputs["input_features"], is_longer=longer)
                rows.append(_unit(found)[0])
        mean = np.mean(rows, axis=0)
        return mean / np.linalg.norm(mean)


def is_hugging_face_clap(folder: Path) -> bool:
    """Whether the folder's config.json says that it is a CLAP of transformers."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and cast(dict[str, Any], config).get("model_type") == "clap"


def _unit(features: Any) -> Float[np.ndarray, "rows dim"]:
    """Rows of length 1; transformers 5 wraps embeddings in an output object."""
    rows = features.pooler_output if hasattr(features, "pooler_output") else features
    array = rows.detach().to(torch.float32).numpy()
    return array / np.linalg.norm(array, axis=-1, keepdims=True)
