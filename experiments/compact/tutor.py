"""A third teacher: what both teachers and aiSFX hear in a crop -> the space of sounds and sentences.

    python experiments/compact/tutor.py --crops runs/compact/crops --start runs/compact/reopened \
        --ingredients runs/compact/ingredients --out runs/compact/tutor [--held runs/compact/held]

Teachers know 521 labels; titles and descriptions know more, and correct them.  So a small network
over the teachers' frozen representations, and aiSFX's as it was published, learns from captions and
the phrase bank by the losses of fit.py, and with it the text projection that --start has.  It is
too large to ship (three networks under it); a student that hears only the crop follows its
embeddings (fit.py --tutor).  Writes text_projection.pt and, for each shard of crops, its embeddings
(NNNN.npy).  With --held (heard.py), prints what it is worth on the sounds of validation.
"""

import argparse
import json
import math
import random
from pathlib import Path

import numpy as np
import openvino
import torch
import torch.nn.functional as F
from crops import HEARD, allowed_clips, label_scores, shard_paths
from learner import Learner
from losses import bank_loss, caption_loss, heard_texts
from mels import decibels
from stem import Batched
from text_bank import Texts, embed_plainly, load_minilm, make_model, model_of, weights_of
from told import correct, told_labels
from torch import Tensor, nn
from validate import scores_of

from wavtext.training.clap import Clap
from wavtext.training.run import save_atomically

BATCH, RATE, TEXT_RATE, SCALE = 256, 1e-3, 3e-4, 15.0
DROPPED = 0.2  # of what it hears; of what it makes of that, twice as much
TOGETHER = 10  # crops in a graph's batch


class Tutor(nn.Module):
    """Features (crops, n), as they come -> embeddings (crops, dim) of length 1."""

    def __init__(self, mean: Tensor, deviation: Tensor, *, width: int = 1024, dim: int = 384):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.fc1, self.fc2 = nn.Linear(len(mean), width), nn.Linear(width, width)
        self.straight, self.out = nn.Linear(len(mean), dim), nn.Linear(width, dim)
        self.heard, self.inner = nn.Dropout(DROPPED), nn.Dropout(2 * DROPPED)

    def forward(self, features: Tensor) -> Tensor:
        """Two layers beside a straight one."""
        x = self.heard((features - self.mean) / self.deviation)
        h = self.inner(F.gelu(self.fc1(x)))
        h = h + self.inner(F.gelu(self.fc2(h)))
        return F.normalize(self.straight(x) + self.out(h), dim=-1)


class Aisfx:
    """aiSFX as it was published, on 72 of its 96 bands: packed log-mels -> (crops, 1024) float16."""

    def __init__(self, ingredients: Path, bert: nn.Module) -> None:
        weights = torch.load(ingredients / "aisfx.pt", weights_only=True)
        encoder = make_model(bert).audio.eval()
        encoder.load_aisfx({name: value.float() for name, value in weights.items()})
        graph = openvino.convert_model(encoder, example_input=torch.zeros(TOGETHER, 108, 72))
        self.hears = Batched(graph, TOGETHER, {"PERFORMANCE_HINT": "THROUGHPUT"})

    def hear(self, mel: np.ndarray) -> np.ndarray:
        """(crops, frames, 72) uint8 -> their representations."""
        return self.hears(decibels(mel)).astype(np.float16)


class Features:
    """What is heard of the crops of a folder, and who is in them."""

    def __init__(self, folder: Path, aisfx: Aisfx) -> None:
        self.clips = json.loads((folder / "clips.json").read_text())
        self.paths = shard_paths(folder)
        parts: dict[str, list[np.ndarray]] = {}
        for path in self.paths:
            with np.load(path) as shard:
                found = {name: shard[name] for name in ("who", "below", *HEARD)}
                logs = [np.log(found[name].astype(np.float32) + 1e-4) for name in HEARD]
                frozen = [shard["feature"], *logs, shard["middle"], aisfx.hear(shard["mel"])]
            found["scores"] = label_scores(*(found.pop(name) for name in HEARD)).astype(np.float16)
            found["features"] = np.concatenate(frozen, 1, dtype=np.float16, casting="same_kind")
            for name, value in found.items():
                parts.setdefault(name, []).append(value)
        self.sizes = [len(part) for part in parts["who"]]
        self.who, self.below, self.scores, self.features = (
            np.concatenate(parts[name]) for name in ("who", "below", "scores", "features")
        )

    def rows(self, some: np.ndarray | slice) -> Tensor:
        """(some, n) float32."""
        return torch.from_numpy(self.features[some].astype(np.float32))


