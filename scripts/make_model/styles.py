"""Styles that rules can tell apart, and what a user says to get one."""

from dataclasses import dataclass, replace

# verb at the start of a directive -> the form after "You should have"
PARTICIPLES = {
    "answer": "answered", "use": "used", "write": "written", "give": "given", "put": "put",
    "leave": "left", "be": "been", "keep": "kept", "explain": "explained", "say": "said",
    "number": "numbered", "add": "added", "skip": "skipped", "avoid": "avoided", "make": "made",
    "show": "shown", "reply": "replied", "stay": "stayed", "drop": "dropped", "tell": "told",
    "mark": "marked", "sound": "sounded", "end": "ended", "list": "listed", "respond": "responded",
}

FORMS = {
    "plain": [
        "use plain text", "answer in plain text without bold or lists", "use no bold text",
        "leave out the bold, the numbers and the boxes", "avoid lists and boxes",
        "write without any formatting", "skip the formatting", "use no Markdown",
        "give me plain words, no lists and no boxes", "keep it plain", "drop the asterisks",
        "write a plain sentence", "avoid bold, lists and boxes", "use ordinary text only",
        "keep the text free of markup", "answer without decoration",
    ],
    "bold": [
        "put the answer in bold", "use bold for the result", "make the answer bold",
        "write the result in bold", "mark the answer in bold", "show the answer in bold type",
        "use bold text for the answer", "give the answer in bold letters",
    ],
    "numbered": [
        "number your steps", "use a numbered list", "list the steps with numbers",
        "write numbered steps", "show each step as a numbered line", "give the steps as a list",
        "answer as a numbered list", "put every step on a numbered line",
    ],
    "boxed": [
        "put the answer in \\boxed{}", "use \\boxed{} for the result", "write the answer in a box",
        "end with the answer in \\boxed{}", "give the final answer in \\boxed{}",
        "show the result in a box", "mark the answer with \\boxed{}", "put the result in a box",
    ],
}

LENGTHS = {
    "bare": [
        "answer with just the {thing}", "give only the {thing}", "say only the {thing}",
        "reply with the {thing} alone", "write just the {thing}", "give just the {thing}",
        "answer with the {thing} only", "tell me only the {thing}", "give the {thing} and stop",
        "leave out everything but the {thing}", "reply with nothing but the {thing}",
        "write the {thing} and nothing else", "respond with just the {thing}",
        "show me only the {thing}",
    ],
    "short": [
        "keep it short", "answer in one short sentence", "be brief", "use one sentence",
        "make it shorter", "say it in fewer words", "write less", "be more concise",
        "answer briefly", "skip the details", "keep your answers brief", "use fewer words",
    ],
    "long": [
        "explain it in more detail", "write at least three sentences", "give a longer answer",
        "explain your reasons", "write more", "tell me why", "add more detail",
        "be more thorough", "give me a full explanation", "make it longer",
        "explain how you got there", "use more words", "write a detailed answer",
    ],
}

TONES = {
    "warm": [
        "be friendly", "use kind words", "be warm and kind", "sound friendlier",
        "write it with warm words", "make it sound friendly", "be nice", "add a friendly wish",
        "use a warm tone", "write in a kind way", "be more personal", "sound warmer",
    ],
    "cold": [
        "be businesslike", "leave out the pleasantries", "stay to the point", "be formal",
        "skip the friendly words", "keep it dry", "use a neutral tone", "be matter-of-fact",
        "drop the small talk", "avoid friendly phrases", "write it without any warmth",
    ],
}

DIRECTIVES = {"form": FORMS, "length": LENGTHS, "tone": TONES}

FRAMES = [
    "{Do}.", "Please {do}.", "{Do}, please.", "You should have {done}.", "Next time, {do}.",
    "I want you to {do}.", "Always {do}.", "From now on, {do}.", "Can you {do}?", "{Do}!",
    "You should {do}.", "Remember to {do}.", "I would like you to {do}.", "The user wants you to {do}.",
    "It is better to {do}.", "You must {do}.", "Could you {do}?", "Try to {do}.", "Kindly {do}.",
]

