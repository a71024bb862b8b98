"""Train the compact model's towers on log-mels, captions and a teacher's scores (a GPU, ten minutes).

    python experiments/compact/train.py --data runs/compact/packed --out runs/compact/run --steps 3000

Losses, all in the one space of sounds and sentences:
  captions   symmetric cross-entropy (Deshmukh et al. 2022, eq. 3-4); equal texts are positives, like texts no negatives
  bank       each clip against one phrase of each of the teacher's labels; target: the teacher's scores
  distil     linear heads on the representation guess YAMNet's and aiSFX's own representations
  calm       two differently spoilt versions of a sound find one another
"""

import argparse
import json
import math
import random
import time
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from augment import crop, spoil
from validate import scores_of
from wavtext.training.compact import (
    DECIBELS_PER_UNIT,
    CompactAudioEncoder,
    CompactClap,
    SentenceEncoder,
)

TEMPLATES = ("{}", "{}", "{}", "{}", "the sound of {}", "{} sound", "sound of {}", "a recording of {}")
LENGTHS = (54, 108, 216)  # frames: 1.25, 2.5, 5 s


class Data:
    """Packed clips on the device."""

    def __init__(self, folder: Path, device: str) -> None:
        self.clips = json.loads((folder / "clips.json").read_text())
        self.mel = torch.from_numpy(np.load(folder / "mel.npy")).to(device)  # (frames, 72) uint8
        self.scores = torch.from_numpy(np.load(folder / "scores.npy")).to(device)  # (patches, 521) uint8
        self.middle = torch.from_numpy(np.load(folder / "middles.npy")).to(device)  # (patches, 256) int8
        self.of = {
            split: [i for i, clip in enumerate(self.clips) if clip["split"] == split]
            for split in ("train", "validation", "test", "demo")
        }


