"""Writes testdata/judge/open.jsonl and frozen.jsonl and prints counts: python3 scripts/make_judge_cases"""
import collections
import json
import pathlib
import re

import a_thanks, b_redo, c_format, d_tools, e_mixed, f_other, g_languages, h_agents, i_long, j_traps  # noqa
from kit import CASES

OUT = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "judge"
CATEGORIES = """thanks silent_move_on redo rephrase format_complaint factual_correction directive
tool_success tool_error_by_reply tool_error_not_its_fault partial_success sarcasm mixed
unrelated_follow_up injection non_english long_input several_tools emoji_only continuation""".split()
ROLES = {"system", "user", "assistant", "tool"}


def answered(messages, pending):
    """Every tool message answers a call made before it; returns what is still unanswered."""
    for m in messages:
        assert m["role"] in ROLES and isinstance(m["content"], str)
        if m["role"] == "tool":
            pending.remove(m["tool_call_id"])
        for call in m.get("tool_calls", []):
            assert call["type"] == "function" and isinstance(
                json.loads(call["function"]["arguments"]), dict)
            pending.append(call["id"])
    return pending


def check(case):
    assert case["score"] in (-1, 0, 1) and case["category"] in CATEGORIES
    assert case["request"] and case["next_state"] and case["note"]
    assert case["request"][-1]["role"] in ("user", "tool"), case["id"]
    assert all(m["role"] in ("user", "tool") for m in case["next_state"])
    pending = answered(case["request"] + [{"role": "assistant", **case["reply"]}], [])
    assert not answered(case["next_state"], pending), case["id"]
    assert case["reply"]["content"] or case["reply"].get("tool_calls"), case["id"]
    assert case["hint_expected"] or "hint_must" not in case
    assert not case["hint_expected"] or case.get("hint_must"), case["id"]
    assert not (case["hint_expected"] and case["score"] == 1), case["id"]
    for pattern in case.get("hint_must", []) + case.get("hint_must_not", []):
        re.compile(pattern, re.I)


def split():
    """Every second case of a category, in the order language, score, hint: both halves alike."""
    frozen = set()
    for number, category in enumerate(CATEGORIES):
        mine = [x for x in CASES if x["category"] == category]
        mine.sort(key=lambda x: (x["language"], x["score"], x["hint_expected"]))
        frozen |= {x["id"] for x in mine[number % 2::2]}
    return {"open": [x for x in CASES if x["id"] not in frozen],
            "frozen": [x for x in CASES if x["id"] in frozen]}


def main():
    assert len({x["id"] for x in CASES}) == len(CASES) >= 440
    bodies = {json.dumps([x["request"], x["reply"]["content"], x["next_state"]]) for x in CASES}
    assert len(bodies) == len(CASES)
    calls = [k["id"] for x in CASES for m in x["request"] + [x["reply"]] + x["next_state"]
             for k in m.get("tool_calls", [])]
    assert len(calls) == len(set(calls))
    for case in CASES:
        check(case)
    halves = split()
    for name, cases in halves.items():
        text = "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in cases)
        (OUT / f"{name}.jsonl").write_text(text, encoding="utf-8")
        print(f"{name}: {len(cases)} cases, {len(text.encode())} bytes,",
              f"{sum(x['hint_expected'] for x in cases)} with a hint expected")
    print(f"{'category':26} {'open +1/0/-1 (hint)':22} frozen +1/0/-1 (hint)")
    for category in CATEGORIES:
        row = []
        for name in ("open", "frozen"):
            mine = [x for x in halves[name] if x["category"] == category]
            n = collections.Counter(x["score"] for x in mine)
            hints = sum(x["hint_expected"] for x in mine)
            row.append(f"{len(mine)}: {n[1]}/{n[0]}/{n[-1]} ({hints})")
        assert sum(x["category"] == category for x in CASES) >= 20, category
        print(f"{category:26} {row[0]:22} {row[1]}")
    for key in ("score", "language"):
        for name in ("open", "frozen"):
            print(key, name, dict(collections.Counter(x[key] for x in halves[name]).most_common()))


if __name__ == "__main__":
    main()
