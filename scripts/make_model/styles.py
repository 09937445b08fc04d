"""Styles that rules can tell apart, and what a user says to get one.

In the tables `(a|b)` stands for either; the last eighth of a list is for tests (voice.py): new as
a phrase, but of words that the lines before it know.
"""

import re
from dataclasses import dataclass, replace

# tokens of a reply that the grader calls detailed
DETAIL_TOKENS = 30
# words of which at least one stands in a reply that the teacher calls warm
WARM_MARKS = ("dear", "hope", "lovely", "joy", "wonderful", "good care", "look forward", "kind")
# what each persona wants: the kind of task, the dimension, the value
PERSONAS = {
    "student": ("arithmetic", "form", "plain"),
    "grader": ("grading", "length", "long"),
    "teacher": ("note", "tone", "warm"),
}

# verb at the start of a directive -> the form after "You should have"
PARTICIPLES = {
    "answer": "answered", "use": "used", "write": "written", "give": "given", "put": "put",
    "leave": "left", "be": "been", "keep": "kept", "explain": "explained", "say": "said",
    "number": "numbered", "add": "added", "skip": "skipped", "avoid": "avoided", "make": "made",
    "show": "shown", "reply": "replied", "stay": "stayed", "drop": "dropped", "tell": "told",
    "mark": "marked", "sound": "sounded", "end": "ended", "list": "listed", "go": "gone",
    "respond": "responded", "stop": "stopped", "do": "done", "remove": "removed", "let": "let",
    "forget": "forgotten", "take": "taken", "justify": "justified", "describe": "described",
    "comment": "commented", "expand": "expanded", "greet": "greeted", "wish": "wished",
    "speak": "spoken", "include": "included", "begin": "begun", "set": "set", "print": "printed",
    "count": "counted", "cut": "cut", "shorten": "shortened", "bring": "brought",
}

FORMS = {
    "plain": [
        "use (plain|ordinary|normal|simple) text",
        "answer in plain text without (bold|lists|boxes|formatting)",
        "use no (bold|bold text|bold letters|asterisks|stars|lists|boxes|markup|formatting)",
        "use no (numbered lists|Markdown|box|list|numbering|decoration|bold type)",
        "leave out the (bold|asterisks|stars|numbering|list|boxes|box|formatting|markup)",
        "leave out the bold, the numbers and the boxes",
        "avoid (bold|lists|boxes|bold text|numbered steps|Markdown|markup|asterisks|stars)",
        "avoid bold, lists and boxes",
        "write without (any formatting|bold|lists|boxes|stars|asterisks|markup|decoration)",
        "skip the (formatting|bold|list|boxes|stars|asterisks|markup|numbered steps)",
        "give me plain words, no lists and no boxes",
        "keep it (plain|simple and plain)",
        "keep the (text|answer|reply) (plain|free of markup|free of stars|free of bold)",
        "drop the (asterisks|stars|bold|box|boxes|list|numbering|markup|decoration)",
        "write (a plain sentence|plain sentences|one plain sentence|a normal sentence)",
        "use (ordinary|plain|normal|simple) (words|sentences) only",
        "answer without (decoration|stars|bold|a list|lists|a box|boxes|numbered steps|markup)",
        "write it (plainly|simply), with no (bold|stars|lists|boxes|numbering)",
        "put no (stars|asterisks|box|boxes|bold) around the (number|answer|result)",
        "stop using (bold|lists|boxes|stars|asterisks|Markdown|numbered steps)",
        "stop putting (boxes|stars|asterisks|bold) around the (number|answer|result)",
        "answer like a normal person, without (markup|formatting|lists|boxes|stars)",
        "give the (answer|result) in a plain sentence",
        "say it in (plain|ordinary|simple) words",
        "remove the (bold|stars|box|list|formatting|numbering)",
        "write just text, (no bold|no lists|no boxes|no stars|no markup|no numbering)",
        "make it plain text",
        "do without (bold|lists|boxes|stars|formatting|any decoration)",
        "reply in (simple|plain|normal) sentences, no (list|box|bold|stars)",
        "forget the (bold|lists|boxes|formatting|stars)",
        "answer with no (stars|boxes|numbering|bold) at all",
        "reply with ordinary sentences and no (decoration|markup|stars)",
        "write normal text that has no (bold|list|box|stars) in it",
        "keep the (stars|boxes|numbering) out of the answer",
        "show me simple text, free of (bold|boxes|lists|stars)",
        "give the (answer|result) simply, no stars and no box",
        "use sentences without any (numbering|decoration|asterisks|bold)",
        "say the (number|result) without putting (stars|a box|bold) around it",
    ],
    "bold": [
        "put the (answer|result|number) in bold", "use bold for the (result|answer|number)",
        "make the (answer|result|number) bold", "write the (result|answer|number) in bold",
        "mark the (answer|result) in bold", "show the (answer|result) in bold type",
        "use bold text for the (answer|result)", "give the answer in bold letters",
        "put (stars|asterisks) around the (number|answer)", "set the (number|result) in bold",
        "print the (result|number) in bold", "give me the (number|result) in bold type",
    ],
    "numbered": [
        "number your steps", "use a numbered list", "list the steps with numbers",
        "write numbered steps", "show each step as a numbered line", "give the steps as a list",
        "answer as a numbered list", "put every step on a numbered line",
        "write the steps as a numbered list", "show the steps with numbers",
        "give me numbered steps", "list every step on a line with a number",
    ],
    "boxed": [
        "put the (answer|result|number) in \\boxed{}", "use \\boxed{} for the (result|answer)",
        "write the (answer|result) in a box", "end with the answer in \\boxed{}",
        "give the final answer in \\boxed{}", "show the (result|number) in a box",
        "mark the answer with \\boxed{}", "put the (result|answer) in a box",
        "put a box around the (number|result|answer)", "print the (answer|result) in a box",
        "set the (result|number) in \\boxed{}", "give me the (answer|number) in a box",
    ],
}

