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
from everyday import everyday_class
from report import KEYS, draws_of, environmental, everyday_values, standardised, title_values
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
    names = [everyday_class(title) for title in titles]
    have = np.flatnonzero([bool(name) for name in names])
    classes = sorted({names[j] for j in have})
    labels = np.array([classes.index(names[j]) for j in have])
    chosen, asked = environmental(labels, classes, [held[j] for j in have])
    pools = {
        "everyday": (np.arange(len(classes)), have, labels),
        "environmental": (asked, have[chosen], np.searchsorted(asked, labels[chosen])),
    }

    def scores(texts: list[str], centre: float) -> np.ndarray:
        queries = F.normalize(embed_plainly(model, bert, tokenizer, texts) - centre * common)
        return (queries @ sounds.T).numpy()

    ranks, by_class = {}, {}
    for centre in arguments.centre:
        ranks[centre] = title_values(scores(distinct, centre), distinct, titles)
        by_class[centre] = scores(classes, centre)
    first, *others = arguments.centre
    found = {k: np.mean(ranks[first] <= k) for k in (1, 10)}
    print(f"{first}: titles", *(f"R@{k} {value:.3f}" for k, value in found.items()))
    for other in others:
        for k in (1, 10):
            more = (ranks[other] <= k).astype(float) - (ranks[first] <= k)
            draws = [
                more[some].mean() for some in draws_of(group_of, np.random.default_rng(0), ROUNDS)
            ]
            show(f"{other}: titles, R@{k}", more.mean(), draws)
    for pool, (rows, clips, right) in pools.items():
        parts = {centre: by_class[centre][rows][:, clips] for centre in arguments.centre}
        both = {centre: (part, standardised(part)) for centre, part in parts.items()}
        values = {centre: np.array(everyday_values(*pair, right)) for centre, pair in both.items()}
        print(
            f"{first}: {pool}, {len(clips)} clips",
            dict(zip(KEYS, values[first].round(3), strict=True)),
        )
        for other in others:
            draws = []
            for some in draws_of(groups[clips], np.random.default_rng(0), ROUNDS):
                a, b = (
                    everyday_values(*(part[:, some] for part in both[centre]), right[some])
                    for centre in (first, other)
                )
                draws.append(np.subtract(b, a))
            for i, key in enumerate(KEYS):
                spread = [draw[i] for draw in draws]
                show(f"{other}: {pool}, {key}", (values[other] - values[first])[i], spread)


def show(what: str, value: float, draws: list[float]) -> None:
    low, high = np.percentile(draws, [2.5, 97.5])
    print(f"{what} {value:+.3f} [{low:+.3f}, {high:+.3f}]", flush=True)


if __name__ == "__main__":
    main()
