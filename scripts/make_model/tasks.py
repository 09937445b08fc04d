"""Tasks of the small world: each can be asked, answered in any style, and checked."""

import re
from dataclasses import dataclass, field
from typing import Callable

from . import lexicon as lex
from .styles import Style

NAMES = lex._words("""
Ana Ben Carla David Emma Felix Grace Hugo Ines Jonas Kim Lena Marco Nora Oscar Paula Quinn Rosa Sam
Tina Uma Viktor Wendy Yusuf Zoe Adam Bella Chen Dora Elif Finn Gita Hana Ivan Julia Karl Lucy Mia
""")
ITEMS = lex._words("""
apples pears books coins cards stamps pens cups eggs shells stones flowers tickets cookies marbles
candles boxes plates letters keys lemons plums nuts roses socks
""")
CAPITALS = dict(pair.split("=") for pair in lex._words("""
France=Paris Germany=Berlin Italy=Rome Spain=Madrid Portugal=Lisbon Austria=Vienna Poland=Warsaw
Sweden=Stockholm Norway=Oslo Japan=Tokyo China=Beijing Egypt=Cairo
"""))
OPPOSITES = dict(pair.split("=") for pair in lex._words("""
hot=cold big=small fast=slow high=low light=dark open=closed happy=sad early=late new=old wet=dry
"""))
ANIMALS = dict(pair.split("=") for pair in lex._words("""
cat=meows dog=barks cow=moos horse=neighs duck=quacks bee=buzzes lion=roars bird=sings
"""))
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
EVENTS = [
    "the meeting", "the dinner", "the lesson", "the visit", "the call", "the concert", "the game",
    "the party", "the trip", "the test", "the walk", "the lunch", "the reading", "the rehearsal",
]


@dataclass(frozen=True)
class Task:
    """kind names its style defaults; thing is what a bare answer consists of."""

    kind: str
    ask: str
    thing: str
    answer: str
    reply: Callable[[Style], str]
    check: Callable[[str], bool] | None = field(default=None, repr=False)

    def solved(self, text: str) -> bool:
        """Whether a reply gives the answer."""
        return self.check(text) if self.check else self.answer.lower() in text.lower()


def make(voice, kind: str) -> Task:
    """A task of one kind."""
    return {"arithmetic": arithmetic, "comparison": comparison, "grading": grading, "note": note,
            "fact": fact}[kind](voice)


def split_of(a: int, op: str, b: int) -> str:
    """The split that a calculation with two-digit numbers belongs to; a sum and its mirror image
    belong together."""
    if op == "+" and b < a:
        a, b = b, a
    place = (a * 2654435761 + b * 40503 + ord(op) * 97) % 2**32 >> 8
    return {0: "test", 1: "valid"}.get(place % 10, "train")


def numbers(voice) -> tuple[int, str, int, int]:
    """Two numbers, an operation, the result; of two-digit pairs those of the voice's split."""
    while True:
        op = voice.weighted({"+": 55, "-": 45})
        if voice.split == "train" and voice.chance(0.25):
            a, b = voice.number(1, 99), voice.number(1, 9)
        else:
            a, b = voice.number(10, 99), voice.number(10, 99)
        if op == "-" and b > a:
            a, b = b, a
        if min(a, b) < 10 or split_of(a, op, b) == voice.split:
            return a, op, b, a + b if op == "+" else a - b


def ends_with(number: int) -> Callable[[str], bool]:
    """Whether the last number of a reply is this one."""
    return lambda text: re.findall(r"\d+", text)[-1:] == [str(number)]


