"""Log-mels as all scripts keep them: a byte a cell, in steps of 0.55 dB from -100 dB."""

import numpy as np

LOWEST, STEP = -100.0, 0.55  # dB


def packed_mel(samples: np.ndarray) -> np.ndarray:
    """(samples,) at the front end's rate -> log-mel (frames, 72) uint8."""
    from wavtext.audio.log_mel import log_mel
    from wavtext.training.compact import FRONT_END

    steps = np.round((log_mel(samples, FRONT_END) - LOWEST) / STEP)
    return np.clip(steps, 0, 255).astype(np.uint8)


def decibels(packed: np.ndarray) -> np.ndarray:
    """What was packed, of any shape -> the same in dB, float32."""
    return packed.astype(np.float32) * np.float32(STEP) + np.float32(LOWEST)
