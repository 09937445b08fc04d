"""Exchanges of the small world with the verdict and the hint that a judge should give.

Evidence is what came after the reply, never whether the reply is right. What users and tools say
stands in reactions.py. `python3 -m make_model.judged --check` tells what is drawn, and whether the
wordings of the splits are apart.
"""

import itertools
import re
import statistics
import sys
from collections import Counter
from dataclasses import dataclass, field, replace

from . import agent
from . import lexicon as lex
from . import reactions as heard
from . import styles, tasks, tools, wishes
from .voice import Voice, besides

# how often each kind of exchange is drawn
CATEGORIES = {
    "new task": 50, "unrelated remark": 6, "continuation": 5,
    "thanks": 7, "praise": 7, "thanks and next task": 4, "moving on": 6, "good sign": 1,
    "directive": 22, "remedy": 6, "complaint": 9, "redo": 6, "rephrase": 3, "correction": 5,
    "mixed": 4, "irony": 2, "bad sign": 1,
    "tool success": 5, "tool error": 6, "outside error": 5, "several tools": 2,
    "tool and user": 5, "regenerated": 3, "injection": 6, "other language": 3,
}

# what the judge says: score, reason, reason of the finder of hints
VERDICTS = {
    "new": (0, "The user turns to something else.", "The user turns to something else."),
    "remark": (0, "The user says nothing about the reply.",
               "The user says nothing about the reply."),
    "continue": (0, "The user only asks to go on.", "The user only asks to go on."),
    "thanks": (1, "The user thanks for the reply.", "The user is content with the reply."),
    "praise": (1, "The user says that the reply is good.", "The user is content with the reply."),
    "thanks and next": (1, "The user thanks and moves on.", "The user is content with the reply."),
    "moving": (1, "The user says that it is good and moves on.",
               "The user is content with the reply."),
    "good sign": (1, "The user gives a sign of praise.", "The user is content with the reply."),
    "directive": (-1, "The user says how it should be done.",
                  "The user says how it should be done."),
    "complaint": (-1, "The user is not content with the reply.",
                  "The user does not say how it should be done."),
    "redo": (-1, "The user wants it done again.", "The user does not say how it should be done."),
    "rephrase": (-1, "The user asks for the same thing again.",
                 "The user does not say how it should be done."),
    "correction": (-1, "The user corrects the answer.",
                   "The user corrects the answer and names no other way."),
    "mixed": (-1, "The user likes a part but not the whole.",
              "The user does not say how it should be done."),
    "irony": (-1, "The user praises it but does not mean it.",
              "The user does not say how it should be done."),
    "bad sign": (-1, "The user gives a sign of displeasure.",
                 "The user does not say how it should be done."),
    "success": (1, "The call did what was wanted.", "The call did what was wanted."),
    "caused": (-1, "The call failed because {}.", "The error names no other way to work."),
    "outside": (0, "Nobody could foresee that {}.", "The error was not the fault of the reply."),
    "replaced": (-1, "The user went on with another reply.",
                 "The user does not say how it should be done."),
}

NAMES = """Ana Ben Carla David Emma Felix Grace Hugo Ines Jonas Kim Lena Marco Nora Oscar Paula
Quinn Rosa Sam Tina Uma Viktor Wendy Yusuf Zoe""".split()
KINDS = {"arithmetic": 30, "comparison": 12, "grading": 18, "note": 20, "fact": 20}
CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
# words whose meaning does not depend on what they stand beside
GLUE = set("a an and as at but by can for from i in is it me now of on one or so that the there "
           "this to was what with you".split())
FAILURE = re.compile(r"error|fail|denied|not found|no such|timeout|cannot", re.IGNORECASE)
LONG_CHARS_MAX = 2500


@dataclass(frozen=True)
class Judged:
    """An exchange and what should be said of it; `said`: the wordings of the reaction."""

    exchange: dict
    category: str
    score: int
    reason: str
    hint: str | None
    hint_reason: str
    said: tuple[str, ...] = ()


