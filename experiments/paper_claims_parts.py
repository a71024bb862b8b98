"""What paper_claims.py is made of: the corpus, frozen representations, training, tables."""

import argparse
import csv
import json
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from wavtext.corpora.manifest import Clip
from wavtext.evaluation.retrieval import Evaluation, Task, evaluate, retrieval_task
from wavtext.evaluation.statistics import Pooled, holm, pool_seeds
from wavtext.training.loss import clamp_log_scale, contrastive_loss, initial_log_scale
from wavtext.training.projection import ResidualProjection

DIM = 256  # of the common space
METRICS = tuple(
    (direction, metric)
    for direction in ("text_to_audio", "audio_to_text")
    for metric in ("mAP@10", "R@1", "R@10")
)
HEAD = ["T→A mAP@10", "T→A R@1", "T→A R@10", "A→T mAP@10", "A→T R@1", "A→T R@10"]


class Corpus:
    """Clips, their log-mels, their frozen representations, and who tests."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.out, self.packed = arguments.out, arguments.packed
        self.deadline = time.monotonic() + 60 * arguments.minutes
        self.rows = json.loads((arguments.packed / "clips.json").read_text())
        self.device = torch.device(arguments.device)
        self.label_file = arguments.teacher.parent / "yamnet_class_map.csv"
        self.test = np.array([is_test(row["group"]) for row in self.rows])
        self.sources = np.array([row["source"] for row in self.rows])
        self.titles = [row["title"] for row in self.rows]
        self.text = self.cached(
            "minilm.npy", lambda: embed_titles(self.titles, arguments.ingredients)
        )
        words = {clean(title): i for i, title in enumerate(self.titles)}
        self.title_index = torch.tensor([words[clean(title)] for title in self.titles])

    @cached_property
    def mel(self) -> np.ndarray:
        """(frames, 72) uint8 of all clips, in steps of 0.55 dB from -100 dB."""
        return np.load(self.packed / "mel.npy", mmap_mode="r")

    @cached_property
    def classes(self) -> list[str]:
        """The names of AudioSet's classes that YAMNet knows."""
        with self.label_file.open() as file:
            return [row["display_name"] for row in csv.DictReader(file)]

    def log_mel(self, row: int) -> np.ndarray:
        """(frames, 72) float32 in dB."""
        start, count = self.rows[row]["frames"]
        return np.asarray(self.mel[start : start + count], np.float32) * 0.55 - 100.0

    def yamnet(self) -> np.ndarray:
        """(clips, 1024): mean over each clip's patches; trained on AudioSet, as the paper's are."""
        middles = np.load(self.packed / "middles.npy", mmap_mode="r")
        places = [row["patches"] for row in self.rows]
        return np.stack([middles[a : a + n].astype(np.float32).mean(0) for a, n in places])

    def task(self, chosen: np.ndarray) -> Task:
        """Retrieval among the chosen test clips; equal titles are one query."""
        clips = [
            Clip(row["file"], Path(row["file"]), (row["title"],), group=row["group"])
            for row, wanted in zip(self.rows, chosen, strict=True)
            if wanted
        ]
        return retrieval_task(clips, relevance="same-caption")

    def cached(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        path = self.out / name
        if not path.exists():
            np.save(path.with_suffix(".partial.npy"), make())
            path.with_suffix(".partial.npy").replace(path)
        return np.load(path)


def is_test(group: str) -> bool:
    """Every fifth family of recordings tests and never trains."""
    return zlib.crc32(group.encode()) % 5 == 0


def embed_titles(titles: list[str], folder: Path) -> np.ndarray:
    """(titles, 384): all-MiniLM-L6-v2, mean-pooled, length 1."""
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    config = json.loads((folder / "config.json").read_text())
    bert = BertModel(BertConfig(**config), add_pooling_layer=False).eval()
    state = torch.load(folder / "minilm.pt", weights_only=True)
    bert.load_state_dict({k: v.float() for k, v in state.items()})
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    known: dict[str, np.ndarray] = {}
    with torch.inference_mode():
        for title in titles:
            if title not in known:
                ids = torch.tensor([tokenizer.encode(title).ids])
                state = bert(input_ids=ids).last_hidden_state.mean(1)
                known[title] = F.normalize(state, dim=1)[0].numpy()
    return np.stack([known[title] for title in titles])


# --- training ---


class Heads(nn.Module):
    """Two projections into one space, over frozen representations or an audio tower that trains."""

    def __init__(self, tower: nn.Module | None, audio_dim: int) -> None:
        super().__init__()
        self.tower = tower
        self.audio = ResidualProjection(audio_dim, DIM)
        self.text = ResidualProjection(384, DIM)
        self.log_scale = nn.Parameter(torch.tensor(initial_log_scale(0.07)))

    def embed_audio(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.tower is not None):
            x = x if self.tower is None else self.tower(x)
        return F.normalize(self.audio(x.float()), dim=-1)

    def embed_text(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.text(x), dim=-1)


def fit(
    model: Heads,
    batch_of: Callable[[np.ndarray, np.random.Generator], torch.Tensor],
    corpus: Corpus,
    rows: np.ndarray,
    *,
    seed: int,
    steps: int,
    batch: int,
    rate: float,
) -> None:
    """Adam with a cosine schedule; equal titles in a batch are positives, not false negatives."""
    generator = np.random.default_rng([seed, 1])
    text = torch.from_numpy(corpus.text).to(corpus.device)
    model.to(corpus.device)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.05)
    model.train()
    queue = np.zeros(0, np.int64)
    for _ in range(steps):
        if len(queue) < batch:
            queue = np.concatenate([queue, generator.permutation(rows)])
        chosen, queue = queue[:batch], queue[batch:]
        same = corpus.title_index[chosen]
        loss = contrastive_loss(
            model.embed_audio(batch_of(chosen, generator).to(corpus.device)),
            model.embed_text(text[torch.from_numpy(chosen)]),
            model.log_scale.exp(),
            positives=(same[:, None] == same[None, :]).to(corpus.device),
            duplicates="positives",
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        clamp_log_scale(model.log_scale, 0.07)
    model.eval()


def embed(
    function: Callable[[torch.Tensor], torch.Tensor], values: np.ndarray, device: torch.device
) -> np.ndarray:
    """A tower over all rows, in evaluation mode, 256 at a time."""
    with torch.inference_mode():
        parts = [
            function(torch.from_numpy(values[i : i + 256]).to(device))
            for i in range(0, len(values), 256)
        ]
    return torch.cat(parts).float().cpu().numpy()


def measure(corpus: Corpus, chosen: np.ndarray, audio: np.ndarray, text: np.ndarray) -> Evaluation:
    """Evaluate embeddings (clips, dim) of all clips on the chosen ones."""
    task = corpus.task(chosen)
    where = {row["file"]: i for i, row in enumerate(corpus.rows)}
    clips = [where[clip.clip_id] for clip in task.clips]
    captions = [clips[int(rows[0])] for rows in task.clips_of]
    return evaluate(task, audio[clips], text[captions], name="", identity="", resamples=2)


def trained(
    corpus: Corpus, name: str, make: Callable[[], tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Audio and text embeddings of a run, from disk where it is finished."""
    path = corpus.out / "runs" / f"{name}.npz"
    if not path.exists():
        if time.monotonic() > corpus.deadline:
            sys.exit(f"Time is up before {name}; the same command goes on there.")
        path.parent.mkdir(exist_ok=True)
        begin = time.process_time()
        audio, text = make()
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, audio=audio, text=text, seconds=time.process_time() - begin)
        partial.replace(path)
        print(f"{name}: {time.process_time() - begin:.0f} s of CPU", file=sys.stderr, flush=True)
    found = np.load(path)
    return found["audio"], found["text"]


# --- tables ---


def clean(title: str) -> str:
    return " ".join(title.split()).casefold()


def pooled(runs: Sequence[Evaluation], direction: str, metric: str) -> Pooled:
    """A metric over seeds, with the interval for new families and new seeds."""
    values = np.stack([run.directions[direction].values[metric] for run in runs])
    return pool_seeds(values, runs[0].directions[direction].clusters)


def difference(
    a: Sequence[Evaluation], b: Sequence[Evaluation], direction: str, metric: str
) -> Pooled:
    """A minus B over seeds."""
    values = np.stack(
        [
            x.directions[direction].values[metric] - y.directions[direction].values[metric]
            for x, y in zip(a, b, strict=True)
        ]
    )
    return pool_seeds(values, a[0].directions[direction].clusters)


Key = tuple[str, str, str, str]  # A, B, direction, metric


def compared(
    runs: Mapping[str, Sequence[Evaluation]], pairs: Sequence[tuple[str, str]]
) -> tuple[dict[Key, Pooled], dict[Key, float]]:
    """A minus B of each pair and metric, and their p-values after Holm over all of them."""
    found = {(a, b, d, m): difference(runs[a], runs[b], d, m) for a, b in pairs for d, m in METRICS}
    adjusted = holm({repr(key): each.p for key, each in found.items()})
    return found, {key: adjusted[repr(key)] for key in found}


def values_of(
    runs: Mapping[str, Sequence[Evaluation]], pairs: Sequence[tuple[str, str]]
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """What both tables show, as numbers: estimate, low, high and, of differences, Holm's p."""
    found, adjusted = compared(runs, pairs)
    return {
        "scores": {
            name: {f"{d} {m}": bounds(pooled(each, d, m)) for d, m in METRICS}
            for name, each in runs.items()
        },
        "differences": {
            f"{a} - {b}": {
                f"{d} {m}": [*bounds(found[a, b, d, m]), round(adjusted[a, b, d, m], 4)]
                for d, m in METRICS
            }
            for a, b in pairs
        },
    }


def bounds(found: Pooled) -> list[float]:
    each = found.interval
    return [round(float(value), 4) for value in (each.estimate, each.low, each.high)]


def score_table(runs: Mapping[str, Sequence[Evaluation]], notes: Mapping[str, str]) -> str:
    """Each condition's metrics over seeds, in percent with 95 % intervals."""
    rows = [
        [name, notes.get(name, "")] + [shown(pooled(each, d, m)) for d, m in METRICS]
        for name, each in runs.items()
    ]
    return markdown(["condition", "", *HEAD], rows)


def difference_table(
    runs: Mapping[str, Sequence[Evaluation]], pairs: Sequence[tuple[str, str]]
) -> str:
    """Differences in points with 95 % intervals; a star where p < 0.05 after Holm."""
    found, adjusted = compared(runs, pairs)
    rows = []
    for a, b in pairs:
        cells = [
            shown(found[a, b, d, m], sign=True) + (" *" if adjusted[a, b, d, m] < 0.05 else "")
            for d, m in METRICS
        ]
        rows.append([f"{a} − {b}", *cells])
    return markdown(["difference", *HEAD], rows)


def shown(found: Pooled, *, sign: bool = False) -> str:
    each = found.interval
    values = [100 * each.estimate, 100 * each.low, 100 * each.high]
    first, low, high = (f"{value:+.1f}" if sign else f"{value:.1f}" for value in values)
    return f"{first} [{low}, {high}]"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
