"""Fewer channels between the two convolutions of each of the audio tower's blocks.

    python experiments/compact/prune.py --fit RUN [RUN ...] --packed runs/compact/packed \
        --ingredients runs/compact/ingredients --out runs/compact/narrow

At aiSFX's full width the convolutions took nine tenths of the audio graph's time, and many of their
channels say again what others say.  Channels are removed one at a time, each time the one whose loss the others can make up
for best, and what is left of the second convolution is fitted again by least squares, as the
sounds of training have it (Hassibi and Stork 1993, "optimal brain surgeon", on groups of the nine
weights of each channel).  The block's outputs stay what they were, as nearly as they can.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavtext.training.compact import CompactAudioEncoder
from wavtext.training.compact_layers import ConvBlock
from wavtext.training.run import save_atomically

PLACES = 150  # of each window, at which a block's outputs should stay what they were
CELLS = 9  # 3 x 3
WINDOWS = 200


@torch.no_grad()
def prune(encoder: CompactAudioEncoder, log_mel: Tensor, keep: tuple[int, ...]) -> list[float]:
    """Narrow all blocks in place.

    Args:
        encoder: In evaluation mode.
        log_mel: (windows, frames, mels) in dB, sounds to be true to.
        keep: Channels to be left between the convolutions of each block.

    Returns:
        For each block, the share of its outputs' variance, before the last ReLU, that is lost.
    """
    generator = torch.Generator().manual_seed(0)
    lost = []
    for i, (block, channels) in enumerate(zip(encoder.blocks, keep, strict=True)):
        x = torch.cat([encoder.stem(part, i) for part in log_mel.split(20)])
        lost.append(narrow(block, x, channels, generator))
    return lost


@torch.no_grad()
def narrow(block: ConvBlock, x: Tensor, channels: int, generator: torch.Generator) -> float:
    """Leave so many channels between a block's convolutions, in place.

    Args:
        block: In evaluation mode.
        x: (windows, in channels, frames, bands), what it hears.
        channels: To be left.
        generator: Draws the places.

    Returns:
        The share of its outputs' variance, before the last ReLU, that is lost.
    """
    if channels >= block.conv1.out_channels:
        return 0.0
    mean, covariance = moments(block, x, generator)
    gain = (block.bn2.weight / (block.bn2.running_var + block.bn2.eps).sqrt()).double()
    before = block.conv2.weight.double().flatten(1)
    after, left = remove(before, covariance, gain, channels)
    change = gain[:, None] * (after - before)
    whole = gain[:, None] * before
    lost = ((change @ covariance) * change).sum() / ((whole @ covariance) * whole).sum()

    first, second = block.conv1, block.conv2
    block.conv1 = nn.Conv2d(first.in_channels, channels, 3, padding=1, bias=False)
    block.conv1.weight.copy_(first.weight[left])
    block.conv2 = nn.Conv2d(channels, second.out_channels, 3, padding=1, bias=False)
    block.conv2.weight.copy_(after.view(len(after), -1, 3, 3)[:, left])
    old = block.bn1
    block.bn1 = nn.BatchNorm2d(channels).train(old.training)
    block.bn1.load_state_dict(
        {name: value[left] if value.dim() else value for name, value in old.state_dict().items()}
    )
    block.bn2.running_mean += ((after - before) @ mean).float()
    return float(lost)


def moments(block: ConvBlock, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Of what the second convolution hears at one place: mean (channels x 9,), covariance.

    Args:
        block: Its first convolution makes (windows, channels, frames, bands) of x.
        x: (windows, in channels, frames, bands).
        generator: Draws PLACES places of each ten windows.
    """
    size = CELLS * block.conv1.out_channels
    total, products, count = torch.zeros(size).double(), torch.zeros(size, size).double(), 0
    for part in x.split(10):
        inner = F.relu(block.bn1(block.conv1(part)))
        cells = F.unfold(inner, 3, padding=1)  # (windows, channels x 9, places)
        places = torch.randperm(cells.shape[2], generator=generator)[:PLACES]
        rows = cells[:, :, places].transpose(1, 2).reshape(-1, size)
        total += rows.sum(0)
        products += (rows.T @ rows).double()
        count += len(rows)
    mean = total / count
    return mean, products / count - torch.outer(mean, mean)


def remove(
    weight: Tensor, covariance: Tensor, gain: Tensor, channels: int
) -> tuple[Tensor, Tensor]:
    """Drop channels until so many are left: weights (out, channels x 9), and which are left.

    Args:
        weight: (out, channels x 9).
        covariance: (channels x 9, channels x 9) of what it multiplies.
        gain: (out,), what the batch norm multiplies each output by.
        channels: To be left.
    """
    weight = weight.clone()
    damp = 1e-4 * covariance.diagonal().mean()
    inverse = torch.linalg.inv(covariance + damp * torch.eye(len(covariance)).double())
    left = torch.arange(weight.shape[1] // CELLS)
    while len(left) > channels:
        here = CELLS * left[:, None] + torch.arange(CELLS)  # (left, 9)
        own = torch.linalg.inv(inverse[here[:, :, None], here[:, None]])  # (left, 9, 9)
        groups = gain[:, None, None] * weight[:, here]  # (out, left, 9)
        cost = torch.einsum("ocj,cjk,ock->c", groups, own, groups)
        worst = int(cost.argmin())
        columns = here[worst]
        step = own[worst] @ inverse[columns]
        weight -= weight[:, columns] @ step
        inverse -= inverse[:, columns] @ step
        weight[:, columns] = 0.0
        left = torch.cat([left[:worst], left[worst + 1 :]])
    return weight, left


def main() -> None:
    from assemble import load_run, run_arguments
    from quantise import training_windows

    parser = argparse.ArgumentParser(description=__doc__)
    run_arguments(parser)
    parser.add_argument(
        "--keep", type=int, nargs=4, default=[16, 48, 112, 224], help="channels in each block"
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    model, _, _ = load_run(arguments)
    windows = torch.from_numpy(training_windows(arguments.packed, WINDOWS))
    lost = prune(model.audio, windows, tuple(arguments.keep))
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_atomically(arguments.out / "fit.pt", model.state_dict())
    for i, (channels, share) in enumerate(zip(arguments.keep, lost, strict=True), start=1):
        print(f"block {i}: {channels} channels, {share:.4f} of its outputs' variance lost")


if __name__ == "__main__":
    main()