@dataclass
class Scene:
    """What stands before a reaction. `ask` is the request's text, `task` absent where tools are."""

    messages: list[dict]
    reply: dict
    ask: str
    task: tasks.Task | None = None
    shown: str = ""


@dataclass
class Reaction:
    """What came next. `detail` fills the reason's place; `hint` is the user's words."""

    verdict: str
    next_state: list[dict]
    hint: str | None = None
    detail: str = ""
    said: list[str] = field(default_factory=list)
    regenerated: dict | None = None


def verdict_text(judged: Judged) -> str:
    """What a judge answers."""
    return f"{judged.reason}\n\\boxed{{{judged.score}}}"


def hint_text(judged: Judged) -> str:
    """What a finder of hints answers."""
    if judged.hint is None:
        return f"{judged.hint_reason}\n\\boxed{{-1}}"
    return f"{judged.hint_reason}\n\\boxed{{1}}\n[HINT_START]{judged.hint}[HINT_END]"


def hint_right(judged: Judged, hint: str | None) -> bool:
    """Whether a found hint is the expected one, up to a few words."""
    if judged.hint is None or not hint:
        return judged.hint is None and not hint
    expected, found = words_of(judged.hint), words_of(hint)
    if expected == found:
        return True
    common = sum((Counter(expected) & Counter(found)).values())
    return common >= 0.85 * len(expected) and len(found) <= 1.5 * len(expected)


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("’", "'"))


def exchange(voice, category: str | None = None) -> Judged:
    """An exchange of a category, drawn where none is named."""
    category = category or voice.weighted(CATEGORIES)
    scene, reaction = MAKERS[category](voice)
    score, reason, hint_reason = VERDICTS[reaction.verdict]
    made = {"messages": scene.messages, "reply": scene.reply, "next_state": reaction.next_state}
    if reaction.regenerated:
        made["regenerated"] = reaction.regenerated
    made["nonce"] = voice.number(0, 2**32 - 1)
    return Judged(made, category, score, reason.format(reaction.detail), reaction.hint, hint_reason,
                  tuple(reaction.said))


# ------------------------------------------------------------------------------------- scenes


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict:
    return {"role": "assistant", "content": text}


def scene_of(voice) -> Scene:
    """A request and a reply in words, at times after tools were used."""
    if voice.chance(0.15):
        return answered(voice)
    task = tasks.make(voice, voice.weighted(KINDS))
    style = a_style(voice, task.kind)
    shown = wrong(voice, task, style) if voice.chance(0.25) else task.reply(style)
    return Scene(before(voice) + [user(task.ask)], assistant(shown), task.ask, task, shown)


def task_scene(voice, kinds: list[str]) -> Scene:
    """A scene whose task is of one of these kinds."""
    while True:
        scene = scene_of(voice)
        if scene.task and scene.task.kind in kinds:
            return scene


def a_style(voice, kind: str) -> styles.Style:
    """Mostly the usual style of this kind of task, else any."""
    style = styles.default(voice, kind)
    if voice.chance(0.4):
        dimension, value = styles.choose(voice, kind)
        style = style.with_value(dimension, value)
    return style


def wrong(voice, task: tasks.Task, style: styles.Style) -> str:
    """A reply to the task that is not right, mostly by another number."""
    text = task.reply(style)
    if task.answer.isdigit():
        near = max(0, int(task.answer) + voice.any([-10, -2, -1, 1, 2, 3, 10]))
        changed = re.sub(rf"(?<!\d){task.answer}(?!\d)", str(near), text)
        if changed != text:
            return changed
    return tasks.make(voice, task.kind).reply(style)


def before(voice) -> list[dict]:
    """A system message and earlier exchanges, or neither."""
    made = []
    if voice.chance(0.02):
        long = agent.instructions(voice.random, voice.number(300, LONG_CHARS_MAX - 1000))
        made.append({"role": "system", "content": long[:LONG_CHARS_MAX]})
    elif voice.chance(0.25):
        made.append({"role": "system", "content": voice.any(heard.SYSTEMS)})
    if voice.chance(0.25):
        for _ in range(voice.weighted({1: 70, 2: 20, 3: 10})):
            made += earlier(voice)
    return made


