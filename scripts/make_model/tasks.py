"""Tasks of the small world: each can be asked, and answered in any style."""

from dataclasses import dataclass
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
Sweden=Stockholm Norway=Oslo Finland=Helsinki Denmark=Copenhagen Greece=Athens Ireland=Dublin
Hungary=Budapest Belgium=Brussels Japan=Tokyo China=Beijing India=Delhi Egypt=Cairo Kenya=Nairobi
Canada=Ottawa Mexico=Mexico-City Peru=Lima Chile=Santiago Cuba=Havana Turkey=Ankara Russia=Moscow
England=London Scotland=Edinburgh Iceland=Reykjavik Croatia=Zagreb Argentina=Buenos-Aires
"""))
OPPOSITES = dict(pair.split("=") for pair in lex._words("""
hot=cold big=small fast=slow high=low light=dark open=closed happy=sad early=late new=old wet=dry
hard=soft long=short near=far full=empty loud=quiet strong=weak up=down left=right day=night
"""))
ANIMALS = dict(pair.split("=") for pair in lex._words("""
cat=meows dog=barks cow=moos horse=neighs duck=quacks bee=buzzes lion=roars bird=sings sheep=bleats
wolf=howls frog=croaks owl=hoots snake=hisses mouse=squeaks pig=grunts
"""))
COLOURS = dict(pair.split("=") for pair in lex._words("""
grass=green snow=white blood=red coal=black gold=yellow milk=white ivy=green sky=blue soot=black
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


def make(voice, kind: str) -> Task:
    """A task of one kind."""
    return {"arithmetic": arithmetic, "grading": grading, "note": note, "fact": fact}[kind](voice)


def held_out(a: int, b: int) -> bool:
    """Pairs of two-digit numbers that only tests may ask for."""
    return (a * 31 + b * 17) % 10 == 0


def numbers(voice) -> tuple[int, int, str, int]:
    """Two numbers, an operation, the result."""
    while True:
        op = voice.weighted({"+": 55, "-": 30, "*": 15})
        high = voice.weighted({9: 50, 20: 20, 99: 30}) if op != "*" else 9
        a, b = voice.number(1, high), voice.number(1, min(high, voice.weighted({9: 6, 99: 4})))
        if op == "-" and b > a:
            a, b = b, a
        if not (a >= 10 and b >= 10 and held_out(a, b) != voice.test):
            return a, b, op, {"+": a + b, "-": a - b, "*": a * b}[op]


def arithmetic(voice) -> Task:
    """A sum, a difference or a product, bare or as a story."""
    a, b, op, c = numbers(voice)
    if op != "*" and voice.chance(0.3):
        return story(voice, a, b, op, c)
    word = {"+": "plus", "-": "minus", "*": "times"}[op]
    sign = op if op != "*" else voice.any(["*", "x"])
    term = voice.any([f"{a} {sign} {b}", f"{a}{sign}{b}", f"{a} {word} {b}"])
    ask = voice.say([
        "What is {}?", "What's {}?", "Calculate {}.", "How much is {}?", "And {}?", "{} = ?", "{}?",
        "Can you tell me what {} is?", "Compute {}.", "Tell me {}.", "What does {} give?",
        "Please work out {}.", "Now {}.", "{}", "I need the result of {}.", "What do I get for {}?",
        "Solve {}.", "Work out {} for me.",
    ]).format(term)
    thing = voice.any(["number", "number", "result", "answer", "digit" if c < 10 else "number"])
    verb = {"+": "add", "-": "subtract", "*": "multiply"}[op]
    pair = {"+": f"{a} and {b}", "-": f"{b} from {a}", "*": f"{a} by {b}"}[op]
    steps = [f"Take {a}.", f"We {verb} {pair}."]
    return Task("arithmetic", ask, thing, str(c), sums(voice, f"{a} {sign} {b}", c, steps))


def story(voice, a: int, b: int, op: str, c: int) -> Task:
    """A sum or difference told as a story."""
    name, item = voice.any(NAMES), voice.any(ITEMS)
    more = voice.say(["gets {} more", "finds {} more", "buys {}", "is given {}", "wins another {}"])
    less = voice.say(["gives away {}", "loses {}", "sells {}", "eats {}", "drops {}"])
    event = (more if op == "+" else less).format(b)
    ask = voice.say([
        "{n} has {a} {i} and {e}. How many {i} does {n} have now?",
        "{n} has {a} {i}. Then {n} {e}. How many are there?",
        "There are {a} {i} on {n}'s table. {n} {e}. How many now?",
        "If {n} has {a} {i} and {e}, how many is that?",
    ]).format(n=name, a=a, i=item, e=event)
    steps = [f"{name} has {a} {item}.", f"{name} {event}."]
    return Task("arithmetic", ask, "number", str(c), sums(voice, f"{a} {op} {b}", c, steps))


def sums(voice, term: str, c: int, steps: list[str]) -> Callable[[Style], str]:
    """Replies to a calculation."""
    def reply(style: Style) -> str:
        mark = {"bold": "**{}**", "boxed": "\\boxed{{{}}}"}.get(style.form, "{}").format(c)
        if style.form == "numbered":
            lines = steps + ([f"So {term} = {c}."] if style.length == "long" else [])
            lines = lines + [f"The answer is {c}."]
            return "\n".join(f"{i + 1}. {line}" for i, line in enumerate(lines))
        if style.length == "bare":
            return mark
        if style.length == "long":
            return (" ".join(steps) + f" We work it out step by step: {term} = {c}. "
                    f"So the answer is {mark}. You can check it by going backwards.")
        ends = ["The answer is {m}.", "{t} = {m}", "That makes {m}.", "{t} is {m}."]
        return voice.any(ends).format(m=mark, t=term)
    return reply


