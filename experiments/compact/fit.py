"""Train the compact model's audio tower on crops, captions and teachers' views of them (on two CPU
cores 1.3 s a step, 1.9 s with two blocks; narrowed, 1.5 s with three).

    python experiments/compact/fit.py --crops runs/compact/crops --packed runs/compact/packed \
        --ingredients runs/compact/ingredients --out runs/compact/distilled

A run that was stopped goes on with --resume from the last hundred steps that it finished.

aiSFX's first blocks run in OpenVINO, in 8 bits, and stay as they are; the last --blocks of its
four, the attention layer, the residual network where --start has one, and the projections learn.
Losses, all in the one space of sounds and sentences:
  captions   symmetric cross-entropy (Deshmukh et al. 2022, eq. 3-4); a mixture matches the
             captions of both its sounds, equal texts are positives, texts that a plain sentence
             encoder finds alike are no negatives
  bank       each crop against one phrase of each of the teachers' 521 labels; target: the
             geometric mean of what YAMNet and, twice, MobileNet hear (teachers.py), as far as
             titles bear it out (told.py)
  distil     a linear head on the representation guesses the representations of both teachers (256
             principal components each)
  relate     crops that both teachers hear alike are neighbours: for each crop the softmax of its
             cosines to the other crops of the batch, against that of the teachers' (Fang et al.
             2021, SEED, with the batch in place of a queue)
  follow     with --tutor: a crop's embedding is its tutor's (tutor.py), whose text projection stays
  calm       a spoilt crop and its clean self have one embedding; of the other crops,
             --spoilt are spoilt: none; of what is left, --found are heard over noise, half of
             them in a room
MiniLM stays as it is.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from augment import elsewhere, spoil
from crops import Crops, load_shards, shard_paths
from learner import KEEP_EVERY, Learner, go_on, keep
from losses import bank_loss, calm_loss, caption_loss, follow_loss, heard_texts, relate_loss
from mels import decibels
from quantise import CALIBRATION, training_windows
from stem import Stem
from text_bank import Texts, embed_plainly, load_minilm, make_model, model_of, weights_of
from told import correct, told_labels
from torch import nn
from validate import scores_of, validation_of

from wavtext.training.checkpoint import read_tensors
from wavtext.training.clap import Clap
from wavtext.training.memory import freeze_batch_norm
from wavtext.training.run import save_atomically


class Student:
    """The model that learns, and what it needs to while it does."""

    def __init__(self, model: Clap, stem: Stem, arguments: argparse.Namespace) -> None:
        self.model, self.stem = model, stem
        self.guess = nn.Linear(model.audio.dim, 512)
        nn.init.zeros_(self.guess.weight)  # until it guesses something, it should teach nothing
        self.bank_scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.max_scale = arguments.max_scale
        blocks, others = [], []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                slow = "conv_block" in name or "resnet" in name
                (blocks if slow else others).append(parameter)
        others += [*self.guess.parameters(), self.bank_scale]
        self.learner = Learner(
            [(arguments.block_rate, blocks), (arguments.rate, others)],
            steps=arguments.steps,
            warm_up=60,
            floor=0.02,
            decay=arguments.decay,
        )

    def hear(self, log_mel: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, 72) dB -> representations, and embeddings of length 1."""
        features = self.stem(log_mel).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            representation = self.model.audio.rest(features, self.stem.blocks)
            representation = self.model.audio.beside(representation, torch.from_numpy(log_mel))
            embedding = self.model.audio_projection(representation)
        return representation, F.normalize(embedding.float(), dim=-1)

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """The sentence encoder's features -> embeddings of length 1."""
        return F.normalize(self.model.text_projection(features), dim=-1)

    def scales(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What multiplies cosines with captions, and with the bank's phrases."""
        captions = self.model.logit_scale.exp().clamp(max=self.max_scale)
        return captions, self.bank_scale.exp().clamp(max=100)

    def losses(
        self, crops: dict[str, np.ndarray], texts: Texts, rng: np.random.Generator, spoilt: float,
        calm_share: float, found: float,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        """What a batch teaches, in the order of --weights.

        Args:
            crops: Of `Crops.draw`.
            texts: Of their clips.
            rng: Spoils crops and picks phrases.
            spoilt: Share of the other crops that are spoilt, half of them by clipping alone.
            calm_share: Share that is spoilt besides and held against its clean self.
            found: Share of what is not spoilt that is heard over noise, half of it in a room too.
        """
        size = len(crops["mel"])
        calm = int(size * calm_share)
        clean, loud = (torch.from_numpy(decibels(crops[name])) for name in ("mel", "clipped"))
        driven = torch.from_numpy(rng.random(size) < 0.5)
        worse = torch.from_numpy(rng.random(size) < spoilt)
        worse[:calm] = True
        noisy = torch.from_numpy(rng.random(size) < found)
        heard_as = torch.where((worse & driven)[:, None, None], loud, clean)
        for rows, change in ((worse & ~driven, spoil), (noisy & ~worse, elsewhere)):
            heard_as[rows] = change(clean[rows])
        self.model.train()
        freeze_batch_norm(self.model.audio)
        representation, embedding = self.hear(torch.cat([heard_as, clean[:calm]]).numpy())
        heard, same = embedding[:size], embedding[size:]
        with torch.autocast("cpu", torch.bfloat16):
            guess = self.guess(representation).float()[:size]
        named = self.read(texts.phrase_of_each_label(rng))
        below = torch.from_numpy(crops["below"])
        columns, target = heard_texts(crops["who"], below, texts.of_clip)
        asked = self.read(texts.captions(columns))
        scores, taught = (torch.from_numpy(crops[n]) for n in ("scores", "representation"))
        scale, bank_scale = self.scales()
        found = {
            "captions": caption_loss(heard, asked, target, texts.near(columns), scale),
            "bank": bank_loss(heard, named, scores, bank_scale),
            "distil": F.mse_loss(guess, taught),
            "calm": calm_loss(heard[:calm], same),
            "relate": relate_loss(heard, taught),
        }
        if "followed" in crops:
            found["follow"] = follow_loss(heard, torch.from_numpy(crops["followed"]))
        return found


def settings_of(arguments: argparse.Namespace) -> str:
    """What a run is made from, as JSON."""
    kept = {name: value for name, value in vars(arguments).items() if name != "resume"}
    return json.dumps(kept, default=str, indent=1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("crops", "packed", "ingredients", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--calm-share", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        default=[1.0, 1.5, 1.0, 0.5, 1.0],
        help="of captions, bank, distil, calm, relate and, with --tutor, follow",
    )
    parser.add_argument("--whiten", type=float, default=0.5, help="of what distil guesses, 0 to 1")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument(
        "--max-scale", type=float, default=15.0, help="clamp of the captions' logit scale"
    )
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--block-rate", type=float, default=3e-4, help="of the convolutions")
    parser.add_argument("--validate-every", type=int, default=500)
    parser.add_argument("--start", type=Path, help="a run to go on from")
    parser.add_argument(
        "--blocks", type=int, default=1, choices=(1, 2, 3, 4), help="of aiSFX's four that learn"
    )
    parser.add_argument(
        "--spoilt", type=float, default=0.0, help="share of the other crops that are spoilt"
    )
    parser.add_argument(
        "--found",
        type=float,
        default=0.25,
        help="share of unspoilt crops over noise, half of them in a room",
    )
    parser.add_argument(
        "--told", type=float, default=1.0, help="how far titles correct the teachers' labels"
    )
    parser.add_argument("--tutor", type=Path, help="what tutor.py left")
    parser.add_argument(
        "--beside",
        action="store_true",
        help="nothing learns but the residual network and the audio projection",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    arguments = parser.parse_args()
    if len(arguments.weights) != (6 if arguments.tutor else 5):
        parser.error("--weights: five numbers, and a sixth with --tutor")
    noted = arguments.out / "arguments.json"
    if arguments.resume:
        if not (arguments.out / "state.pt").exists():
            parser.error(f"{arguments.out} holds no state.pt to go on from")
        if noted.read_text() != settings_of(arguments):
            parser.error(f"{noted} has other settings; --resume needs the same ones")
    return arguments


def main() -> None:
    arguments = parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "arguments.json").write_text(settings_of(arguments))
    random.seed(arguments.seed), torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)

    tokenizer, bert = load_minilm(arguments.ingredients)
    if arguments.start:
        model = model_of(bert, weights_of(arguments.start))
    else:
        model = make_model(bert)
        aisfx = torch.load(arguments.ingredients / "aisfx.pt", weights_only=True)
        model.audio.load_aisfx({k: v.float() for k, v in aisfx.items()})
    still = 4 - arguments.blocks
    for part in (model.text, *model.audio.blocks[:still]):
        part.requires_grad_(False)
    model.audio.eval()
    stem = Stem(model.audio, still, training_windows(arguments.packed, CALIBRATION))
    model.audio.to(memory_format=torch.channels_last)
    for projection in (model.audio_projection, model.text_projection):
        projection.dropout.p = arguments.dropout
    if arguments.tutor:
        space = read_tensors(arguments.tutor / "text_projection.pt")
        model.text_projection.load_state_dict(space)
        model.text_projection.requires_grad_(False)
    if arguments.beside:
        if model.audio.resnet is None:
            raise SystemExit(
                "--beside: --start has no residual network (follow.py --network resnet)."
            )
        model.requires_grad_(False)
        for part in (model.audio.resnet, model.audio_projection, model.logit_scale):
            part.requires_grad_(True)
    student = Student(model, stem, arguments)

    clips = json.loads((arguments.crops / "clips.json").read_text())
    texts = Texts(clips, bert, tokenizer)
    paths = shard_paths(arguments.crops)
    shards = load_shards(paths, clips, arguments.whiten, arguments.tutor)
    told = told_labels(texts.of_clip, texts.written[0], texts.phrases_of_labels)
    for shard in shards:
        scores, below = (torch.from_numpy(shard[name]) for name in ("scores", "below"))
        shard["scores"] = correct(scores, told, shard["who"], below, arguments.told).numpy()
    crops = Crops(shards, rng)
    print(len(clips), "clips", len(crops), "crops", len(texts.every), "captions", flush=True)
    held, held_mel = validation_of(arguments.packed)
    log = (arguments.out / "log.jsonl").open("a" if arguments.resume else "w")

    def report(line: dict[str, float]) -> None:
        log.write(json.dumps(line) + "\n"), log.flush()
        print(arguments.out.name, line, flush=True)

    @torch.no_grad()
    def validate(step: int) -> None:
        model.eval()
        with student.learner.averaged():
            found = scores_of(
                lambda mel: student.hear(mel)[1],
                lambda some: embed_plainly(model, bert, tokenizer, some),
                held,
                held_mel,
            )
            report({"step": step} | {name: round(value, 4) for name, value in found.items()})
            save_atomically(arguments.out / "fit.pt", model.state_dict())

    begin = time.time()
    taken = go_on(student.learner, rng, arguments.out) if arguments.resume else 0
    for step in range(taken, arguments.steps):
        batch = crops.draw(arguments.batch)
        losses = student.losses(
            batch, texts, rng, arguments.spoilt, arguments.calm_share, arguments.found
        )
        student.learner.step(
            sum(w * part for w, part in zip(arguments.weights, losses.values(), strict=True))
        )
        if step % 25 == 0:
            values = losses | dict(zip(("scale", "bank_scale"), student.scales(), strict=True))
            line = {name: round(float(value), 4) for name, value in values.items()}
            report({"step": step, **line, "seconds": round(time.time() - begin, 1)})
        if (step + 1) % arguments.validate_every == 0 or step + 1 == arguments.steps:
            validate(step + 1)
        if (step + 1) % KEEP_EVERY == 0:
            keep(student.learner, rng, arguments.out)


if __name__ == "__main__":
    main()
