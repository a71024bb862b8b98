"""Tune MiniLM on the embeddings of sounds that fit.py's audio tower gives (two CPU cores, ten
minutes).

    python experiments/compact/tune_text.py --fit runs/compact/fit --crops runs/compact/crops \
        --packed runs/compact/packed --ingredients runs/compact/ingredients --out
        runs/compact/tuned --steps 300

The sounds stand still, so that batches of a thousand of them cost nothing; only the text tower and
its projection move. Losses as in fit.py: captions, and the bank of phrases against the teacher's
scores.
"""

import argparse
import json
import math
import random
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from augment import spoil
from fit import TEMPLATES, Stem, load_shards, rest
from text_bank import (
    PHRASES,
    captions_of,
    embed_plainly,
    load_minilm,
    load_phrases,
    make_model,
    plain_features,
    read_fit,
)
from validate import embed, scores_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("fit", "crops", "packed", "ingredients", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=3e-5)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--phrases", type=int, default=521, help="labels a step")
    parser.add_argument("--mean-share", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "arguments.json").write_text(
        json.dumps(vars(arguments), default=str, indent=1)
    )
    random.seed(arguments.seed), torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    tokenizer, bert = load_minilm(arguments.ingredients)
    state = read_fit(arguments.fit / "fit.pt")
    model = make_model(bert, attention=any("audio.attention" in name for name in state))
    audio = model.audio
    model.load_state_dict(state)
    model.eval()
    stem = Stem(audio, 3)

    @torch.no_grad()
    def embed_mel(mel):
        with torch.autocast("cpu", torch.bfloat16):
            return F.normalize(model.audio_projection(rest(audio, 3, stem(mel))).float(), dim=-1)

    clips = json.loads((arguments.crops / "clips.json").read_text())
    texts_of = [captions_of(clip) for clip in clips]
    sounds, scores, who, below = [], [], [], []
    for shard in load_shards(arguments.crops, clips):
        for k in range(0, len(shard["mel"]), 128):
            mel = torch.from_numpy(shard["mel"][k : k + 128]).float() * 0.55 - 100
            sounds.append(embed_mel(spoil(mel).numpy()))
        share = arguments.mean_share
        scores.append(
            share * shard["mean"].astype(np.float32)
            + (1 - share) * shard["most"].astype(np.float32)
        )
        who.append(shard["who"]), below.append(shard["below"])
    sounds, scores = torch.cat(sounds), torch.from_numpy(np.concatenate(scores))
    who, below = np.concatenate(who), np.concatenate(below)
    print(len(sounds), "sounds", flush=True)
    packed = json.loads((arguments.packed / "clips.json").read_text())
    held = [clip for clip in packed if clip["split"] == "validation"]
    held_mel = np.load(arguments.packed / "mel.npy", mmap_mode="r")
    frozen = embed(embed_mel, held, held_mel)

    @torch.no_grad()
    def embed_texts(texts):
        return embed_plainly(model, bert, tokenizer, texts)

    def validate(step):
        bert.eval()
        model.eval()
        line = {"step": step} | scores_of(None, embed_texts, held, held_mel, sounds=frozen)
        print(arguments.out.name, {k: round(v, 4) for k, v in line.items()}, flush=True)
        with (arguments.out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def tokens(texts):
        encoded = tokenizer.encode_batch(texts)
        return torch.tensor([e.ids for e in encoded]), torch.tensor(
            [e.attention_mask for e in encoded]
        )

    every = sorted({text for texts in texts_of for text in texts})
    plain = F.normalize(plain_features(bert, tokenizer, every), dim=-1)
    place = {text: i for i, text in enumerate(every)}
    phrases = load_phrases(PHRASES)
    for parameter in model.audio.parameters():
        parameter.requires_grad_(False)
    for parameter in bert.embeddings.parameters():
        parameter.requires_grad_(True)
    moving = [p for n, p in model.named_parameters() if n.startswith(("text.", "text_projection"))]
    optimiser = torch.optim.AdamW(
        [
            {"params": list(model.text.parameters()), "lr": arguments.rate},
            {"params": list(model.text_projection.parameters()), "lr": 5 * arguments.rate},
        ],
        weight_decay=0.01,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda s: (
            min(1, (s + 1) / 30) * (0.02 + 0.49 * (1 + math.cos(math.pi * s / arguments.steps)))
        ),
    )
    validate(0)
    begin = time.time()
    for step in range(arguments.steps):
        model.text.train(), model.text_projection.train()
        some = torch.from_numpy(rng.integers(0, len(sounds), arguments.batch))
        heard, target_scores = sounds[some], scores[some]
        labels = sorted(rng.choice(521, arguments.phrases, replace=False).tolist())
        with torch.autocast("cpu", torch.bfloat16):
            named = model.embed_text(*tokens([random.choice(phrases[i]) for i in labels])).float()
        part = target_scores[:, labels]
        logits = 20.0 * heard @ named.T
        sure = (part.amax(1) * 2).clamp(max=1.0)
        loss = (
            -(part / part.sum(1, keepdim=True).clamp(min=1e-3) * F.log_softmax(logits, 1)).sum(1)
            * sure
        ).mean()
        strong = part * (part > 0.1)
        found = strong.sum(0) > 0.3
        share = strong / strong.sum(0, keepdim=True).clamp(min=1e-3)
        loss = loss + 0.5 * (-(share * F.log_softmax(logits, 0)).sum(0))[found].mean()
        # captions of the first 192 of them
        weights = {}
        few = some[:192].numpy()
        for i, k in enumerate(few):
            a, b = who[k]
            weights.setdefault(random.choice(texts_of[a]), {})[i] = 1.0
            if b >= 0 and below[k] < 10:
                column = weights.setdefault(random.choice(texts_of[b]), {})
                column[i] = max(column.get(i, 0.0), 1 / (1 + math.exp(-(6.0 - below[k]) / 3)))
        columns = list(weights)
        target = torch.zeros(len(few), len(columns))
        for j, text in enumerate(columns):
            for i, w in weights[text].items():
                target[i, j] = w
        with torch.autocast("cpu", torch.bfloat16):
            asked = model.embed_text(
                *tokens([random.choice(TEMPLATES).format(t) for t in columns])
            ).float()
        at = [place[t] for t in columns]
        near = ((target > 0).float() @ ((plain[at] @ plain[at].T) > 0.8).float() > 0) & (
            target == 0
        )
        logits = (model.logit_scale.exp().detach() * heard[:192] @ asked.T).masked_fill(near, -1e4)
        loss = loss + 0.5 * F.cross_entropy(logits, target / target.sum(1, keepdim=True))
        loss = loss + 0.5 * F.cross_entropy(logits.T, (target / target.sum(0, keepdim=True)).T)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(moving, 1.0)
        optimiser.step(), schedule.step()
        if step % 20 == 0:
            print(step, round(loss.item(), 4), f"{time.time() - begin:.0f} s", flush=True)
        if (step + 1) % 100 == 0 or step + 1 == arguments.steps:
            validate(step + 1)
            torch.save(model.state_dict(), arguments.out / "fit.pt")
            if (arguments.fit / "heads.pt").exists():  # unpack.py has none
                shutil.copy(arguments.fit / "heads.pt", arguments.out / "heads.pt")


if __name__ == "__main__":
    main()
