"""What every benchmark prints beside its figures: machine, commit, medians, intervals."""

import platform
import subprocess
from pathlib import Path

import numpy as np


def machine() -> dict[str, str]:
    """The processor, Python, NumPy and the commit."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = lines[0].split(":")[1].strip() if lines else model
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "cpu": model,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "commit": commit or "unknown",
    }


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median and its bootstrap 95 % interval."""
    generator = np.random.default_rng(0)
    medians = np.median(generator.choice(values, (2_000, len(values))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(np.median(values)), float(low), float(high)


def summary(values: np.ndarray, digits: int = 2) -> dict[str, object]:
    """The same as a row of a report."""
    middle, low, high = interval(values)
    return {"median": round(middle, digits), "interval": [round(low, digits), round(high, digits)]}