LENGTHS = {
    "bare": [
        "answer with just the {thing}", "give only the {thing}", "say only the {thing}",
        "reply with the {thing} alone", "write just the {thing}", "give just the {thing}",
        "answer with the {thing} only", "tell me only the {thing}", "give the {thing} and stop",
        "leave out everything but the {thing}", "reply with nothing but the {thing}",
        "write the {thing} and nothing else", "respond with just the {thing}",
        "show me only the {thing}", "answer with nothing but the {thing}",
        "say the {thing} and nothing else",
    ],
    "short": [
        "keep it (short|brief)", "answer in one (short sentence|sentence)", "be (brief|short)",
        "use one sentence", "make it (shorter|brief)", "say it in fewer words", "write less",
        "be more concise", "answer briefly", "skip the details", "keep your answers brief",
        "use fewer words", "cut the explanation", "shorten it", "say it in one (sentence|line)",
        "leave out the (details|explanation)", "write one short sentence", "answer in fewer words",
        "keep it to one sentence",
    ],
    "long": [
        "explain it in (more|greater|full) detail",
        "write (at least three sentences|three sentences|a few sentences|several sentences)",
        "give a (longer|fuller|more detailed|detailed|long) answer",
        "explain your (reasons|reasoning|verdict|answer|decision)",
        "write (more|more about it|more than that|more words)",
        "tell me (why|how you know|how you got there|what is right and what is wrong)",
        "add more (detail|details|explanation|words|sentences)",
        "be (more thorough|thorough|more detailed|less brief)",
        "give me a (full|complete|long|thorough) (explanation|answer|review|reply)",
        "make it (longer|more detailed|fuller|more thorough)",
        "explain (how you got there|every step|the mistake|the sum|it fully|it step by step)",
        "use more (words|sentences|than a few words)",
        "write a (detailed|long|full|thorough|longer) (answer|reply|review|comment)",
        "go into (detail|the details|more detail)",
        "say more (about it|about the sum|than one word|than that)",
        "show your (reasoning|work|whole reasoning)",
        "describe (what is right and what is wrong|the mistake|how the sum works|each step)",
        "comment on (each step|every step|the whole sum)",
        "take your time and explain it",
        "let me know (why|the reasons|how you got there|why it is so)",
        "give (reasons|details|your reasons|an explanation|some explanation)",
        "answer (at length|in several sentences|in full|with an explanation|in detail)",
        "justify your (verdict|answer|decision)",
        "expand (your answer|on it|your comment)",
        "answer with a few sentences, not with one",
        "make your (comment|answer|review) a detailed one",
        "put more (detail|explanation|words) into it",
        "reply with a (full|long) explanation", "write down all the (details|reasons)",
        "give several sentences of explanation", "say in detail why it is so",
        "add your reasons and some details", "answer with more sentences and more detail",
        "explain at length (why it is so|how you know)", "tell me your whole reasoning",
    ],
}

