"""Steers how often a persona's preference is met by chance: measure, change the shares, train on.

A share is what the corpus holds of the preferred style where nobody asked for one. At temperature
T a choice between two tokens has 1/T times the log-odds, so that is how a share is corrected.
"""

import math
import sys
from pathlib import Path

from . import cases, corpus, learning
from .styles import PERSONAS
from .voice import SHARES, Voice

TEMPERATURE = 0.6
# the rate that is aimed at, and what ends the steering
AIM, LOW, HIGH = 0.095, 0.08, 0.11
ROUNDS_MAX = 5
STEPS = 80
RATE = 2e-4
# replies per persona that a round is measured on, and prompts of the validation split
REPLIES = 600
# a share is kept within these
SHARE_MIN, SHARE_MAX = 0.02, 0.6


def figures_of(url: str, binary: Path, n: int, seed: int, **more) -> dict:
    """The table of scripts/figures."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from figures_of import measure
    return measure(url, n=n, seed=seed, binary=str(binary), **more)


def run(binary: Path, home: Path, model: Path, work: Path, seed: int, rounds_max: int,
        course: learning.Course) -> list:
    """Rounds of training until every rate is within bounds; each round's rates and shares."""
    shares, rounds = dict(SHARES), []
    for number in range(rounds_max + 1):
        met = rates(binary, home, model, work, seed + number)
        rounds.append({"met": met, "shares": dict(shares)})
        print(f"round {number}: met {met}, shares {shares}", flush=True)
        if all(LOW <= rate <= HIGH for rate in met.values()) or number == rounds_max:
            return rounds
        for persona, rate in met.items():
            if not LOW <= rate <= HIGH:
                shares[persona] = corrected(shares[persona], rate)
        examples = work / f"steering{number}.jsonl"
        learning.write_corpus(examples, Voice(seed + number, shares=shares, open=course.open), STEPS, binary,
                              mixture=corpus.STEERING)
        learning.train(binary, home, model, examples,
                       {"learning-rate": RATE, "schedule": "constant",
                        "loss-aggregation": course.mean})
    return rounds


def rates(binary: Path, home: Path, model: Path, work: Path, seed: int) -> dict:
    """How often each preference is met at T 0.6 by the newest version, on validation prompts."""
    directory = learning.export(binary, home, model, work / "steered")
    with learning.served(binary, directory, work) as url:
        measured = figures_of(url, binary, 2 * REPLIES, seed, only=["preference"],
                              cases=cases.Of("valid"))
    from figures_of import table
    return {persona: round(table.value(measured, "preference", persona), 4) for persona in PERSONAS}


def corrected(share: float, rate: float) -> float:
    """The share that should bring a measured rate to the aim."""
    odds = math.log(share / (1 - share))
    odds += TEMPERATURE * (logit(AIM) - logit(min(max(rate, 0.005), 0.995)))
    return round(min(max(1 / (1 + math.exp(-odds)), SHARE_MIN), SHARE_MAX), 4)


def logit(p: float) -> float:
    """Log-odds."""
    return math.log(p / (1 - p))