def earlier(voice) -> list[dict]:
    """An exchange that is over, with what the user said of it."""
    task = tasks.make(voice, voice.weighted(KINDS))
    made = [user(task.ask), assistant(task.reply(styles.default(voice, task.kind)))]
    if voice.chance(0.2):
        made += [user(one(voice, heard.THANKS)), assistant("You are welcome!")]
    elif voice.chance(0.3):
        said = voice.any([one(voice, heard.COMPLAINTS), wish(voice, task)])
        made += [user(said), assistant(task.reply(a_style(voice, task.kind)))]
    return made


def answered(voice) -> Scene:
    """A request, a call, its result, and the answer, which is what is judged."""
    messages = list(tools.used(voice).messages)
    start = next(at for at, m in enumerate(messages) if m["role"] == "user")
    end = max(at for at, m in enumerate(messages) if m["role"] == "assistant")
    ask = messages[start]["content"]
    return Scene(before(voice) + messages[start:end], messages[end], ask, None,
                 messages[end]["content"] or "")


def called(voice, count: int = 1) -> tuple[Scene, list[dict], list[str]]:
    """A request and a reply that calls tools, the calls, and results as the world gives them."""
    asks, calls, results = [], [], []
    while len(calls) < count:
        messages = tools.used(voice).messages
        at = next(at for at, m in enumerate(messages) if m.get("tool_calls"))
        function = messages[at]["tool_calls"][0]["function"]
        asks.append(next(m["content"] for m in messages if m["role"] == "user"))
        calls.append({"id": f"call_{len(calls)}", "type": "function", "function": function})
        results.append(messages[at + 1]["content"])
    reply = {"role": "assistant", "content": None, "tool_calls": calls}
    ask = " Then: ".join(asks) if voice.chance(0.5) else "\n".join(asks)
    return Scene(before(voice) + [user(ask)], reply, ask), calls, results


# ------------------------------------------------------------------------------------- wordings


def fill(voice, text: str) -> str:
    """One reading of a line with choices."""
    return CHOICE.sub(lambda found: voice.any(found[1].split("|")), text)


def one(voice, lines: list[str], **places) -> str:
    """A wording of a list, its places filled."""
    return put(fill(voice, voice.say(lines)), **places)


def put(text: str, **places) -> str:
    """Fills places; other braces stay."""
    for name, value in places.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def typed(voice, parts: list[tuple[str, str]]) -> tuple[str, str | None]:
    """What a user types: parts of kind said, task or hint, with small noise. And the hint in it."""
    noise = voice.weighted({"": 70, "lower": 8, "first": 8, "open": 9, "!": 5})
    made = []
    for at, (kind, text) in enumerate(parts):
        if kind != "task":
            text = without_one(text, voice) if voice.opens(0.5) else text
            if noise == "lower":
                text = text.lower()
            if noise == "first" and at == 0 and text[1:2] != " ":
                text = text[0].lower() + text[1:]
            if at == len(parts) - 1 and text.endswith(".") and not text.endswith(".."):
                text = text[:-1] + {"open": "", "!": "!"}.get(noise, ".")
        made.append((kind, text))
    glue = "\n" if parts[-1][0] == "task" and voice.chance(0.1) else " "
    hint = " ".join(text for kind, text in made if kind == "hint")
    return glue.join(text for _, text in made), hint or None


def without_one(text: str, voice) -> str:
    """A text in haste: without one of its small words, if there are any between the others."""
    parts = text.split(" ")
    small = [at for at, part in enumerate(parts[1:-1], 1) if part in GLUE]
    if small:
        del parts[voice.any(small)]
    return " ".join(parts)


def reacts(voice, verdict: str, *parts: tuple[str, str], detail: str = "") -> Reaction:
    """A reaction in one message of the user."""
    text, hint = typed(voice, list(parts))
    said = [part for kind, part in parts if kind != "task"]
    return Reaction(verdict, [user(text)], hint, detail, said)


def said(text: str) -> tuple[str, str]:
    return "said", text


