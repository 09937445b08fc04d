"""The command line of judge_eval."""

import argparse
import json
import sys
from pathlib import Path

from figures_of import table
from figures_of.judging import binary
from figures_of.server import Trouble as NoBinary

from . import cases, figures

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "testdata" / "judge" / "frozen.jsonl"
# flags that are handed on to score and hint
HANDED_ON = ("judge_model", "judge_key_file", "votes", "judge_temperature", "judge_tokens",
             "concurrency", "tries", "timeout_s")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="judge_eval", description="The figures of a judge on labelled cases.",
        epilog="Exit status: 0 measured, 1 not measured, 2 the command was wrong.")
    parser.add_argument("judge", metavar="rules|URL", help="as `score --judge` takes it")
    parser.add_argument("--cases", type=Path, default=CASES, metavar="FILE",
                        help="labelled cases, one JSON object a line (default: those that no rule "
                        "and no prompt was written by)")
    parser.add_argument("--category", nargs="+", metavar="NAME", help="cases of these alone")
    parser.add_argument("--wrong", action="store_true", help="print the cases that went wrong")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict there")
    parser.add_argument("--binary", help="openclaw-rl")
    for name in HANDED_ON:
        parser.add_argument("--" + name.replace("_", "-"), metavar="…",
                            help="as of `openclaw-rl score`")
    return parser.parse_args()


def main() -> int:
    chosen = arguments()
    flags = ["--judge", chosen.judge]
    for name in HANDED_ON:
        if (value := getattr(chosen, name)) is not None:
            flags += ["--" + name.replace("_", "-"), value]
    try:
        labelled = cases.read(chosen.cases)
        if chosen.category:
            labelled = [case for case in labelled if case.category in chosen.category]
        if not labelled:
            raise cases.Trouble(f"{chosen.cases} holds no case of these categories")
        name = cases.judge(binary(chosen.binary), labelled, flags)
    except (cases.Trouble, NoBinary, OSError) as trouble:
        print(f"judge_eval: {trouble}", file=sys.stderr)
        return 1
    if chosen.json:
        verdicts = [{"id": c.id, "score": c.score, "said": c.said, "votes": c.votes,
                     "reason": c.reason, "hint_expected": c.hint_expected, "hint": c.hint}
                    for c in labelled]
        chosen.json.write_text(json.dumps(verdicts, indent=1, ensure_ascii=False) + "\n")
    if chosen.wrong:
        tell_wrong(labelled)
    tell(name, chosen.cases, labelled)
    return 0


def tell_wrong(labelled: list[cases.Case]) -> None:
    """Prints what went wrong."""
    for case in labelled:
        if case.said == case.score and bool(case.hint) == case.hint_expected:
            continue
        next_state = " | ".join(f"[{m['role']}] {m['content']}" for m in
                                case.exchange["next_state"])
        print(f"{case.id}: {case.said} for {case.score}, hint {case.hint!r} for "
              f"{case.hint_expected}: {case.reason[:200]}\n    {next_state[:400]}")


def tell(name: str, path: Path, labelled: list[cases.Case]) -> None:
    """Prints the tables and the last line."""
    made = figures.figures(labelled)
    print(f"{name} on {len(labelled)} cases of {path.name}")
    print(table.text({"figures": [one.record() for one in made], "problems": {}}))
    by_category = figures.per_category(labelled)
    print(f"\n{'category':26}{'n':>4}{'accuracy':>10}{'precision':>11}{'coverage':>10}"
          f"{'hint':>8}{'wrongly':>9}")
    for category, of in by_category.items():
        shares = [percent(of[key]) for key in
                  ("accuracy", "precision", "coverage", "hint", "hint_wrongly")]
        print(f"{category:26}{of['n']:>4}{shares[0]:>10}{shares[1]:>11}{shares[2]:>10}"
              f"{shares[3]:>8}{shares[4]:>9}")
    value = {one.name: one.value for one in made}
    print(json.dumps({
        "judge": name, "cases": path.name, "n": len(labelled), "accuracy": value["accuracy"],
        "precision": value["precision of what is decided (±1)"],
        "coverage": value["coverage: decided, where a verdict is due"],
        "precision_negative": value["precision of −1"], "recall_negative": value["recall of −1"],
        "precision_positive": value["precision of +1"], "recall_positive": value["recall of +1"],
        "agreement": value["votes that agree with the verdict"],
        "failed": value["no valid vote"],
        "hint_accepted": value["hint accepted, where one is due"],
        "hint_wrongly": value["hint accepted, where none is"],
        "hint_must": value["hint says what it must"],
        "hint_must_not": value["hint says what it must not (an answer, an injection)"],
        "confusion": figures.confusion(labelled), "per_category": by_category,
    }, ensure_ascii=False))


def percent(value: float | None) -> str:
    """A share, or a dash."""
    return "–" if value is None else f"{100 * value:.0f} %"


if __name__ == "__main__":
    sys.exit(main())
