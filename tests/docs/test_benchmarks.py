"""The one command for all benchmarks reads what the scripts print, and its page is current."""

import importlib.util
import sys
from types import ModuleType

import pytest
from doc_blocks import ROOT

PRINTED = {
    "corpora": "| wav | 545 (525 to 585) | 229 (221 to 233) |",
    "inference": "  htsat, auto   264.1 x real time a core [259.0, 276.0]; "
    "6.30 x torch fp32 [6.2, 6.7]",
    "training_drift": "step 50 to 1000: +0.4 MB; last half +0.010 MB in 50 steps [-0.010, +0.030]; "
    "threads 1",
    "training_data": "data path: 919 clips a CPU second",
}


@pytest.fixture(scope="module")
def everything() -> ModuleType:
    """benchmarks/all.py."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("all_benchmarks", ROOT / "benchmarks/all.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["all_benchmarks"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return module


@pytest.mark.parametrize("name", PRINTED)
def test_a_line_that_a_script_prints_is_read(everything: ModuleType, name: str):
    assert everything.read_figures(everything.BENCHMARKS[name], [PRINTED[name]])


def test_the_page_is_what_the_results_say(everything: ModuleType):
    made = everything.table()
    assert everything.PAGE.read_text(encoding="utf-8") == made, (
        "run `python benchmarks/all.py --table`"
    )
    for name in everything.BENCHMARKS:
        assert f"--only {name}`" in made or (everything.RESULTS / f"{name}.json").is_file()


def test_each_script_of_a_claim_is_there(everything: ModuleType):
    for each in everything.BENCHMARKS.values():
        assert (ROOT / "benchmarks" / each.command.split()[0]).is_file()
