"""Per-query values of trainings -> the paper's table, ours beside it, and which claims hold.

Intervals are for new clips and new seeds together (`pool_seeds`); a claim holds where the interval
of the difference lies on its side of 0 and its p, after Holm over the table's claims, is below
0.05.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from wavtext.errors import EvaluationError
from wavtext.evaluation.markdown import table as markdown_table
from wavtext.evaluation.paper_tables import (
    CLAIMS,
    LITERATURE,
    POOLS,
    PRINTED,
    TABLES,
    TEST_SETS,
    Claim,
    Numbers,
    TestSet,
)
from wavtext.evaluation.retrieval import PAPER_METRICS
from wavtext.evaluation.statistics import holm, pool_seeds

DIRECTIONS = ("text_to_audio", "audio_to_text")
Values = Mapping[str, np.ndarray]


def summarise_table(
    table: str,
    results: Mapping[str, Sequence[Path]],
    *,
    scale: str,
    stand_ins: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Every number of a table's report.

    Args:
        table: "table3", "table4" or "table5".
        results: Training -> result.npz of each seed.
        scale: What was run, for the reader: "paper" compares with the paper, nothing else does.
        stand_ins: Dataset -> what was used in its place.
    """
    runs = {name: [_load(path) for path in paths] for name, paths in results.items()}
    rows: list[dict[str, Any]] = []
    for test in TEST_SETS:
        for name in TABLES[table]:
            printed = PRINTED[name, test]
            row: dict[str, Any] = {"training": name, "test_set": test, "seeds": len(runs[name])}
            row["pool"] = int(runs[name][0][f"{test}/pool"])
            row["training_pairs"] = int(runs[name][0]["training_pairs"])
            for direction in DIRECTIONS:
                numbers: Numbers = getattr(printed, direction)
                row[direction] = {
                    metric: {
                        "printed": number,
                        **_pooled(_values(runs[name], test, direction, metric)),
                    }
                    for metric, number in zip(PAPER_METRICS, numbers, strict=True)
                }
            rows.append(row)
    return {
        "table": table,
        "scale": scale,
        "stand_ins": dict(stand_ins or {}),
        "rows": rows,
        "claims": _claims(table, runs),
    }


def render_table(summary: Mapping[str, Any]) -> str:
    """The report as Markdown: the paper's table, ours beside it, then the claims."""
    number = summary["table"].removeprefix("table")
    lines = [f"# Table {number} of Deshmukh et al. 2022", ""]
    if summary["scale"] != "paper":
        lines += [
            f"Scale: {summary['scale']}. Compare rows with each other; nothing here is comparable "
            "with the paper's numbers.",
            "",
        ]
    stand_ins = summary["stand_ins"]
    if stand_ins:
        names = ", ".join(f"{folder} for {name}" for name, folder in stand_ins.items())
        lines += [
            f"Stand-ins: {names}. These are other sounds and other captions than the paper's: "
            "neither rows nor claims say anything about its datasets.",
            "",
        ]
    for test in TEST_SETS:
        rows = [row for row in summary["rows"] if row["test_set"] == test]
        name = f"{stand_ins[test]}, in the place of {test}" if test in stand_ins else test
        lines += [
            f"## {name}: pool of {rows[0]['pool']:,} clips here, {POOLS[test]:,} in the paper",
            "",
            *_rows(rows, test, comparable=not stand_ins),
            "",
        ]
    head = [
        "claim",
        "where",
        "printed, relative",
        "here, relative",
        "difference, points",
        "p (Holm)",
    ]
    body = [
        [
            f"{each['text']} ({each['better']} over {each['worse']})",
            f"{stand_ins.get(each['test_set'], each['test_set'])}, "
            f"{each['direction'].replace('_', ' ')} {each['metric']}",
            _relative(each["printed_relative"])
            + (f" (text: {each['stated_gain']:+.1f} %)" if each["stated_gain"] is not None else ""),
            _relative(each["relative"]),
            _interval(each["difference"], sign=True),
            f"{each['p_holm']:.3f}",
            each["verdict"],
        ]
        for each in summary["claims"]
    ]
    lines += ["## Claims", "", *markdown_table([*head, "verdict"], body), ""]
    return "\n".join(lines)


