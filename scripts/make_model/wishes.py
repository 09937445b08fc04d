"""Wishes that no list holds: how something should be done, put together of whatever words.

What is to be done matters little; that it is to be found and said again word for word matters.
"""

from . import agent
from . import lexicon as lex

FRAMES = [
    "{Do}.", "Please {do}.", "Next time, {do}.", "You should {do}.", "I want you to {do}.",
    "From now on, {do}.", "Always {do}.", "Remember to {do}.", "Could you {do}?", "{Do}, please.",
    "I would like you to {do}.", "Better {do}.", "You must {do} next time.",
]


def thing(voice) -> str:
    """Something with or without company."""
    r, noun = voice.random, voice.term(lex.NOUNS)
    noun = agent.plural(noun) if len(noun) > 1 and voice.chance(0.3) else noun
    adjective = voice.term(lex.ADJECTIVES) + " " if voice.chance(0.35) else ""
    glue = r.choice(lex.GLUE) + " " if voice.chance(0.6) else ""
    return glue + adjective + noun


def free(voice) -> str:
    """What is to be done, as a verb and what belongs to it."""
    verb, other = voice.term(lex.VERBS), voice.any(lex.VERBS)
    one, two = thing(voice), thing(voice)
    number = voice.number(2, 99)
    return voice.any([
        f"{verb} {one}", f"{verb} {one} {voice.any(lex.LINKS)} {two}", f"use {one} instead of {two}",
        f"{verb} {one} and {other} {two}", f"put {one} before {two}", f"write {one} after {two}",
        f"never {verb} {one}", f"do not {verb} {one}", f"mention {one} too", f"start with {one}",
        f"keep {one} {voice.term(lex.ADJECTIVES)}", f"add {one} to {two}", f"leave out {one}",
        f"end with {one}", f"{verb} {one} in {number} {agent.plural(voice.any(lex.NOUNS))}",
        f"{verb} {one} before you {other} {two}", f"show {one}, not {two}", f"avoid {one}",
        f"{verb} {one} {voice.any(lex.ADVERBS)}", f"call it {one}", f"{verb} only {one}",
    ])


def said(voice) -> str:
    """A sentence with such a wish."""
    do = free(voice)
    return voice.any(FRAMES).format(do=do, Do=do[0].upper() + do[1:])
