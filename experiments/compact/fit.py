"""Train the compact model's audio tower on crops, captions and teachers' views of them (two CPU
cores, half an hour).

    python experiments/compact/fit.py --crops runs/compact/crops --packed runs/compact/packed \
        --ingredients runs/compact/ingredients --out runs/compact/distilled

aiSFX's first blocks run in OpenVINO, in 8 bits, and stay as they are; the last --blocks of its
four, the attention layer and the projections learn.  Losses, all in the one space of sounds and sentences:
  captions   symmetric cross-entropy (Deshmukh et al. 2022, eq. 3-4); a mixture matches the
             captions of both its sounds, equal texts are positives, texts that a plain sentence
             encoder finds alike are no negatives
  bank       each crop against one phrase of each of the teachers' 521 labels; target: the
             geometric mean of what YAMNet and, twice, MobileNet hear (teachers.py)
  distil     a linear head on the representation guesses the representations of both teachers (256
             principal components each)
  relate     crops that both teachers hear alike are neighbours: for each crop the softmax of its
             cosines to the other crops of the batch, against that of the teachers' (Fang et al.
             2021, SEED, with the batch in place of a queue)
  calm       a spoilt crop and its clean self have one embedding
MiniLM stays as it is.
"""

import argparse
import json
import math
import random
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import openvino
import torch
import torch.nn.functional as F
from augment import spoil
from losses import bank_loss, calm_loss, caption_loss, heard_texts, relate_loss
from quantise import CALIBRATION, quantise, training_windows
from split import split_of
from text_bank import (
    PHRASES,
    captions_of,
    embed_plainly,
    load_minilm,
    load_phrases,
    make_model,
    plain_features,
)
from torch import nn
from validate import scores_of

from wavtext.training.checkpoint import read_tensors
from wavtext.training.compact import CompactAudioEncoder
from wavtext.training.export import export_onnx

# The teachers' geometric mean is lower than YAMNet's scores, for which the losses below were set:
# the highest of a crop's is 0.25 in place of 0.58 (medians).
LOUDER = 2.3
NEAR = 0.8  # cosine of two texts from which they are no negatives of each other
TEMPLATES = ("{}", "{}", "the sound of {}", "{} sound")


def load_shards(paths: Iterable[Path], clips: list, whiten: float) -> list[dict[str, np.ndarray]]:
    """The crops, without those of clips that were screened out after they were made.

    What teachers.py left of each crop becomes "scores" (521) and "representation" (512).
    """
    allowed = np.array([split_of(clip) == "train" for clip in clips] + [True])  # -1: no clip
    shards = []
    for path in paths:
        shard = dict(np.load(path))
        keep = allowed[shard["who"]].all(1)
        shards.append({name: value[keep] for name, value in shard.items()})
    bases = [whitening(shards, name, whiten) for name in ("middle", "feature")]
    for s in shards:
        parts = [
            (s.pop(name).astype(np.float32) - mean) @ basis
            for name, (mean, basis) in zip(("middle", "feature"), bases, strict=True)
        ]
        s["representation"] = np.concatenate(parts, 1)
        yamnet = 0.5 * (s.pop("mean").astype(np.float32) + s.pop("most").astype(np.float32))
        both = np.cbrt(yamnet * s.pop("tagged").astype(np.float32) ** 2)
        s["scores"] = (LOUDER * both).clip(max=1.0)
    return shards


