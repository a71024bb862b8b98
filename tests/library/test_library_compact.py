"""The library with the model inside the package, in processes of its own as a user runs it."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_factory import RATE, synthesise

from wavtext.library.library import SoundLibrary
from wavtext.model.model import EMBEDDED, load_model

if not (EMBEDDED["compact"] / "model.toml").exists():
    pytest.skip("the compact model is not in this checkout", allow_module_level=True)


def wavtext(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from wavtext.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight sounds and a broken file, indexed by the command."""
    folder = tmp_path_factory.mktemp("sounds")
    for i, kind in enumerate(("hum", "tone", "whistle", "hiss") * 2):
        soundfile.write(folder / f"{kind}{i}.wav", synthesise(kind, seed=i), RATE)
    (folder / "broken.wav").write_text("no sound")
    done = wavtext("index", folder)
    assert done.returncode == 1
    assert done.stdout.startswith("8 of 9 files indexed; 1 failed.")
    assert "broken.wav" in done.stderr
    return folder


def test_a_folder_is_indexed_and_searched_offline(indexed: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = wavtext("search", "a high whistle", indexed, "-n", 3, "--json")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    results = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(results) == 3
    assert all(0 <= result["relevance"] <= 1 for result in results)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert cpu < 3.0  # s; about 1 on a quiet machine
    assert "torch" not in found.stderr


def test_scores_are_the_models_own_cosines(indexed: Path) -> None:
    model = load_model()
    library = SoundLibrary.open(indexed, model=model)
    query = model.embed_text(["a deep hum"])[0]
    results = library.search("a deep hum", limit=8, names=False)
    assert len(results) == 8
    for result in results:
        windows = model.embed_windows(result.path)
        best = max(float(window.embedding @ query) for window in windows)
        assert result.score == pytest.approx(best, abs=2e-3)
    chances = [result.relevance for result in results if result.relevance is not None]
    assert len(chances) == 8
    assert chances == sorted(chances, reverse=True)  # the order that is shown


def test_a_library_remembers_its_model(indexed: Path) -> None:
    library = SoundLibrary.open(indexed)
    assert library.model.identity == load_model().identity
    assert library.stats().model == f"{library.model.name}@{library.model.identity[:6]}"
    ids, embeddings = library.embeddings()
    assert len(ids) == 8
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1.0, abs=1e-5)
