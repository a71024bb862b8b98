"""Embeddings of long lists of captions, kept between runs in the user's cache folder.

A bank of a thousand captions takes seconds to embed; the second `wavtext describe` should not.
The file's name holds the model's identity and the captions' hash, so it can never be the wrong
one; a damaged or unwritable one is ignored.
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from wavtext.model.model import Model

MIN_CACHED = 64  # captions; fewer are embedded faster than a file is found


def cache_folder() -> Path:
    """$WAVTEXT_CACHE, or wavtext in the user's cache folder."""
    if "WAVTEXT_CACHE" in os.environ:
        return Path(os.environ["WAVTEXT_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    return Path(base).expanduser() / "wavtext"


def cached_texts(model: "Model", texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
    """`model.embed_text(texts)`, from the cache when these texts were embedded before."""
    if len(texts) < MIN_CACHED:
        return model.embed_text(texts)
    # "texts2": files from before models were checked (docs/decisions/0099) are left alone
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    path = cache_folder() / f"texts2-{model.identity}-{digest}.npy"
    try:
        found = np.load(path, allow_pickle=False)
        if found.shape == (len(texts), model.dim) and np.isfinite(found).all():
            return found
    except (OSError, ValueError, EOFError):
        pass  # not there, or damaged: embed again
    embeddings = model.embed_text(texts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npy", delete=False) as file:
            np.save(file, embeddings)
        Path(file.name).replace(path)
    except OSError:
        pass  # a cache that cannot be written only costs time
    return embeddings