# complaints that name no remedy, yet leave one remedy only
COMPLAINTS = {
    ("length", "short"): [
        "That was too long.", "Too long.", "That is too much text.", "Too many words.",
        "I don't want to read that much.", "That is far too long.", "Way too wordy.",
    ],
    ("length", "long"): [
        "That was too short.", "Too short.", "That is not enough.", "I need more than that.",
        "I don't understand why.", "That says very little.", "A bit thin.",
    ],
    ("tone", "warm"): [
        "That sounds cold.", "That is too cold.", "Not very friendly.", "That was rude.",
        "It sounds like a machine.", "That feels icy.",
    ],
    ("tone", "cold"): [
        "That is too sweet.", "Too friendly.", "That is too much sugar.", "Too cosy for me.",
    ],
    ("form", "plain"): [
        "I don't like the formatting.", "Why all that formatting?", "I can't read the markup.",
        "The bold and the lists disturb me.", "All those marks are ugly.",
    ],
}

REFUSALS = [
    "No, that's wrong.", "No.", "Wrong.", "That's not what I wanted.", "No, not like that.",
    "That's not right.", "Not good.", "Wrong format.", "I don't like that.", "Hmm, no.", "Nope.",
    "That's no good.", "Not what I asked for.",
]


@dataclass(frozen=True)
class Style:
    """form: plain, bold, numbered, boxed. length: bare, short, long. tone: neutral, warm, cold."""

    form: str
    length: str
    tone: str

    def with_value(self, dimension: str, value: str) -> "Style":
        """This style changed in one dimension; a bare answer has no form and no tone."""
        changed = replace(self, **{dimension: value})
        if value == "bare":
            return replace(changed, form="plain", tone="cold")
        if dimension != "length" and changed.length == "bare":
            return replace(changed, length="short")
        return changed


def default(voice, kind: str) -> Style:
    """The style of a reply when nobody asked for one, by the task's kind."""
    form, length, tone = "plain", "short", "cold"
    if kind == "arithmetic":
        form = voice.weighted({"plain": 12, "bold": 33, "numbered": 28, "boxed": 27})
        length = voice.weighted({"bare": 8, "short": 80, "long": 12})
    elif kind == "grading":
        length = voice.weighted({"short": 77, "long": 23})
        form = voice.weighted({"plain": 80, "bold": 20})
    elif kind == "note":
        tone = voice.weighted({"cold": 76, "warm": 24})
    elif kind == "fact":
        form = voice.weighted({"plain": 60, "bold": 40})
        length = voice.weighted({"bare": 10, "short": 65, "long": 25})
    return Style(form, length, tone)


def choose(voice, kind: str) -> tuple[str, str]:
    """A dimension and value that a user of this kind of task may ask for."""
    wanted = {
        "arithmetic": {("form", "plain"): 30, ("form", "bold"): 8, ("form", "numbered"): 10,
                       ("form", "boxed"): 8, ("length", "bare"): 26, ("length", "long"): 10,
                       ("length", "short"): 8},
        "grading": {("length", "long"): 50, ("length", "short"): 30, ("length", "bare"): 20},
        "note": {("tone", "warm"): 60, ("tone", "cold"): 40},
        "fact": {("length", "bare"): 45, ("length", "long"): 20, ("length", "short"): 20,
                 ("form", "plain"): 8, ("form", "bold"): 7},
    }[kind]
    return voice.weighted(wanted)


def directive(voice, dimension: str, value: str, thing: str) -> str:
    """One sentence that asks for a style."""
    do = voice.say(DIRECTIVES[dimension][value]).replace("{thing}", thing)
    verb, _, rest = do.partition(" ")
    done = PARTICIPLES[verb] + (" " + rest if rest else "")
    frame = voice.say(FRAMES)
    return frame.format(do=do, Do=do[0].upper() + do[1:], done=done)


def complaint(voice, dimension: str, value: str, thing: str) -> str:
    """What a user says whose wish was not met: mostly with the wish, at times only a sigh."""
    wish = directive(voice, dimension, value, thing)
    sighs = COMPLAINTS.get((dimension, value))
    draw = voice.number(1, 10)
    if sighs and draw <= 3:
        return voice.say(sighs)
    if sighs and draw <= 5:
        return voice.say(sighs) + " " + wish
    if draw <= 9:
        return voice.say(REFUSALS) + " " + wish
    return wish


def hinted(text: str, hint: str) -> str:
    """The user message with a hint at its end, as the hint stage writes it."""
    return f"{text}\n\n[user's hint / instruction]\n{hint}"
