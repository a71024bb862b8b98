"""Tables 3, 4 and 5 of Deshmukh et al. 2022 as printed, the literature beside them, their claims.

Numbers are percent; columns are mAP@10, R@1, R@5, R@10, R@50 in each direction; None where the
paper prints none.  Pools: AudioCaps 742 clips (every recall printed is a multiple of 1/742), Clotho
1045.
"""

from dataclasses import dataclass
from typing import Literal

TestSet = Literal["audiocaps", "clotho"]
Numbers = tuple[float | None, float | None, float | None, float | None, float | None]

TEST_SETS: tuple[TestSet, ...] = ("audiocaps", "clotho")
POOLS = {"audiocaps": 742, "clotho": 1045}


@dataclass(frozen=True, slots=True)
class Printed:
    """One training on one test set, as the paper prints it."""

    text_to_audio: Numbers
    audio_to_text: Numbers


@dataclass(frozen=True, slots=True)
class Claim:
    """The paper says that training A beats (or, below 0, loses to) training B."""

    text: str
    better: str  # names of trainings
    worse: str
    test_set: TestSet
    direction: Literal["text_to_audio", "audio_to_text"]
    metric: str
    printed_gain: float | None = None  # %, relative, where the paper's text states one


@dataclass(frozen=True, slots=True)
class Literature:
    """Somebody else's row."""

    name: str
    test_set: TestSet
    text_to_audio: Numbers
    audio_to_text: Numbers
    source: str


# Table -> the trainings that are its rows, in the paper's order.
TABLES: dict[str, tuple[str, ...]] = {
    "table3": ("cnn14_ac_cl", "cnn14_ac_cl_macs", "cnn14_ac_cl_sd", "cnn14_ac_cl_wt5k"),
    "table4": ("cnn14_ac_cl_wt5k", "htsat_ac_cl_wt5k", "cnn14_htsat_ac_cl_wt5k"),
    "table5": ("cnn14_htsat_ac_cl_wt5k_description", "cnn14_htsat_ac_cl_wt5k"),
}

PRINTED: dict[tuple[str, TestSet], Printed] = {
    ("cnn14_ac_cl", "audiocaps"): Printed(
        (45.28, 33.07, 67.30, 80.30, 95.74), (25.65, 39.76, 73.72, 84.64, 97.04)
    ),
    ("cnn14_ac_cl_macs", "audiocaps"): Printed(
        (44.42, 30.91, 65.10, 79.10, 94.71), (24.88, 37.33, 68.73, 81.67, 96.22)
    ),
    ("cnn14_ac_cl_sd", "audiocaps"): Printed(
        (45.03, 31.37, 66.60, 79.32, 95.19), (25.21, 33.82, 68.46, 82.21, 96.90)
    ),
    ("cnn14_ac_cl_wt5k", "audiocaps"): Printed(
        (46.57, 33.42, 68.00, 79.95, 96.42), (26.30, 38.68, 70.35, 84.10, 97.44)
    ),
    ("cnn14_ac_cl", "clotho"): Printed(
        (24.74, 15.79, 36.78, 49.93, 80.75), (12.41, 17.42, 40.57, 54.26, 82.68)
    ),
    ("cnn14_ac_cl_macs", "clotho"): Printed(
        (24.55, 14.79, 37.60, 48.52, 80.10), (11.61, 16.45, 38.94, 52.72, 81.92)
    ),
    ("cnn14_ac_cl_sd", "clotho"): Printed(
        (23.85, 14.39, 35.73, 49.14, 80.03), (11.88, 17.71, 40.19, 54.02, 84.01)
    ),
    ("cnn14_ac_cl_wt5k", "clotho"): Printed(
        (25.85, 16.48, 39.58, 52.46, 82.00), (12.87, 18.47, 44.02, 57.51, 86.03)
    ),
    ("htsat_ac_cl_wt5k", "audiocaps"): Printed(
        (46.33, 34.07, 66.90, 79.81, 95.36), (26.71, 40.84, 72.77, 84.36, 97.30)
    ),
    ("htsat_ac_cl_wt5k", "clotho"): Printed(
        (22.62, 14.24, 36.11, 49.29, 82.47), (10.15, 16.36, 38.37, 50.43, 81.15)
    ),
    ("cnn14_htsat_ac_cl_wt5k", "audiocaps"): Printed(
        (49.45, 34.69, 70.22, 82.00, 97.28), (30.81, 41.91, 73.18, 84.64, 97.71)
    ),
    ("cnn14_htsat_ac_cl_wt5k", "clotho"): Printed(
        (27.12, 16.75, 41.09, 54.07, 83.79), (13.65, 20.00, 44.88, 58.66, 87.65)
    ),
    ("cnn14_htsat_ac_cl_wt5k_description", "audiocaps"): Printed(
        (49.54, 34.77, None, None, None), (30.48, 40.16, None, None, None)
    ),
    ("cnn14_htsat_ac_cl_wt5k_description", "clotho"): Printed(
        (26.15, 16.19, None, None, None), (12.77, 19.14, None, None, None)
    ),
}

