import subprocess
import sys
from pathlib import Path

import pytest

import wavtext

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", wavtext.__all__)
def test_every_public_name_is_there_and_documented(name: str):
    assert getattr(wavtext, name).__doc__


def test_no_other_name_pretends_to_be_public():
    with pytest.raises(AttributeError, match="no attribute 'Library'"):
        wavtext.Library  # noqa: B018  # pyright: ignore


def test_importing_wavtext_loads_nothing():
    code = "import sys, wavtext; assert not {'numpy', 'torch', 'openvino'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_embedded_model_fits_and_carries_no_training_weights():
    folder = ROOT / "src" / "wavtext" / "model" / "compact"
    names = {path.name for path in folder.iterdir()}
    assert names == {"audio.onnx", "text.onnx", "tokenizer.json", "model.toml", "card.md"}
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 40_000_000


def test_no_file_of_the_repository_names_a_registry_host_or_this_machine():
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.toml", "*.txt", "*.yml", "Makefile", ".ci/run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    hosts = [
        "pypi." + "org",
        "files.python" + "hosted",
        "registry.npm" + "js",
        "deb.debian" + ".org",
    ]
    for name in listed.stdout.split():
        text = (ROOT / name).read_text(encoding="utf-8", errors="replace")
        for host in hosts:
            assert host not in text, f"{name} names {host}"
