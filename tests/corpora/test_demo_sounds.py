import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import soundfile

from wavtext.corpora.inspection import inspect_file


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    return importlib.import_module("demo_sounds")


def run(demo: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["demo_sounds.py", *arguments])
    return demo.main()


def test_without_real_sounds_the_demo_says_so_and_synthesises(
    demo: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(demo, "apt_available", lambda: False)
    monkeypatch.setattr("wavtext.corpora.apt.apt_available", lambda: False)
    monkeypatch.setattr(demo, "RECIPES", dict(list(demo.RECIPES.items())[:3]))
    assert run(demo, monkeypatch, "--out", str(tmp_path), "--require-real") == 1
    assert run(demo, monkeypatch, "--out", str(tmp_path)) == 0
    assert "Synthesised sounds: 3" in capsys.readouterr().out
    assert len(list((tmp_path / "synthesised").glob("*.wav"))) == 3


def test_synthesised_sounds_are_sounds_and_the_same_each_time(
    demo: ModuleType, tmp_path: Path
) -> None:
    for name in ("rain_on_a_roof", "church_bell", "dog_barking"):
        one = demo.synthesise(name, tmp_path / "a" / f"{name}.wav")
        other = demo.synthesise(name, tmp_path / "b" / f"{name}.wav")
        assert one.read_bytes() == other.read_bytes()
        assert inspect_file(one).fault == ""
        assert 1 < soundfile.info(one).duration < 10


def test_spoken_names_are_left_in_the_package(demo: ModuleType) -> None:
    assert demo.is_sound("usr/share/tuxpaint/stamps/animals/dog.ogg")
    assert not demo.is_sound("usr/share/tuxpaint/stamps/animals/dog_desc_fr.ogg")
    assert not demo.is_sound("usr/share/tuxpaint/stamps/animals/dog.png")