def arithmetic(voice) -> Task:
    """A sum or a difference, bare or as a story."""
    a, op, b, c = numbers(voice)
    if voice.chance(0.5):
        return story(voice, a, op, b, c)
    word = {"+": "plus", "-": "minus"}[op]
    term = voice.any([f"{a} {op} {b}", f"{a} {op} {b}", f"{a}{op}{b}", f"{a} {word} {b}"])
    ask = voice.say([
        "What is {}?", "What's {}?", "Calculate {}.", "How much is {}?", "And {}?", "{} = ?", "{}?",
        "Can you tell me what {} is?", "Compute {}.", "Tell me {}.", "What does {} give?",
        "Please work out {}.", "Now {}.", "{}", "I need the result of {}.", "{}, please.",
        "Solve {}.", "Work out {} for me.", "Please calculate {}.", "How much does {} give?",
        "What do I get for {}?", "I need to know {}.", "Can you work out {}?", "Please solve {}.",
    ], "arithmetic").format(term)
    thing = voice.any(["number", "number", "result", "answer"])
    return Task("arithmetic", ask, thing, str(c), sums(voice, a, op, b, c), ends_with(c))


def story(voice, a: int, op: str, b: int, c: int) -> Task:
    """A sum or difference told as a story."""
    name, item = voice.any(NAMES), voice.any(ITEMS)
    more = voice.say([
        "gets {} more", "finds {} more", "buys {}", "is given {}", "wins {} more", "buys {} more",
        "receives {}", "picks up {} more", "finds {}", "gets another {}", "is given {} more",
        "receives {} more", "wins {}", "wins another {}", "is given another {}", "finds another {}",
    ])
    less = voice.say([
        "gives away {}", "loses {}", "sells {}", "throws away {}", "drops {}", "uses {}",
        "gives {} to a friend", "loses {} of them", "sells {} of them", "breaks {}",
        "uses {} of them", "hands out {}", "throws away {} of them", "breaks {} of them",
        "gives away {} of them", "sells {} to a friend",
    ])
    event = (more if op == "+" else less).format(b)
    ask = voice.say([
        "{n} has {a} {i} and {e}. How many {i} does {n} have now?",
        "{n} has {a} {i}. Then {n} {e}. How many are there?",
        "There are {a} {i} on {n}'s table. {n} {e}. How many now?",
        "If {n} has {a} {i} and {e}, how many is that?",
        "{n} starts with {a} {i} and {e}. How many {i} are left?" if op == "-" else
        "{n} starts with {a} {i} and {e}. How many {i} is that?",
        "First {n} has {a} {i}. Later {n} {e}. How many {i} now?",
        "{n} owns {a} {i}. {n} {e}. Count the {i}.",
        "How many {i} does {n} have? {n} had {a} and {e}.",
        "{a} {i} belong to {n}. {n} {e}. How many does {n} have?",
        "{n} had {a} {i} and {e}. What is the number of {i} now?",
        "Once {n} had {a} {i}. Then {n} {e}. How many {i} does {n} have?",
        "At first {n} has {a} {i}, then {n} {e}. How many are there now?",
        "{n} has {a} {i} at home and {e}. How many {i} does that make?",
        "Count for me: {n} has {a} {i} and {e}. How many?",
        "{n} owns {a} {i} and {e}. How many {i} does {n} own now?",
        "If {n} starts with {a} {i} and {e}, how many {i} are there now?",
    ], "story").format(n=name, a=a, i=item, e=event)
    return Task("arithmetic", ask, "number", str(c), sums(voice, a, op, b, c), ends_with(c))


def steps_of(a: int, op: str, b: int, c: int) -> list[str]:
    """A calculation in steps: the tens first, then the rest."""
    tens, rest = b - b % 10, b % 10
    if not tens or not rest:
        return [f"{a} {op} {b} = {c}"]
    half = a + tens if op == "+" else a - tens
    return [f"{a} {op} {tens} = {half}", f"{half} {op} {rest} = {c}"]


def marked(text, form: str) -> str:
    """The answer in its form."""
    return {"bold": "**{}**", "boxed": "\\boxed{{{}}}"}.get(form, "{}").format(text)