_NOTHING: Numbers = (None, None, None, None, None)
LITERATURE = (
    Literature(
        "Mei et al. 2022, trained on AudioCaps", "audiocaps",
        (None, 33.90, 69.70, 82.60, None), (None, 39.40, 72.00, 83.90, None),
        "the paper's benchmark [11], Table 4",
    ),
    Literature(
        "Mei et al. 2022, trained on Clotho", "clotho",
        (None, 14.40, 36.60, 49.90, None), (None, 16.20, 37.50, 50.20, None),
        "the paper's benchmark [11], Table 4",
    ),
    Literature(
        "DCASE 2025 baseline, trained on Clotho", "clotho",
        (27.83, None, None, None, None), _NOTHING, "its repository",
    ),
    Literature(
        "DCASE 2025 baseline, with AudioCaps", "clotho",
        (30.97, None, None, None, None), _NOTHING, "its repository",
    ),
    Literature(
        "DCASE 2025 baseline, with AudioCaps and WavCaps", "clotho",
        (35.23, None, None, None, None), _NOTHING, "its repository",
    ),
    Literature(
        "DCASE 2024 winner, best single system", "clotho",
        (40.11, 27.69, 57.05, 70.50, None), _NOTHING, "its technical report",
    ),
)  # fmt: skip


def _both_directions(
    text: str, better: str, worse: str, test_set: TestSet, metric: str = "R@1",
    gains: tuple[float | None, float | None] = (None, None),
) -> tuple[Claim, Claim]:  # fmt: skip
    return (
        Claim(text, better, worse, test_set, "text_to_audio", metric, gains[0]),
        Claim(text, better, worse, test_set, "audio_to_text", metric, gains[1]),
    )


_BOTH = "cnn14_htsat_ac_cl_wt5k"
CLAIMS: dict[str, tuple[Claim, ...]] = {
    "table3": (
        *_both_directions("Adding MACS hurts", "cnn14_ac_cl", "cnn14_ac_cl_macs", "audiocaps"),
        *_both_directions("Adding MACS hurts", "cnn14_ac_cl", "cnn14_ac_cl_macs", "clotho"),
        *_both_directions("Adding SoundDescs hurts", "cnn14_ac_cl", "cnn14_ac_cl_sd", "audiocaps"),
        *_both_directions("Adding SoundDescs hurts", "cnn14_ac_cl", "cnn14_ac_cl_sd", "clotho"),
        *_both_directions(
            "Adding WavText5K helps", "cnn14_ac_cl_wt5k", "cnn14_ac_cl", "audiocaps", "mAP@10"
        ),
        *_both_directions(
            "Adding WavText5K helps", "cnn14_ac_cl_wt5k", "cnn14_ac_cl", "clotho", gains=(4.4, 6.0)
        ),
    ),
    "table4": (
        *_both_directions("Both encoders beat CNN14", _BOTH, "cnn14_ac_cl_wt5k", "audiocaps"),
        *_both_directions("Both encoders beat CNN14", _BOTH, "cnn14_ac_cl_wt5k", "clotho"),
        *_both_directions("Both encoders beat HTSAT", _BOTH, "htsat_ac_cl_wt5k", "audiocaps"),
        *_both_directions("Both encoders beat HTSAT", _BOTH, "htsat_ac_cl_wt5k", "clotho"),
        *_both_directions(
            "HTSAT beats CNN14 on AudioCaps", "htsat_ac_cl_wt5k", "cnn14_ac_cl_wt5k", "audiocaps"
        ),
        *_both_directions(
            "CNN14 beats HTSAT on Clotho", "cnn14_ac_cl_wt5k", "htsat_ac_cl_wt5k", "clotho"
        ),
    ),
    "table5": (
        *_both_directions(
            "Title and description beat description", _BOTH, f"{_BOTH}_description", "clotho",
            gains=(3.5, 4.5),
        ),
        *_both_directions(
            "Title and description: mixed on AudioCaps", _BOTH, f"{_BOTH}_description",
            "audiocaps", gains=(-0.2, 4.4),
        ),
    ),
}  # fmt: skip
