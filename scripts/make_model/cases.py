"""Cases for the figures: prompts of a split, and what tells whether a reply is right."""

from functools import partial

from . import corpus, styles, talk, tools
from . import judged as exchanges
from . import tasks as made
from .voice import Voice

# kinds of solved tasks in equal parts
SOLVED = ("arithmetic", "arithmetic", "comparison", "file", "file")


def prompt_of(voice, task) -> list[dict]:
    """A request for a task, as a first message."""
    system = corpus.bare_system(voice)
    return system + [{"role": "user", "content": corpus.opened(voice, task.ask)}]


def one_task(voice, kind: str) -> dict:
    """A task and what solves it."""
    if kind == "file":
        return one_call(voice)
    task = made.make(voice, kind)
    return {"kind": kind, "messages": prompt_of(voice, task), "tools": None,
            "solved": lambda message: task.solved(message.get("content") or "")}


def one_call(voice) -> dict:
    """A request for a tool: the call that it wants, and the answer behind the result."""
    task = tools.used(voice)
    return {"kind": "file", "messages": task.messages[:1], "tools": tools.kit(voice, 0, 0),
            "solved": task.solved_call, "solved_call": task.solved_call,
            "after": task.messages[1:3], "solved_answer": task.solved_answer}


def tasks(n: int, seed: int, split: str = "test") -> list[dict]:
    """Sums and differences, comparisons and file tasks."""
    voice = Voice(seed, split)
    return [one_task(voice, SOLVED[at % len(SOLVED)]) for at in range(n)]


def preference(persona: str, n: int, seed: int, split: str = "test") -> list[dict]:
    """First messages of a persona's kind of task, without a word on style."""
    voice = Voice(seed, split)
    kind = styles.PERSONAS[persona][0]
    return [{"messages": prompt_of(voice, made.make(voice, kind))} for _ in range(n)]


def hinted(persona: str, n: int, seed: int, split: str = "test") -> list[dict]:
    """The same with a hint that asks for what the persona wants."""
    voice, drawn = Voice(seed, split), []
    kind, dimension, value = styles.PERSONAS[persona]
    for _ in range(n):
        task = made.make(voice, kind)
        plain = prompt_of(voice, task)
        hint = styles.directive(voice, dimension, value, task.thing)
        last = {"role": "user", "content": styles.hinted(plain[-1]["content"], hint)}
        drawn.append({"messages": plain[:-1] + [last], "plain": plain, "hint": hint})
    return drawn


def judged(n: int, seed: int, split: str = "test") -> list:
    """Exchanges for the judge."""
    voice = Voice(seed, split)
    return [exchanges.exchange(voice) for _ in range(n)]


def calls(n: int, seed: int, split: str = "test") -> list[dict]:
    """Requests for tools."""
    voice = Voice(seed, split)
    return [one_call(voice) for _ in range(n)]


class Of:
    """The cases of one split, as `figures_of.measure` takes them."""

    def __init__(self, split: str):
        for maker in (tasks, preference, hinted, judged, calls, chat):
            setattr(self, maker.__name__, partial(maker, split=split))


def chat(n: int, seed: int, split: str = "test") -> list[dict]:
    """Small talk."""
    voice = Voice(seed, split)
    return [{"messages": talk.chat(voice)[:1]} for _ in range(n)]