def sums(voice, a: int, op: str, b: int, c: int) -> Callable[[Style], str]:
    """Replies to a calculation."""
    def reply(style: Style) -> str:
        mark, term = marked(c, style.form), f"{a} {op} {b}"
        steps = steps_of(a, op, b, c)
        if style.form == "numbered":
            lines = steps + [f"The answer is {c}."]
            return "\n".join(f"{i + 1}. {line}" for i, line in enumerate(lines))
        if style.length == "bare":
            return mark
        if style.length == "long":
            return (f"We work it out step by step. {'. Then '.join(steps)}. "
                    f"So {term} = {c}, and the answer is {mark}.")
        return voice.any(["The answer is {m}.", "{t} = {m}", "That makes {m}.", "{t} is {m}."]
                         ).format(m=mark, t=term)
    return reply


def comparison(voice) -> Task:
    """Which of two numbers is larger or smaller, bare or as a story."""
    while True:
        a, b = voice.number(10, 99), voice.number(10, 99)
        if a != b and split_of(a, "<", b) == voice.split:
            break
    large = voice.chance(0.5)
    answer = max(a, b) if large else min(a, b)
    if voice.chance(0.5):
        more, most = voice.any([("larger", "largest"), ("bigger", "biggest"), ("greater", "greatest")]
                               if large else [("smaller", "smallest"), ("lower", "lowest")])
        ask = voice.say([
            "Which number is {m}, {a} or {b}?", "Which is {m}: {a} or {b}?",
            "{a} or {b}, which is {m}?", "What is {m}, {a} or {b}?",
            "Tell me the {m} number: {a} or {b}.", "Of {a} and {b}, which is {m}?",
            "Pick the {m} number of {a} and {b}.", "Which of {a} and {b} is {m}?",
            "Compare {a} and {b}. Which is the {m} one?", "Is {a} {m} or {b}?",
            "Name the {m} number, {a} or {b}.", "I have {a} and {b}. Which is {m}?",
            "The {m} number of {a} and {b}?", "Here are {a} and {b}. Pick the {m} one.",
            "Compare the numbers {a} and {b}: which is {m}?",
            "Tell me which number is {m}, {a} or {b}.",
        ]).format(m=more, a=a, b=b)

        def reply(style: Style) -> str:
            mark = marked(answer, style.form)
            return mark if style.length == "bare" else f"The {more} number is {mark}."
        return Task("comparison", ask, "number", str(answer), reply, ends_with(answer))
    one, two = voice.random.sample(NAMES, 2)
    item = voice.any(ITEMS)
    who, other = (one, two) if (a > b) == large else (two, one)
    word = "more" if large else "fewer"
    ask = voice.say([
        "{x} has {a} {i} and {y} has {b}. Who has {m}?",
        "{x} has {a} {i}, {y} has {b} {i}. Who has {m} {i}?",
        "Who has {m} {i}: {x} with {a} or {y} with {b}?",
        "{x} owns {a} {i} and {y} owns {b}. Who owns {m}?",
        "There are {x} with {a} {i} and {y} with {b}. Who has {m}?",
        "{x} found {a} {i} and {y} found {b}. Who found {m}?",
        "Who has {m}, {x} with {a} {i} or {y} with {b} {i}?",
        "{x} bought {a} {i}, and {y} bought {b}. Who bought {m}?",
        "{x}: {a} {i}. {y}: {b} {i}. Who has {m}?",
        "Tell me who has {m} {i}. {x} has {a}, {y} has {b}.",
        "{x} has {a} {i}. {y} has {b}. Who of them has {m}?",
        "Compare: {x} has {a} {i} and {y} has {b}. Who has {m}?",
        "If {x} has {a} {i} and {y} has {b}, who has {m} {i}?",
        "Here is {x} with {a} {i} and {y} with {b}. Tell me who has {m}.",
        "Tell me: {x} owns {a} {i}, {y} owns {b}. Who has {m}?",
        "{x} has {a} {i}, and {y} has {b} of them. Who has {m} {i}?",
    ]).format(x=one, y=two, a=a, b=b, i=item, m=word)

    def named(style: Style) -> str:
        mark = marked(who, style.form)
        return mark if style.length == "bare" else f"{mark} has {word} {item}."
    check = lambda text: who in text and not re.search(rf"\b{other}\b", text)  # noqa: E731
    return Task("comparison", ask, "name", who, named, check)


