"""The rows that ask the judge: votes on a reply, and hints, with the prompts of the binary."""

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from . import counting, votes
from .bench import HINT, JUDGE, Bench
from .server import TEMPERATURE, Trouble

VOTES = 3
ROOT = Path(__file__).resolve().parents[2]


# ---- prompts

def binary(chosen: str | None) -> str:
    """The program: the one that is named, else the newest that was built here."""
    chosen = chosen or os.environ.get("OPENCLAW_RL")
    if chosen:
        if found := shutil.which(chosen):
            return found
        raise Trouble(f"{chosen} is no program: --binary (or OPENCLAW_RL) names openclaw-rl")
    places = [ROOT / "target" / kind / "openclaw-rl" for kind in ("release", "debug")]
    built = [path for path in places if path.exists()]
    if not built:
        raise Trouble(f"there is no openclaw-rl at {places[0]}: run `cargo build --release`, or name one with "
                      "OPENCLAW_RL")
    return str(max(built, key=lambda path: path.stat().st_mtime))


def prompts(stage: str, exchanges: list[dict], chosen: str | None) -> list[list[dict]]:
    """The messages that the stage `score` or `hint` would send for each exchange."""
    program = binary(chosen)
    lines = "".join(json.dumps(exchange) + "\n" for exchange in exchanges)
    done = subprocess.run([program, stage, "--print-prompts"], input=lines, encoding="utf-8",
                          capture_output=True, check=False)
    made = [line for line in done.stdout.split("\n") if line]
    if done.returncode != 0 or len(made) != len(exchanges):
        raise Trouble(f"`{program} {stage} --print-prompts` made {len(made)} prompts of "
                      f"{len(exchanges)} exchanges and ended with {done.returncode}: "
                      f"{done.stderr.strip()[-600:]}; is the binary of this checkout?")
    return [json.loads(line)["messages"] for line in made]


def texts(bench: Bench, stage: str) -> tuple[list, list[list[str]]]:
    """The judged cases, and the texts of their votes."""
    cases = bench.cases.judged(bench.sizes.judged, bench.seed)
    asked = prompts(stage, [case.exchange for case in cases], bench.binary)

    def one(job):
        at, messages = job
        return [bench.judge.chat(messages, temperature=TEMPERATURE, max_tokens=bench.judge_tokens,
                                 seed=bench.seed + at * VOTES + vote).text
                for vote in range(VOTES)]
    return cases, bench.each(stage, enumerate(asked), one)


# ---- figures

def score(bench: Bench) -> list[counting.Figure]:
    """Whether the majority is right; a case without a valid vote is wrong."""
    cases, told = texts(bench, "score")
    values = [[votes.boxed(text, (-1, 0, 1)) for text in three] for three in told]
    majorities = [votes.majority(three) for three in values]
    pairs = list(zip(cases, majorities, strict=True))
    singles = [(case, vote) for case, three in zip(cases, values, strict=True) for vote in three]
    table: Counter = Counter(f"{case.score} judged {got}" for case, got in pairs)
    bench.details["judge"] = {
        "confusion": dict(sorted(table.items())),
        "by_category": by_category(cases, [case.score == got for case, got in pairs]),
        "wrong": [wrong(case, three, got) for (case, got), three in zip(pairs, told, strict=True)
                  if case.score != got][:8]}
    return [
        counting.share(JUDGE, f"judge, {VOTES} votes: accuracy",
                       (case.score == got for case, got in pairs), least=0.95),
        counting.share(JUDGE, f"judge, {VOTES} votes: precision of -1",
                       (case.score == -1 for case, got in pairs if got == -1), least=0.95),
        counting.share(JUDGE, "recall of -1", (got == -1 for case, got in pairs
                                               if case.score == -1)),
        counting.share(JUDGE, "accuracy of one vote", (case.score == vote
                                                       for case, vote in singles)),
        counting.share(JUDGE, "votes without a valid box", (vote is None for _, vote in singles)),
    ]


def hint(bench: Bench) -> list[counting.Figure]:
    """Whether the hint that the stage would take is the user's wish, and none where there is
    none."""
    cases, told = texts(bench, "hint")
    got = [votes.accepted(three) for three in told]
    pairs = list(zip(cases, got, strict=True))
    said = [(case, found, right(case, found)) for case, found in pairs if case.hint]
    silent = [(case, found) for case, found in pairs if not case.hint]
    boxes = [votes.boxed(text, (-1, 1)) for three in told for text in three]
    bench.details["hint"] = {
        "by_category": by_category(cases, [right(case, found) if case.hint else found is None
                                           for case, found in pairs]),
        "wrong": [{"category": case.category, "hint": case.hint, "got": found}
                  for case, found, hit in said if not hit][:8],
        "invented": [{"category": case.category, "got": found} for case, found in silent
                     if found][:8]}
    return [
        counting.share(HINT, "hint right where the user said what to do",
                       (hit for _, _, hit in said), least=0.90),
        counting.share(HINT, "hint where there is none", (found is not None
                                                          for _, found in silent), most=0.05),
        counting.share(HINT, "a hint found where there is one", (found is not None
                                                                 for _, found, _ in said)),
        counting.share(HINT, "word for word", (found == " ".join(case.hint.split())
                                               for case, found, _ in said)),
        counting.share(HINT, "votes without a valid box", (box is None for box in boxes)),
    ]


def right(case, found: str | None) -> bool:
    """Whether a hint holds the user's wish: by the cases' own rule, else by its words."""
    if found is None:
        return False
    try:
        from make_model.judged import hint_right
    except ImportError:
        return votes.alike(case.hint, found)
    return bool(hint_right(case, found))


def by_category(cases, hits) -> dict:
    """Hits and cases of each category."""
    table: dict = {}
    for case, hit in zip(cases, hits, strict=True):
        counts = table.setdefault(case.category, {"right": 0, "n": 0})
        counts["right"] += bool(hit)
        counts["n"] += 1
    return dict(sorted(table.items()))


def wrong(case, three: list[str], got: int | None) -> dict:
    """A case that was judged wrongly, to be looked at."""
    next_state = [message.get("content") for message in case.exchange.get("next_state", [])]
    return {"category": case.category, "score": case.score, "got": got, "next_state": next_state,
            "votes": [text[-300:] for text in three]}
