"""Puts conversations together: fresh, hinted, corrected, with tools, judged, inside agent prompts.

They come in families that share the beginning of their prompt (a judge's instructions, a kit of
tools, a long agent prompt): the trainer computes a shared beginning once.
"""

import json
from dataclasses import dataclass

from . import agent, judged, styles, talk, tasks, tools

# conversations of a step by kind: how many families, and how many conversations in one
FAMILIES = {
    "fresh": (6.5, 1), "hinted": (8, 1), "session": (5, 1), "drill": (5, 1), "chat": (1.5, 1),
    "unknown": (0.4, 1), "exact": (0.5, 1), "echo": (8, 1), "summary": (0.1, 1),
    "tools": (1, 6), "score": (0.56, 11), "hint": (0.5, 8), "agent": (0.12, 4),
}
# characters of generated instructions in an agent prompt, and how often
AGENT_SIZES = {300: 30, 1000: 35, 2500: 20, 6000: 10, 12_000: 5}
KINDS = {"arithmetic": 36, "comparison": 13, "grading": 20, "note": 20, "fact": 11}


@dataclass
class Sample:
    """A conversation whose last message is the assistant's. In place of `messages` a judge's has
    the exchange that the binary shows, what is asked of it, and the answer."""

    kind: str
    messages: list
    tools: list | None = None
    exchange: dict | None = None

    def line(self) -> str:
        """The example as `train --input` reads it."""
        example = {"messages": self.messages}
        if self.tools:
            example["tools"] = self.tools
        return json.dumps(example, ensure_ascii=False)


# the same for a course in open words: more of what is to be found and said again
OPEN = FAMILIES | {
    "fresh": (4.5, 1), "hinted": (5.5, 1), "session": (3.5, 1), "drill": (4, 1),
    "comparison": (1.5, 1), "tools": (1.5, 6), "score": (0.66, 12), "hint": (0.66, 9),
}
# the same with more of what a judge is asked, which is what a small model learns last
JUDGED = OPEN | {
    "fresh": (3.5, 1), "hinted": (4.5, 1), "session": (3, 1), "drill": (3.5, 1),
    "comparison": (2, 1), "echo": (6, 1), "tools": (1.3, 6), "score": (1, 12), "hint": (1, 9),
}
# the same where only the shares of styles are to be corrected: what shows them, and some of the rest
STEERING = {
    "fresh": (30, 1), "hinted": (7, 1), "session": (2, 1), "echo": (2, 1), "tools": (0.3, 6),
    "score": (0.12, 11), "hint": (0.1, 8),
}


def step(voice, mixture: dict | None = None) -> list[Sample]:
    """The conversations of about one optimizer step."""
    made = []
    for kind, (families, size) in (mixture or FAMILIES).items():
        count = int(families) + voice.chance(families % 1)
        for _ in range(count):
            made += family(voice, kind, size)
    return made


def echoes(voice, count: int) -> list[Sample]:
    """Nothing but words to be said again: what a course begins with. A small model that has
    learned to look back learns all the rest from it sooner; in the mixture it takes a thousand
    steps and more to find out."""
    return [sample for _ in range(count) for sample in family(voice, "echo")]


def family(voice, kind: str, size: int = 1) -> list[Sample]:
    """Conversations of one kind that begin alike where the kind has something to share."""
    if kind in ("score", "hint"):
        return [asked(voice, kind) for _ in range(size)]
    if kind == "tools":
        stray, more = voice.weighted({0: 70, 1: 20, 3: 10}), voice.weighted({0: 80, 2: 20})
        kit, system = tools.kit(voice, stray, more), bare_system(voice)
        return [Sample(kind, system + calls(voice), kit) for _ in range(size)]
    if kind == "agent":
        return in_agent(voice, size)
    makers = {"fresh": fresh, "hinted": hinted, "session": session, "drill": drill,
              "comparison": comparisons, "summary": talk.summary, "chat": talk.chat, "unknown": unknown, "exact": talk.exact,
              "echo": talk.echo}
    system = bare_system(voice) if kind in ("chat", "unknown", "exact", "echo") else []
    return [Sample(kind, system + makers[kind](voice)) for _ in range(size)]


def asked(voice, kind: str) -> Sample:
    """An exchange that a judge (`score`) or a finder of hints (`hint`) is asked about."""
    while True:
        case = judged.exchange(voice)
        # two of three exchanges hold no hint; the finder must see more of them
        if kind == "score" or case.hint or voice.chance(0.45):
            break
    answer = judged.verdict_text(case) if kind == "score" else judged.hint_text(case)
    return Sample(kind, [{"role": "assistant", "content": answer}], None, case.exchange)


def calls(voice) -> list[dict]:
    """One to three requests for tools, or a talk in between that needs none."""
    made = []
    for _ in range(voice.weighted({1: 60, 2: 28, 3: 12})):
        if voice.chance(0.12):
            made += voice.any([talk.chat, fresh])(voice)[-2:]
        else:
            made += tools.used(voice).messages
    return made


def unknown(voice) -> list[dict]:
    """A question from outside the small world, or one for tools that are not there."""
    return tools.without(voice) if voice.chance(0.25) else talk.unknown(voice)


def task_kind(voice) -> str:
    """A kind of task."""
    return voice.weighted(KINDS)


def bare_system(voice) -> list[dict]:
    """No system message, or one that asks for nothing."""
    if voice.chance(0.6):
        return []
    return [{"role": "system", "content": voice.say(talk.SYSTEMS)}]


def opened(voice, ask: str) -> str:
    """A request, at times with something friendly before it."""
    return ask if voice.chance(0.8) else voice.say(talk.OPENERS) + " " + ask