def grading(voice) -> Task:
    """Say whether somebody's sum is right."""
    while True:
        a, b = voice.number(10, 60), voice.number(2, 30)
        if b < 10 or split_of(a, "+", b) == voice.split:
            break
    right = a + b
    ok = voice.chance(0.5)
    given = right if ok else right + voice.any([-10, -2, -1, 1, 2, 10])
    who = voice.any(NAMES)
    ask = voice.say([
        "Grade this answer: {a} + {b} = {g}", "{w} says {a} + {b} = {g}. Is that right?",
        "Check {w}'s homework: {a} + {b} = {g}", "Is {a} + {b} = {g} correct?",
        "A pupil wrote {a} + {b} = {g}. What do you say?", "Please grade: {a} + {b} = {g}",
        "{w} answered {g} to {a} + {b}. Correct?", "Mark {w}'s sum: {a} + {b} = {g}",
        "Grade {w}'s homework: {a} + {b} = {g}", "{w} wrote {a} + {b} = {g}. Grade it.",
        "Check this sum: {a} + {b} = {g}", "Is this right? {a} + {b} = {g}",
        "A pupil says {a} + {b} = {g}. Correct?", "Please check {w}'s answer: {a} + {b} = {g}",
        "The homework says {a} + {b} = {g}. Is it right?", "Mark this: {a} + {b} = {g}",
        "{w}'s answer to {a} + {b} is {g}. Please grade it.", "Grade the sum {a} + {b} = {g}.",
        "{w} gives {g} for {a} + {b}. What do you say?", "Please mark {a} + {b} = {g}.",
        "Check what {w} wrote: {a} + {b} = {g}", "Is {w}'s sum right? {a} + {b} = {g}",
        "Please grade what a pupil wrote: {a} + {b} = {g}", "{w} says that {a} + {b} is {g}. Check it.",
    ], "grading").format(a=a, b=b, g=given, w=who)

    def reply(style: Style) -> str:
        word = "Correct" if ok else "Wrong"
        mark = marked(word, style.form if style.form == "bold" else "plain")
        if style.length == "bare":
            return word
        if style.length == "short":
            return f"{mark}." if ok else f"{mark}. It is {right}."
        if ok:
            return (f"{mark}. We add {a} and {b} and get {right}, which is the number that was "
                    "written. The sum was set up well, there is no mistake in it, and the answer "
                    "can stay as it is. Well done.")
        return (f"{mark}. We add {a} and {b} and get {right}, but the number that was written is "
                f"{given}. Count again from {a}, one step at a time, and you will see where the "
                f"mistake is. The right answer is {right}.")

    def check(text: str) -> bool:
        said = re.search(r"\b(correct|wrong)\b", text.lower())
        return bool(said) and (said[1] == "correct") == ok
    return Task("grading", ask, voice.any(["verdict", "grade", "word"]), str(ok), reply, check)


