"""Labelled cases, and what the binary's judge says of them."""

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

NEEDED = ("id", "category", "language", "request", "reply", "next_state", "score", "hint_expected")


class Trouble(Exception):
    """What keeps from measuring, in a sentence."""


@dataclass
class Case:
    """One line of a file of cases (testdata/judge/README.md), and what was said of it."""

    id: str
    category: str
    language: str
    score: int
    hint_expected: bool
    exchange: dict
    must: list[re.Pattern]
    must_not: list[re.Pattern]
    said: int | None = None
    votes: list[int | None] = field(default_factory=list)
    reason: str = ""
    hint: str | None = None


def read(path: Path) -> list[Case]:
    """The cases of a file of JSON lines."""
    made = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            made.append(case_of(json.loads(line)))
        except (ValueError, TypeError, KeyError, re.error) as error:
            raise Trouble(f"{path}, line {number}: no case: {error!r}; "
                          f"see testdata/judge/README.md") from error
    if not made:
        raise Trouble(f"{path} holds no case")
    return made


def case_of(told: dict) -> Case:
    """A case of its JSON object."""
    if missing := [name for name in NEEDED if name not in told]:
        raise KeyError(", ".join(missing))
    if told["score"] not in (-1, 0, 1):
        raise ValueError(f"score {told['score']!r}")
    exchange = {"messages": told["request"], "reply": {"role": "assistant", **told["reply"]},
                "next_state": told["next_state"]}
    patterns = [[re.compile(pattern, re.IGNORECASE) for pattern in told.get(name, [])]
                for name in ("hint_must", "hint_must_not")]
    return Case(told["id"], told["category"], told["language"], told["score"],
                bool(told["hint_expected"]), exchange, *patterns)


def ask(binary: str, stage: str, cases: list[Case], flags: list[str]) -> list[dict]:
    """What the stage `score` or `hint` says of each case."""
    lines = "".join(json.dumps(case.exchange) + "\n" for case in cases)
    done = subprocess.run([binary, stage, "--exchanges", "-", *flags], input=lines,
                          encoding="utf-8", stdout=subprocess.PIPE, check=False)
    made = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(made) != len(cases):
        raise Trouble(f"`{binary} {stage} --exchanges -` said something of {len(made)} of "
                      f"{len(cases)} cases and ended with {done.returncode}")
    return made


def judge(binary: str, cases: list[Case], flags: list[str]) -> str:
    """Lets the judge score every case and look for a hint in it; the judge's name."""
    name = ""
    for case, told in zip(cases, ask(binary, "score", cases, flags), strict=True):
        case.said, case.reason, name = told["score"], told["reasoning"], told["judge"]
        case.votes = [vote["value"] for vote in told["votes"]]
    for case, told in zip(cases, ask(binary, "hint", cases, flags), strict=True):
        case.hint = told["hint"]
    return name