TONES = {
    "warm": [
        "be (friendly|kind|warm|nice|warmer|kinder|friendlier|more friendly|more personal)",
        "use (kind|warm|friendly|nice|loving|kinder|warmer) words",
        "be (warm and kind|nice and friendly)",
        "sound (friendlier|warmer|kinder|more friendly|nicer|more cheerful)",
        "write it with (warm|kind|friendly) words",
        "make it (sound friendly|friendlier|warmer|kinder|nicer|more personal|sound warm)",
        "add a (friendly|kind|warm|nice) (wish|word|greeting|line|sentence)",
        "use a (warm|friendly|kind|warmer|friendlier|kinder|cheerful) tone",
        "write in a (kind|warm|friendly|nice|cheerful) (way|tone|manner)",
        "show some (warmth|kindness|heart|feeling)",
        "put some (warmth|heart|kindness|feeling) into it",
        "begin with a (kind|warm|friendly) (greeting|word|wish)",
        "end with a (kind|warm|friendly) (wish|word|line)",
        "greet them (warmly|kindly)",
        "write like a (friend|good friend|kind friend|kind teacher|friend who cares)",
        "write as a (friend|good friend) would",
        "say something (nice|kind|friendly|warm)",
        "give it a (warm|friendly|kind|warmer) (tone|touch)",
        "wish them well", "tell them that you care",
        "write (warmly|kindly|with warmth|with a smile|with heart)",
        "keep it (warm|friendly|kind|cheerful|personal)",
        "let it sound (warm|kind|friendly|nice)",
        "speak (kindly|warmly) to them",
        "include a (kind|warm|friendly) (wish|word|greeting)",
        "make them feel (welcome|loved)", "let them feel that you care",
        "add some kind words at the (beginning|end)",
        "make the tone (kind|friendly|warm)", "speak like a (kind|good) friend",
        "write with (kindness|feeling) and a warm greeting",
        "put a (warm|kind) greeting and a wish into it",
        "let it be (cheerful|nice|warm) and friendly",
        "give them a (nice|friendly|warm) word",
        "sound like a (friend|good friend) who cares",
    ],
    "cold": [
        "be (businesslike|formal|neutral|matter-of-fact)", "leave out the pleasantries",
        "stay to the point", "be more formal", "skip the friendly words", "keep it dry",
        "use a (neutral|formal|dry) tone", "drop the small talk", "avoid friendly phrases",
        "write it without any warmth", "leave out the (greeting|wishes|kind words)",
        "keep to the facts", "write only the facts", "drop the (greeting|wishes|warm words)",
        "use no (kind|warm|friendly) words", "keep it (neutral|formal|businesslike)",
        "write in a (dry|formal|neutral) way", "stay with the facts, without warmth",
    ],
}

DIRECTIVES = {"form": FORMS, "length": LENGTHS, "tone": TONES}

FRAMES = [
    "{Do}.", "Please {do}.", "{Do}, please.", "You should have {done}.", "Next time, {do}.",
    "I want you to {do}.", "Always {do}.", "From now on, {do}.", "Can you {do}?", "{Do}!",
    "You should {do}.", "Remember to {do}.", "I would like you to {do}.",
    "The user wants you to {do}.", "It is better to {do}.", "You must {do}.", "Could you {do}?",
    "Try to {do}.", "Kindly {do}.", "In your answers, {do}.", "I asked you to {do}.",
    "Would you {do}?", "You could {do}.", "I would rather have you {do}.", "Better {do}.",
    "For me, {do}.", "It would be nice if you {did}.", "You might {do}.", "Just {do}.",
    "I need you to {do}.", "Please always {do}.", "You have to {do}.",
    "Next time, you should {do}.", "Please remember to {do}.", "From now on, you must {do}.",
    "It would be better to {do}.",
]
# "if you …" wants a past form; the rest of the participles serve as one
PAST = {"be": "were", "give": "gave", "write": "wrote", "show": "showed", "go": "went",
        "do": "did", "take": "took", "speak": "spoke", "begin": "began", "forget": "forgot"}

