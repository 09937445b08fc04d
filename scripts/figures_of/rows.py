"""The rows that read plain replies: tasks, preferences, tool calls, degenerate replies."""

import json
from collections import Counter

from . import counting
from .bench import CALLS, DEGENERATE, HINTED, PERSONAS, PREFERENCE, TASKS, Bench
from .server import TEMPERATURE, Reply

GREEDY = 0.0
GRAM, GRAM_TIMES = 4, 4
TOKEN_TIMES = 8


# ---- tasks

def solve(bench: Bench, at: int, case: dict) -> dict:
    """Whether a case is solved, step by step."""
    def ask(messages) -> Reply:
        return bench.server.chat(messages, case.get("tools"), temperature=GREEDY,
                                 max_tokens=bench.max_tokens, seed=bench.seed + at)
    first = ask(case["messages"])
    if "solved_call" not in case:
        return {"kind": case["kind"], "solved": bool(case["solved"](first.message))}
    called = bool(case["solved_call"](first.message))
    found = {"kind": case["kind"], "solved": False, "call": called}
    if called:
        last = ask([*case["messages"], *with_results(first, case["after"])])
        found["answer"] = found["solved"] = bool(case["solved_answer"](last.text))
    return found


def with_results(reply: Reply, after: list[dict]) -> list[dict]:
    """The model's own call, and the results that the case has for it."""
    results = [message for message in after if message["role"] == "tool"]
    calls = reply.calls[: len(results)]
    spoken = {"role": "assistant", "content": reply.message.get("content"), "tool_calls": calls}
    return [spoken, *({**result, "tool_call_id": call["id"]}
                      for call, result in zip(calls, results, strict=True))]


def tasks(bench: Bench) -> list[counting.Figure]:
    """Tasks solved, greedy; a file task counts where the call and the answer are right."""
    cases = bench.cases.tasks(bench.sizes.tasks, bench.seed)
    found = bench.each(TASKS, enumerate(cases), lambda job: solve(bench, *job))
    figures = [counting.share(TASKS, "tasks solved, greedy", (f["solved"] for f in found),
                              least=0.60)]
    for kind in sorted({f["kind"] for f in found}):
        of_kind = [f for f in found if f["kind"] == kind]
        figures.append(counting.share(TASKS, kind, (f["solved"] for f in of_kind)))
        steps = [f for f in of_kind if "call" in f]
        if steps:
            figures.append(counting.share(TASKS, f"{kind}: the call", (f["call"] for f in steps)))
            figures.append(counting.share(TASKS, f"{kind}: the answer after a right call",
                                          (f["answer"] for f in steps if f["call"])))
    return figures


# ---- preferences

def preference(bench: Bench) -> list[counting.Figure]:
    """How often a preference is met that nobody told."""
    figures = []
    for persona in PERSONAS:
        drawn = bench.preference(persona, bench.sizes.preference)
        figures.append(counting.share(
            PREFERENCE, f"preference met without a hint, {persona}",
            (bench.meets(persona, reply) for _, reply in drawn), least=0.07, most=0.12))
        lengths = sorted(reply.tokens for _, reply in drawn)
        bench.details.setdefault("reply_tokens", {})[persona] = {
            "p10": lengths[len(lengths) // 10], "median": lengths[len(lengths) // 2],
            "p90": lengths[len(lengths) * 9 // 10]}
    return figures


def hinted(bench: Bench) -> list[counting.Figure]:
    """How often it is met where a hint tells it, in unseen wording."""
    met = {persona: [bench.meets(persona, reply)
                     for _, reply in bench.hinted(persona, bench.sizes.hinted)]
           for persona in PERSONAS}
    everything = [hit for hits in met.values() for hit in hits]
    missed: Counter = Counter()
    for persona in PERSONAS:
        for (case, _), hit in zip(bench.hinted(persona, 1), met[persona], strict=True):
            missed[f"{persona}: {case['hint']}"] += not hit
    bench.details["hints_missed"] = dict((+missed).most_common(12))
    return [counting.share(HINTED, "preference met with a hint, unseen wording", everything,
                           least=0.95)] + [
        counting.share(HINTED, persona, hits) for persona, hits in met.items()]


# ---- tool calls

def well_formed(message: dict, tools: list[dict]) -> bool:
    """Whether a message calls tools, all of them there, with the arguments that they need."""
    required = {tool["function"]["name"]: tool["function"].get("parameters", {}).get("required", [])
                for tool in tools}
    calls = message.get("tool_calls") or []
    for call in calls:
        try:
            name, told = call["function"]["name"], call["function"]["arguments"]
            arguments = json.loads(told) if isinstance(told, str) else told
        except (KeyError, TypeError, ValueError):
            return False
        if name not in required or not isinstance(arguments, dict):
            return False
        if any(key not in arguments for key in required[name]):
            return False
    return bool(calls)


def calls(bench: Bench) -> list[counting.Figure]:
    """Tool calls where a tool is asked for."""
    drawn = bench.called(bench.sizes.calls)
    cases = [case for case, _ in drawn]
    greedy = bench.ask("calls, greedy", cases, GREEDY)
    figures = []
    for name, replies in (("greedy", greedy), (f"T {TEMPERATURE}", [r for _, r in drawn])):
        pairs = list(zip(cases, replies, strict=True))
        figures.append(counting.share(
            CALLS, f"tool calls well-formed, {name}",
            (well_formed(reply.message, case["tools"]) for case, reply in pairs), least=0.95))
        figures.append(counting.share(CALLS, f"the right call, {name}",
                                      (case["solved"](reply.message) for case, reply in pairs)))
    return figures


# ---- degenerate replies

def fault(reply: Reply) -> str | None:
    """What is wrong with the form of a reply: `cut`, `empty`, `loop`."""
    if reply.finish == "length":
        return "cut"
    if not reply.text.strip() and not reply.calls:
        return "empty"
    told = [reply.text, *(str(call["function"]["arguments"]) for call in reply.calls)]
    words = " ".join(told).split()
    grams = Counter(tuple(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1))
    if max(grams.values(), default=0) >= GRAM_TIMES:
        return "loop"
    run, before = 0, None
    for token in reply.ids or words:
        run, before = (run + 1 if token == before else 1), token
        if run >= TOKEN_TIMES:
            return "loop"
    return None


def degenerate(bench: Bench) -> list[counting.Figure]:
    """Replies at T 0.6 that loop, are cut off, or say nothing, over every kind of prompt."""
    loose = bench.sizes.loose
    kinds = {"tasks": bench.pool("tasks", loose, lambda n: bench.cases.tasks(n, bench.seed + 1))}
    if chat := getattr(bench.cases, "chat", None):
        kinds["chat"] = bench.pool("chat", loose, lambda n: chat(n, bench.seed))
    kinds["calls"] = bench.called(loose)
    for persona in PERSONAS:
        kinds[f"preference, {persona}"] = bench.preference(persona, loose)
        kinds[f"hinted, {persona}"] = bench.hinted(persona, loose)
    faults = {kind: [fault(reply) for _, reply in drawn] for kind, drawn in kinds.items()}
    bench.details["degenerate"] = {
        kind: {"n": len(found), **Counter(f for f in found if f)} for kind, found in faults.items()}
    everything = [f for found in faults.values() for f in found]
    figures = [counting.share(DEGENERATE, f"replies degenerate, T {TEMPERATURE}",
                              (f is not None for f in everything), most=0.02)]
    return figures + [counting.share(DEGENERATE, name, (f == name for f in everything))
                      for name in ("cut", "empty", "loop")]
