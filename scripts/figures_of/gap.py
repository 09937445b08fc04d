"""The teacher's gap: log p(token | hinted prompt) - log p(token | plain prompt) of the tokens of
replies that break a preference, and which of these tokens the preference is about.

Classes, by what a reply's bytes say and never by the gap itself:

student (no bold, no list, no box)
    violating    tokens that overlap `**`, a list's number or bullet at the start of a line,
                 `\\boxed{` or the `}` that closes it
    concerned    the token right before each of these; the first token of each line and sentence,
                 and of the last number, where a mark could have begun (with the white space before
                 it, where that is a token of its own); in a list, the end of the turn, where
                 another line could have begun
grader (at least so many tokens) and teacher (warm phrases)
    violating    the token where the reply parts from the wished-for style: the first that goes on
                 as no reply does which the model itself gave under a hint and which meets the
                 preference (digits alike); and the end of the turn, which came too early, or
                 before which a wish could have stood
    concerned    the first token; the first token of each further sentence or line; the token right
                 before a violating one

Everything else is unconcerned: names, numbers, the words of a sentence once it has begun, also
within a mark. The figures are told with the number of tokens in each class, and with the mean over
all tokens that do not violate, concerned or not, so that the division can be judged.
"""

import re
from dataclasses import dataclass
from os.path import commonprefix

from . import counting
from .bench import GAP, PERSONAS, Bench
from .server import TEMPERATURE, Reply, Server, Trouble

VIOLATING, CONCERNED, UNCONCERNED = "violating", "concerned", "unconcerned"
SMALL = 0.1
EXAMPLES = 6

LISTED = re.compile(rb"^[ \t]*(\d{1,3}[.)]|[-*+]|\xe2\x80\xa2)(?=[ \t])", re.M)
BOLD = re.compile(rb"\*\*")
BOX = re.compile(rb"\\boxed\s*\{")
NUMBER = re.compile(rb"-?\d[\d.,]*\b")
SENTENCE_END = re.compile(rb"[.!?]+(?=\s)|\n+")


# ---- classes

class Pieces:
    """The tokens of a reply as spans of its bytes; the end of the turn stands apart."""

    def __init__(self, pieces: list[bytes], ended: bool):
        self.spans, at = [], 0
        for piece in pieces[:-1] if ended else pieces:
            self.spans.append((at, at + len(piece)))
            at += len(piece)
        self.bytes = b"".join(pieces[:-1] if ended else pieces)
        self.end = len(pieces) - 1 if ended else None

    def over(self, start: int, end: int) -> list[int]:
        """The tokens that overlap bytes."""
        return [i for i, (a, b) in enumerate(self.spans) if a < end and b > start]

    def begun_at(self, start: int) -> list[int]:
        """The first token that begins at or behind a byte, with the next one if it is white."""
        for i, (a, b) in enumerate(self.spans):
            if a >= start:
                white = not self.bytes[a:b].strip() and i + 1 < len(self.spans)
                return [i, i + 1] if white else [i]
        return []

    def sentences(self) -> list[int]:
        """The first tokens of all sentences and lines but the first."""
        ends = [found.end() for found in SENTENCE_END.finditer(self.bytes)]
        return [i for end in ends for i in self.begun_at(end)]


def closing(text: bytes, opened: int) -> int | None:
    """Where the brace is closed that was opened right before `opened`."""
    depth = 1
    for at in range(opened, len(text)):
        depth += {b"{": 1, b"}": -1}.get(text[at : at + 1], 0)
        if depth == 0:
            return at
    return None


def student_marks(text: bytes) -> list[tuple[int, int]]:
    """The byte spans of the marks that a student does not want."""
    marks = [found.span(1) for found in LISTED.finditer(text)]
    marks += [found.span() for found in BOLD.finditer(text)]
    for found in BOX.finditer(text):
        marks.append(found.span())
        at = closing(text, found.end())
        marks += [(at, at + 1)] if at is not None else []
    return sorted(marks)


def student(pieces: Pieces) -> tuple[set[int], set[int]]:
    """The violating and the concerned tokens."""
    marks = student_marks(pieces.bytes)
    violating = {i for mark in marks for i in pieces.over(*mark)}
    concerned = {min(over) - 1 for mark in marks if (over := pieces.over(*mark))}
    concerned |= {0, *pieces.sentences()}
    numbers = list(NUMBER.finditer(pieces.bytes))
    if numbers:
        first = pieces.over(numbers[-1].start(), numbers[-1].start() + 1)
        concerned |= set(first)
        before = first[0] - 1
        if before >= 0 and not pieces.bytes[slice(*pieces.spans[before])].strip():
            concerned.add(before)
    if pieces.end is not None and LISTED.search(pieces.bytes):
        concerned |= {pieces.end, pieces.end - 1}
    return violating, concerned