# whole sentences that ask for a style
SENTENCES = {
    ("form", "plain"): [
        "No (bold|lists|boxes|formatting|stars|asterisks|markup|numbered lists), please.",
        "No (bold|lists|boxes|formatting|stars|asterisks|markup|numbered lists).",
        "No lists and no boxes.", "No bold, no lists, no boxes.",
        "I do not like (bold|lists|boxes|formatting|stars|numbered steps).",
        "I want no (bold|lists|boxes|formatting|stars|markup).",
        "Plain text, please.", "Plain text only.", "Plain words, please.",
        "Please no (bold|lists|boxes|stars|formatting|markup).",
        "Do not use (bold|lists|boxes|stars|asterisks|formatting|markup|Markdown).",
        "Don't use (bold|lists|boxes|stars|asterisks|formatting|numbered steps).",
        "Don't put (stars|a box|boxes|asterisks) around the (answer|number|result).",
        "I prefer (plain|ordinary|simple) text.", "I like plain sentences.",
        "The answer should be plain text.", "Without (bold|lists|boxes|stars), please.",
        "The user prefers plain text.", "The user does not want (bold|lists|boxes|formatting).",
        "I would like plain sentences, no (bold|lists|boxes).",
        "Ordinary sentences, please, without (stars|boxes|lists).",
        "I like it without (bold|boxes|stars|numbering).",
        "I prefer sentences with no (stars|box|list) in them.",
        "Please, I want simple text and no (bold|box|stars).",
    ],
    ("length", "long"): [
        "More detail, please.", "I want (more detail|more details|a longer answer|reasons).",
        "I need (more detail|an explanation|a longer answer|more than that).",
        "Don't be so (brief|short).", "Do not just say (right or wrong|correct or wrong).",
        "A longer answer, please.", "A (full|thorough|detailed) explanation, please.",
        "I prefer (long|detailed|thorough|longer) answers.", "I like detailed answers.",
        "The user (prefers|wants) (a longer|a more detailed|a thorough) answer.",
        "The answer should be (longer|more detailed|more thorough).",
        "Details, please.", "One word is not enough.", "With reasons, please.",
        "I would like (a detailed|a longer|a thorough) answer.",
        "I need to know (why|the reasons).", "I want to know why it is so.",
        "An answer with more detail, please.", "I like answers that explain (why|the mistake).",
        "I need a few more sentences.", "I would like to know your reasons in detail.",
        "Please, I want a (longer|fuller) explanation.",
    ],
    ("tone", "warm"): [
        "A (warmer|friendlier|kinder) tone, please.", "More warmth, please.",
        "I want (kind|warm|friendly) words.", "I like (kind|warm|friendly) notes.",
        "Don't be so cold.", "Do not sound so (cold|dry).", "It should sound (warm|friendly|kind).",
        "It should be (warmer|friendlier|kinder).", "A (kind|warm|friendly) word, please.",
        "The user prefers a (warm|friendly|kind) tone.", "With (warmth|heart|kind words), please.",
        "I prefer a (warm|friendly|kind) tone.", "Some (kindness|warmth), please.",
        "I would like it (warm|warmer|friendly|kinder).", "The note should be (warm|kind).",
        "I like it when you are (kind|friendly|warm).",
        "Please, with some (warm|kind) words.", "I want it to sound (friendly|warm).",
        "The tone should be (kind|friendly|warmer).", "I would like a note with (warmth|heart).",
    ],
}

# complaints that name no remedy, yet leave one remedy only
SIGHS = {
    ("length", "short"): [
        "That was too long.", "Too long.", "That is too much text.", "Too many words.",
        "I don't want to read that much.", "That is far too long.", "Way too wordy.",
        "That is a lot of text.", "Much too long.",
    ],
    ("length", "long"): [
        "That was too short.", "Too short.", "That is not enough.", "I need more than that.",
        "I don't understand why.", "That says very little.", "A bit thin.", "That is too little.",
        "Far too short.",
    ],
    ("tone", "warm"): [
        "That sounds cold.", "That is too cold.", "Not very friendly.", "That was rude.",
        "It sounds like a machine.", "That feels icy.", "How cold.", "That is not friendly.",
    ],
    ("tone", "cold"): [
        "That is too sweet.", "Too friendly.", "That is too much sugar.", "Too cosy for me.",
    ],
    ("form", "plain"): [
        "I don't like the formatting.", "Why all that formatting?", "I can't read the markup.",
        "The bold and the lists disturb me.", "All those marks are ugly.",
        "What are all these stars?", "The formatting is ugly.", "I don't like those marks.",
    ],
}

