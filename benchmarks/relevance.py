"""Fit and check the probability of relevance on labelled sounds that did not train the model.

    python benchmarks/relevance.py MANIFEST [--limit 3000]

MANIFEST lists sounds with captions (JSON lines, wavtext.corpora.manifest). Each distinct caption
of one to four content words that at least three clips fit is a query; a clip is relevant when its
captions hold all content words of the query. Half of the queries, chosen by hash, fit the logistic
function, the others check it. Each query is asked twice: of the whole library, and of the library
without its relevant clips, where nothing matches. What counts are the first ten in the order that
is shown: of the 30 best by cosine, the most probable. File names are left out (name_weight.py has
them). Labels read off captions miss clips that are relevant under other words, so the probabilities
err on the low side.
"""

import argparse
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
from machine import machine

from wavtext.corpora.manifest import read_manifest
from wavtext.library.candidates import content_words
from wavtext.library.choosing import ORDERED
from wavtext.library.exact import ExactIndex, clip_scores
from wavtext.library.library import SoundLibrary
from wavtext.library.relevance import (
    FITTED,
    GOOD,
    Calibration,
    Relevance,
    background_captions,
)

TOP = 10  # results of each query that count: those a person sees
LOOK = ORDERED * TOP  # candidates that are ordered by their probability, as in a search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--limit", type=int, default=3000, help="clips at most")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--work", type=Path, help="keep the library here")
    arguments = parser.parse_args()
    clips = [clip for clip in read_manifest(arguments.manifest) if clip.captions]
    clips = clips[:: max(1, len(clips) // arguments.limit)][: arguments.limit]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if old.is_symlink():
                old.unlink()
        words: dict[str, set[str]] = {}
        for number, clip in enumerate(clips):
            name = f"{number:06d}{clip.path.suffix}"
            words[name] = {stem(w) for caption in clip.captions for w in content_words(caption)}
            (folder / name).symlink_to(os.path.abspath(arguments.manifest.parent / clip.path))
        with SoundLibrary.open(folder, model=arguments.model) as library:
            print(library.index().summary())
            captions = {caption for clip in clips for caption in clip.captions}
            distinct = {tuple(sorted(map(stem, content_words(each)))): each for each in captions}
            queries = sorted(distinct.values())
            features, labels, fit, kinds = examples(library, queries, words)
    print(f"commit {machine()['commit']}, {machine()['cpu']}, {len(clips)} clips")
    weights = logistic(features[fit], labels[fit])
    found = Calibration(
        bias=round(float(weights[0]), 3),
        caption=round(float(weights[1]), 3),
        library=round(float(weights[2]), 3),
    )
    print(found)
    report("as fitted", found, features[~fit], labels[~fit], kinds[~fit])
    report("as shipped", FITTED, features[~fit], labels[~fit], kinds[~fit])


def stem(word: str) -> str:
    for ending in ("ing", "es", "s", "ed"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[: -len(ending)]
    return word


def examples(library: SoundLibrary, queries: list[str], words: dict[str, set[str]]):
    """Features (z over captions, z over library), labels, whether they fit, whether all there."""
    matrix = library._reader.matrix()
    names = {clip.clip_id: clip.path.name for clip in library.clips()}
    clip_words = [words[names[clip_id]] for clip_id in matrix.clip_ids.tolist()]
    background = library.model.embed_text(background_captions())
    typical = ExactIndex(matrix).typical()
    features, labels, fit, kinds = [], [], [], []
    for begin in range(0, len(queries), 64):
        block = [each for each in queries[begin : begin + 64] if 1 <= len(content_words(each)) <= 4]
        if not block:
            continue
        for query, vector in zip(block, library.model.embed_text(block), strict=True):
            wanted = {stem(word) for word in content_words(query)}
            relevant = np.array([wanted <= each for each in clip_words])
            scores = matrix.vectors @ vector
            by_clip = clip_scores(scores, matrix.offsets)
            relevance = Relevance.of_query(vector, background, typical)
            fits = hashlib.md5(" ".join(sorted(wanted)).encode()).digest()[0] % 2 == 0
            if relevant.sum() < 3:
                continue
            for everything in (True, False):
                ranked = np.argsort(-by_clip, kind="stable")
                if not everything:
                    ranked = ranked[~relevant[ranked]]
                ranked = ranked[:LOOK]
                spans = [matrix.offsets[position : position + 2] for position in ranked]
                best = [start + int(np.argmax(scores[start:end])) for start, end in spans]
                values = by_clip[ranked], matrix.vectors[best], np.zeros(len(ranked), np.float32)
                shown = np.argsort(-relevance(*values), kind="stable")[:TOP]
                features.append(relevance.standardised(*values[:2])[shown])
                labels += relevant[ranked[shown]].tolist()
                fit += [fits] * len(shown)
                kinds += [everything] * len(shown)
    return np.concatenate(features), np.array(labels), np.array(fit), np.array(kinds)


def logistic(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights (bias first) by Newton's method, with a slight ridge."""
    inputs = np.column_stack([np.ones(len(features)), features])
    weights = np.zeros(inputs.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (p - labels) + 1e-3 * weights
        hessian = (inputs * (p * (1 - p))[:, None]).T @ inputs + 1e-3 * np.eye(len(weights))
        weights -= np.linalg.solve(hessian, gradient)
    return weights


def report(
    name: str, found: Calibration, features: np.ndarray, labels: np.ndarray, kinds: np.ndarray
) -> None:
    """Reliability on the queries that were not fitted."""
    inputs = np.column_stack([np.ones(len(features)), features])
    p = 1 / (1 + np.exp(-inputs @ [found.bias, found.caption, found.library]))
    print(f"\n{name}: {found}")
    print(f"Brier {np.mean((p - labels) ** 2):.4f} (always the base rate: {labels.var():.4f})")
    error = 0.0
    for low in np.arange(0, 1, 0.1):
        inside = (p >= low) & (p < low + 0.1 + (low > 0.85))
        if inside.any():
            error += inside.mean() * abs(p[inside].mean() - labels[inside].mean())
            said, was = p[inside].mean(), labels[inside].mean()
            print(f"  said {said:.2f}, was {was:.2f}  (n = {inside.sum()})")
    print(f"expected calibration error {error:.3f}")
    best_there = p[kinds].reshape(-1, TOP).max(axis=1)
    best_gone = p[~kinds].reshape(-1, TOP).max(axis=1)
    hit = labels[kinds].reshape(-1, TOP).any(axis=1)
    for least in (0.1, 0.2, 0.3, 0.4, 0.5):
        gone, wrong = np.mean(best_gone < least), np.mean(best_there[hit] < least)
        print(
            f"  below {least}: {gone:.2f} of those without a match, {wrong:.2f} of those answered"
        )
    gone, wrong = np.mean(best_gone < GOOD), np.mean(best_there[hit] < GOOD)
    print(f"{len(hit)} queries; answered in the top {TOP}: {hit.mean():.2f}")
    print(f"'nothing matches well' is said for {gone:.2f} of queries without a match,")
    print(f"and for {wrong:.2f} of those answered in the top {TOP}")


if __name__ == "__main__":
    main()
