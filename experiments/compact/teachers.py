"""What the teachers hear in a stretch of sound.  waveform -> scores of 521 labels, representation.

Two taggers that were trained on AudioSet.  Both are teachers only: nothing of them is shipped.

YAMNet (Apache-2.0)
    The TensorFlow Lite build; mean average precision on AudioSet 0.31.
mn04_as (MIT; Schmid, Koutini and Widmer, ICASSP 2023)
    MobileNetV3 of 0.4 times the width, distilled from transformers; 0.432.  The checkpoint
    `mn04_as_mAP_432.pt` of their release v0.0.1 also lies in
    gh:nikih94/swch-audio-classification, commit 2b362d9, resources/ (MIT); MOBILE_NET_SHA256 is
    its checksum.  The network below is ours, after Howard et al. 2019, table 1.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor, nn

YAMNET_RATE, PATCH, PATCH_HOP = 16_000, 15_600, 7_680  # Hz, samples, samples
MOBILE_NET_SHA256 = "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"
MOBILE_NET_RATE, MOBILE_NET_LENGTH = 32_000, 320_000  # Hz; samples: it was trained on 10 s
# AudioSet's 527 labels that are not among YAMNet's 521; the order is the same otherwise.
NOT_YAMNETS = (1, 2, 12, 32, 33, 277)


class Yamnet:
    """One patch of 0.975 s at a time."""

    def __init__(self, path: str) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(path, num_threads=1, experimental_preserve_all_tensors=True)
        self.interpreter.allocate_tensors()
        self.source = self.interpreter.get_input_details()[0]["index"]
        self.scores = self.interpreter.get_output_details()[0]["index"]
        self.middle = next(
            each["index"]
            for each in self.interpreter.get_tensor_details()
            if each["name"].endswith("global_average_pooling2d/Mean")
            and list(each["shape"]) == [1, 1024]
        )

    def hear(self, patch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(15600,) at 16 kHz -> scores (521,), representation (1024,)."""
        self.interpreter.set_tensor(self.source, np.ascontiguousarray(patch, np.float32))
        self.interpreter.invoke()
        return (
            self.interpreter.get_tensor(self.scores).reshape(-1).copy(),
            self.interpreter.get_tensor(self.middle).reshape(-1).copy(),
        )


