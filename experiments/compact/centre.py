"""How much of the captions' common part should queries lose (docs/decisions/0093)?

    python experiments/compact/centre.py --fit RUN [RUN ...] --packed runs/compact/packed \
        --ingredients runs/compact/ingredients --centre 0.6 0 0.1 0.3

On validation: the first share's values, then what each other share adds to them, paired, with 95 %
bootstraps over families of recordings.  "environmental": see report.py.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from assemble import common_part, load_run, run_arguments
from everyday import KEYS, environmental, everyday_values, labelled, standardised
from report import draws_of, title_values
from text_bank import embed_plainly
from validate import embed, validation_of

ROUNDS = 400


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    run_arguments(parser)
    parser.add_argument("--centre", type=float, nargs="+", default=[0.6, 0.0, 0.1, 0.3])
    arguments = parser.parse_args()
    model, bert, tokenizer = load_run(arguments)
    model.audio.to(memory_format=torch.channels_last)
    held, mel = validation_of(arguments.packed)
    sounds = embed(lambda some: model.embed_audio(torch.from_numpy(some)), held, mel)
    common = common_part(model, bert, tokenizer)

    titles = [clip["title"].lower().strip() for clip in held]
    distinct = sorted(set(titles))
    groups = np.array([clip["group"] for clip in held])
    group_of = np.array([groups[titles.index(title)] for title in distinct])
    have, classes, labels = labelled(held)
    chosen, asked = environmental(labels, classes, [held[j] for j in have])
    pools = {
        "everyday": (np.arange(len(classes)), have, labels),
        "environmental": (asked, have[chosen], np.searchsorted(asked, labels[chosen])),
    }

    def scores(texts: list[str], centre: float) -> np.ndarray:
        queries = F.normalize(embed_plainly(model, bert, tokenizer, texts) - centre * common)
        return (queries @ sounds.T).numpy()

    ranks = np.stack(
        [title_values(scores(distinct, c), distinct, titles) for c in arguments.centre]
    )
    by_class = [scores(classes, c) for c in arguments.centre]
    hits = np.stack([ranks <= 1, ranks <= 10], axis=-1).astype(float)  # (shares, titles, 2)
    show(
        f"titles, {len(distinct)}",
        ("R@1", "R@10"),
        arguments.centre,
        hits.mean(1),
        [hits[:, some].mean(1) for some in draws_of(group_of, np.random.default_rng(0), ROUNDS)],
    )
    for pool, (rows, clips, right) in pools.items():
        parts = [(part, standardised(part)) for part in (each[rows][:, clips] for each in by_class)]

        def values(some, parts=parts, right=right) -> np.ndarray:
            """(shares, measures) of some of the pool's clips."""
            return np.array(
                [everyday_values(a[:, some], b[:, some], right[some]) for a, b in parts]
            )

        show(
            f"{pool}, {len(clips)} clips",
            KEYS,
            arguments.centre,
            values(np.arange(len(clips))),
            [values(some) for some in draws_of(groups[clips], np.random.default_rng(0), ROUNDS)],
        )


def show(pool, keys, shares, found, draws) -> None:
    """The first share's values, then the others' differences from them.

    Args:
        pool: Its name.
        keys: Names of measures.
        shares: That were taken off.
        found: (shares, measures).
        draws: The same of each draw.
    """
    apart = np.stack(draws) - np.stack(draws)[:, :1]
    low, high = np.percentile(apart, [2.5, 97.5], axis=0)
    for j, key in enumerate(keys):
        print(f"{pool}: {key} {found[0, j]:.3f} with {shares[0]} off", flush=True)
        for i, share in enumerate(shares[1:], start=1):
            more = found[i, j] - found[0, j]
            print(f"  {share}: {more:+.3f} [{low[i, j]:+.3f}, {high[i, j]:+.3f}]", flush=True)


if __name__ == "__main__":
    main()