def wish(voice, task: tasks.Task | None) -> str:
    """A sentence that says how it should be done."""
    if task is None or voice.chance(0.4):
        do = wishes.free(voice) if voice.opens() else one(voice, heard.WISHES)
        return one(voice, heard.FRAMES, do=do, Do=do[0].upper() + do[1:])
    dimension, value = styles.choose(voice, task.kind)
    return styles.directive(voice, dimension, value, task.thing)


def things(voice) -> dict:
    """Names, things and numbers for the places of a line."""
    def thing():
        noun = voice.any(lex.NOUNS)
        return voice.any([agent.phrase(voice.random), noun, "the " + noun, "a " + noun])
    number = voice.number(2, 12)
    return {"x": thing(), "y": thing(), "w": voice.any(NAMES), "n": number, "m": number * 2 + 1,
            "p": agent.plural(voice.any(lex.NOUNS))}


def fresh_ask(voice, scene: Scene) -> str:
    """A task that is not the one before: often of the same kind."""
    while True:
        kind = voice.weighted({"same": 28, "task": 28, "tool": 12, "other": 20, "styled": 12})
        if kind in ("same", "task"):
            same = scene.task and kind == "same"
            ask = tasks.make(voice, scene.task.kind if same else voice.weighted(KINDS)).ask
        elif kind == "tool":
            ask = next(m["content"] for m in tools.used(voice).messages if m["role"] == "user")
        else:
            inner = tasks.make(voice, voice.weighted(KINDS)).ask
            lines = heard.OTHER_TASKS if kind == "other" else heard.STYLED_TASKS
            ask = one(voice, lines, ask=inner, **things(voice))
        if ask != scene.ask:
            return ask


# --------------------------------------------------------------------------------- user reactions


def new_task(voice, scene: Scene) -> Reaction:
    parts = [("task", fresh_ask(voice, scene))]
    if voice.chance(0.35):
        parts.insert(0, said(one(voice, heard.OPENERS)))
    return reacts(voice, "new", *parts)


def remark(voice, scene: Scene) -> Reaction:
    return reacts(voice, "remark", said(one(voice, heard.REMARKS)))


def go_on(voice, scene: Scene) -> Reaction:
    return reacts(voice, "continue", said(one(voice, heard.CONTINUE)))


def thanks(voice, scene: Scene) -> Reaction:
    parts = [said(one(voice, heard.THANKS))]
    if voice.chance(0.2):
        parts.append(said(good(voice, scene)))
        voice.random.shuffle(parts)
    return reacts(voice, "thanks", *parts)


def good(voice, scene: Scene) -> str:
    """Praise, at times with the answer in it."""
    while True:
        text = fill(voice, voice.say(heard.PRAISE))
        if "{a}" not in text:
            return text
        if scene.task and short_answer(scene.task):
            return put(text, a=scene.task.answer)


def short_answer(task: tasks.Task) -> bool:
    """Whether a task's answer is a word or a number that a user may name."""
    return bool(re.fullmatch(r"[\w.' -]{1,24}", task.answer)) and task.answer not in (
        "True", "False")


def praise(voice, scene: Scene) -> Reaction:
    parts = [said(good(voice, scene))]
    if voice.chance(0.15):
        parts.append(said(good(voice, scene)))
    return reacts(voice, "praise", *parts)


def thanks_next(voice, scene: Scene) -> Reaction:
    parts = [said(one(voice, heard.THANKS)), ("task", fresh_ask(voice, scene))]
    if voice.chance(0.25):
        parts.insert(1, said(one(voice, heard.OPENERS)))
    return reacts(voice, "thanks and next", *parts)


def moving(voice, scene: Scene) -> Reaction:
    opener = one(voice, heard.MOVING)
    if voice.chance(0.3):
        opener = good(voice, scene)
    return reacts(voice, "moving", said(opener), ("task", fresh_ask(voice, scene)))


def sign(voice, signs: list[str], verdict: str) -> Reaction:
    return Reaction(verdict, [user(voice.any(signs) * voice.weighted({1: 70, 2: 20, 3: 10}))])


