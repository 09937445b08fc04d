"""What a judge's texts say: the same rules as `src/judge/votes.rs` and `src/judge/mod.rs`."""

import re
import string

HINT_CHARS_MIN = 10
VALUES = {"1": 1, "+1": 1, "-1": -1, "\u22121": -1, "0": 0}
BOX = "\\boxed{"
HINT_START, HINT_END = "[HINT_START]", "[HINT_END]"


def boxed(text: str, allowed) -> int | None:
    """The value of the last valid box of a text."""
    while (at := text.rfind(BOX)) >= 0:
        inner, closed, _ = text[at + len(BOX) :].partition("}")
        value = VALUES.get(inner.strip()) if closed else None
        if value is not None and value in allowed:
            return value
        text = text[:at]
    return None


def majority(votes) -> int | None:
    """The value that most valid votes name; 0 on a tie, `None` without a valid vote."""
    valid = [vote for vote in votes if vote is not None]
    if not valid:
        return None
    counts = {value: valid.count(value) for value in set(valid)}
    winners = [value for value, count in counts.items() if count == max(counts.values())]
    return winners[0] if len(winners) == 1 else 0


def hint_of(text: str) -> str | None:
    """What stands between the last complete pair of hint marks."""
    end = text.rfind(HINT_END)
    start = text[:end].rfind(HINT_START) if end >= 0 else -1
    if start < 0:
        return None
    return " ".join(text[start + len(HINT_START) : end].split()) or None


def accepted(texts) -> str | None:
    """The hint that the hint stage takes: the longest of the votes for one."""
    hints = [hint_of(text) for text in texts if boxed(text, (-1, 1)) == 1]
    hints = [hint for hint in hints if hint and len(hint) > HINT_CHARS_MIN]
    return max(hints, key=len, default=None)


def words(text: str) -> list[str]:
    """The words of a text without case and punctuation."""
    kept = re.sub(f"[{re.escape(string.punctuation)}’‘“”]", " ", text.lower())
    return kept.split()


def alike(expected: str, got: str) -> bool:
    """Whether two hints are the same wish: the same words, or one holds the other in a piece that
    makes up at least 80 % of its words."""
    short, long = sorted((words(expected), words(got)), key=len)
    if not short or len(short) < 0.8 * len(long):
        return False
    places = range(len(long) - len(short) + 1)
    return any(long[at : at + len(short)] == short for at in places)