def flat(text: bytes) -> bytes:
    """A text in which all digits are alike."""
    return re.sub(rb"\d", b"0", text)


def parting(pieces: Pieces, wished: list[bytes]) -> int | None:
    """The token where a reply parts from all replies of the wished-for style; `None` where its
    text is the beginning of one of them. Without any such reply it is the first."""
    text = flat(pieces.bytes)
    shared = max((len(commonprefix([text, other])) for other in wished), default=0)
    return next(iter(pieces.over(shared, shared + 1)), None)


def unwished(pieces: Pieces, wished: list[bytes]) -> tuple[set[int], set[int]]:
    """The violating and the concerned tokens of a reply that is too short, or not warm."""
    violating = {parting(pieces, wished), pieces.end} - {None}
    concerned = {0, *pieces.sentences(), *(i - 1 for i in violating)}
    return violating, concerned


def classes(persona: str, pieces: list[bytes], ended: bool, wished: list[bytes]) -> list[str]:
    """The class of each token. `wished`: `flat` texts of replies that meet the preference."""
    spans = Pieces(pieces, ended)
    violating, concerned = student(spans) if persona == "student" else unwished(spans, wished)
    return [VIOLATING if i in violating else CONCERNED if i in concerned else UNCONCERNED
            for i in range(len(pieces))]


# ---- measuring

@dataclass
class Read:
    """A violating reply, read twice."""

    pieces: list[bytes]
    kinds: list[str]
    gaps: list[float]
    ended: bool

    def of(self, *kinds: str) -> list[float]:
        return [gap for kind, gap in zip(self.kinds, self.gaps, strict=True) if kind in kinds]


def aligned(server: Server, messages, reply: Reply) -> tuple[list[int], list[int]]:
    """The ids of prompt and reply; none of the reply's where they do not fit its pieces."""
    if server.says_ids:
        return reply.prompt_ids, reply.ids if len(reply.ids) == len(reply.pieces) else []
    prompt, _ = server.tokenized(messages)
    spoken = {"role": "assistant", "content": reply.text}
    ids, texts = server.tokenized([*messages, spoken], begun=False)
    here = slice(len(prompt), len(prompt) + len(reply.pieces))
    # The tokens are read again from the text, which may part it otherwise than it was drawn.
    same = [as_text(text) for text in texts[here]] == [piece.decode(errors="replace")
                                                      for piece in reply.pieces]
    return prompt, ids[here] if same and ids[: len(prompt)] == prompt else []


def as_text(token: str) -> str:
    """A token's text where the server shows it in the byte-level alphabet (vLLM)."""
    return token.replace("Ġ", " ").replace("Ċ", "\n")


def read(bench: Bench, route: str, persona: str, case: dict, reply: Reply,
         wished: list[bytes]) -> Read | None:
    """The reply behind both prompts; `None` if its tokens cannot be told apart."""
    server = bench.server
    prompt, ids = aligned(server, case["plain"], reply)
    if not ids:
        return None
    hinted = server.prompt_ids(case["messages"])
    plain = server.scored(prompt + ids, len(prompt), route)
    right = server.scored(hinted + ids, len(hinted), route)
    gaps = [a - b for a, b in zip(right, plain, strict=True)]
    kinds = classes(persona, reply.pieces, reply.ended, wished)
    return Read(reply.pieces, kinds, gaps, reply.ended)


def persona_reads(bench: Bench, persona: str, route: str) -> tuple[list[Read], dict]:
    """The violating replies of one persona, and what became of the others."""
    def one(job):
        at, case = job
        reply = bench.server.chat(
            case["plain"], temperature=TEMPERATURE, max_tokens=bench.max_tokens,
            seed=bench.seed + at, pieces=True)
        if bench.meets(persona, reply):
            return "met"
        return read(bench, route, persona, case, reply, wished) or "unaligned"
    wished = [flat(reply.text.encode()) for _, reply in bench.hinted(persona, bench.sizes.hinted)
              if bench.meets(persona, reply)]
    cases = bench.cases.hinted(persona, bench.sizes.gap, bench.seed + 1)
    found = bench.each(f"gap, {persona}", enumerate(cases), one)
    reads = [result for result in found if isinstance(result, Read)]
    if found.count("unaligned") > len(found) / 2:
        raise Trouble("the server does not show the bytes of the tokens that it drew: it needs "
                      "`return_token_ids` with `logprobs`, or vLLM's /tokenize")
    return reads, {"violating_replies": len(reads), "met": found.count("met"),
                   "wished": len(wished), "unaligned": found.count("unaligned"),
                   "without_end": sum(not one.ended for one in reads)}