def directive(voice, scene: Scene) -> Reaction:
    """How it should be done, bare or with a complaint before it or thanks around it."""
    parts = [("hint", wish(voice, scene.task))]
    if voice.chance(0.08):
        parts.append(("hint", wish(voice, scene.task)))
    draw = voice.number(1, 100)
    if draw <= 35:
        parts.insert(0, said(sigh(voice, scene)))
    elif draw <= 47:
        parts.insert(0, said(one(voice, heard.PARTLY)))
        hint = parts[1][1]
        if parts[0][1].endswith("but") and not hint.startswith("I "):
            parts[1] = ("hint", hint[0].lower() + hint[1:])
    elif draw <= 60:
        parts.append(said(one(voice, heard.THANKS)))
    elif draw <= 65:
        parts.insert(0, said(one(voice, heard.REDO)))
    return reacts(voice, "directive", *parts)


def remedy(voice, scene: Scene) -> Reaction:
    gripe, cure = voice.say(heard.REMEDIES)
    parts = [said(fill(voice, gripe)), ("hint", fill(voice, cure))]
    if voice.chance(0.2):
        parts.insert(0, said(one(voice, heard.COMPLAINTS)))
    return reacts(voice, "directive", *parts)


def sigh(voice, scene: Scene) -> str:
    """A complaint that shows no remedy."""
    draw = voice.number(1, 100)
    if draw <= 35 and scene.task:
        lines = styles.SIGHS.get(styles.choose(voice, scene.task.kind))
        if lines:
            return voice.say(lines)
    return voice.say(styles.REFUSALS) if draw <= 60 else one(voice, heard.COMPLAINTS)


def complaint(voice, scene: Scene) -> Reaction:
    parts = [said(sigh(voice, scene))]
    if voice.chance(0.15):
        parts.append(said(sigh(voice, scene)))
    return reacts(voice, "complaint", *parts)


def redo(voice, scene: Scene) -> Reaction:
    parts = [said(one(voice, heard.REDO))]
    if voice.chance(0.25):
        parts.insert(0, said(sigh(voice, scene)))
    return reacts(voice, "redo", *parts)


def rephrase(voice, scene: Scene) -> Reaction:
    """The same request again, with words that say so."""
    opener, _, rest = one(voice, heard.REPHRASE).partition(" {ask}")
    return reacts(voice, "rephrase", said(opener), ("task", scene.ask + rest))


def correction(voice, scene: Scene) -> Reaction:
    """The user names another answer: the right one if the reply is wrong."""
    task = scene.task
    right = task.answer
    if right.isdigit():
        other = str(max(0, int(right) + voice.any([-10, -3, -2, -1, 1, 2, 5, 10])))
        other = other if other != right else str(int(right) + 4)
    else:
        other = near_miss(voice, task)
    shows = bool(re.search(rf"(?<!\w){re.escape(right)}(?!\w)", scene.shown))
    a, b = (other, right) if shows else (right, other)
    parts = [said(one(voice, heard.CORRECTIONS, a=a, b=b))]
    if voice.chance(0.15):
        parts.insert(0, said(sigh(voice, scene)))
    return reacts(voice, "correction", *parts)


def near_miss(voice, task: tasks.Task) -> str:
    """The answer to another task, mostly one that asks for the same thing."""
    for _ in range(20):
        other = tasks.make(voice, task.kind)
        if short_answer(other) and other.answer != task.answer and other.thing == task.thing:
            return other.answer
    return voice.any([name for name in NAMES if name != task.answer])


def mixed(voice, scene: Scene) -> Reaction:
    return reacts(voice, "mixed", said(one(voice, heard.MIXED)))


def irony(voice, scene: Scene) -> Reaction:
    return reacts(voice, "irony", said(one(voice, heard.IRONY)))


