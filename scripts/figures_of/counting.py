"""Figures and how sure they are: Wilson intervals of shares, resampled intervals of means."""

import random
from dataclasses import dataclass

Z = 1.959964  # 95 % of a normal distribution lie within so many deviations
RESAMPLES = 400


@dataclass
class Figure:
    """One line of the table. `unit` is `share` or `nat`; `low` and `high` are its 95 % interval;
    `least` and `most` what is expected of it, `None` where nothing is."""

    row: str
    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str = "share"
    least: float | None = None
    most: float | None = None

    @property
    def state(self) -> str | None:
        """`ok`, `short`, or `over` where a range is left at its upper end."""
        if self.least is None and self.most is None:
            return None
        if self.value is None or self.least is not None and self.value < self.least:
            return "short"
        if self.most is not None and self.value > self.most:
            return "over" if self.least is not None else "short"
        return "ok"

    def record(self) -> dict:
        """As it stands in the JSON."""
        rounded = {key: value if value is None else round(value, 5) for key, value in
                   (("value", self.value), ("low", self.low), ("high", self.high))}
        return {"row": self.row, "name": self.name, **rounded, "n": self.n, "unit": self.unit,
                "least": self.least, "most": self.most, "state": self.state}


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    p, z2 = hits / n, Z * Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * (p * (1 - p) / n + z2 / (4 * n * n)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def share(row: str, name: str, hits, least=None, most=None) -> Figure:
    """The share of the hits that are true."""
    hits = [bool(hit) for hit in hits]
    if not hits:
        return Figure(row, name, None, None, None, 0, least=least, most=most)
    low, high = wilson(sum(hits), len(hits))
    return Figure(row, name, sum(hits) / len(hits), low, high, len(hits), least=least, most=most)


def resampled(groups: list[tuple[float, int]]) -> tuple[float, float, float]:
    """The mean over all members of groups (sum, members), and its 95 % interval by drawing whole
    groups again: the tokens of one reply are not independent."""
    def mean(drawn):
        members = sum(count for _, count in drawn)
        return sum(total for total, _ in drawn) / members if members else 0.0
    source = random.Random(1)
    means = sorted(mean(source.choices(groups, k=len(groups))) for _ in range(RESAMPLES))
    return mean(groups), means[int(RESAMPLES * 0.025)], means[int(RESAMPLES * 0.975) - 1]


def grouped(row: str, name: str, groups, unit: str, least=None, most=None) -> Figure:
    """A mean (or share) over the members of groups; n counts the members."""
    groups = [(total, count) for total, count in groups if count]
    if not groups:
        return Figure(row, name, None, None, None, 0, unit, least, most)
    value, low, high = resampled(groups)
    members = sum(count for _, count in groups)
    return Figure(row, name, value, low, high, members, unit, least, most)
