"""What the originals do to a sound first.  (channels, samples) -> (samples,), as they hear it.

wavtext averages channels, cuts deterministic windows and repeats short clips.  The published models
were not evaluated like that; to compare with their numbers, or to find out what a difference is
worth, this reproduces their own way, random crops included.
"""

import numpy as np
from jaxtyping import Float

from wavtext.errors import ConfigError

_DURATIONS = {"msclap-2022": 5.0, "msclap-2023": 7.0, "laion-clap": 10.0}  # s


def prepare_like_original(
    kind: str,
    channels: Float[np.ndarray, "channels samples"],
    sample_rate: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, " samples"]:
    """The samples that the original code of `kind` feeds its network.

    msclap-2022 and msclap-2023 put the channels one after the other, so that stereo doubles the
    clip, tile what is shorter than the window and crop what is longer at random.  laion-clap
    averages channels (librosa), crops at random, repeats short clips as often as they fit whole,
    fills the rest with silence, and rounds to 16 bits.

    Args:
        kind: A kind of `load_published` with its own code.
        channels: Float samples at the kind's rate.
        sample_rate: That rate (Hz).
        rng: Where the crop begins is drawn from it.
    """
    if kind not in _DURATIONS:
        raise ConfigError(
            f"'{kind}' has no preparation of its own.", help=f"Known: {[*_DURATIONS]}."
        )
    wanted = int(_DURATIONS[kind] * sample_rate)
    if kind == "laion-clap":
        samples = channels.mean(0)
        samples = (np.clip(samples, -1.0, 1.0) * 32767.0).astype(np.int16) / np.float32(32767.0)
        samples = samples.astype(np.float32)
        if len(samples) > wanted:
            start = int(rng.integers(len(samples) - wanted + 1))
            return samples[start : start + wanted]
        tiled = np.tile(samples, wanted // len(samples))
        return np.pad(tiled, (0, wanted - len(tiled)))
    samples = channels.reshape(-1)
    if len(samples) <= wanted:
        return np.tile(samples, -(-wanted // len(samples)))[:wanted]
    start = int(rng.integers(len(samples) - wanted))
    return samples[start : start + wanted]