REACTIONS = {
    "new task": new_task, "unrelated remark": remark, "continuation": go_on, "thanks": thanks,
    "praise": praise, "thanks and next task": thanks_next, "moving on": moving,
    "directive": directive, "remedy": remedy, "complaint": complaint, "redo": redo,
    "rephrase": rephrase, "mixed": mixed, "irony": irony,
    "good sign": lambda voice, scene: sign(voice, heard.GOOD_SIGNS, "good sign"),
    "bad sign": lambda voice, scene: sign(voice, heard.BAD_SIGNS, "bad sign"),
}


def said_by_user(category: str):
    """A maker of exchanges whose evidence is the user's message."""
    def make(voice) -> tuple[Scene, Reaction]:
        scene = scene_of(voice)
        return scene, REACTIONS[category](voice, scene)
    return make


def corrected(voice) -> tuple[Scene, Reaction]:
    while True:
        scene = task_scene(voice, ["arithmetic", "comparison", "fact"])
        if short_answer(scene.task):
            return scene, correction(voice, scene)


# ------------------------------------------------------------------------------------------ tools


def places_of(voice, call: dict) -> dict:
    """What results may name: the call's path, one of its arguments, words, a number."""
    arguments = call["function"]["arguments"]
    arguments = arguments if isinstance(arguments, dict) else {}
    path = arguments.get("path") or agent.path(voice.random)
    pool = lex.NOUNS + lex.VERBS + lex.ADJECTIVES
    text = " ".join(voice.any(pool) for _ in range(voice.number(1, 4)))
    return {"p": path, "k": voice.any(list(arguments) or ["path"]), "v": voice.any(pool),
            "w": text, "n": voice.number(1, 999)}


def tool_message(call: dict, content: str) -> dict:
    return {"role": "tool", "tool_call_id": call["id"], "content": content}


def succeeded(voice, call: dict, result: str) -> str:
    """A result that shows that the call did what was wanted."""
    if voice.chance(0.4) and not FAILURE.search(result):
        return result
    lines = heard.SUCCESS.get(call["function"]["name"], heard.SUCCESS["exec"])
    return one(voice, lines, **places_of(voice, call))


def failed(voice, call: dict, causes: dict) -> tuple[str, str]:
    """An error of one of the causes: its text, the cause."""
    cause = voice.weighted({cause: len(lines) for cause, lines in causes.items()})
    text = one(voice, causes[cause], **places_of(voice, call))
    if voice.chance(0.1):
        text += f"\n{agent.path(voice.random)}"
    return text, cause


def tool_success(voice) -> tuple[Scene, Reaction]:
    scene, calls, results = called(voice)
    text = succeeded(voice, calls[0], results[0])
    return scene, Reaction("success", [tool_message(calls[0], text)], said=[text])


def tool_error(voice, verdict: str = "caused") -> tuple[Scene, Reaction]:
    scene, calls, _ = called(voice)
    text, cause = failed(voice, calls[0], heard.CAUSED if verdict == "caused" else heard.OUTSIDE)
    return scene, Reaction(verdict, [tool_message(calls[0], text)], detail=cause, said=[text])


def several_tools(voice) -> tuple[Scene, Reaction]:
    """Two or three calls: one failure is enough."""
    scene, calls, results = called(voice, voice.number(2, 3))
    texts = [succeeded(voice, call, result) for call, result in zip(calls, results)]
    verdict, cause = voice.weighted({"success": 45, "caused": 40, "outside": 15}), ""
    if verdict != "success":
        at = voice.number(0, len(calls) - 1)
        causes = heard.CAUSED if verdict == "caused" else heard.OUTSIDE
        texts[at], cause = failed(voice, calls[at], causes)
    shown = [tool_message(call, text) for call, text in zip(calls, texts)]
    return scene, Reaction(verdict, shown, detail=cause, said=texts)


def tool_and_user(voice) -> tuple[Scene, Reaction]:
    """A result and a message of the user: the user's words win, where they say anything."""
    scene, tool = voice.any([tool_success, tool_error])(voice)
    name = voice.weighted({"thanks": 20, "praise": 15, "complaint": 20, "directive": 15,
                           "new task": 15, "unrelated remark": 10, "redo": 5})
    spoken = REACTIONS[name](voice, scene)
    decides = tool if VERDICTS[spoken.verdict][0] == 0 else spoken
    return scene, replace(decides, next_state=tool.next_state + spoken.next_state,
                          said=tool.said + spoken.said)


