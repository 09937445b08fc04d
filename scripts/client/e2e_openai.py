"""Holds conversations with corrections and thanks through the openai package, while a second
client streams without pause, and waits for new weights to go live.

The last line on stdout is one JSON object. Exit status: 0 when every turn was answered, enough
versions went live, and none of the second client's requests failed or was cut off; 1 otherwise.
"""

import argparse
import itertools
import json
import random
import re
import statistics
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import openai


@dataclass(frozen=True)
class Person:
    """A user: what they ask, what they want of a reply, what they say if they don't get it."""

    wish: str
    content: callable
    ask: callable


def a_sum(r: random.Random) -> str:
    return f"{r.choice(['What is', 'How much is', 'Calculate'])} {r.randint(1, 20)} + {r.randint(1, 9)}?"


def a_capital(r: random.Random) -> str:
    country = r.choice(["France", "Spain", "Japan", "Poland", "Egypt", "Peru", "Norway", "Kenya"])
    return f"What is the capital of {country}?"


def a_note(r: random.Random) -> str:
    who, day = r.choice(["Ana", "Ben", "Nora", "Hugo"]), r.choice(["Monday", "Friday", "Sunday"])
    return f"Write a note to {who}: the dinner is on {day} at {r.randint(1, 12)}."


def a_grading(r: random.Random) -> str:
    return f"Grade this answer: {r.randint(1, 20)} + {r.randint(1, 9)} = {r.randint(2, 29)}"


PEOPLE = [
    Person("You should have answered with just the number.",
           lambda text: re.fullmatch(r"\s*-?\d+\.?\s*", text) is not None, a_sum),
    Person("You should have answered with the city name only.",
           lambda text: len(text.split()) <= 2, a_capital),
    Person("You should have used kind words.", lambda text: "!" in text, a_note),
    Person("You should have explained it in more detail.",
           lambda text: len(text.split()) >= 20, a_grading),
]


@dataclass
class Seen:
    """What the run saw, filled by three threads (each field by one of them)."""

    turns: int = 0
    turns_failed: list = field(default_factory=list)
    content: int = 0
    requests: int = 0
    failed: list = field(default_factory=list)
    truncated: int = 0
    gaps_ms: list = field(default_factory=list)
    first_ms: list = field(default_factory=list)
    versions: list = field(default_factory=list)
    status_failed: int = 0
    fingerprints: list = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


def reaction(person: Person, reply: str, r: random.Random) -> tuple[str, bool]:
    """The next message of a user, explicit about the last reply, and whether it pleased."""
    if person.content(reply):
        return f"Thanks, that's right. {person.ask(r)}", True
    return f"No, that's wrong. {person.wish}", False


def converse(client, args, seen: Seen) -> None:
    """All sessions, turn about; each sends its whole history every time."""
    r = random.Random(args.seed)
    sessions = []
    for number in range(args.sessions):
        person = PEOPLE[number % len(PEOPLE)]
        opening = f"Hello, this is talk {args.seed}-{number}. {person.ask(r)}"
        sessions.append((person, [{"role": "user", "content": opening}]))
    for turn in range(args.turns):
        person, messages = sessions[turn % len(sessions)]
        headers = {"X-Session-Id": f"e2e-{args.seed}-{turn % len(sessions)}"} if args.headers else {}
        if messages[-1]["role"] == "assistant":
            text, pleased = reaction(person, messages[-1]["content"], r)
            seen.content += pleased
            messages.append({"role": "user", "content": text})
        try:
            made = client.chat.completions.create(
                model=args.model, messages=messages, extra_headers=headers,
                max_completion_tokens=args.reply_tokens)
        except openai.OpenAIError as error:
            seen.turns_failed.append(f"turn {turn}: {type(error).__name__}: {error}")
            # the opening is said again
            if len(messages) > 1:
                messages.pop()
            continue
        reply = made.choices[0].message.content or ""
        messages.append({"role": "assistant", "content": reply})
        seen.turns += 1
        note(seen.fingerprints, made.system_fingerprint)
        if args.verbose:
            print(f"[{turn}] {messages[-2]['content']!r} -> {reply!r}", file=sys.stderr)


def note(known: list, value) -> None:
    """Appends a value that was not seen before."""
    if value is not None and value not in known:
        known.append(value)


def stream_on(client, args, seen: Seen) -> None:
    """The second client: one stream after the other until told to stop."""
    for number in itertools.count(1):
        if seen.stop.is_set():
            return
        ask = f"What is {number % 90 + 1} + {number % 7 + 1}? Explain it in more detail, please."
        seen.requests += 1
        try:
            ended = one_stream(client, args, ask, number, seen)
        except openai.OpenAIError as error:
            seen.failed.append(f"request {number}: {type(error).__name__}: {error}")
            time.sleep(0.2)
            continue
        seen.truncated += not ended