def whitening(
    shards: list[dict[str, np.ndarray]], name: str, power: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and basis (dim, 256) of a teacher's representations over the crops.

    Each principal component is divided by a power of its deviation: 1 makes all equal, 0 leaves
    them; the mean square is 1.
    """
    pool = np.concatenate([shard[name] for shard in shards])[:40_000].astype(np.float32)
    value, vector = np.linalg.eigh(np.cov((pool - pool.mean(0)).T))
    value, vector = value[::-1][:256].clip(min=0), vector[:, ::-1][:, :256]
    basis = vector / (value + 1e-4) ** (power / 2)
    basis /= np.sqrt((value / (value + 1e-4) ** power).mean())
    return pool.mean(0), basis.astype(np.float32)


class Blocks(nn.Module):
    """aiSFX's first blocks: (batch, frames, 72) dB -> what `rest` takes."""

    def __init__(self, encoder: CompactAudioEncoder, blocks: int) -> None:
        super().__init__()
        self.encoder, self.blocks = encoder, blocks

    def forward(self, log_mel):
        return self.encoder.stem(log_mel, self.blocks)


class Stem:
    """`Blocks` in OpenVINO, in the 8 bits that ship (quantise.py): what learns meets what it will
    meet.
    """

    def __init__(self, encoder: CompactAudioEncoder, blocks: int, windows: np.ndarray) -> None:
        self.core, self.compiled = openvino.Core(), {}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "stem.onnx"
            example = torch.zeros(1, 108, 72)
            export_onnx(Blocks(encoder, blocks), example, path, name="log_mel", axis="frames")
            quantise(path, windows)
            self.model = self.core.read_model(path)

    def __call__(self, log_mel: np.ndarray) -> torch.Tensor:
        shape = (16, *log_mel.shape[1:])
        if shape not in self.compiled:
            self.model.reshape(list(shape))
            self.compiled[shape] = self.core.compile_model(
                self.model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": "f32",
                    "NUM_STREAMS": torch.get_num_threads(),
                    "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                },
            )
        queue = openvino.AsyncInferQueue(self.compiled[shape])
        count = -(-len(log_mel) // 16)
        padded = np.zeros((count * 16, *log_mel.shape[1:]), np.float32)
        padded[: len(log_mel)] = log_mel
        parts = [None] * count

        def keep(request, i):
            parts[i] = request.get_output_tensor(0).data.copy()

        queue.set_callback(keep)
        for i in range(count):
            queue.start_async({0: padded[16 * i : 16 * i + 16]}, i)
        queue.wait_all()
        return torch.from_numpy(np.concatenate(parts)[: len(log_mel)])


def rest(encoder: CompactAudioEncoder, blocks: int, x: torch.Tensor) -> torch.Tensor:
    """What `Stem` leaves to do: -> representation (batch, dim)."""
    x = x.contiguous(memory_format=torch.channels_last)
    for block in encoder.blocks[blocks:3]:
        x = F.max_pool2d(block(x), 2)
    return encoder.tail(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--packed", type=Path, required=True)
    parser.add_argument("--ingredients", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--calm-share", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-attention", action="store_true")
    parser.add_argument(
        "--weights",
        type=float,
        nargs=5,
        default=[1.0, 1.5, 1.0, 0.5, 1.0],
        help="of captions, bank, distil, calm and relate",
    )
    parser.add_argument("--whiten", type=float, default=0.5, help="of what distil guesses, 0 to 1")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument(
        "--max-scale", type=float, default=15.0, help="clamp of the captions' logit scale"
    )
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--block-rate", type=float, default=3e-4, help="of the blocks")
    parser.add_argument("--validate-every", type=int, default=500)
    parser.add_argument("--start", type=Path, help="a run to go on from")
    parser.add_argument("--blocks", type=int, default=1, help="of aiSFX's four that learn, 1 to 3")
    parser.add_argument("--spoilt", type=float, default=0.6, help="share of crops that are spoilt")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "arguments.json").write_text(
        json.dumps(vars(arguments), default=str, indent=1)
    )
    random.seed(arguments.seed), torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)

    tokenizer, bert = load_minilm(arguments.ingredients)
    model = make_model(bert, attention=not arguments.no_attention)
    audio = model.audio
    aisfx = torch.load(arguments.ingredients / "aisfx.pt", weights_only=True)
    audio.load_aisfx({k: v.float() for k, v in aisfx.items()})
    still = 4 - arguments.blocks
    for part in (model.text, *audio.blocks[:still]):
        part.requires_grad_(False)
    if arguments.start:
        model.load_state_dict(read_tensors(arguments.start / "fit.pt"))
    audio.eval()
    stem = Stem(audio, still, training_windows(arguments.packed, CALIBRATION))
    audio.to(memory_format=torch.channels_last)
    for projection in (model.audio_projection, model.text_projection):
        projection.dropout.p = arguments.dropout
    heads = nn.Linear(audio.dim, 512)
    nn.init.zeros_(heads.weight)  # until it guesses something, it should teach nothing
    bank_scale = nn.Parameter(torch.tensor(math.log(20.0)))

    clips = json.loads((arguments.crops / "clips.json").read_text())
    every = sorted({text for clip in clips for text in captions_of(clip)})
    place = {text: i for i, text in enumerate(every)}
    texts_of = [[place[text] for text in captions_of(clip)] for clip in clips]
    written = [
        plain_features(bert, tokenizer, [t.format(text) for text in every])
        for t in dict.fromkeys(TEMPLATES)
    ]
    plain = F.normalize(written[0], dim=-1)
    phrases = load_phrases(PHRASES)
    phrase_features = plain_features(bert, tokenizer, [text for some in phrases for text in some])
    begins = np.cumsum([0, *[len(some) for some in phrases]])

    paths = sorted(arguments.crops.glob("[0-9]*[0-9].npz"))
    shards = load_shards(paths, clips, arguments.whiten)
    packed = json.loads((arguments.packed / "clips.json").read_text())
    held = [clip for clip in packed if clip["split"] == "validation"]
    held_mel = np.load(arguments.packed / "mel.npy", mmap_mode="r")
    by_length = {}
    for i, s in enumerate(shards):
        by_length.setdefault(s["mel"].shape[1], []).append(i)
    print(
        len(clips),
        "clips",
        sum(len(s["mel"]) for s in shards),
        "crops",
        len(every),
        "captions",
        flush=True,
    )

    fresh = [p for n, p in model.named_parameters() if p.requires_grad and "conv_block" not in n]
    optimiser = torch.optim.AdamW(
        [
            {
                "params": [
                    p for n, p in model.named_parameters() if p.requires_grad and "conv_block" in n
                ],
                "lr": arguments.block_rate,
            },
            {"params": [*fresh, *heads.parameters(), bank_scale], "lr": arguments.rate},
        ],
        weight_decay=arguments.decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: (
            min(1.0, (step + 1) / 60)
            * (0.02 + 0.49 * (1 + math.cos(math.pi * min(1.0, step / arguments.steps))))
        ),
    )
    trained = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    log = (arguments.out / "log.jsonl").open("w")

    def validate(step: int) -> None:
        kept = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        with torch.no_grad():
            for n, p in model.named_parameters():
                if n in trained:
                    p.copy_(trained[n])
        model.eval()

        @torch.no_grad()
        def embed_mel(mel):
            with torch.autocast("cpu", torch.bfloat16):
                return F.normalize(
                    model.audio_projection(rest(audio, still, stem(mel))).float(), dim=-1
                )

        @torch.no_grad()
        def embed_texts(texts):
            return embed_plainly(model, bert, tokenizer, texts)

        line = {"step": step} | scores_of(embed_mel, embed_texts, held, held_mel)
        log.write(json.dumps(line) + "\n"), log.flush()
        print(arguments.out.name, {k: round(v, 4) for k, v in line.items()}, flush=True)
        torch.save(model.state_dict(), arguments.out / "fit.part.pt")
        (arguments.out / "fit.part.pt").rename(arguments.out / "fit.pt")
        with torch.no_grad():
            for n, p in model.named_parameters():
                if n in kept:
                    p.copy_(kept[n])

    begin = time.time()
    for step in range(arguments.steps):
        frames = int(rng.choice([54, 108, 108, 216]))
        frames = frames if frames in by_length else next(iter(by_length))
        size = arguments.batch if frames < 216 else arguments.batch // 2
        members = rng.choice(by_length[frames], size)
        at = rng.integers(0, [len(shards[m]["mel"]) for m in members])
        take = lambda name: np.stack([shards[m][name][i] for m, i in zip(members, at, strict=True)])
        scores = torch.from_numpy(take("scores"))
        heard_by_teachers = torch.from_numpy(take("representation"))
        who, below = take("who"), torch.from_numpy(take("below"))
        calm = int(size * arguments.calm_share)
        clean = torch.from_numpy(take("mel")).float() * 0.55 - 100
        loud = torch.from_numpy(take("clipped")).float() * 0.55 - 100
        driven = torch.from_numpy(rng.random((size, 1, 1)) < 0.25)
        spoilt = torch.from_numpy(rng.random((size, 1, 1)) < arguments.spoilt)
        spoilt[:calm] = True  # these are held against their clean selves
        heard_as = torch.where(spoilt, spoil(torch.where(driven, loud, clean)), clean)
        features = stem(torch.cat([heard_as, clean[:calm]]).numpy())

        with torch.autocast("cpu", torch.bfloat16):
            model.train()
            for block in audio.blocks:
                block.eval()  # batch norms keep their statistics
            representation = rest(audio, still, features)
            embedding = F.normalize(model.audio_projection(representation).float(), dim=-1)
            guess = heads(representation).float()[:size]
        heard, same = embedding[:size], embedding[size:]
        pick = [int(rng.integers(begins[i], begins[i + 1])) for i in range(521)]
        named = F.normalize(model.text_projection(phrase_features[pick]), dim=-1)

        columns, target = heard_texts(who, below, texts_of)
        asked = torch.stack([random.choice(written)[c] for c in columns])
        asked = F.normalize(model.text_projection(asked), dim=-1)
        near = plain[columns] @ plain[columns].T > NEAR
        scale = model.logit_scale.exp().clamp(max=arguments.max_scale)
        losses = {
            "captions": caption_loss(heard, asked, target, near, scale),
            "bank": bank_loss(heard, named, scores, bank_scale.exp().clamp(max=100)),
            "distil": F.mse_loss(guess, heard_by_teachers),
            "calm": calm_loss(heard[:calm], same),
            "relate": relate_loss(heard, heard_by_teachers),
        }
        loss = sum(w * part for w, part in zip(arguments.weights, losses.values(), strict=True))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], 5.0)
        optimiser.step(), schedule.step()
        decay = min(0.99, (1 + step) / (10 + step))
        with torch.no_grad():
            for n, p in model.named_parameters():
                if n in trained:
                    trained[n].lerp_(p, 1 - decay)
        if step % 25 == 0:
            line = {"step": step, **losses, "scale": scale, "bank_scale": bank_scale.exp()}
            line = {k: round(float(v), 4) for k, v in line.items()} | {
                "seconds": round(time.time() - begin, 1)
            }
            log.write(json.dumps(line) + "\n"), log.flush()
            print(line, flush=True)
        if (step + 1) % arguments.validate_every == 0 or step + 1 == arguments.steps:
            validate(step + 1)


if __name__ == "__main__":
    main()