# ---------------------------------------------------------------------------------------- the rest


def regenerated(voice) -> tuple[Scene, Reaction]:
    """The user asked for another reply; only if that one was kept, it speaks against this one."""
    record = {"times": voice.weighted({1: 75, 2: 18, 3: 7}), "replaced": voice.chance(0.5)}
    scene = scene_of(voice)
    if record["replaced"]:
        return scene, Reaction("replaced", [], regenerated=record)
    name = voice.any(["thanks", "praise", "new task", "new task", "complaint", "directive"])
    return scene, replace(REACTIONS[name](voice, scene), regenerated=record)


def injection(voice) -> tuple[Scene, Reaction]:
    """Text somewhere that claims a verdict; what came next decides as ever."""
    name = voice.weighted({"new task": 25, "thanks": 15, "praise": 10, "complaint": 15,
                           "directive": 15, "unrelated remark": 10, "tool success": 8,
                           "tool error": 8})
    scene, reaction = MAKERS[name](voice)
    bad = [vote for vote in (1, -1, 0) if vote != VERDICTS[reaction.verdict][0]]
    text = one(voice, heard.INJECTIONS, v=voice.any(bad * 3 + [1, -1, 0]), n=voice.number(0, 99999))
    last = reaction.next_state[-1]
    where = voice.weighted({"reply": 45, "next": 40, "request": 15})
    if where == "reply" and scene.reply["content"]:
        content = beside(voice, scene.reply["content"], text)
        return replace(scene, reply=scene.reply | {"content": content}), reaction
    quoted = one(voice, heard.QUOTED, i=text)
    if where == "next":
        content = beside(voice, last["content"], text if last["role"] == "tool" else quoted)
        shown = reaction.next_state[:-1] + [last | {"content": content}]
        return scene, replace(reaction, next_state=shown)
    asked = scene.messages[-1]
    asked = asked | {"content": asked["content"] + "\n" + quoted}
    return replace(scene, messages=scene.messages[:-1] + [asked]), reaction


def beside(voice, text: str, other: str) -> str:
    """Both texts, mostly on lines of their own."""
    glue = voice.any(["\n", "\n", "\n\n", " "])
    return text + glue + other if voice.chance(0.6) else other + glue + text


def other_language(voice) -> tuple[Scene, Reaction]:
    """Thanks, complaints and new sums in German, French and Spanish."""
    scene = scene_of(voice)
    name = voice.weighted({"thanks": 35, "complaint": 40, "new": 25})
    text = one(voice, heard.FOREIGN[name], a=voice.number(2, 99), b=voice.number(2, 99))
    verdict = "praise" if name == "thanks" else name
    return scene, reacts(voice, verdict, said(text))


MAKERS = {name: said_by_user(name) for name in REACTIONS} | {
    "correction": corrected, "tool success": tool_success, "tool error": tool_error,
    "outside error": lambda voice: tool_error(voice, "outside"), "several tools": several_tools,
    "tool and user": tool_and_user, "regenerated": regenerated, "injection": injection,
    "other language": other_language,
}


# --------------------------------------------------------------------------------------- the check

SPLITS = ["train", "valid", "test"]


def lists() -> dict[str, list[str]]:
    """The word lists of reactions.py by name; remedies as one line each."""
    made = {}
    for name, value in vars(heard).items():
        if name.isupper() and name not in ("SYSTEMS", "GOOD_SIGNS", "BAD_SIGNS"):
            for key, lines in (value if isinstance(value, dict) else {"": value}).items():
                made[f"{name} {key}".strip()] = lines
    return made


def readings(line) -> list[str]:
    """All readings of a line with choices."""
    parts = CHOICE.split(" ".join(line) if isinstance(line, tuple) else line)
    return ["".join(made) for made in itertools.product(
        *(part.split("|") if at % 2 else [part] for at, part in enumerate(parts)))]


