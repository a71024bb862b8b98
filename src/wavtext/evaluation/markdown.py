"""A report's dictionary -> Markdown: the paper's table first, then what stands behind it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wavtext.evaluation.retrieval import PAPER_METRICS

TITLES = {"text_to_audio": "Text to audio", "audio_to_text": "Audio to text"}


def render_markdown(summary: Mapping[str, Any]) -> str:
    """The whole report as Markdown."""
    parts = ["# Evaluation", *data_lines(summary), ""]
    for title, head, rows in tables(summary):
        parts += [f"## {title}", "", *table(head, rows), ""]
    parts += ["## Definitions", ""]
    parts += [f"* {name}: {text}." for name, text in summary["definitions"].items()]
    return "\n".join(parts) + "\n"


def data_lines(summary: Mapping[str, Any]) -> list[str]:
    """What was evaluated on what, in sentences."""
    data = summary["data"]
    split = f", split {data['split']}" if data.get("split") else ""
    lines = [
        f"Data: {data['manifest']} (SHA-256 {data['sha256'][:12]}{split}); {data['clips']:,} clips "
        f"in {data['clusters']:,} families, {data['captions']:,} captions; "
        f"relevance: {data['relevance']}.",
        "Models: "
        + "; ".join(f"{model['name']} @ {model['identity'][:12]}" for model in summary["models"])
        + f".  wavtext {summary['wavtext']}, seed {summary['seed']}.",
    ]
    if data.get("split") in ("", None, "train"):
        lines.append("Not a held-out split: clips that a model learnt from may be among these.")
    if data["left_out"]:
        lines.append(
            f"{len(data['left_out'])} clips could not be read and are not in the pool: "
            + "; ".join(f"{each['clip_id']} ({each['reason']})" for each in data["left_out"][:5])
            + (" ..." if len(data["left_out"]) > 5 else ".")
        )
    if data["uncaptioned"]:
        lines.append(f"{len(data['uncaptioned'])} clips have no caption and are not in the pool.")
    if data["repeated_captions"]:
        lines.append(
            f"{data['repeated_captions']:,} captions are borne by several clips; with relevance "
            "'own' all of these but one count as wrong (--relevance same-caption: as right)."
        )
    return lines


def tables(summary: Mapping[str, Any]) -> Iterable[tuple[str, list[str], list[list[str]]]]:
    """Title, head and rows of every table, for Markdown and HTML alike; percentages."""
    models: Sequence[Mapping[str, Any]] = summary["models"]
    for direction, title in TITLES.items():
        head = ["Model", "queries", "pool", *PAPER_METRICS]
        rows = [
            [model["name"], f"{model[direction]['queries']:,}", f"{model[direction]['pool']:,}"]
            + [percent(model[direction]["metrics"][metric]) for metric in PAPER_METRICS]
            for model in models
        ]
        yield f"{title} (%, 95 % intervals)", head, rows
    if "comparison" in summary:
        yield _comparison(summary["comparison"])
    yield _other_metrics(models)
    yield from _pool_tables(models)
    for model in models:
        yield from _extras(model)
        rows = [
            [
                str(each["rank"]),
                each["caption"],
                f"{each['clip']} ({each['score']:.3f})",
                f"{each['found']}: {each['found_caption']} ({each['found_score']:.3f})",
            ]
            for each in model["hardest"]
        ]
        yield f"Hardest captions of {model['name']}", ["rank", "caption", "clip", "found"], rows


def percent(interval: Mapping[str, float]) -> str:
    """An interval of shares as '41.9 [38.4, 45.5]'."""
    low, high = 100 * interval["low"], 100 * interval["high"]
    return f"{100 * interval['estimate']:.1f} [{low:.1f}, {high:.1f}]"


def _comparison(comparison: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    rows: list[list[str]] = []
    for direction, title in TITLES.items():
        for metric, found in comparison[direction].items():
            rows.append(
                [
                    title,
                    metric,
                    percent(found["difference"]),
                    f"{found['better']:,} / {found['worse']:,} of {found['clusters']:,}",
                    _p(found["bootstrap_p"]),
                    _p(found["sign_p"]),
                    _p(found["permutation_p"]),
                    _p(found["permutation_p_holm"]),
                ]
            )
    head = ["direction", "metric", "difference", "families better / worse", "p bootstrap"]
    head += ["p sign", "p permutation", "p (Holm)"]
    return f"{comparison['a']} minus {comparison['b']} (points)", head, rows


def _other_metrics(models: Sequence[Mapping[str, Any]]) -> tuple[str, list[str], list[list[str]]]:
    head = ["metric"] + [
        f"{model['name']}: {title}" for model in models for title in TITLES.values()
    ]
    names = [name for name in models[0]["text_to_audio"]["metrics"] if name not in PAPER_METRICS]
    rows: list[list[str]] = []
    for name in names:
        found = [model[direction]["metrics"][name] for model in models for direction in TITLES]
        if name.endswith("rank"):
            cells = [f"{e['estimate']:.1f} [{e['low']:.1f}, {e['high']:.1f}]" for e in found]
        else:
            cells = [percent(each) for each in found]
        rows.append([name, *cells])
    return "Other definitions in circulation", head, rows


def _pool_tables(
    models: Sequence[Mapping[str, Any]],
) -> Iterable[tuple[str, list[str], list[list[str]]]]:
    for direction, title in TITLES.items():
        matched = models[0][direction]["pool_matched"]
        if not matched:
            continue
        sizes = list(next(iter(matched.values())))
        rows = [
            [model["name"], metric]
            + [f"{100 * model[direction]['pool_matched'][metric][size]:.1f}" for size in sizes]
            for model in models
            for metric in matched
        ]
        head = ["model", "metric", *(f"N = {size}" for size in sizes)]
        yield f"{title}, expected had the pool N clips (%)", head, rows


def _extras(model: Mapping[str, Any]) -> Iterable[tuple[str, list[str], list[list[str]]]]:
    if "zero_shot" in model:
        found = model["zero_shot"]
        rows = [
            ["accuracy", percent(found["accuracy"])],
            [f"mAP over {len(found['average_precision'])} classes", f"{100 * found['mAP']:.1f}"],
        ]
        worst = sorted(found["average_precision"].items(), key=lambda item: item[1])
        rows += [[f"AP of {name}", f"{100 * value:.1f}"] for name, value in worst[:5]]
        yield f"Zero-shot classification by {model['name']} (%)", ["metric", "value"], rows
    if "audio_to_audio" in model:
        found = model["audio_to_audio"]
        rows = [[name, percent(each)] for name, each in found["metrics"].items()]
        note = f"{found['queries']} clips; {found['excluded']} alone in their class are left out"
        title = f"Audio to audio of the same class by {model['name']} (%; {note})"
        yield title, ["metric", "value"], rows
    if "robustness" in model:
        rows = [
            [
                damage,
                f"{shift['cosine']:.3f}",
                f"{shift['cosine_5_percent']:.3f}",
                f"{100 * shift['overlap']:.0f} %",
                percent(shift["recall_at_10"]["difference"]),
            ]
            for damage, shift in model["robustness"].items()
        ]
        head = ["damage", "cosine to clean", "5 % below", "top 10 that stays", "R@10, points"]
        yield f"Robustness of {model['name']}", head, rows


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
