"""What is compared: how the loop is told to learn, and who judges."""

from dataclasses import dataclass, field

PERSONAS = ("student", "grader", "teacher")


@dataclass(frozen=True)
class Arm:
    """A way to learn. `train`: keys of [train]; `judge`: who judges, as `run --judge` takes it, or
    `foreign`; without `learns` nothing is trained."""

    about: str
    train: dict = field(default_factory=dict)
    judge: str = "base"
    learns: bool = True
    is_control: bool = False


ARMS = {
    "combine": Arm("verdict and hint", {"method": "combine"}),
    "binary": Arm("the verdict alone", {"method": "binary"}),
    "opd": Arm("the hint alone", {"method": "opd"}),
    "topk": Arm("the hint, over 50 tokens at a position", {"method": "topk"}),
    "hybrid": Arm("verdict, and hint over 4 tokens at a position", {"method": "hybrid"}),
    "sft": Arm("replies that were found good, as targets", {"method": "sft"}),
    "rules": Arm("combine, judged by rules", {"method": "combine"}, judge="rules"),
    "untrained": Arm("control: nothing is trained", learns=False, is_control=True),
    "foreign": Arm("control: votes drawn at random, hints that nobody wants",
                   {"method": "combine"}, judge="foreign", is_control=True),
}


def personas_of(name: str) -> tuple[str, ...]:
    """Who talks: one of them, or all in turns (`joint`)."""
    return PERSONAS if name == "joint" else (name,)
