"""Two processes with half the batch each compute what one does with all of it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wavtext.config import save_config
from wavtext.training.config import LossConfig, TrainConfig

MakeConfig = Callable[..., TrainConfig]

WORKER = """
import sys
from pathlib import Path
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from wavtext.config import load_config
from wavtext.training.build import build
from wavtext.training.config import TrainConfig
from wavtext.training.data import Batch
from wavtext.training.memory import freeze_batch_norm
from wavtext.training.step import Paired, compute_gradients

folder = Path(sys.argv[1])
torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
config = load_config(TrainConfig, folder / "config.toml")
model = build(config, ["a dog", "rain"]).model.eval()
whole = torch.load(folder / "batch.pt", weights_only=True)
half = Batch(**{name: value.chunk(2)[rank] for name, value in whole.items()})
found = {}
for duplicates in ("negatives", "positives"):
    for chunk_size in (None, 2):
        paired = DistributedDataParallel(Paired(model))
        loss = compute_gradients(paired, half, duplicates=duplicates, chunk_size=chunk_size)
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()
        found[f"{duplicates} {chunk_size}"] = {"loss": loss, "gradients": gradients}
torch.save(found, folder / f"rank{rank}.pt")
dist.destroy_process_group()
"""


def torchrun(*arguments: str, timeout: float = 300) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    done = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_loss_and_gradients_of_two_processes_equal_those_of_one(
    tmp_path: Path, tiny_config: MakeConfig
):
    from wavtext.training.build import build
    from wavtext.training.data import Batch
    from wavtext.training.step import Paired, compute_gradients

    config = tiny_config()
    save_config(config, tmp_path / "config.toml")
    generator = torch.Generator().manual_seed(1)
    batch = {
        "log_mel": torch.randn(8, 40, 32, generator=generator) * 20 - 40,
        "input_ids": torch.randint(5, 60, (8, 7), generator=generator),
        "attention_mask": torch.ones(8, 7, dtype=torch.int64),
        "clip_index": torch.tensor([0, 1, 2, 3, 0, 1, 4, 5]),  # siblings meet across the processes
        "text_index": torch.arange(8),
    }
    torch.save(batch, tmp_path / "batch.pt")
    (tmp_path / "worker.py").write_text(WORKER)
    torchrun(str(tmp_path / "worker.py"), str(tmp_path))

    model = build(config, ["a dog", "rain"]).model.eval()
    for duplicates in ("negatives", "positives"):
        loss = compute_gradients(Paired(model), Batch(**batch), duplicates=duplicates)  # type: ignore[arg-type]
        alone = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()
        for rank in (0, 1):
            found = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
            for chunk_size in (None, 2):
                together = found[f"{duplicates} {chunk_size}"]
                assert together["loss"].item() == pytest.approx(loss.item(), rel=1e-6)
                assert together["gradients"].keys() == alone.keys()
                for name, gradient in alone.items():
                    torch.testing.assert_close(
                        together["gradients"][name],
                        gradient,
                        rtol=1e-5,
                        atol=1e-9 + 1e-5 * float(gradient.abs().max()),
                    )


def test_a_run_on_two_processes_logs_once_and_leaves_one_checkpoint(
    eight_sounds: Path, tmp_path: Path, tiny_config: MakeConfig
):
    config = tiny_config(epochs=2, batch_size=32, loss=LossConfig(duplicates="positives"))
    save_config(config, tmp_path / "config.toml")
    arguments = ["--data", str(eight_sounds), "--out", str(tmp_path / "run")]
    torchrun(
        "-m", "wavtext", "train", str(tmp_path / "config.toml"), *arguments,
        "--cache", str(tmp_path / "cache"), "--device", "cpu", "--no-export",
    )  # fmt: skip
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    assert sum("validation" in line for line in lines) == 2
    assert (tmp_path / "run" / "last.pt").is_file()
