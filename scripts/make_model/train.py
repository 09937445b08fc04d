"""Trains the decoder on the corpus: packed rows, Muon for hidden matrices, AdamW for the rest.

The loss is on what the assistant says and, with a small weight, on what the user says: that
teaches words, and to look back, sooner.
"""

import random
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from . import corpus
from .model import Decoder
from .muon import Muon

# row length -> rows in a step: about 2048 tokens a step, long prompts in steps of their own
STEPS_OF = {512: 4, 1024: 2, 3072: 1}
# the assistant's tokens in an ordinary step; a step with fewer weighs less
OWN_TOKENS = 700
# what a token of the user counts, against 1 for one of the assistant's
USER_WEIGHT = 0.2


@dataclass(frozen=True)
class Recipe:
    """What a training run depends on, beside the code."""

    seed: int = 20261122
    tokens: int = 1_700_000
    rate: float = 5e-3
    matrix_rate: float = 0.02
    warm_up: int = 40
    decay_share: float = 0.35
    weight_decay: float = 0.1
    clip: float = 1.0
    threads: int = 1


@dataclass
class Row:
    """Packed conversations: ids, positions, number of the conversation, weight in the loss."""

    ids: list
    positions: list
    of: list
    weights: list


def pack(documents, length: int) -> Row:
    """One row of `length`; padding belongs to conversation -1."""
    row = Row([], [], [], [])
    for number, (ids, weights, positions) in enumerate(documents):
        row.ids += ids
        row.weights += weights
        row.positions += positions
        row.of += [number] * len(ids)
    short = length - len(row.ids)
    row.ids += [0] * short
    row.weights += [0.0] * short
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


def weights_of(ids, own, marker) -> list[float]:
    """The weight of each token in the loss: none for the system message and for the first token."""
    talk = ids.index(marker.end) + 1 if ids[: len(marker.system)] == marker.system else 0
    return [1.0 if mine else USER_WEIGHT * (0 < at >= talk) for at, mine in enumerate(own)]


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
        positions = positions_of(sample, ids, marker.end, voice.random)
        document = (ids, weights_of(ids, own, marker), positions)
        used = sum(len(d[0]) for d in open_rows[length])
        if used + len(ids) > length:
            full[length].append(pack(open_rows[length], length))
            open_rows[length] = []
        open_rows[length].append(document)
        if len(full[length]) == STEPS_OF[length]:
            yield length, full[length]
            full[length] = []


def loss_of(decoder: Decoder, rows) -> tuple[torch.Tensor, float, int]:
    """Weighted sum of cross-entropies; the assistant's plain sum, and how many tokens that is."""
    ids = torch.tensor([row.ids for row in rows])
    positions = torch.tensor([row.positions for row in rows])
    of = torch.tensor([row.of for row in rows])
    weights = torch.tensor([row.weights for row in rows])[:, 1:]
    length = ids.shape[1]
    same = of[:, None, :, None] == of[:, None, None, :]
    mask = same & torch.ones(length, length, dtype=torch.bool).tril()
    hidden = decoder.hidden(ids, positions, mask)
    chosen = weights > 0
    logits = decoder.logits(hidden[:, :-1][chosen])
    each = F.cross_entropy(logits, ids[:, 1:][chosen], reduction="none")
    own = weights[chosen] == 1
    return (each * weights[chosen]).sum(), each[own].sum().item(), int(own.sum())


def rate_at(recipe: Recipe, done: float, step: int) -> float:
    """Share of the full rate: warm-up, level, then linear decay to 2 % (`done`: tokens seen)."""
    warm = min(1.0, (step + 1) / recipe.warm_up)
    left = min(1.0, (1.0 - done) / recipe.decay_share)
    return warm * max(0.02, left)


def run(decoder: Decoder, voice, marker, recipe: Recipe, say, keep) -> list[dict]:
    """Trains in place; returns the loss curve. `keep` is called now and then, to save it."""
    hidden = [p for n, p in decoder.named_parameters() if p.dim() == 2 and "embed" not in n]
    others = [p for n, p in decoder.named_parameters() if p.dim() == 1 or "embed" in n]
    optimizers = [
        Muon(hidden, lr=recipe.matrix_rate, weight_decay=recipe.weight_decay),
        torch.optim.AdamW(others, lr=recipe.rate, betas=(0.9, 0.95), weight_decay=0.0)]
    for group in (g for o in optimizers for g in o.param_groups):
        group["full"] = group["lr"]
    seen, own, step, started = 0, 0, 0, time.monotonic()
    recent, curve = [], []
    for length, rows in batches(voice, marker):
        for group in (g for o in optimizers for g in o.param_groups):
            group["lr"] = group["full"] * rate_at(recipe, seen / recipe.tokens, step)
        loss, own_loss, count = loss_of(decoder, rows)
        decoder.zero_grad(set_to_none=True)
        (loss / OWN_TOKENS).backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), recipe.clip)
        for optimizer in optimizers:
            optimizer.step()
        seen, own, step = seen + length * len(rows), own + count, step + 1
        recent.append((own_loss, count))
        if step % 50 == 0 or seen >= recipe.tokens:
            spent = time.monotonic() - started
            curve.append({"step": step, "tokens": seen, "own_tokens": own,
                          "loss": sum(x for x, _ in recent) / sum(n for _, n in recent),
                          "seconds": round(spent)})
            say(f"step {step} tokens {seen} loss {curve[-1]['loss']:.3f} {seen / spent:.0f} tok/s")
            recent = []
        if step % 200 == 0:
            keep()
        if seen >= recipe.tokens:
            return curve
    return curve