def fresh(voice) -> list[dict]:
    """A task without any word on style."""
    task = tasks.make(voice, task_kind(voice))
    reply = task.reply(styles.default(voice, task.kind))
    return bare_system(voice) + talk.turn(opened(voice, task.ask), reply)


def hinted(voice) -> list[dict]:
    """A task with one style asked for: as a hint, in the message, or in the system message."""
    task = tasks.make(voice, task_kind(voice))
    dimension, value = styles.choose(voice, task.kind)
    style = styles.default(voice, task.kind).with_value(dimension, value)
    hint = styles.directive(voice, dimension, value, task.thing)
    if voice.chance(0.15):
        hint = voice.say(styles.REFUSALS) + " " + hint
    elif voice.chance(0.1):
        hint += " " + voice.phrase(judged.heard.THANKS)
    place = voice.weighted({"hint": 64, "message": 20, "system": 16})
    system, ask = bare_system(voice), opened(voice, task.ask)
    if place == "hint":
        ask = styles.hinted(ask, hint)
    elif place == "message":
        ask = f"{ask} {hint}" if voice.chance(0.7) else f"{hint} {ask}"
    else:
        system = [{"role": "system", "content": voice.say(talk.SYSTEMS) + " " + hint}]
    return system + talk.turn(ask, task.reply(style))


def drill(voice) -> list[dict]:
    """Several calculations and comparisons, one after the other, in one form."""
    dimension, value = voice.any([("length", "bare"), ("form", "plain"), ("form", "bold"),
                                  ("form", "boxed"), ("length", "bare"), ("form", "numbered")])
    made = []
    for at in range(voice.number(3, 8)):
        task = tasks.make(voice, "comparison" if voice.chance(0.2) else "arithmetic")
        style = styles.default(voice, task.kind).with_value(dimension, value)
        wish = " " + styles.directive(voice, dimension, value, task.thing) if at == 0 else ""
        made += talk.turn(task.ask + wish, task.reply(style))
    return made


def comparisons(voice) -> list[dict]:
    """Several comparisons, one after the other."""
    made = []
    for _ in range(voice.number(3, 8)):
        task = tasks.make(voice, "comparison")
        made += talk.turn(task.ask, task.reply(styles.default(voice, task.kind)))
    return made


def session(voice) -> list[dict]:
    """Some turns with one user whose wish, once said, is remembered."""
    messages, kind = bare_system(voice), task_kind(voice)
    wish, previous = None, None
    for _ in range(voice.number(2, 4)):
        task = tasks.make(voice, voice.any([kind] * 3 + [task_kind(voice)]))
        ask = task.ask
        if previous and voice.chance(0.4):
            thanks = voice.phrase(judged.heard.THANKS)
            if voice.chance(0.4):
                messages += talk.turn(thanks, voice.any(talk.CHAT[4][1]))
            else:
                ask = f"{thanks} {ask}"
        elif not previous:
            ask = opened(voice, ask)
        style = styles.default(voice, task.kind)
        if wish and wish[0] == task.kind:
            style = style.with_value(wish[1], wish[2])
        messages += talk.turn(ask, task.reply(style))
        previous = task
        if voice.chance(0.45):
            wish = (task.kind, *correction(voice, style, task))
            text = styles.complaint(voice, wish[1], wish[2], task.thing)
            style = style.with_value(wish[1], wish[2])
            messages += talk.turn(text, task.reply(style))
    return messages


def correction(voice, style, task) -> tuple[str, str]:
    """A wish that the last reply did not meet."""
    while True:
        dimension, value = styles.choose(voice, task.kind)
        if getattr(style, dimension) != value:
            return dimension, value


def in_agent(voice, size: int) -> list[Sample]:
    """Ordinary exchanges inside one long prompt that has little to do with them."""
    r = voice.random
    chars = voice.weighted(AGENT_SIZES)
    kit = tools.kit(voice, voice.number(0, 1 + chars // 3000), chars // 2500)
    system = {"role": "system", "content": agent.instructions(r, chars)}
    stamped, made = voice.chance(0.7), []
    for _ in range(size):
        kind = voice.weighted({"task": 40, "tools": 35, "chat": 15, "exact": 10})
        if kind == "tools":
            messages = tools.used(voice).messages
        elif kind == "task":
            said = [m for m in session(voice) if m["role"] != "system"]
            messages = said[: 2 * voice.number(1, 3)]
        else:
            messages = {"chat": talk.chat, "exact": talk.exact}[kind](voice)
        made.append(Sample("agent", [system] + dressed(voice, messages, stamped), kit))
    return made


def dressed(voice, messages: list[dict], stamped: bool) -> list[dict]:
    """Messages with what an agent's client adds: stamps, facts about the machine, a context."""
    r, made, first = voice.random, [], True
    for at, message in enumerate(messages):
        if message["role"] == "user":
            text = (agent.stamp(r) if stamped else "") + message["content"]
            if first and voice.chance(0.5):
                text += "\n\n" + agent.runtime(r)
            made.append({"role": "user", "content": text})
            first = False
        else:
            made.append(message)
        is_last_ask = at + 2 == len(messages) and messages[at + 1]["role"] == "assistant"
        if is_last_ask and voice.chance(0.5):
            made.append({"role": "user", "content": context_block(r)})
    return made


def context_block(r) -> str:
    """Facts that an agent's client adds behind the last message; no answer is due to them."""
    lines = [f"{agent.phrase(r)}: {r.choice(['none', 'no', '0', agent.clause(r)])}"
             for _ in range(r.randint(1, 4))]
    body = "\n".join(lines)
    return f"<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\n{body}\n<<<END_OPENCLAW_INTERNAL_CONTEXT>>>"
