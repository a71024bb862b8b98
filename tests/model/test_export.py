from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from wavtext.errors import TrainingError
from wavtext.model.runtime import Graph
from wavtext.training.export import export_onnx, shrink, write_model_folder


class Sentence(nn.Module):
    """A table and a matrix large enough to be stored small."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(200, 64), nn.Linear(64, 48)

    def forward(self, input_ids):
        return self.out(torch.relu(self.table(input_ids)).mean(1))


@pytest.mark.parametrize(
    ("storage", "folded", "share", "cosine"),
    [("f16", False, 0.6, 0.99999), ("int8", False, 0.4, 0.999), ("int8", True, 0.4, 0.999)],
)
def test_smaller_storage_keeps_the_embedding(
    tmp_path: Path, storage: str, folded: bool, share: float, cosine: float
):
    torch.manual_seed(0)
    module = Sentence().eval()
    path = tmp_path / "text.onnx"
    export_onnx(module, torch.ones(1, 7, dtype=torch.int64), path, name="input_ids", axis="tokens")
    full = path.stat().st_size
    shrink(path, storage, folded=folded)
    onnx.checker.check_model(onnx.load(path))
    assert path.stat().st_size < share * full
    ids = np.arange(10, 150, 7)
    with torch.no_grad():
        expected = module(torch.from_numpy(ids)[None])[0].numpy()
    found = Graph(path, "f32", dynamic=True).run([ids])[0]
    assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) > cosine


def test_a_graph_says_nothing_of_the_machine_that_made_it(tmp_path: Path):
    path = tmp_path / "text.onnx"
    export_onnx(Sentence().eval(), torch.ones(1, 7, dtype=torch.int64), path, name="i", axis="t")
    content = path.read_bytes()
    assert b"stack_trace" not in content
    assert str(Path(__file__).parent).encode() not in content


def test_any_number_of_tokens_runs(tmp_path: Path):
    module = Sentence().eval()
    path = tmp_path / "text.onnx"
    export_onnx(module, torch.ones(1, 7, dtype=torch.int64), path, name="input_ids", axis="tokens")
    graph = Graph(path, "f32", dynamic=True)
    assert graph.run([np.arange(n) for n in (3, 9, 50)]).shape == (3, 48)


def test_a_folder_that_is_something_else_is_not_overwritten(tmp_path: Path, tiny_config):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(TrainingError, match="not a model folder"):
        write_model_folder(tmp_path, tiny_config)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_failed_export_leaves_the_old_folder(tmp_path: Path, tiny_folder: Path, tiny_config):
    import shutil

    folder = shutil.copytree(tiny_folder, tmp_path / "model")

    class Broken(nn.Module):
        def forward(self, log_mel):
            raise RuntimeError("no")

    before = (folder / "model.toml").read_bytes()
    with pytest.raises(Exception, match="no"):
        write_model_folder(folder, tiny_config, audio=Broken(), audio_frames=54)
    assert (folder / "model.toml").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