def one_stream(client, args, ask: str, number: int, seen: Seen) -> bool:
    """Streams one reply; whether it came to its proper end."""
    started = last = time.monotonic()
    ended, pieces = False, 0
    stream = client.chat.completions.create(
        model=args.model, messages=[{"role": "user", "content": ask}], stream=True,
        max_completion_tokens=args.reply_tokens, stream_options={"include_usage": True},
        extra_headers={"X-Turn-Type": "side", "X-Session-Id": f"second-{args.seed}-{number}"})
    for chunk in stream:
        now = time.monotonic()
        for choice in chunk.choices:
            if choice.delta.content:
                (seen.gaps_ms if pieces else seen.first_ms).append(
                    1000 * (now - (last if pieces else started)))
                pieces += 1
                last = now
            ended = ended or choice.finish_reason in ("stop", "length", "tool_calls")
        note(seen.fingerprints, chunk.system_fingerprint)
    return ended and pieces > 0


def watch(args, seen: Seen) -> None:
    """Polls /status for the live version."""
    while not seen.stop.is_set():
        try:
            note(seen.versions, status(args)["live_version"])
        except (OSError, ValueError, KeyError):
            seen.status_failed += 1
        seen.stop.wait(0.25)


def status(args) -> dict:
    """The server's /status."""
    request = urllib.request.Request(args.url.rstrip("/").removesuffix("/v1") + "/status")
    request.add_header("Authorization", f"Bearer {args.api_key}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def summary(args, seen: Seen, waited: float) -> dict:
    """The figures, and whether they are as they must be."""
    last = {}
    try:
        last = status(args)
    except (OSError, ValueError):
        pass
    gone_live = len(seen.versions) - 1
    good = (not seen.turns_failed and not seen.failed and not seen.truncated
            and seen.requests > 0 and gone_live >= args.versions)
    largest = lambda values: round(max(values), 1) if values else None
    return {
        "ok": good, "turns": seen.turns, "turns_failed": seen.turns_failed,
        "turns_thanked": seen.content,
        "second_client_requests": seen.requests, "second_client_failed": len(seen.failed),
        "second_client_truncated": seen.truncated, "second_client_errors": seen.failed[:3],
        "versions_seen": seen.versions, "versions_gone_live": max(0, gone_live),
        "live_version": last.get("live_version"), "fingerprints": seen.fingerprints,
        "worst_gap_ms": largest(seen.gaps_ms),
        "median_gap_ms": round(statistics.median(seen.gaps_ms), 1) if seen.gaps_ms else None,
        "worst_first_token_ms": largest(seen.first_ms), "status_failed": seen.status_failed,
        "waited_s": round(waited, 1), "status": last,
    }


def arguments():
    parser = argparse.ArgumentParser(prog="e2e-openai", description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:30000/v1")
    parser.add_argument("--turns", type=int, default=24)
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--versions", type=int, default=2, help="versions that must go live")
    parser.add_argument("--wait", type=float, default=900, help="seconds to wait for them at most")
    parser.add_argument("--model", default="openclaw")
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--reply-tokens", type=int, default=96)
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one request")
    parser.add_argument("--headers", action="store_true", help="send X-Session-Id with each turn")
    parser.add_argument("--seed", type=int, default=1, help="other talks for another number")
    parser.add_argument("--verbose", action="store_true", help="print the talk on stderr")
    return parser.parse_args()


def main() -> int:
    args, seen = arguments(), Seen()
    # no retries: a request that fails must be seen to fail
    client = openai.OpenAI(base_url=args.url, api_key=args.api_key, timeout=args.timeout,
                           max_retries=0)
    try:
        seen.versions.append(status(args)["live_version"])
    except (OSError, ValueError, KeyError) as error:
        print(f"e2e-openai: no /status at {args.url}: {error}", file=sys.stderr)
        return 1
    started = time.monotonic()
    helpers = [threading.Thread(target=stream_on, args=(client, args, seen)),
               threading.Thread(target=watch, args=(args, seen))]
    for helper in helpers:
        helper.start()
    try:
        converse(client, args, seen)
        while len(seen.versions) - 1 < args.versions and time.monotonic() - started < args.wait:
            time.sleep(0.25)
    finally:
        seen.stop.set()
        for helper in helpers:
            helper.join(args.timeout)
    found = summary(args, seen, time.monotonic() - started)
    print(json.dumps(found))
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
