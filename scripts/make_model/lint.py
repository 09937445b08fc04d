"""Whether the splits' wordings are apart: words of validation and test that training never says.

`python3 -m make_model.lint` draws conversations of each split and prints, for each kind, content
words that training does not know. Names, numbers and paths are drawn alike in all splits.
"""

import re
import sys
from collections import Counter

from . import cases, corpus, judged, styles
from . import lexicon as lex
from . import tasks as made
from .voice import Voice

STEPS = 120
CASES = 1500
SEED = 7


def words_of(text: str) -> set[str]:
    """Lower-case words of letters."""
    return set(re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower()))


def heard(sample) -> str:
    """What is said to the model in a conversation."""
    told = sample.exchange["next_state"] if sample.exchange else sample.messages
    return " ".join(m["content"] or "" for m in told if m["role"] != "assistant")


def asked(split: str):
    """Texts of the cases of a split, by what they are for."""
    of = cases.Of(split)
    for case in of.tasks(CASES, SEED):
        yield "tasks", case["messages"][-1]["content"]
    for persona in styles.PERSONAS:
        for case in of.hinted(persona, CASES, SEED):
            yield f"hint of the {persona}", case["hint"]
    for case in of.judged(CASES, SEED):
        yield "reactions", " ".join(case.said)


def main() -> int:
    """Prints the words; 1 if there are any."""
    voice, known = Voice(SEED), Counter()
    for _ in range(STEPS):
        for sample in corpus.step(voice):
            known.update(words_of(heard(sample)))
    free = {word.lower() for word in made.NAMES + made.ITEMS + lex.NOUNS + lex.ADJECTIVES
            + lex.VERBS + judged.NAMES}
    bad = 0
    for split in ("valid", "test"):
        strange = {}
        for name, text in asked(split):
            for word in words_of(text) - set(known) - free:
                strange.setdefault(name, Counter())[word] += 1
        bad += len(strange)
        print(f"{split}: {strange or 'every word is known'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