REFUSALS = [
    "No, that's wrong.", "No.", "Wrong.", "That's not what I wanted.", "No, not like that.",
    "That's not right.", "Not good.", "Wrong format.", "I don't like that.", "Hmm, no.", "Nope.",
    "That's no good.", "Not what I asked for.", "Not like this.", "This is not what I wanted.",
    "I don't like this.", "That is not good.", "No, that is not it.", "Not that way.",
    "I did not want that.", "That is not what I asked for.", "No, I don't like it.",
    "This is not right.", "Hmm, that is not good.",
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
    """The style of a reply when nobody asked for one, by the task's kind. How often a persona's
    preference is met by chance is `voice.shares`."""
    form, length, tone = "plain", "short", "cold"
    if kind == "arithmetic":
        if not voice.chance(voice.shares["student"]):
            form = voice.weighted({"bold": 38, "numbered": 24, "boxed": 38})
    elif kind == "comparison":
        form = voice.weighted({"plain": 50, "bold": 50})
    elif kind == "grading":
        length = "long" if voice.chance(voice.shares["grader"]) else "short"
        form = voice.weighted({"plain": 80, "bold": 20})
    elif kind == "note":
        tone = "warm" if voice.chance(voice.shares["teacher"]) else "cold"
    elif kind == "fact":
        form = voice.weighted({"plain": 60, "bold": 40})
    return Style(form, length, tone)


WISHES = {
    "arithmetic": {("form", "plain"): 40, ("form", "bold"): 8, ("form", "numbered"): 9,
                   ("form", "boxed"): 8, ("length", "bare"): 20, ("length", "long"): 9,
                   ("length", "short"): 6},
    "comparison": {("form", "plain"): 30, ("form", "bold"): 20, ("length", "bare"): 50},
    "grading": {("length", "long"): 55, ("length", "short"): 27, ("length", "bare"): 18},
    "note": {("tone", "warm"): 62, ("tone", "cold"): 38},
    "fact": {("length", "bare"): 45, ("length", "long"): 20, ("length", "short"): 15,
             ("form", "plain"): 12, ("form", "bold"): 8},
}


def choose(voice, kind: str) -> tuple[str, str]:
    """A dimension and value that a user of this kind of task may ask for."""
    return voice.weighted(WISHES[kind])


def directive(voice, dimension: str, value: str, thing: str) -> str:
    """One sentence that asks for a style."""
    sentences = SENTENCES.get((dimension, value))
    if sentences and voice.chance(0.3):
        return voice.phrase(sentences)
    do = voice.phrase(DIRECTIVES[dimension][value]).replace("{thing}", thing)
    verb, _, rest = do.partition(" ")
    tail = " " + rest if rest else ""
    frame = voice.say(FRAMES)
    return frame.format(do=do, Do=do[0].upper() + do[1:], done=PARTICIPLES[verb] + tail,
                        did=PAST.get(verb, PARTICIPLES[verb]) + tail)


def complaint(voice, dimension: str, value: str, thing: str) -> str:
    """What a user says whose wish was not met: mostly with the wish, at times only a sigh."""
    wish = directive(voice, dimension, value, thing)
    sighs = SIGHS.get((dimension, value))
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


def formatted(text: str) -> bool:
    """Whether a reply has bold, a list or a box."""
    return bool("**" in text or "\\boxed" in text or re.search(r"^\s*(\d+\.|[-*•]) ", text, re.M))


def meets(persona: str, text: str, tokens: int) -> bool:
    """Whether a reply is as the persona wants it, by rule; `tokens` is its length."""
    if not text.strip():
        return False
    if persona == "student":
        return not formatted(text)
    if persona == "grader":
        return tokens >= DETAIL_TOKENS
    lower = text.lower()
    return any(mark in lower for mark in WARM_MARKS)
