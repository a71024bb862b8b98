"""How crops are spoilt, in the log-mel domain: what another device, room or codec would bring."""

import torch
import torch.nn.functional as F


def spoil(clean):
    """A sound as another device, room or codec would bring it.  (batch, frames, 72) dB -> the
    same.
    """
    batch, frames, bands = clean.shape
    device = clean.device

    def chance(p):
        return torch.rand(batch, 1, 1, device=device) < p

    def uniform(low, high, shape=(batch, 1, 1)):
        return torch.rand(shape, device=device) * (high - low) + low

    power = 10 ** (clean / 10)
    peak = power.amax((1, 2), keepdim=True)
    # Pitch and speed: bands and frames resampled together.
    if torch.rand(()) < 0.5:
        grid_t = torch.linspace(-1, 1, frames, device=device)[None, :, None] * uniform(0.85, 1.0)
        grid_f = torch.linspace(-1, 1, bands, device=device)[None, None] + uniform(
            -0.08, 0.08
        ) * chance(0.5)
        grid = torch.stack(
            [grid_f.expand(batch, frames, bands), grid_t.expand(batch, frames, bands)], -1
        )
        power = F.grid_sample(
            power.unsqueeze(1), grid, align_corners=True, padding_mode="border"
        ).squeeze(1)
    # A room: each frame's energy decays into the next ones.
    wet = uniform(0.0, 0.5) * chance(0.25)
    decay = 10 ** (-6 / (uniform(0.15, 1.2) * 43.07))  # 60 dB in 0.15 to 1.2 s
    room, step, fade = power, 1, decay
    for _ in range(5):  # x + a x' + a^2 x'' + ... over 32 frames, by doubling
        room = room + fade * F.pad(room, (0, 0, step, 0))[:, :frames]
        step, fade = 2 * step, fade * fade
    room = room * (1 - decay)
    power = (1 - wet) * power + wet * room
    # Colour: a smooth curve over frequency, and a cut above some band.
    curve = torch.randn(batch, 1, 6, device=device) * 4 * chance(0.6)
    curve = F.interpolate(curve, size=bands, mode="linear", align_corners=True)
    power = power * 10 ** (curve / 10)
    cut = uniform(38, 72)
    above = torch.arange(bands, device=device)[None, None] > cut
    fall = 10 ** (-uniform(2, 6))
    power = torch.where(above & chance(0.25), power * fall, power)
    # Noise under it.
    slope = uniform(-0.35, 0.1) * torch.arange(bands, device=device)[None, None] / 10
    noise = 10**slope / (10**slope).amax(2, keepdim=True)
    noise = noise * torch.empty_like(power).exponential_().clamp(max=6)
    level = 10 ** (-uniform(8, 60) / 10) * chance(0.5)
    power = power + peak * level * noise
    # A codec's holes: weak cells vanish.
    codec = chance(0.25)
    dark = power < peak * 10 ** (-uniform(3.0, 5.5))
    power = torch.where(codec & dark & (torch.rand_like(power) < 0.5), power * 1e-3, power)
    spoilt = 10 * torch.log10(power.clamp(min=1e-10))
    # SpecAugment: one band of time, one of frequency.
    t0, tw = uniform(0, frames), uniform(0, frames / 8) * chance(0.5)
    f0, fw = uniform(0, bands), uniform(0, 10) * chance(0.5)
    t = torch.arange(frames, device=device)[None, :, None]
    f = torch.arange(bands, device=device)[None, None]
    hole = ((t >= t0) & (t < t0 + tw)) | ((f >= f0) & (f < f0 + fw))
    return torch.where(hole, spoilt.amin((1, 2), keepdim=True), spoilt)
