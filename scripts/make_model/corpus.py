"""Puts conversations together: fresh, hinted, corrected, with tools, judged, inside agent prompts."""

from dataclasses import dataclass, field

from . import agent, styles, talk, tasks, tools

MIXTURE = {
    "fresh": 16, "hinted": 18, "session": 28, "chat": 6, "unknown": 3, "exact": 3, "tools": 8,
    "judge": 11, "summary": 2, "agent": 2,
}
# characters of generated instructions in an agent prompt, and how often
AGENT_SIZES = {300: 45, 1000: 35, 2500: 15, 6000: 4, 8500: 1}


@dataclass
class Sample:
    """A conversation. `wanted` is set where one style was asked for: task and style, for checks."""

    kind: str
    messages: list
    tools: list | None = None
    wanted: tuple | None = field(default=None, repr=False)


def sample(voice, kind: str | None = None) -> Sample:
    """One conversation of the mixture, or of one kind."""
    kind = kind or voice.weighted(MIXTURE)
    if kind == "tools":
        size, stray = voice.weighted({0: 85, 1: 15}), voice.weighted({0: 85, 1: 15})
        messages = bare_system(voice) + [m for _ in range(voice.number(1, 3))
                                         for m in tools.used(voice)]
        return Sample(kind, messages, tools.kit(voice, stray, size))
    if kind == "agent":
        return in_agent(voice)
    if kind in ("fresh", "hinted"):
        return {"fresh": fresh, "hinted": hinted}[kind](voice)
    makers = {"session": session, "judge": talk.judged, "summary": talk.summary}
    if kind in makers:
        return Sample(kind, makers[kind](voice))
    single = {"chat": talk.chat, "unknown": talk.unknown, "exact": talk.exact}[kind]
    if kind == "unknown" and voice.chance(0.25):
        single = tools.without
    return Sample(kind, bare_system(voice) + single(voice))


def task_kind(voice) -> str:
    return voice.weighted({"arithmetic": 46, "fact": 22, "grading": 16, "note": 16})


def bare_system(voice) -> list[dict]:
    """No system message, or one that asks for nothing."""
    if voice.chance(0.5):
        return []
    return [{"role": "system", "content": voice.say(talk.SYSTEMS)}]


def fresh(voice) -> Sample:
    """A task without any word on style."""
    task = tasks.make(voice, task_kind(voice))
    style = styles.default(voice, task.kind)
    ask = task.ask if voice.chance(0.8) else voice.say(talk.OPENERS) + " " + task.ask
    return Sample("fresh", bare_system(voice) + talk.turn(ask, task.reply(style)), None, (task, style))


def hinted(voice) -> Sample:
    """A task with one style asked for: as a hint, in the message, or in the system message."""
    task = tasks.make(voice, task_kind(voice))
    dimension, value = styles.choose(voice, task.kind)
    style = styles.default(voice, task.kind).with_value(dimension, value)
    if dimension == "form" and style.length == "bare":
        style = style.with_value("length", "short")
    hint = styles.directive(voice, dimension, value, task.thing)
    if voice.chance(0.15):
        hint = voice.say(styles.REFUSALS) + " " + hint
    place = voice.weighted({"hint": 60, "message": 20, "system": 20})
    system, ask = bare_system(voice), task.ask
    if place == "hint":
        ask = styles.hinted(ask, hint)
    elif place == "message":
        ask = f"{ask} {hint}" if voice.chance(0.7) else f"{hint} {ask}"
    else:
        system = [{"role": "system", "content": voice.say(talk.SYSTEMS) + " " + hint}]
    messages = system + talk.turn(ask, task.reply(style))
    return Sample("hinted", messages, None, (task, style, dimension, value))


def session(voice) -> list[dict]:
    """Some turns with one user whose wish, once said, is remembered."""
    messages, kind = bare_system(voice), task_kind(voice)
    wish, previous = None, None
    for _ in range(voice.number(2, 5)):
        kinds = [kind] * 3 + [task_kind(voice)]
        task = tasks.make(voice, voice.any(kinds))
        ask = task.ask
        if previous and voice.chance(0.5):
            thanks = voice.say(talk.CHAT[4][0])
            if voice.chance(0.4):
                messages += talk.turn(thanks, voice.any(talk.CHAT[4][1]))
            else:
                ask = f"{thanks} {ask}"
        elif not previous and voice.chance(0.2):
            ask = voice.say(talk.OPENERS) + " " + ask
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


def in_agent(voice) -> Sample:
    """An ordinary exchange inside a long prompt that has little to do with it."""
    r = voice.random
    size = voice.weighted(AGENT_SIZES)
    kit = tools.kit(voice, voice.number(0, 1 + size // 3000), size // 2500)
    kind = voice.weighted({"task": 40, "tools": 30, "chat": 15, "exact": 15})
    if kind == "tools":
        messages = tools.used(voice)
    elif kind == "task":
        messages = [m for m in session(voice) if m["role"] != "system"][: 2 * voice.number(1, 3)]
    else:
        messages = {"chat": talk.chat, "exact": talk.exact}[kind](voice)
    stamped, first = voice.chance(0.7), True
    made = [{"role": "system", "content": agent.instructions(r, size)}]
    for at, message in enumerate(messages):
        if message["role"] == "user":
            text = (agent.stamp(r) if stamped else "") + message["content"]
            if first and voice.chance(0.5):
                text += "\n\n" + agent.runtime(r)
            made.append({"role": "user", "content": text})
            first = False
        else:
            made.append(message)
        last_ask = at + 1 < len(messages) and messages[at + 1]["role"] == "assistant"
        if last_ask and at + 2 >= len(messages) and voice.chance(0.5):
            made.append({"role": "user", "content": context_block(r)})
    return Sample("agent", made, kit)


def context_block(r) -> str:
    """Facts that an agent's client adds behind the last message; no answer is due to them."""
    lines = [f"{agent.phrase(r)}: {r.choice(['none', 'no', '0', agent.clause(r)])}"
             for _ in range(r.randint(1, 4))]
    body = "\n".join(lines)
    return f"<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\n{body}\n<<<END_OPENCLAW_INTERNAL_CONTEXT>>>"