def note(voice) -> Task:
    """Write a short note to somebody."""
    who, event, day = voice.any(NAMES), voice.any(EVENTS), voice.any(DAYS)
    hour = voice.number(1, 12)
    ask = voice.say([
        "Write a note to {w}: {e} is on {d} at {h}.", "Tell {w} that {e} is on {d} at {h}.",
        "Draft a message to {w}: {e}, {d} at {h}.", "Remind {w} of {e} on {d} at {h}.",
        "Please write to {w} about {e} on {d} at {h}.", "A short note for {w}: {e} is {d} at {h}.",
        "Let {w} know that {e} is on {d} at {h}.", "Send {w} word that {e} is on {d} at {h}.",
        "Write {w} a message: {e} on {d} at {h}.", "{w} must know that {e} is on {d} at {h}.",
        "I need a note for {w}: {e}, {d} at {h}.", "Message {w} that {e} is on {d} at {h}.",
        "Write to {w} that {e} is on {d} at {h}.", "Please remind {w} that {e} is {d} at {h}.",
        "Draft a note for {w} about {e} on {d} at {h}.", "Please tell {w}: {e} is on {d} at {h}.",
        "Send a message to {w}: {e} is on {d} at {h}.", "A note to {w}, please: {e}, {d} at {h}.",
        "Let {w} have a note that {e} is on {d} at {h}.", "Please draft a message for {w}: {e} is {d} at {h}.",
        "Remind {w} with a note: {e} is on {d} at {h}.", "Please send {w} a note about {e} on {d} at {h}.",
        "I need a message that tells {w} of {e} on {d} at {h}.", "Write a message for {w} about {e}, {d} at {h}.",
    ], "note").format(w=who, e=event, d=day, h=hour)
    start = voice.any([
        "Dear {w}, I hope you are well!", "Hi {w}, how lovely to write to you!",
        "Dear {w}, I hope you have a wonderful week!",
    ]).format(w=who)
    end = voice.any(["I look forward to seeing you!", "It will be a joy to see you!",
                     "Take good care!"])
    fact_of = f"{event[0].upper() + event[1:]} is on {day} at {hour}."

    def reply(style: Style) -> str:
        if style.tone == "warm":
            return f"{start} {fact_of} {end}"
        return voice.any(["{w}, {e} is on {d} at {h}.", "{f}", "For {w}: {f}",
                          "{f} Please be there in time."]
                         ).format(w=who, e=event, d=day, h=hour, f=fact_of)
    return Task("note", ask, "note", f"{day} at {hour}", reply)


def fact(voice) -> Task:
    """Something the small world knows."""
    topic = voice.weighted({"capital": 40, "opposite": 25, "animal": 15, "day": 20})
    if topic == "capital":
        country = voice.any(list(CAPITALS))
        asks = ["What is the capital of {}?", "Which city is the capital of {}?", "Capital of {}?",
                "Name the capital of {}.", "Do you know the capital of {}?",
                "Tell me the capital of {}.", "The capital of {}?", "Which is the capital of {}?"]
        extra = f"It is a well-known city, and many people in {country} live there or visit it."
        return known(voice, voice.say(asks).format(country), "city", CAPITALS[country],
                     f"The capital of {country} is {{}}.", extra)
    if topic == "opposite":
        word = voice.any(list(OPPOSITES))
        asks = ["What is the opposite of {}?", "Opposite of {}?", "Give me the opposite of {}.",
                "Which word is the opposite of {}?", "Name the opposite of {}.",
                "Tell me the opposite of {}.", "The opposite of {}?", "Which is the opposite of {}?"]
        extra = f"If something is not {word}, people often say that it is {OPPOSITES[word]}."
        return known(voice, voice.say(asks).format(word), "word", OPPOSITES[word],
                     f"The opposite of {word} is {{}}.", extra)
    if topic == "animal":
        animal = voice.any(list(ANIMALS))
        asks = ["What does a {} do?", "What sound does a {} make?", "How does a {} sound?",
                "Tell me what a {} does."]
        extra = f"You can hear it from far away when a {animal} is near."
        return known(voice, voice.say(asks).format(animal), "word", ANIMALS[animal],
                     f"A {animal} {{}}.", extra)
    at = voice.number(0, 6)
    asks = ["Which day comes after {}?", "What day is after {}?", "The day after {}?",
            "Name the day that follows {}."]
    extra = f"A week has seven days, and after {DAYS[at]} there is always {DAYS[(at + 1) % 7]}."
    return known(voice, voice.say(asks).format(DAYS[at]), "day", DAYS[(at + 1) % 7],
                 f"After {DAYS[at]} comes {{}}.", extra)


def known(voice, ask: str, thing: str, answer: str, frame: str, extra: str) -> Task:
    """A task whose answer is one name in one sentence."""
    def reply(style: Style) -> str:
        mark = marked(answer, style.form)
        if style.length == "bare":
            return mark[0].upper() + mark[1:]
        sentence = frame.format(mark)
        return f"{sentence} {extra}" if style.length == "long" else sentence
    return Task("fact", ask, thing, answer, reply)