def mean(values) -> float | None:
    values = list(values)
    return round(sum(values) / len(values), 4) if values else None


def example(one: Read) -> str:
    """A reply with the gap of each token that is no small one, `!` violating, `?` concerned."""
    marks = {VIOLATING: "!", CONCERNED: "?", UNCONCERNED: ""}
    shown = []
    for piece, kind, gap in zip(one.pieces, one.kinds, one.gaps, strict=True):
        number = f"{gap:+.1f}" if abs(gap) >= SMALL else ""
        told = f"{{{marks[kind]}{number}}}" if marks[kind] or number else ""
        shown.append(piece.decode(errors="replace") + told)
    return "".join(shown)


def told(reads: list[Read]) -> dict:
    """Everything about one persona's gaps that the table has no room for."""
    violating = sorted(gap for one in reads for gap in one.of(VIOLATING))
    rest = [gap for one in reads for gap in one.of(CONCERNED, UNCONCERNED)]
    unconcerned = [gap for one in reads for gap in one.of(UNCONCERNED)]
    firsts = [one.of(VIOLATING)[0] for one in reads if one.of(VIOLATING)]
    ends = [one.gaps[-1] for one in reads if one.ended]
    return {
        "tokens": {kind: sum(len(one.of(kind)) for one in reads)
                   for kind in (VIOLATING, CONCERNED, UNCONCERNED)},
        "violating_median": round(violating[len(violating) // 2], 4) if violating else None,
        "violating_p1": round(violating[len(violating) // 100], 4) if violating else None,
        "first_violating_mean": mean(firsts),
        "end_mean": mean(ends),
        "concerned_mean": mean(gap for one in reads for gap in one.of(CONCERNED)),
        "unconcerned_mean": mean(unconcerned),
        "unconcerned_mean_abs": mean(map(abs, unconcerned)),
        "not_violating_mean": mean(rest),
        "not_violating_share_small": mean(abs(gap) < SMALL for gap in rest),
        "reply_sum_mean": mean(sum(one.gaps) for one in reads),
        "examples": [example(one) for one in reads[:EXAMPLES]],
    }


def run(bench: Bench) -> list[counting.Figure]:
    """The figures of all personas."""
    route, heeds = bench.server.route()
    details = bench.details["gap"] = {
        "route": {"generate": "/generate", "completions": "/v1/completions (echo)"}[route],
        "temperature": TEMPERATURE if heeds else 1.0}
    if not heeds:
        bench.say(f"gap: {details['route']} does not heed the temperature: scored at T = 1, "
                  f"while replies are drawn at {TEMPERATURE}")
    gaps, small, by = [], [], {}
    for persona in PERSONAS:
        reads, counts = persona_reads(bench, persona, route)
        by[persona] = reads
        details[persona] = {**counts, **told(reads)}
        gaps.append(counting.grouped(
            GAP, f"{persona}: mean on violating tokens",
            [(sum(one.of(VIOLATING)), len(one.of(VIOLATING))) for one in reads], "nat", most=-1.0))
        small.append(counting.grouped(
            GAP, f"{persona}: unconcerned tokens within ±{SMALL}", small_groups(reads), "share",
            least=0.85))
    return pooled(gaps, by) + small


def small_groups(reads: list[Read]) -> list[tuple[int, int]]:
    """Per reply: unconcerned tokens with a small gap, and all of them."""
    told_of = [one.of(UNCONCERNED) for one in reads]
    return [(sum(abs(gap) < SMALL for gap in gaps), len(gaps)) for gaps in told_of]


def pooled(gaps: list[counting.Figure], by: dict) -> list[counting.Figure]:
    """The personas' figures of violating tokens, and before them the share over all of them."""
    everything = [one for reads in by.values() for one in reads]
    violating = counting.grouped(
        GAP, "teacher gap: mean on violating tokens",
        [(sum(one.of(VIOLATING)), len(one.of(VIOLATING))) for one in everything], "nat", most=-1.0)
    quiet = counting.grouped(GAP, f"teacher gap: unconcerned tokens within ±{SMALL}",
                             small_groups(everything), "share", least=0.85)
    first = counting.grouped(GAP, "on the first violating token of each reply",
                             [(one.of(VIOLATING)[0], 1) for one in everything
                              if one.of(VIOLATING)], "nat")
    return [violating, first, quiet, *gaps]
