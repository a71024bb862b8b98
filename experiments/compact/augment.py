"""How crops are spoilt, in the log-mel domain: what another device, room or codec would bring."""

import torch
import torch.nn.functional as F
from torch import Tensor

FRAMES_A_SECOND = 43.07


def uniform(like: Tensor, low: float, high: float) -> Tensor:
    """A number for each sound of (batch, frames, bands): (batch, 1, 1)."""
    return torch.empty_like(like[:, :1, :1]).uniform_(low, high)


def echoing(power: Tensor, wet: Tensor, seconds: Tensor) -> Tensor:
    """In a room: each frame's energy decays into the next ones, by 60 dB in `seconds`.

    Args:
        power: (batch, frames, bands).
        wet: (batch, 1, 1), share of the room.
        seconds: (batch, 1, 1).
    """
    decay = 10 ** (-6 / (seconds * FRAMES_A_SECOND))
    room, step, fade = power, 1, decay
    for _ in range(5):  # x + a x' + a^2 x'' + ... over 32 frames, by doubling
        room = room + fade * F.pad(room, (0, 0, step, 0))[:, : power.shape[1]]
        step, fade = 2 * step, fade * fade
    return (1 - wet) * power + wet * room * (1 - decay)


def noise_like(power: Tensor) -> Tensor:
    """Steady noise of a random slope, its loudest band near 1: (batch, frames, bands)."""
    slope = (
        uniform(power, -0.35, 0.1)
        * torch.arange(power.shape[2], device=power.device)[None, None]
        / 10
    )
    noise = 10**slope / (10**slope).amax(2, keepdim=True)
    return noise * torch.empty_like(power).exponential_().clamp(max=6)


def over_noise(power: Tensor, below: Tensor | float) -> Tensor:
    """(batch, frames, bands) over steady noise, so many dB below each sound's loudest cell."""
    peak = power.amax((1, 2), keepdim=True)
    return power + peak * 10 ** (-below / 10) * noise_like(power)


def elsewhere(clean: Tensor) -> Tensor:
    """A sound as it is found in recordings: over a noise 20 to 60 dB below its loudest cell, half
    of them in a room too.  (batch, frames, 72) dB -> the same.
    """
    power = 10 ** (clean / 10)
    wet = uniform(power, 0.0, 0.5) * (uniform(power, 0, 1) < 0.5)
    power = echoing(power, wet, uniform(power, 0.15, 1.2))
    power = over_noise(power, uniform(power, 20, 60))
    return 10 * torch.log10(power.clamp(min=1e-10))


def spoil(clean):
    """A sound as another device, room or codec would bring it.  (batch, frames, 72) dB -> the
    same.
    """
    batch, frames, bands = clean.shape
    device = clean.device

    def chance(p):
        return uniform(clean, 0, 1) < p

    power = 10 ** (clean / 10)
    peak = power.amax((1, 2), keepdim=True)
    # Pitch and speed: bands and frames resampled together.
    if torch.rand(()) < 0.5:
        grid_t = torch.linspace(-1, 1, frames, device=device)[None, :, None] * uniform(
            clean, 0.85, 1.0
        )
        grid_f = torch.linspace(-1, 1, bands, device=device)[None, None] + uniform(
            clean, -0.08, 0.08
        ) * chance(0.5)
        grid = torch.stack(
            [grid_f.expand(batch, frames, bands), grid_t.expand(batch, frames, bands)], -1
        )
        power = F.grid_sample(
            power.unsqueeze(1), grid, align_corners=True, padding_mode="border"
        ).squeeze(1)
    power = echoing(power, uniform(clean, 0.0, 0.5) * chance(0.25), uniform(clean, 0.15, 1.2))
    # Colour: a smooth curve over frequency, and a cut above some band.
    curve = torch.randn(batch, 1, 6, device=device) * 4 * chance(0.6)
    curve = F.interpolate(curve, size=bands, mode="linear", align_corners=True)
    power = power * 10 ** (curve / 10)
    cut = uniform(clean, 38, 72)
    above = torch.arange(bands, device=device)[None, None] > cut
    fall = 10 ** (-uniform(clean, 2, 6))
    power = torch.where(above & chance(0.25), power * fall, power)
    power = power + peak * 10 ** (-uniform(clean, 8, 60) / 10) * chance(0.5) * noise_like(power)
    # A codec's holes: weak cells vanish.
    codec = chance(0.25)
    dark = power < peak * 10 ** (-uniform(clean, 3.0, 5.5))
    power = torch.where(codec & dark & (torch.rand_like(power) < 0.5), power * 1e-3, power)
    spoilt = 10 * torch.log10(power.clamp(min=1e-10))
    # SpecAugment: one band of time, one of frequency.
    t0, tw = uniform(clean, 0, frames), uniform(clean, 0, frames / 8) * chance(0.5)
    f0, fw = uniform(clean, 0, bands), uniform(clean, 0, 10) * chance(0.5)
    t = torch.arange(frames, device=device)[None, :, None]
    f = torch.arange(bands, device=device)[None, None]
    hole = ((t >= t0) & (t < t0 + tw)) | ((f >= f0) & (f < f0 + fw))
    return torch.where(hole, spoilt.amin((1, 2), keepdim=True), spoilt)