class MobileNet:
    """A stretch of up to 10 s, heard twice: with silence after it, and repeated."""

    def __init__(self, path: Path | str) -> None:
        example = torch.zeros(2, 1, 128, MOBILE_NET_LENGTH // 320)
        self.request = _compiled(_published(path), example)

    def hear(self, samples: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Waveform -> probabilities (521,), representation (384,).

        The probabilities are the geometric mean of the two hearings; the representation is that
        of the sound with silence after it, which finds sounds of the same kind best.
        """
        wave = soxr.resample(samples, rate, MOBILE_NET_RATE)[:MOBILE_NET_LENGTH]
        padded = np.pad(wave, (0, MOBILE_NET_LENGTH - len(wave)))
        repeated = np.resize(wave, MOBILE_NET_LENGTH)
        logits, representation = self.run(np.stack([padded, repeated]))
        probability = torch.sigmoid(torch.from_numpy(logits)).log().mean(0).exp().numpy()
        return np.delete(probability, NOT_YAMNETS), representation[0]

    def run(self, waves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(2, 320000) -> logits (2, 527), representations (2, 384)."""
        self.request.infer({0: _log_mel(waves).numpy()})
        logits, representation = (self.request.get_output_tensor(i).data.copy() for i in (0, 1))
        return logits, representation


class MobileNetMoments:
    """The same network, every 0.32 s: what its representation is the mean of."""

    def __init__(self, path: Path | str) -> None:
        self.network = _Moments(_published(path))
        self.requests: dict[int, Any] = {}  # by frames

    def hear(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """A stretch of any length -> (moments, 384)."""
        log_mel = _log_mel(soxr.resample(samples, rate, MOBILE_NET_RATE)[None])
        frames = log_mel.shape[-1]
        if frames not in self.requests:
            self.requests[frames] = _compiled(self.network, log_mel)
        self.requests[frames].infer({0: log_mel.numpy()})
        return self.requests[frames].get_output_tensor(0).data[0].copy()


def _published(path: Path | str) -> "_MobileNetV3":
    """The network with the checkpoint's weights."""
    content = Path(path).read_bytes()
    if hashlib.sha256(content).hexdigest() != MOBILE_NET_SHA256:
        raise SystemExit(f"{path}: not the checkpoint that teachers.py names.")
    network = _MobileNetV3()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


def _compiled(network: nn.Module, example: Tensor) -> Any:
    """OpenVINO's request for inputs of the example's shape, on one thread."""
    import openvino

    graph = openvino.convert_model(network, example_input=example)
    graph.reshape(list(example.shape))
    settings = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(graph, "CPU", settings).create_infer_request()


def _log_mel(waves: np.ndarray) -> Tensor:
    """(batch, samples) at 32 kHz -> (batch, 1, 128, frames), as the checkpoint was trained."""
    sound = torch.from_numpy(waves.astype(np.float32))
    sound = sound[:, 1:] - 0.97 * sound[:, :-1]
    window = torch.hann_window(800, periodic=False)
    spectrum = torch.stft(sound, 1024, 320, 800, window, return_complex=True)
    return ((torch.log(_mel_bank() @ spectrum.abs().square() + 1e-5) + 4.5) / 5)[:, None]


@cache
def _mel_bank() -> Tensor:
    """(128, 513): triangles over the Kaldi mel scale, 0 to 15 kHz, not normalised."""
    to_mel = lambda hertz: 1127.0 * np.log1p(np.asarray(hertz) / 700.0)
    edges = np.linspace(to_mel(0.0), to_mel(15_000.0), 130)
    bins = to_mel(np.arange(512) * MOBILE_NET_RATE / 1024)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    bank = np.minimum(rising, falling).clip(min=0)
    return torch.from_numpy(np.pad(bank, ((0, 0), (0, 1)))).float()  # without the last bin


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        # the names are the checkpoint's
        self.conc_se_layers = nn.ModuleList([nn.Module()])
        self.conc_se_layers[0].fc1 = nn.Linear(channels, inner)
        self.conc_se_layers[0].fc2 = nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        layers = self.conc_se_layers[0]
        gate = torch.sigmoid(layers.fc2(F.relu(layers.fc1(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class _Residual(nn.Module):
    """Expand, convolve each channel, gate, project; with a shortcut where shapes allow."""

    def __init__(self, source, out, *, inner, gate, kernel, stride, activation) -> None:
        super().__init__()
        layers = [] if inner == source else [_convolution(source, inner, 1, 1, 1, activation)]
        layers.append(_convolution(inner, inner, kernel, stride, inner, activation))
        layers += [_SqueezeExcite(inner, gate)] if gate else []
        layers.append(_convolution(inner, out, 1, 1, 1, None))
        self.block = nn.Sequential(*layers)
        self.shortcut = stride == 1 and source == out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.shortcut else self.block(x)


def _convolution(source, out, kernel, stride, groups, activation) -> nn.Sequential:
    layers = [
        nn.Conv2d(source, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=1e-3),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


# of each block: inner channels, its gate's (0: none), channels out, kernel, stride
_BLOCKS = (
    (8, 0, 8, 3, 1),
    (24, 0, 16, 3, 2),
    (32, 0, 16, 3, 1),
    (32, 8, 16, 5, 2),
    (48, 16, 16, 5, 1),
    (48, 16, 16, 5, 1),
    (96, 0, 32, 3, 2),
    (80, 0, 32, 3, 1),
    (72, 0, 32, 3, 1),
    (72, 0, 32, 3, 1),
    (192, 48, 48, 3, 1),
    (272, 72, 48, 3, 1),
    (272, 72, 64, 5, 2),
    (384, 96, 64, 5, 1),
    (384, 96, 64, 5, 1),
)


class _MobileNetV3(nn.Module):
    """(batch, 1, 128, frames) -> logits (batch, 527), representation (batch, 384)."""

    def __init__(self) -> None:
        super().__init__()
        layers, source = [_convolution(1, 8, 3, 2, 1, nn.Hardswish)], 8
        for i, (inner, gate, out, kernel, stride) in enumerate(_BLOCKS):
            activation = nn.ReLU if i < 6 else nn.Hardswish
            layers.append(
                _Residual(
                    source,
                    out,
                    inner=inner,
                    gate=gate,
                    kernel=kernel,
                    stride=stride,
                    activation=activation,
                )
            )
            source = out
        layers.append(_convolution(source, 384, 1, 1, 1, nn.Hardswish))
        self.features = nn.Sequential(*layers)
        nothing = nn.Identity
        self.classifier = nn.Sequential(
            nothing(),
            nothing(),
            nn.Linear(384, 512),
            nn.Hardswish(),
            nothing(),
            nn.Linear(512, 527),
        )

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        representation = self.features(log_mel).mean((2, 3))
        return self.classifier(representation), representation


class _Moments(nn.Module):
    """(batch, 1, 128, frames) -> (batch, frames / 32, 384): the mean over frequencies alone."""

    def __init__(self, network: _MobileNetV3) -> None:
        super().__init__()
        self.features = network.features

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.features(log_mel).mean(2).transpose(1, 2)


def hear_in_patches(yamnet: Yamnet, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every 0.48 s of a sound at 16 kHz: scores (patches, 521), representations (patches, 1024)."""
    samples = np.resize(samples, PATCH) if samples.size < PATCH else samples
    starts = range(0, samples.size - PATCH + 1, PATCH_HOP)
    views = [yamnet.hear(samples[start : start + PATCH]) for start in starts]
    return np.stack([view[0] for view in views]), np.stack([view[1] for view in views])
