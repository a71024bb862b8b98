"""Text -> the token ids that a model folder's text graph takes: in use, and on export."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from wavtext.model.folder import TextGraphConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def read_tokenizer(content: str, settings: TextGraphConfig) -> "Tokenizer":
    """The tokenizer of a tokenizer.json: texts are cut, never padded.

    Raises:
        ValueError: It is none.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(content)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(str(error)) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(settings.max_tokens)
    return tokenizer


def token_ids(
    tokenizer: "Tokenizer", settings: TextGraphConfig, text: str
) -> Int[np.ndarray, " tokens"]:
    """The ids of one text, between the model's prefix and suffix."""
    encoded = tokenizer.encode(f"{settings.prefix}{text.strip()}{settings.suffix}")
    return np.array(encoded.ids, np.int64)
