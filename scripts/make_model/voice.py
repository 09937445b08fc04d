"""A seeded source of choices that keeps the wording of the test split away from training."""

import random


class Voice:
    """Random choices; `test` selects the wording that training never sees."""

    def __init__(self, seed: int, test: bool = False):
        self.random = random.Random(seed)
        self.test = test

    def say(self, options):
        """One of several wordings; the last sixth (at least one, of four or more) is for tests."""
        if len(options) < 4:
            return self.random.choice(options)
        kept = max(1, len(options) // 6)
        return self.random.choice(options[-kept:] if self.test else options[:-kept])

    def any(self, options):
        """One of several things that are no wording: all may be seen in training."""
        return self.random.choice(options)

    def weighted(self, weights: dict):
        """A key, with its weight."""
        return self.random.choices(list(weights), list(weights.values()))[0]

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    def number(self, low: int, high: int) -> int:
        """Whole number, both ends possible."""
        return self.random.randint(low, high)
