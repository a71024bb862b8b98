"""Published checkpoints load as the networks they are, checked against independent outputs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from wavtext.training.published import load_published


def reference(shared: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A reference file's state dict, and its inputs and outputs."""
    values = load_file(shared / "reference" / f"{name}.safetensors")
    state = {key[3:]: value for key, value in values.items() if key.startswith("sd.")}
    return state, {key: value for key, value in values.items() if not key.startswith("sd.")}


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("name", ["cnn14_panns_32k_tiny", "cnn14_msclap_44k_tiny"])
def test_cnn14_gives_the_representation_of_panns_inference_and_msclap(
    shared: Path, tmp_path: Path, name: str
):
    state, io = reference(shared, name)
    torch.save({"model": state, "iteration": 600000}, tmp_path / "cnn14.pth")
    model = load_published("panns-cnn14", tmp_path / "cnn14.pth")
    with torch.no_grad():
        ours = model(io["out.logmel"].squeeze(1))
    assert relative_error(ours, io["out.embedding"]) < 1e-4


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("htsat_msclap_32k_tiny", "1.5s"),
        ("htsat_msclap_44k_tiny", "1.5s"),
        ("htsat_msclap_44k_long_tiny", "10.0s"),
    ],
)
def test_htsat_gives_the_representation_of_msclap(
    shared: Path, tmp_path: Path, name: str, suffix: str
):
    state, io = reference(shared, name)
    wrapped = {f"sed_model.{key}": value for key, value in state.items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "htsat.ckpt")
    model = load_published("htsat", tmp_path / "htsat.ckpt")
    with torch.no_grad():
        ours = model(io[f"out.logmel_{suffix}"].squeeze(1))
    assert relative_error(ours, io[f"out.latent_output_{suffix}"]) < 1e-4
