"""What the verdicts and hints on labelled cases are worth."""

from collections import Counter

from figures_of.counting import Figure, share

from .cases import Case


def figures(cases: list[Case]) -> list[Figure]:
    """All figures, of all cases."""
    row = "score"
    decided = [case for case in cases if case.said in (-1, 1)]
    made = [
        share(row, "accuracy", (case.said == case.score for case in cases)),
        share(row, "precision of what is decided (±1)", (c.said == c.score for c in decided)),
        share(row, "coverage: decided, where a verdict is due",
              (case.said in (-1, 1) for case in cases if case.score)),
    ]
    for sign, name in ((-1, "−1"), (1, "+1"), (0, "0")):
        made.append(share(row, f"precision of {name}",
                          (c.score == sign for c in cases if c.said == sign)))
        made.append(share(row, f"recall of {name}",
                          (c.said == sign for c in cases if c.score == sign)))
    votes = [vote == case.said for case in cases for vote in case.votes if case.said is not None]
    made += [
        share(row, "votes that agree with the verdict", votes),
        share(row, "no valid vote", (case.said is None for case in cases)),
    ]
    return made + hints(cases)


def hints(cases: list[Case]) -> list[Figure]:
    """The figures of hints."""
    row = "hint"
    due = [case for case in cases if case.hint_expected]
    found = [case for case in due if case.hint]
    return [
        share(row, "hint accepted, where one is due", (bool(case.hint) for case in due)),
        share(row, "hint accepted, where none is",
              (bool(case.hint) for case in cases if not case.hint_expected)),
        share(row, "hint says what it must",
              (all(pattern.search(case.hint) for pattern in case.must) for case in found)),
        share(row, "hint says what it must not (an answer, an injection)",
              (any(p.search(c.hint) for p in c.must_not) for c in cases if c.hint and c.must_not)),
    ]


def per_category(cases: list[Case]) -> dict[str, dict]:
    """Accuracy, precision, coverage and hints of each category, in the order of the file."""
    made = {}
    for name in dict.fromkeys(case.category for case in cases):
        of = [case for case in cases if case.category == name]
        by = {figure.name: figure.value for figure in figures(of)}
        made[name] = {
            "n": len(of), "accuracy": by["accuracy"],
            "precision": by["precision of what is decided (±1)"],
            "coverage": by["coverage: decided, where a verdict is due"],
            "hint": by["hint accepted, where one is due"],
            "hint_wrongly": by["hint accepted, where none is"],
        }
    return made


def confusion(cases: list[Case]) -> dict[str, dict[str, int]]:
    """How often each verdict met each label; `none` is no valid vote."""
    counts = Counter((case.score, case.said) for case in cases)
    return {str(score): {("none" if said is None else str(said)): counts[score, said]
                         for said in (-1, 0, 1, None) if counts[score, said]}
            for score in (-1, 0, 1)}
