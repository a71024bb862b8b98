"""What is shipped: the wheel and the sdist, built here and looked into, and the wheel installed."""

import email
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from email.message import Message
from pathlib import Path

import numpy as np
import pytest
import soundfile

import wavtext

ROOT = Path(__file__).parents[2]
TRAINING_ONLY = {"torch", "transformers", "safetensors", "onnx", "scipy", "librosa"}


def build(kind: str, folder: Path, source: Path = ROOT) -> Path:
    """Build through the backend that pyproject.toml names, without a network."""
    code = f"import hatchling.build as b; print(b.build_{kind}({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, check=True, capture_output=True, text=True
    )
    return folder / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_is_pure_and_of_the_version_that_the_package_says(wheel: Path):
    assert wheel.name == f"wavtext-{wavtext.__version__}-py3-none-any.whl"
    assert metadata_of(wheel)["Version"] == wavtext.__version__


def test_the_version_stands_in_one_place():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)["project"]["dynamic"] == ["version"]
    others = [
        path
        for path in (ROOT / "src").rglob("*.py")
        if "__version__ =" in path.read_text(encoding="utf-8")
    ]
    assert others == [ROOT / "src" / "wavtext" / "__init__.py"]


def test_the_base_install_asks_for_nothing_that_only_training_needs(wheel: Path):
    asked = metadata_of(wheel).get_all("Requires-Dist") or []
    base = {re.split(r"[<>=; \[]", each)[0].lower() for each in asked if "extra ==" not in each}
    assert base
    assert not base & TRAINING_ONLY


def test_each_extra_is_in_the_install_page(wheel: Path):
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    for extra in metadata_of(wheel).get_all("Provides-Extra") or []:
        assert extra == "dev" or f"wavtext[{extra}]" in page


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path):
    listed = subprocess.run(
        ["git", "ls-files", "src/wavtext"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    ours = {name.removeprefix("src/") for name in listed.stdout.split("\n") if name}
    shipped = names_in(wheel)
    there = {name for name in ours if (ROOT / "src" / name).exists()}
    assert there <= shipped
    assert "wavtext/py.typed" in shipped
    assert "wavtext/model/compact/audio.onnx" in shipped
    assert "wavtext/server/page/index.html" in shipped
    assert not [name for name in shipped if re.match(r"(tests|docs|benchmarks)/", name)]
    assert not [name for name in shipped if "__pycache__" in name]


def test_the_licences_of_all_that_is_shipped_go_along(wheel: Path):
    """Weights, tokenizer and code; the page's JavaScript is the project's own."""
    shipped = {
        name.split(".dist-info/licenses/")[1] for name in names_in(wheel) if "licenses/" in name
    }
    assert {"LICENSE", "NOTICE", "LICENSES/Apache-2.0.txt", "LICENSES/CC-BY-4.0.txt"} <= shipped
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert "aiSFX" in notice
    assert "all-MiniLM-L6-v2" in notice
    metadata = metadata_of(wheel)
    assert metadata["License-Expression"] == "Apache-2.0 AND CC-BY-4.0"


def test_no_javascript_of_others_is_shipped_without_its_licence():
    """Foreign code says so in its head; a licence file must then lie beside it."""
    page = ROOT / "src" / "wavtext" / "server" / "page"
    for path in page.rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        foreign = re.search(r"@license|@preserve|Copyright \(c\)|sourceMappingURL", text)
        minified = max((len(line) for line in text.split("\n")), default=0) > 1000
        if foreign or minified:
            assert list(path.parent.glob("LICEN*")), f"{path.name} seems to be of others"


def test_the_sdist_holds_what_is_needed_to_build_and_to_test(sdist: Path):
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for name in ("pyproject.toml", "LICENSE", "NOTICE", "README.md", "LICENSES/CC-BY-4.0.txt"):
        assert name in names
    for name in ("src/wavtext/__init__.py", "tests/conftest.py", "configs/small.toml"):
        assert name in names
    for name in ("docs/index.md", "mkdocs.yml", "scripts/reference.py", "Makefile"):
        assert name in names


def test_the_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = [path for path in tmp_path.iterdir() if path.is_dir()]
    again = build("wheel", tmp_path, source)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert set(one.namelist()) == set(other.namelist())
        for name in one.namelist():
            if not name.endswith("RECORD"):
                assert one.getinfo(name).CRC == other.getinfo(name).CRC, name


def test_the_installed_wheel_searches(wheel: Path, tmp_path: Path):
    """In a venv of its own, which borrows the dependencies of this one."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
         "--no-index", "--disable-pip-version-check", str(wheel)],
        check=True,
    )  # fmt: skip
    [site] = home.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(str(python), "-c", "import wavtext; print(wavtext.__file__)")
    assert where.startswith(str(site))
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 22_050).astype(np.float32)
    soundfile.write(sounds / "noise.wav", noise, 22_050)
    command = str(home / "bin" / "wavtext")
    assert wavtext.__version__ in run(command, "--version")
    run(command, "index", str(sounds))
    assert "noise.wav" in run(command, "search", "noise", str(sounds))
    code = "import sys, wavtext; wavtext.load_model().embed_text(['rain']); print(*sys.modules)"
    assert "torch" not in run(str(python), "-c", code).split()
