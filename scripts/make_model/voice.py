"""A seeded source of choices that keeps the wordings of the splits apart."""

import random
import re
from functools import cache
from pathlib import Path

from . import lexicon as lex

SPLITS = ("train", "valid", "test")
# share of the preferred style in replies that nobody asked a style of, by persona
SHARES = {"student": 0.17, "grader": 0.21, "teacher": 0.21}
CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")


# wordings that stand beside the lists of the code, a file for each list and split
BESIDES = Path(__file__).parent / "wordings"


class Wordings(list):
    """Wordings that the splits divide, with the name under which more of them stand in files."""

    def __init__(self, lines, name: str):
        super().__init__(lines)
        self.name = name


@cache
def besides(name: str, split: str) -> list:
    """What a file says besides a list; `|||` stands between a gripe and its cure."""
    file = BESIDES / f"{name.replace(' ', '_')}.{split}.txt"
    if not file.exists():
        return []
    return [tuple(line.split(" ||| ")) if "|||" in line else line
            for line in file.read_text(encoding="utf-8").splitlines()]


class Voice:
    """Random choices; `split` selects the wordings, `shares` how often a preference is met; `open`
    is the share of places where it puts words that stand in no list. An open voice of the training
    split also says the wordings that stand in files."""

    def __init__(self, seed: int, split: str = "train", shares: dict | None = None,
                 open: float = 0.0):
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        self.random = random.Random(seed)
        self.split = split
        self.shares = SHARES | (shares or {})
        self.open = open

    def say(self, options, name: str = ""):
        """One of several wordings. Of eight or more the last eighth is for tests alone, the one
        before it for validation; shorter lists are too short to be divided. Those in files come
        besides, in training only where the voice is open."""
        if len(options) < 8:
            return self.random.choice(options)
        kept = len(options) // 8
        cuts = {"train": slice(0, -2 * kept), "valid": slice(-2 * kept, -kept),
                "test": slice(-kept, None)}
        own, more = options[cuts[self.split]], []
        if self.open or self.split != "train":
            more = besides(name or getattr(options, "name", ""), self.split)
        at = self.random.randrange(len(own) + len(more))
        return own[at] if at < len(own) else more[at - len(own)]

    def phrase(self, options) -> str:
        """A wording of a list, with one of each `(several|readings)` in it."""
        return CHOICE.sub(lambda found: self.any(found[1].split("|")), self.say(options))

    def any(self, options):
        """One of several things that are no wording: all splits have all of them."""
        return self.random.choice(options)

    def opens(self, share: float = 1.0) -> bool:
        """Whether something of its own making stands here, which only an open voice does."""
        return bool(self.open) and self.chance(self.open * share)

    def term(self, options):
        """One of several words, or one that nobody ever said."""
        return lex.invented(self.random) if self.opens() else self.any(options)

    def weighted(self, weights: dict):
        """A key, with its weight."""
        return self.random.choices(list(weights), list(weights.values()))[0]

    def chance(self, p: float) -> bool:
        """Yes, with probability `p`."""
        return self.random.random() < p

    def number(self, low: int, high: int) -> int:
        """Whole number, both ends possible."""
        return self.random.randint(low, high)