class AisfxTeacher(nn.Module):
    """aiSFX as published, on the 72 lowest of its 96 bands: (batch, frames, 72) units -> (batch, 512)."""

    def __init__(self, weights) -> None:
        super().__init__()
        net = CompactAudioEncoder(attention=False)
        net.load_aisfx(weights)
        net.conv_block1.conv1.stride = (1, 1)
        self.net = net.eval().requires_grad_(False)

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        x = F.pad(units.unsqueeze(1), (0, 24))
        for block in (self.net.conv_block1, self.net.conv_block2, self.net.conv_block3):
            x = F.max_pool2d(block(x), 2)
        return self.net.conv_block4(x).mean(3).amax(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ingredients", type=Path, required=True, help="aisfx.pt, minilm/, phrases.tsv")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--no-attention", action="store_true")
    parser.add_argument("--weight-captions", type=float, default=1.0)
    parser.add_argument("--weight-bank", type=float, default=1.0)
    parser.add_argument("--weight-distil", type=float, default=1.0)
    parser.add_argument("--weight-calm", type=float, default=0.3)
    parser.add_argument("--text-rate", type=float, default=3e-5)
    parser.add_argument("--audio-rate", type=float, default=4e-4)
    parser.add_argument("--mix", type=float, default=0.25)
    parser.add_argument("--mean-share", type=float, default=0.5, help="of mean against max over patches")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--validate-every", type=int, default=1000)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "arguments.json").write_text(json.dumps(vars(arguments), default=str, indent=1))
    random.seed(arguments.seed), torch.manual_seed(arguments.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    device = arguments.device

    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    tokenizer = Tokenizer.from_file(str(arguments.ingredients / "tokenizer.json"))
    tokenizer.enable_truncation(64), tokenizer.enable_padding()
    bert_config = BertConfig(**json.loads((arguments.ingredients / "config.json").read_text()))
    weights = torch.load(arguments.ingredients / "minilm.pt", weights_only=True)
    bert = BertModel(bert_config, add_pooling_layer=False)
    bert.load_state_dict({k: v.float() for k, v in weights.items()})
    frozen = SentenceEncoder(BertModel(bert_config, add_pooling_layer=False)).to(device).eval()
    frozen.bert.load_state_dict(bert.state_dict())
    aisfx = torch.load(arguments.ingredients / "aisfx.pt", weights_only=True)
    aisfx = {k: v.float() for k, v in aisfx.items()}
    audio = CompactAudioEncoder(attention=not arguments.no_attention)
    audio.load_aisfx(aisfx)
    model = CompactClap(audio, SentenceEncoder(bert), dim=arguments.dim).to(device)
    teacher = AisfxTeacher(aisfx).to(device)
    heads = nn.ModuleDict(
        {"yamnet": nn.Linear(audio.dim, 256), "aisfx": nn.Linear(audio.dim, 512)}
    ).to(device)
    bank_scale = nn.Parameter(torch.tensor(math.log(20.0), device=device))

    data = Data(arguments.data, device)
    bank = [line.rstrip("\n").split("\t") for line in (arguments.ingredients / "phrases.tsv").open()]
    bank = {int(row[0]): [p.strip() for p in row[2].split("|") if p.strip()] for row in bank}
    phrases = [bank[i] for i in range(521)]

    def tokens(texts):
        encoded = tokenizer.encode_batch([text.lower() for text in texts])
        ids = torch.tensor([e.ids for e in encoded], device=device)
        return ids, torch.tensor([e.attention_mask for e in encoded], device=device)

    texts_of = [captions_of(clip) for clip in data.clips]
    every = sorted({text for texts in texts_of for text in texts})
    place = {text: i for i, text in enumerate(every)}
    with torch.no_grad(), torch.autocast(device, torch.bfloat16):
        plain = torch.cat(
            [F.normalize(frozen(*tokens(every[i : i + 512])).float(), dim=-1) for i in range(0, len(every), 512)]
        )  # (texts, 384): what the untrained sentence encoder thinks alike

    slow = {id(p) for p in model.text.parameters()}
    conv = {id(p) for p in audio.parameters()} - {id(p) for p in audio.attention.parameters()}
    rest = [p for p in [*model.parameters(), *heads.parameters(), bank_scale] if id(p) not in slow | conv]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if id(p) in slow], "lr": arguments.text_rate},
            {"params": [p for p in model.parameters() if id(p) in conv], "lr": arguments.audio_rate},
            {"params": rest, "lr": 1e-3},
        ],
        weight_decay=0.02,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min(1.0, (step + 1) / 200)
        * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / arguments.steps)))),
    )
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    train = data.of["train"]
    weight = torch.tensor([min(4.0, max(1.0, data.clips[i]["duration"] / 4)) for i in train])
    generator = torch.Generator().manual_seed(arguments.seed)
    log = (arguments.out / "log.jsonl").open("w")
    begin = time.time()
    for step in range(arguments.steps):
        chosen = [train[i] for i in torch.multinomial(weight, arguments.batch, generator=generator).tolist()]
        frames = LENGTHS[2] if step % 4 < 2 else LENGTHS[1] if step % 4 == 2 else LENGTHS[0]
        clean, scores, middle, known = crop(data, chosen, frames, generator, arguments.mean_share)
        captions = [random.choice(texts_of[i]) for i in chosen]
        texts = [random.choice(TEMPLATES).format(text) for text in captions]
        mixed = clean
        if random.random() < 2 * arguments.mix:  # half of the clips get another one under them
            other = torch.randperm(arguments.batch, device=device)
            below = torch.rand(arguments.batch, 1, 1, device=device) * 18 - 3  # dB under the first
            some = torch.rand(arguments.batch, device=device) < 0.5
            below[~some] = 200.0
            peak = clean.amax((1, 2), keepdim=True)
            under = clean[other] - peak[other] + peak - below
            mixed = 10 * torch.log10(10 ** (clean / 10) + 10 ** (under / 10))
            share = torch.sigmoid((10.0 - below[:, 0]) / 3)  # (batch, 1): how far the second is heard
            scores = torch.maximum(scores, scores[other] * share)
            joined = some & (below[:, 0, 0] < 8)
            partner = other.tolist()
            for i in joined.nonzero()[:, 0].tolist():
                word = random.choice((" and ", " with ", " while ", ", "))
                texts[i] = f"{captions[i]}{word}{captions[partner[i]]}"
            alone = ~some
        else:
            alone = torch.ones(arguments.batch, dtype=torch.bool, device=device)
        one, two = spoil(mixed, known), spoil(mixed, known)

        with torch.autocast(device, torch.bfloat16):
            model.train()
            representation = model.audio(torch.cat([one, two]))
            embedding = model.audio_projection(representation).float()
            asked = model.embed_text(*tokens(texts)).float()
            named = model.embed_text(*tokens([random.choice(p) for p in phrases])).float()
            with torch.no_grad():
                loudest = clean.amax((1, 2), keepdim=True)
                units = (0.8 + (clean - loudest) / DECIBELS_PER_UNIT).clamp(0, 1)
                sfx = teacher(units).float()
            guess = heads["yamnet"](representation[: arguments.batch]).float()
            guess_sfx = heads["aisfx"](representation[: arguments.batch]).float()

        # captions
        scale = model.logit_scale.exp().clamp(max=100)
        index = torch.tensor([place[text] for text in captions], device=device)
        alike = plain[index] @ plain[index].T  # (batch, batch)
        same = (index[:, None] == index[None]).float()
        near = (alike > 0.8) & (same == 0)
        caption_loss = 0.0
        for half in embedding.chunk(2):
            logits = (scale * half @ asked.T).masked_fill(near, -1e4)
            target = same / same.sum(1, keepdim=True)
            caption_loss += 0.25 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
        # bank
        logits = bank_scale.exp().clamp(max=100) * embedding @ named.T  # (2 batch, 521)
        target = scores / scores.sum(1, keepdim=True).clamp(min=1e-3)
        sure = scores.amax(1).clamp(max=0.5) * 2
        per_clip = -(target.repeat(2, 1) * F.log_softmax(logits, 1)).sum(1)
        bank_loss = (per_clip * sure.repeat(2)).mean()
        column = scores * (scores > 0.1)
        heard = column.sum(0) > 0.5
        down = column / column.sum(0, keepdim=True).clamp(min=1e-3)
        per_label = -(down * F.log_softmax(logits[: arguments.batch], 0)).sum(0)
        bank_loss = bank_loss + 0.5 * per_label[heard].mean()
        # distillation (of unmixed sounds only)
        distil = ((guess - middle) ** 2).mean(1)
        distil_sfx = 1 - F.cosine_similarity(guess_sfx, sfx)
        distil_loss = (distil * alone).sum() / alone.sum() + 2 * (distil_sfx * alone).sum() / alone.sum()
        # calm
        a, b = embedding.chunk(2)
        ours = 20 * a @ b.T
        number = torch.arange(arguments.batch, device=device)
        twin = torch.tensor(chosen, device=device)
        ours = ours.masked_fill((twin[:, None] == twin[None]) & ~torch.eye(len(twin), dtype=torch.bool, device=device), -1e4)
        calm_loss = 0.5 * (F.cross_entropy(ours, number) + F.cross_entropy(ours.T, number)) + 4 * (
            1 - (a * b).sum(1)
        ).mean()
        loss = (
            arguments.weight_captions * caption_loss
            + arguments.weight_bank * bank_loss
            + arguments.weight_distil * distil_loss
            + arguments.weight_calm * calm_loss
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], 5.0)
        optimiser.step(), schedule.step()
        average.update_parameters(model)
        if step % 50 == 0:
            line = {
                "step": step,
                "loss": loss.item(),
                "captions": caption_loss.item(),
                "bank": bank_loss.item(),
                "yamnet": distil.mean().item(),
                "aisfx": distil_sfx.mean().item(),
                "calm": calm_loss.item(),
                "same": (a * b).sum(1).mean().item(),
                "scale": scale.item(),
                "seconds": time.time() - begin,
            }
            log.write(json.dumps(line) + "\n"), log.flush()
            if step % 200 == 0:
                print({k: round(v, 3) for k, v in line.items()}, flush=True)
        if (step + 1) % arguments.validate_every == 0 or step + 1 == arguments.steps:
            line = {"step": step + 1} | scores_of(average.module.eval(), data, "validation", tokens)
            log.write(json.dumps(line) + "\n"), log.flush()
            print(arguments.out.name, {k: round(v, 4) for k, v in line.items()}, flush=True)
            save(average.module, arguments.out)


def captions_of(clip) -> list[str]:
    """The texts that may stand for a clip: its title, its description, both."""
    title, description = clip["title"].strip(), clip.get("description", "").strip()
    if not description or description.lower() == title.lower():
        return [title]
    return [title, title, description, f"{title}. {description}"]


def save(model: CompactClap, out: Path) -> None:
    """Half-precision weights in files that travel: audio, text."""
    state = {k: v.half().cpu() for k, v in model.state_dict().items()}
    text = {k: v for k, v in state.items() if k.startswith("text.bert")}
    torch.save({k: v for k, v in state.items() if k not in text}, out / "audio.pt")
    torch.save({k: v.clone() for k, v in text.items() if "word_embeddings" in k}, out / "words.pt")
    other = {k: v.clone() for k, v in text.items() if "word_embeddings" not in k}
    names = sorted(other)
    torch.save({k: other[k] for k in names[: len(names) // 2]}, out / "text1.pt")
    torch.save({k: other[k] for k in names[len(names) // 2 :]}, out / "text2.pt")


if __name__ == "__main__":
    main()
