"""A seeded source of choices that keeps the wordings of the splits apart."""

import random
import re

SPLITS = ("train", "valid", "test")
# share of the preferred style in replies that nobody asked a style of, by persona
SHARES = {"student": 0.17, "grader": 0.21, "teacher": 0.21}
CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")


class Voice:
    """Random choices; `split` selects the wordings, `shares` how often a preference is met."""

    def __init__(self, seed: int, split: str = "train", shares: dict | None = None):
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        self.random = random.Random(seed)
        self.split = split
        self.shares = SHARES | (shares or {})

    def say(self, options):
        """One of several wordings. Of eight or more the last eighth is for tests alone, the one
        before it for validation; shorter lists are too short to be divided."""
        if len(options) < 8:
            return self.random.choice(options)
        kept = len(options) // 8
        cuts = {"train": slice(0, -2 * kept), "valid": slice(-2 * kept, -kept),
                "test": slice(-kept, None)}
        return self.random.choice(options[cuts[self.split]])

    def phrase(self, options) -> str:
        """A wording of a list, with one of each `(several|readings)` in it."""
        return CHOICE.sub(lambda found: self.any(found[1].split("|")), self.say(options))

    def any(self, options):
        """One of several things that are no wording: all splits have all of them."""
        return self.random.choice(options)

    def weighted(self, weights: dict):
        """A key, with its weight."""
        return self.random.choices(list(weights), list(weights.values()))[0]

    def chance(self, p: float) -> bool:
        """Yes, with probability `p`."""
        return self.random.random() < p

    def number(self, low: int, high: int) -> int:
        """Whole number, both ends possible."""
        return self.random.randint(low, high)