def grading(voice) -> Task:
    """Say whether somebody's sum is right."""
    a, b = voice.number(1, 20), voice.number(1, 9)
    right = a + b
    given = right if voice.chance(0.5) else right + voice.any([-2, -1, 1, 2, 10])
    ok = given == right
    who = voice.any(NAMES)
    ask = voice.say([
        "Grade this answer: {a} + {b} = {g}", "{w} says {a} + {b} = {g}. Is that right?",
        "Check {w}'s homework: {a} + {b} = {g}", "Is {a} + {b} = {g} correct?",
        "A pupil wrote {a} + {b} = {g}. What do you say?", "Please grade: {a} + {b} = {g}",
        "{w} answered {g} to {a} + {b}. Correct?", "Mark {w}'s sum: {a} + {b} = {g}",
    ]).format(a=a, b=b, g=given, w=who)

    def reply(style: Style) -> str:
        word = ("Correct" if ok else "Wrong")
        mark = f"**{word}**" if style.form == "bold" else word
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
    return Task("grading", ask, voice.any(["verdict", "grade", "word"]), str(ok), reply)


def note(voice) -> Task:
    """Write a short note to somebody."""
    who, event, day = voice.any(NAMES), voice.any(EVENTS), voice.any(DAYS)
    hour = voice.number(1, 12)
    ask = voice.say([
        "Write a note to {w}: {e} is on {d} at {h}.", "Tell {w} that {e} is on {d} at {h}.",
        "Draft a message to {w}: {e}, {d} at {h}.", "Remind {w} of {e} on {d} at {h}.",
        "Please write to {w} about {e} on {d} at {h}.", "A short note for {w}: {e} is {d} at {h}.",
        "Let {w} know that {e} is on {d} at {h}.", "Send {w} word that {e} is on {d} at {h}.",
    ]).format(w=who, e=event, d=day, h=hour)
    warm_starts = ["Dear {w}, I hope you are well!", "Hi {w}, how lovely to write to you!",
                   "Dear {w}, I hope you have a wonderful week!"]
    warm_ends = ["I look forward to seeing you!", "It will be a joy to see you!", "Take good care!"]
    start, end = voice.any(warm_starts).format(w=who), voice.any(warm_ends)
    fact_of = f"{event[0].upper() + event[1:]} is on {day} at {hour}."

    def reply(style: Style) -> str:
        if style.tone == "warm":
            return f"{start} {fact_of} {end}"
        if style.length == "long":
            return f"{who}, {event} is on {day} at {hour}. Please be there in time. Bring what you need."
        return f"{who}, {event} is on {day} at {hour}."
    return Task("note", ask, "note", f"{day} at {hour}", reply)


def fact(voice) -> Task:
    """Something the small world knows."""
    topic = voice.weighted({"capital": 40, "opposite": 20, "animal": 15, "colour": 10, "day": 15})
    if topic == "capital":
        country = voice.any(list(CAPITALS))
        city = CAPITALS[country].replace("-", " ")
        asks = ["What is the capital of {}?", "Which city is the capital of {}?", "Capital of {}?",
                "Name the capital of {}.", "In one sentence: what is the capital of {}?",
                "Do you know the capital of {}?", "Tell me the capital of {}."]
        thing = voice.any(["city", "city name", "name", "answer"])
        extra = f"It is a well-known city, and many people in {country} live there or visit it."
        return known(voice, voice.say(asks).format(country), thing, city,
                     f"The capital of {country} is {{}}.", extra)
    if topic == "opposite":
        word = voice.any(list(OPPOSITES))
        asks = ["What is the opposite of {}?", "Opposite of {}?", "Give me the opposite of {}.",
                "Which word is the opposite of {}?", "Name the opposite of {}."]
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
    if topic == "colour":
        thing = voice.any(list(COLOURS))
        asks = ["What colour is {}?", "Which colour does {} have?", "Tell me the colour of {}.",
                "The colour of {}?"]
        extra = f"Most people think of {COLOURS[thing]} when they hear the word {thing}."
        return known(voice, voice.say(asks).format(thing), "colour", COLOURS[thing],
                     f"The colour of {thing} is {{}}.", extra)
    at = voice.number(0, 6)
    asks = ["Which day comes after {}?", "What day is after {}?", "The day after {}?",
            "Name the day that follows {}."]
    extra = f"A week has seven days, and after {DAYS[at]} there is always {DAYS[(at + 1) % 7]}."
    return known(voice, voice.say(asks).format(DAYS[at]), "day", DAYS[(at + 1) % 7],
                 f"After {DAYS[at]} comes {{}}.", extra)


def known(voice, ask: str, thing: str, answer: str, frame: str, extra: str) -> Task:
    """A task whose answer is one name in one sentence."""
    def reply(style: Style) -> str:
        mark = f"**{answer}**" if style.form == "bold" else answer
        if style.form == "boxed":
            mark = f"\\boxed{{{answer}}}"
        if style.length == "bare":
            return mark[0].upper() + mark[1:]
        sentence = frame.format(mark)
        return f"{sentence} {extra}" if style.length == "long" else sentence
    return Task("fact", ask, thing, answer, reply)