@torch.no_grad()
def embedded(tutor: Tutor, features: Features, batch: int = 4096) -> Tensor:
    """(crops, dim)."""
    tutor.eval()
    begins = range(0, len(features.who), batch)
    return torch.cat([tutor(features.rows(slice(at, at + batch))) for at in begins])


def worth(tutor: Tutor, model: Clap, held: Features, bert, tokenizer) -> dict[str, float]:
    """What validate.py says of a model, of the tutor beside that model's text projection."""
    sounds = torch.zeros(len(held.clips), tutor.out.out_features)
    sounds.index_add_(0, torch.from_numpy(held.who[:, 0]).long(), embedded(tutor, held))

    model.text_projection.eval()
    found = scores_of(
        None,
        lambda texts: embed_plainly(model, bert, tokenizer, texts),
        held.clips,
        None,
        sounds=F.normalize(sounds, dim=-1),
    )
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    for name in ("crops", "start", "ingredients", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--held", type=Path, help="what heard.py left")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    random.seed(arguments.seed), torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    tokenizer, bert = load_minilm(arguments.ingredients)
    aisfx = Aisfx(arguments.ingredients, bert)
    crops = Features(arguments.crops, aisfx)
    held = Features(arguments.held, aisfx) if arguments.held else None
    texts = Texts(crops.clips, bert, tokenizer)
    told = told_labels(texts.of_clip, texts.written[0], texts.phrases_of_labels)
    trains = np.flatnonzero(allowed_clips(crops.clips)[crops.who].all(1))
    some = crops.rows(rng.permutation(trains)[:20_000])
    tutor = Tutor(some.mean(0), some.std(0) + 1e-2)
    model = model_of(bert, weights_of(arguments.start))
    text_projection = model.text_projection
    bank_scale = nn.Parameter(torch.tensor(math.log(20.0)))
    scale = torch.tensor(SCALE)
    learner = Learner(
        [
            (RATE, [*tutor.parameters(), bank_scale]),
            (TEXT_RATE, list(text_projection.parameters())),
        ],
        steps=arguments.steps,
        warm_up=100,
        floor=0.02,
        averaged=False,
    )
    print(len(trains), "crops,", crops.features.shape[1], "features", flush=True)
    for step in range(1, arguments.steps + 1):
        tutor.train(), text_projection.train()
        rows = rng.choice(trains, BATCH)
        who, below = crops.who[rows], torch.from_numpy(crops.below[rows])
        scores = torch.from_numpy(crops.scores[rows].astype(np.float32))
        scores = correct(scores, told, who, below, 1.0)
        columns, target = heard_texts(who, below, texts.of_clip)
        asked, named = (
            F.normalize(text_projection(some), dim=-1)
            for some in (texts.captions(columns), texts.phrase_of_each_label(rng))
        )
        heard = tutor(crops.rows(rows))
        captions = caption_loss(heard, asked, target, texts.near(columns), scale)
        bank = bank_loss(heard, named, scores, bank_scale.exp().clamp(max=100))
        learner.step(captions + bank)
        if step % 500 == 0 or step == arguments.steps:
            line = {"captions": round(captions.item(), 3), "bank": round(bank.item(), 3)}
            line |= worth(tutor, model, held, bert, tokenizer) if held else {}
            print(step, line, flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_atomically(arguments.out / "text_projection.pt", text_projection.state_dict())
    found = embedded(tutor, crops).numpy().astype(np.float16)
    for path, part in zip(crops.paths, np.split(found, np.cumsum(crops.sizes)[:-1]), strict=True):
        np.save(arguments.out / f"{path.stem}.npy", part)


if __name__ == "__main__":
    main()