def _rows(rows: Sequence[Mapping[str, Any]], test: TestSet, *, comparable: bool) -> list[str]:
    head = ["training", ""] + [f"{short} {m}" for short in ("T-A", "A-T") for m in PAPER_METRICS]
    body: list[list[str]] = []
    for each in LITERATURE:
        if each.test_set == test and comparable:
            numbers = (*each.text_to_audio, *each.audio_to_text)
            body.append([each.name, each.source, *map(_number, numbers)])
    for row in rows:
        cells = [row[direction][metric] for direction in DIRECTIONS for metric in PAPER_METRICS]
        body.append([row["training"], "paper", *(_number(cell["printed"]) for cell in cells)])
        seeds = "1 seed" if row["seeds"] == 1 else f"{row['seeds']} seeds"
        note = f"here, {row['training_pairs']:,} pairs, {seeds}"
        body.append(["", note, *(_interval(cell["interval"]) for cell in cells)])
        if not comparable:
            continue
        gaps = [
            f"{100 * cell['interval']['estimate'] - cell['printed']:+.1f}"
            if cell["printed"] is not None
            else "-"
            for cell in cells
        ]
        body.append(["", "here minus paper", *gaps])
    return markdown_table(head, body)


def _claims(table: str, runs: Mapping[str, Sequence[Values]]) -> list[dict[str, Any]]:
    found = [_claim(claim, runs) for claim in CLAIMS[table]]
    adjusted = holm({str(number): each["p"] for number, each in enumerate(found)})
    for number, each in enumerate(found):
        each["p_holm"] = adjusted[str(number)]
        sure = each["p_holm"] < 0.05
        estimate = each["difference"]["estimate"]
        expected = -1 if (each["stated_gain"] or 0) < 0 else 1
        each["verdict"] = (
            "not decided" if not sure else "holds" if estimate * expected > 0 else "contradicted"
        )
    return found


def _claim(claim: Claim, runs: Mapping[str, Sequence[Values]]) -> dict[str, Any]:
    place = (claim.test_set, claim.direction, claim.metric)
    better, clusters = _values(runs[claim.better], *place)
    worse, _ = _values(runs[claim.worse], *place)
    seeds = min(len(better), len(worse))
    found = pool_seeds(better[:seeds] - worse[:seeds], clusters)
    column = PAPER_METRICS.index(claim.metric)
    a, b = (
        getattr(PRINTED[name, claim.test_set], claim.direction)[column]
        for name in (claim.better, claim.worse)
    )
    return {
        "text": claim.text,
        "better": claim.better,
        "worse": claim.worse,
        "test_set": claim.test_set,
        "direction": claim.direction,
        "metric": claim.metric,
        "printed_relative": 100 * (a - b) / b,
        "stated_gain": claim.printed_gain,
        "relative": 100 * (better.mean() / worse.mean() - 1) if worse.any() else None,
        "difference": asdict(found.interval),
        "seed_deviation": found.seed_deviation,
        "p": found.p,
    }


def _values(
    runs: Sequence[Values], test: str, direction: str, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    place = f"{test}/{direction}"
    return np.stack([run[f"{place}/{metric}"] for run in runs]), runs[0][f"{place}/clusters"]


def _pooled(values: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    found = pool_seeds(*values)
    return {
        "interval": asdict(found.interval),
        "per_seed": list(found.per_seed),
        "seed_deviation": found.seed_deviation,
    }


def _load(path: Path) -> Values:
    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: not a finished training's values: {error}") from error


def _interval(interval: Mapping[str, float], *, sign: bool = False) -> str:
    each = [100 * interval[name] for name in ("estimate", "low", "high")]
    first, low, high = (f"{value:+.1f}" if sign else f"{value:.1f}" for value in each)
    return f"{first} [{low}, {high}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _relative(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f} %"