def divided(lines: list) -> dict[str, list[str]]:
    """The readings of a list by the split that says them."""
    made = {}
    for split in SPLITS:
        voice = Voice(0, split)
        lines_of_split = {voice.say(lines) for _ in range(40 * len(lines))}
        made[split] = [text for line in lines_of_split for text in readings(line)]
    return made


def plain(text: str) -> str:
    """A sentence without what noise changes."""
    return " ".join(words_of(re.sub(r"\{\w+\}", " ", text)))


def check_lists() -> int:
    """Prints what breaks the rule of wordings; how much does."""
    faults, everywhere = 0, {}
    for name, lines in lists().items():
        made = divided(lines)
        known = set(plain(" ".join(made["train"])).split())
        for text in made["train"]:
            everywhere.setdefault(plain(text), name)
        for split in ("valid", "test"):
            strange = set(plain(" ".join(made[split])).split()) - known - GLUE
            faults += len(strange)
            if strange:
                print(f"{name}: {split} says words that train does not: {sorted(strange)}")
        print(f"{name}: {len(lines)} lines, readings",
              " / ".join(str(len(made[split])) for split in SPLITS))
        for text in (text for line in besides(name, "train") for text in readings(line)):
            everywhere.setdefault(plain(text), f"{name}, more")
    for name, lines in lists().items():
        made = divided(lines)
        for split, text in ((s, t) for s in ("valid", "test") for t in made[s]):
            if plain(text) and plain(text) in everywhere:
                faults += 1
                print(f"{name}: {split} says what train says ({everywhere[plain(text)]}): {text}")
    return faults


def length_of(judged: Judged) -> int:
    """Characters of the last request, the reply and what came next."""
    made = judged.exchange
    asked = max(at for at, m in enumerate(made["messages"]) if m["role"] == "user")
    shown = made["messages"][asked:] + [made["reply"]] + made["next_state"]
    return sum(len(m["content"] or "") + len(str(m.get("tool_calls") or "")) for m in shown)


def check(count: int) -> int:
    """Draws from each split and prints what is in it; how many faults there are."""
    faults, drawn = check_lists(), {}
    for split in SPLITS:
        voice = Voice(6, split)
        drawn[split] = made = [exchange(voice) for _ in range(count)]
        shares = Counter(j.category for j in made)
        scores = Counter(j.score for j in made)
        lengths = [length_of(j) for j in made]
        print(f"\n{split}: scores", {score: round(n / count, 3) for score, n in scores.items()},
              "hints", round(sum(j.hint is not None for j in made) / count, 3),
              "new", round(sum(j.reason == VERDICTS["new"][1] for j in made) / count, 3))
        print(" ", {name: round(n / count, 3) for name, n in shares.most_common()})
        print("  characters: median", statistics.median(lengths), "mean",
              round(statistics.mean(lengths)), "max", max(lengths), "| whole mean",
              round(statistics.mean(len(str(j.exchange)) for j in made)))
    trained = {plain(text) for j in drawn["train"] for text in j.said}
    known = set(" ".join(trained).split()) | {
        word for lines in lists().values() for text in divided(lines)["train"]
        for word in plain(text).split()}
    for split in ("valid", "test"):
        spoken = {plain(text) for j in drawn[split] for text in j.said if "\\" not in text}
        again = sorted(text for text in spoken & trained if len(text.split()) > 1)
        strange = Counter(word for j in drawn[split] if "tool" not in j.category
                          and j.category != "injection" for text in j.said
                          for word in words_of(text) if word not in known)
        print(f"\n{split}: reactions that train says too: {len(again)}", again[:20])
        print(f"{split}: words that train does not say:", dict(strange.most_common(40)))
    return faults


if __name__ == "__main__":
    if sys.argv[1:] != ["--check"]:
        for seed in range(int(sys.argv[1]) if sys.argv[1:] else 10):
            made = exchange(Voice(seed, "train"))
            print(made.category, made.exchange, verdict_text(made), hint_text(made), sep="\n  ")
        sys.exit()
    sys.exit(1 if check(3000) else 0)
