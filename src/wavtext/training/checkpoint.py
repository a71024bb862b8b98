"""Other people's checkpoint files -> named tensors, without running code from them.

A .pth, .pt or .ckpt file is a pickle, and a pickle can run code when it is read. They are read
with torch's restricted reader, which builds tensors and plain containers and nothing else. Two
things that published checkpoints hold beside their weights are let through because they are inert:
NumPy arrays (PANNs keeps its sampler's state) and the names of PyTorch Lightning's callbacks
(HTSAT), which become an empty class here.
"""

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from wavtext.errors import ModelError

_NUMPY = re.compile(
    r"numpy\.(_?core\.multiarray\.(_reconstruct|scalar)|ndarray|dtype|dtypes\.\w+DType)"
    r"|_codecs\.encode"
)
_LIGHTNING = re.compile(
    r"(pytorch_lightning|lightning(\.pytorch)?|lightning_fabric)\.[\w.]*"
    r"(callbacks|utilities)\.[\w.]+"
)
# Names that a module derives by itself, whatever a file says or does not say about them.
_DERIVED = re.compile(
    r"(^|\.)(num_batches_tracked|relative_position_index|attn_mask|position_ids|token_type_ids)$"
    r"|(^|\.)h\.\d+\.attn\.(bias|masked_bias)$"  # GPT-2's causal mask
)
_FRONT_END = re.compile(r"(^|\.)(spectrogram_extractor|logmel_extractor)\.")
_SHOWN = 20  # names in an error


class Inert:
    """Stands for a class that a checkpoint names and nobody needs."""


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without a `module.` that DataParallel put before them.

    They may lie at the top or, as in the published files, under "model" or "state_dict".

    Raises:
        ModelError: The file is missing, holds code, or is no checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such checkpoint file.")
    content = _read(path)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = cast(Mapping[str, Any], content)[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path}: holds no tensors by name, but a {type(content).__name__}.")
    named = cast(Mapping[str, Any], content)
    strange = [str(name) for name, value in named.items() if not isinstance(value, Tensor)]
    if strange:
        raise ModelError(f"{path}: not all of its entries are tensors: {shorten(strange)}.")
    if all(name.startswith("module.") for name in named):
        named = {name.removeprefix("module."): value for name, value in named.items()}
    return {
        name: value.float() if value.is_floating_point() else value for name, value in named.items()
    }


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: not a safetensors file: {error}.") from error
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            allowed = _inert_names(path, error)
            with torch.serialization.safe_globals(allowed):
                return torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path}: cannot be read without running code from it.") from error
    except Exception as error:  # torch's readers raise what they like
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ModelError(f"{path}: not a checkpoint: {reason}") from error


def _inert_names(path: Path, cause: Exception) -> list[Any]:
    """What the restricted reader must let through; a ModelError where that could run code."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:
        raise ModelError(
            f"{path}: cannot be read without running code from it.",
            help="Save its tensors as safetensors where you trust the file.",
        ) from cause
    code = [name for name in names if not (_NUMPY.fullmatch(name) or _LIGHTNING.fullmatch(name))]
    if code:
        raise ModelError(
            f"{path}: holds objects that run code when they are read: {shorten(sorted(code))}.",
            help="Save its tensors as safetensors where you trust the file.",
        ) from cause
    allowed: list[Any] = [(Inert, name) for name in names if _LIGHTNING.fullmatch(name)]
    for name in names:
        if _NUMPY.fullmatch(name):
            allowed.append((_numpy_object(name), name))
    allowed += [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1", "b1")]
    return allowed


def _numpy_object(name: str) -> Any:
    import _codecs

    short = name.rpartition(".")[2]
    if name == "_codecs.encode":
        return _codecs.encode
    if short == "_reconstruct":
        return cast(Any, np)._core.multiarray._reconstruct
    if short == "scalar":
        return cast(Any, np)._core.multiarray.scalar
    return getattr(np, short, None) or getattr(np.dtypes, short)


class Layout:
    """A checkpoint's tensors as they are claimed, part by part; what is left over is unknown.

    Args:
        tensors: The checkpoint.
        path: Its file, for the error.
        what: What it should be, for the error.
    """

    def __init__(self, tensors: Mapping[str, Tensor], path: Path | str, what: str) -> None:
        self.tensors = dict(tensors)
        self.path, self.what = Path(path), what
        self.claimed: set[str] = set()
        self.missing: list[str] = []

    def need(self, name: str) -> Tensor:
        """A tensor that the widths are read from; without it nothing can be built."""
        if name not in self.tensors:
            self.missing.append(name)
            self.check()
        return self.tensors[name]

    def has(self, prefix: str) -> bool:
        """Whether any name begins so."""
        return any(name.startswith(prefix) for name in self.tensors)

    def count(self, prefix: str) -> int:
        """How many consecutive numbers, from 0, follow the prefix."""
        number = 0
        while self.has(f"{prefix}{number}."):
            number += 1
        return number

    def claim(self, *names: str, optional: bool = False) -> None:
        """Mark names as known, though nothing is made of them."""
        present = [name for name in names if name in self.tensors]
        self.claimed.update(present)
        if not optional:
            self.missing += [name for name in names if name not in self.tensors]

    def fill(self, module: nn.Module, rename: Callable[[str], str]) -> None:
        """Copy tensors into a module; `rename` turns its names into the checkpoint's."""
        found: dict[str, Tensor] = {}
        for name, own in module.state_dict().items():
            theirs = rename(name)
            if theirs in self.tensors:
                tensor = self.tensors[theirs]
                if tensor.shape != own.shape:
                    shapes = f"{tuple(tensor.shape)}, not {tuple(own.shape)}"
                    raise ModelError(f"{self.path}: not {self.what}: {theirs} is {shapes}.")
                found[name] = tensor
                self.claimed.add(theirs)
            elif not _DERIVED.search(name):
                self.missing.append(theirs)
        module.load_state_dict(found, strict=False)

    def check(self) -> None:
        """Raise a ModelError that lists what is missing and what is unknown; or nothing."""
        unknown = [
            name
            for name in self.tensors
            if name not in self.claimed
            and not _DERIVED.search(name)
            and not _FRONT_END.search(name)
        ]
        problems: list[str] = []
        if self.missing:
            problems.append(f"missing: {shorten(self.missing)}")
        if unknown and (not self.missing or self.claimed):
            problems.append(f"unknown: {shorten(unknown)}")
        elif unknown:
            problems.append(f"it holds: {shorten(unknown)}")
        if problems:
            raise ModelError(f"{self.path}: not {self.what}; {'; '.join(problems)}.")


def shorten(names: list[str]) -> str:
    """Names for an error, the first twenty."""
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return ", ".join(dict.fromkeys(names[:_SHOWN])) + more
