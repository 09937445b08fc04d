"""Trains the decoder on the corpus: packed rows, loss on what the assistant says, AdamW."""

import random
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from . import corpus
from .model import Decoder

# row length -> rows in a step: about 4096 tokens a step, long prompts in steps of their own
STEPS_OF = {512: 8, 1024: 4, 3072: 1}
# the assistant's tokens in an ordinary step; a step with fewer weighs less
OWN_TOKENS = 900


@dataclass(frozen=True)
class Recipe:
    """What a training run depends on, beside the code."""

    seed: int = 20261122
    tokens: int = 3_200_000
    rate: float = 3e-3
    warm_up: int = 40
    decay_share: float = 0.35
    weight_decay: float = 0.1
    clip: float = 1.0
    threads: int = 1


@dataclass
class Row:
    """Packed conversations: ids, positions, number of the conversation, what is the assistant's."""

    ids: list
    positions: list
    of: list
    own: list


def pack(documents, length: int) -> Row:
    """One row of `length`; padding belongs to conversation -1."""
    row = Row([], [], [], [])
    for number, (ids, own, positions) in enumerate(documents):
        row.ids += ids
        row.own += own
        row.positions += positions
        row.of += [number] * len(ids)
    short = length - len(row.ids)
    row.ids += [0] * short
    row.own += [False] * short
    row.positions += [0] * short
    row.of += [-1] * short
    return row


def positions_of(sample, ids, end: int, r: random.Random) -> list[int]:
    """0, 1, 2 …; in agent prompts half the time with a leap behind the system message, as if
    more text stood there: distances of a real agent's prompt at the cost of a short one."""
    if sample.kind not in ("agent", "tools") or r.random() < 0.5:
        return list(range(len(ids)))
    cut = ids.index(end) + 1
    leap = r.randint(0, 16_000)
    return list(range(cut)) + [at + leap for at in range(cut, len(ids))]


def batches(voice, marker):
    """Batches (row length, rows) without end, in the order in which they fill."""
    open_rows = {length: [] for length in STEPS_OF}
    full = {length: [] for length in STEPS_OF}
    while True:
        sample = corpus.sample(voice)
        ids, own = marker.encode(sample)
        fitting = [length for length in STEPS_OF if len(ids) <= length]
        if not fitting:
            continue
        length = fitting[0]
        document = (ids, own, positions_of(sample, ids, marker.end, voice.random))
        used = sum(len(d[0]) for d in open_rows[length])
        if used + len(ids) > length:
            full[length].append(pack(open_rows[length], length))
            open_rows[length] = []
        open_rows[length].append(document)
        if len(full[length]) == STEPS_OF[length]:
            yield length, full[length]
            full[length] = []


def loss_of(decoder: Decoder, rows) -> tuple[torch.Tensor, int]:
    """Summed cross-entropy of the assistant's tokens, and how many they are."""
    ids = torch.tensor([row.ids for row in rows])
    positions = torch.tensor([row.positions for row in rows])
    of = torch.tensor([row.of for row in rows])
    own = torch.tensor([row.own for row in rows])
    time_ = ids.shape[1]
    same = of[:, None, :, None] == of[:, None, None, :]
    mask = same & torch.ones(time_, time_, dtype=torch.bool).tril()
    hidden = decoder.hidden(ids, positions, mask)
    chosen = own[:, 1:]
    logits = decoder.logits(hidden[:, :-1][chosen])
    return F.cross_entropy(logits, ids[:, 1:][chosen], reduction="sum"), int(chosen.sum())


def rate_at(recipe: Recipe, done: float, step: int) -> float:
    """Warm-up, level, then linear decay to 2 % (`done` is the share of tokens seen)."""
    warm = min(1.0, (step + 1) / recipe.warm_up)
    left = min(1.0, (1.0 - done) / recipe.decay_share)
    return recipe.rate * warm * max(0.02, left)


def run(decoder: Decoder, voice, marker, recipe: Recipe, say, keep) -> list[dict]:
    """Trains in place; returns the loss curve. `keep` is called now and then, to save it."""
    matrices = [p for p in decoder.parameters() if p.dim() == 2]
    vectors = [p for p in decoder.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": recipe.weight_decay},
         {"params": vectors, "weight_decay": 0.0}], lr=recipe.rate, betas=(0.9, 0.95))
    seen, own, step, started = 0, 0, 0, time.monotonic()
    recent, curve = [], []
    for length, rows in batches(voice, marker):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(recipe, seen / recipe.tokens, step)
        loss, count = loss_of(decoder, rows)
        optimizer.zero_grad(set_to_none=True)
        (loss / OWN_TOKENS).backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), recipe.clip)
        optimizer.step()
        seen, own, step = seen + length * len(rows), own + count, step + 1
        recent.append((loss.item(), count))
        if step % 50 == 0 or seen >= recipe.tokens:
            spent = time.monotonic() - started
            curve.append({"step": step, "tokens": seen, "own_tokens": own,
                          "loss": sum(x for x, _ in recent) / sum(n for _, n in recent),
                          "seconds": round(spent)})
            say(f"step {step} tokens {seen} loss {curve[-1]['loss']:.3f} {seen / spent:.0f} tok/s")
            recent = []
        if step % 150 == 0:
            keep()
        if seen >= recipe.tokens:
            return curve
    return curve
