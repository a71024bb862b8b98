"""scripts/mutants.toml names text that is in the code, once: what moved must be mended there."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLAN = tomllib.loads((ROOT / "scripts" / "mutants.toml").read_text(encoding="utf-8"))
BREAKS = [(wing, what) for wing in PLAN["files"] for what in PLAN[wing]]


@pytest.mark.parametrize(("wing", "what"), BREAKS)
def test_each_break_still_has_its_place(wing: str, what: str):
    change = PLAN[wing][what]
    pairs = dict(zip(change[::2], change[1::2], strict=True))
    path = ROOT / pairs.pop("file", PLAN["files"][wing])
    text = path.read_text(encoding="utf-8")
    for old, new in pairs.items():
        assert text.count(old) == 1, f"{path.name}: {old!r}"
        assert old != new


@pytest.mark.parametrize("wing", PLAN["tests"])
def test_each_test_that_a_break_is_tried_on_is_there(wing: str):
    assert all((ROOT / test).is_file() for test in PLAN["tests"][wing])
