"""A long conversation goes on across swaps: first-token times cold, from the warm cache, and as the
first request after a swap (the same weights under a new version's number), with the worst gap of
a stream that runs meanwhile.

The last line on stdout is one JSON object. Exit status: 0 when the first token after a swap comes
at most 1.5 times as late as from a warm cache (medians), 1 otherwise.
"""

import argparse
import json
import random
import statistics
import sys
import threading
import time
import urllib.request

LATE_MAX = 1.5


def post(url: str, body: dict):
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=900)


def events(url: str, messages: list[dict], tokens: int):
    """(seconds since the request, event) of a streamed reply."""
    body = {"messages": messages, "stream": True, "max_completion_tokens": tokens,
            "stream_options": {"include_usage": True}, "temperature": 0}
    begun = time.monotonic()
    with post(url + "/v1/chat/completions", body) as answer:
        for line in answer:
            if line.startswith(b"data: {"):
                yield time.monotonic() - begun, json.loads(line[6:])


def first_token(url: str, messages: list[dict]) -> tuple[float, int, str]:
    """Seconds until the first token, prompt tokens that were cached, and the reply.

    The first event carries the role and comes at once; the end counts where nothing was said."""
    first, cached, text = None, 0, ""
    for at, event in events(url, messages, 4):
        for choice in event["choices"]:
            said = choice["delta"].get("content") or ""
            if first is None and (said or choice["finish_reason"]):
                first = at
            text += said
        if event.get("usage"):
            details = event["usage"].get("prompt_tokens_details") or {}
            cached = details.get("cached_tokens", 0)
    return first, cached, text


class Stream(threading.Thread):
    """Streams short conversations without pause and notes the gaps between events."""

    def __init__(self, url: str):
        super().__init__(daemon=True)
        self.url, self.over, self.gaps, self.failed = url, threading.Event(), [], 0

    def run(self) -> None:
        while not self.over.is_set():
            last = None
            try:
                asked = [{"role": "user", "content": f"Tell me about {random.random()}"}]
                for at, _ in events(self.url, asked, 64):
                    if last is not None:
                        self.gaps.append((time.monotonic(), at - last))
                    last = at
            except OSError as error:
                self.failed += 1
                print(f"bench-swap: {error}", file=sys.stderr)


def swap(url: str, model: str) -> float:
    """Makes the same weights live under the next number; seconds that took."""
    with urllib.request.urlopen(url + "/model_info", timeout=60) as answer:
        version = int(json.load(answer)["weight_version"])
    begun = time.monotonic()
    with post(url + "/update_weights_from_disk",
              {"model_path": model, "weight_version": str(version + 1)}) as answer:
        assert json.load(answer)["success"]
    return time.monotonic() - begun


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench-swap", description=__doc__)
    parser.add_argument("url", help="of the server")
    parser.add_argument("model", help="directory of the weights that are live, on the server's disk")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt-words", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", action="store_true", help="without the stream beside it")
    args = parser.parse_args()
    url = args.url.rstrip("/").removesuffix("/v1")
    r = random.Random(args.seed)
    words = " ".join(r.choice(["tide", "lamp", "seven", "north", "paper"]) for _ in range(args.prompt_words))
    messages = [{"role": "system", "content": words}]
    times, swaps, cached, stream = {"cold": [], "warm": [], "swapped": []}, [], [], Stream(url)
    if not args.quiet:
        stream.start()

    def turn(kind: str) -> None:
        messages.append({"role": "user", "content": f"Turn {len(messages)}: go on."})
        seconds, hits, reply = first_token(url, messages)
        messages.append({"role": "assistant", "content": reply})
        times[kind].append(seconds)
        cached.append((kind, hits))

    turn("cold")
    during = []
    for _ in range(args.rounds):
        turn("warm")
        begun = time.monotonic()
        swaps.append(swap(url, args.model))
        during.append((begun, time.monotonic()))
        turn("swapped")
    stream.over.set()
    if not args.quiet:
        stream.join(60)
    within = lambda at: any(begun <= at <= end + 0.5 for begun, end in during)
    worst = lambda gaps: round(max(gaps, default=0.0) * 1000, 1)
    median = {kind: statistics.median(values) for kind, values in times.items()}
    late = median["swapped"] / median["warm"]
    print(json.dumps({
        "first_token_s": {kind: round(value, 4) for kind, value in median.items()},
        "swapped_over_warm": round(late, 2), "cold_over_warm": round(median["cold"] / median["warm"], 1),
        "swap_s": [round(s, 2) for s in swaps], "cached_tokens": cached,
        "worst_gap_ms_in_swaps": worst([gap for at, gap in stream.gaps if within(at)]),
        "worst_gap_ms_otherwise": worst([gap for at, gap in stream.gaps if not within(at)]),
        "gaps": len(stream.gaps), "stream_failed": stream.failed,
    }))
    return 0 if late <= LATE_MAX and not stream.failed else 1


if __name__ == "__main__":
    sys.exit(main())
