"""The report of attributes.py -> docs/compact-attributes.md."""

ASKERS = ("model, whole query", "model, noun only", "label lookup, bridge", "label lookup, labels")
SHOWN = ("mAP", "R@10", "first is right", "attribute pairs", "mAP of the noun")

PAGE = """# Does the compact model hear attributes?

<!-- Written by experiments/compact/attributes.py: run it again rather than edit this page. -->

"A small dog barking far away" asks for more than a dog. Of the 200 queries that were committed
before any test (`experiments/compact/attribute_queries.tsv`), {scored} are tested on rendered sounds
([why rendered](decisions/0072-attributes-are-rendered.md)): held-out clips whose titles say the noun,
made far, muffled, fast, many, high ... or mixed, by known signal processing. The rest are not
({skipped}).

A query's pool holds its clips as asked (relevant), the same clips rendered otherwise, and 30 clips of
other nouns rendered both ways: {renderings:,} renderings in all. *Attribute pairs*: how often the clip as asked
scores above the same clip rendered otherwise; chance is 0.5. *R@10*: the share of the relevant
clips among the first ten. *mAP of the noun* takes every clip of the noun for
relevant. Commit {commit}, model {model}; means over queries, 95 % bootstraps over queries.

{tables}

## By rendering

How often the clip as asked scores above the same clip rendered otherwise (chance 0.5):

{renderings_table}

## What to think of it

{verdict}

Run it again:

<!-- not run: it needs the developers' sounds -->
```console
$ {command}
```
"""


def page(report, command):
    """The page's text."""
    tables = []
    for kind, title in (
        ("all", "All"),
        ("attribute", "Attributes of one sound"),
        ("composition", "Two sounds at once, or one after the other"),
    ):
        part = report["results"][kind]
        lines = [f"## {title}: {part['queries']} queries", ""]
        lines += ["| | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
        for asker in ASKERS:
            lines.append(f"| {asker} | " + " | ".join(_value(part[asker][c]) for c in SHOWN) + " |")
        for asker in ASKERS[1:]:
            row = part[f"whole query less {asker}"]
            cells = " | ".join(_difference(row[c]) for c in SHOWN)
            lines.append(f"| *whole query less {asker}* | {cells} |")
        tables.append("\n".join(lines))
    by_word = report["attribute pairs by rendering"]
    rows = [
        "| rendering | queries | " + " | ".join(ASKERS) + " |",
        "|---" * (len(ASKERS) + 2) + "|",
    ]
    for word, row in sorted(by_word.items(), key=lambda item: -item[1][ASKERS[0]]):
        cells = " | ".join(f"{row[asker]:.2f}" for asker in ASKERS)
        rows.append(f"| {word} | {row['queries']} | {cells} |")
    skipped = "; ".join(f"{count}: {why}" for why, count in report["not scored"].items())
    return PAGE.format(
        scored=report["scored"],
        skipped=skipped,
        renderings=report["renderings"],
        commit=report["commit"],
        model=report["model"],
        tables="\n\n".join(tables),
        renderings_table="\n".join(rows),
        verdict="\n".join(verdict(report["results"])),
        command=" ".join(command.replace("\\", " ").split()),
    )


def verdict(results):
    """What the intervals say, line by line."""
    lines = []
    for kind, subject in (
        ("all", "Over all queries"),
        ("attribute", "On attributes of one sound"),
        ("composition", "On two sounds"),
    ):
        part = results[kind]
        for asker, what in (
            ("label lookup, bridge", "the label lookup by text similarity"),
            ("label lookup, labels", "the lookup of the committed labels"),
            ("model, noun only", "the noun only"),
        ):
            row = part[f"whole query less {asker}"]
            said = ", ".join(f"{c} {_said(row[c])} ({_difference(row[c])})" for c in SHOWN[:2])
            lines.append(f"* {subject}, the whole query against {what}: {said}.")
        pairs = part["whole query less model, noun only"]["attribute pairs"]
        heard = "heard" if pairs[1] > 0 else "not shown to be heard"
        lines.append(
            f"* {subject}, the attributes themselves are {heard}: with the whole query the clip as "
            f"asked comes before the same clip rendered otherwise "
            f"{_value(part['model, whole query']['attribute pairs'])} of the time, which is "
            f"{_difference(pairs)} more than with the noun only (a rendering by itself moves scores: "
            "a muffled dog is less of a dog)."
        )
    return lines


def _said(triple):
    return "is higher" if triple[1] > 0 else "is lower" if triple[2] < 0 else "cannot be told apart"


def _value(triple):
    return f"{triple[0]:.3f} [{triple[1]:.3f}, {triple[2]:.3f}]"


def _difference(triple):
    return f"{triple[0]:+.3f} [{triple[1]:+.3f}, {triple[2]:+.3f}]"
