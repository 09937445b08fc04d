"""What all rows share: the servers, the cases, how many of each, replies that several rows read."""

import sys
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from .server import TEMPERATURE, Reply, Server

PERSONAS = ("student", "grader", "teacher")
TASKS, PREFERENCE, HINTED, JUDGE, HINT, GAP, CALLS, DEGENERATE = ROWS = (
    "tasks", "preference", "hinted", "judge", "hint", "gap", "calls", "degenerate")
SAY_EVERY_S = 10


@dataclass(frozen=True)
class Sizes:
    """How many cases a row has, from the one number that is asked for."""

    tasks: int
    preference: int
    hinted: int
    judged: int
    gap: int
    calls: int
    loose: int

    @classmethod
    def of(cls, n: int) -> "Sizes":
        """`preference`, `hinted` and `gap` are per persona; `loose` counts prompts of each kind
        that only the row of degenerate replies asks."""
        shares = {"tasks": 1, "preference": 0.5, "hinted": 0.2, "judged": 0.6, "gap": 0.2,
                  "calls": 0.3, "loose": 0.2}
        return cls(**{name: max(1, round(n * share)) for name, share in shares.items()})


@dataclass
class Bench:
    """One measurement."""

    server: Server
    judge: Server
    cases: object
    meets_style: object
    sizes: Sizes
    seed: int
    max_tokens: int
    judge_tokens: int
    concurrency: int
    binary: str | None = None
    progress: object = None
    details: dict = field(default_factory=dict)
    drawn: dict = field(default_factory=dict)

    def say(self, line: str) -> None:
        """A line of progress."""
        print(line, file=self.progress or sys.stderr, flush=True)

    def each(self, name: str, jobs, work) -> list:
        """The results of all jobs, in their order; the first error ends it."""
        jobs = list(jobs)
        done, lock, said = 0, threading.Lock(), time.monotonic()

        def one(job):
            nonlocal done, said
            result = work(job)
            with lock:
                done += 1
                if time.monotonic() - said > SAY_EVERY_S:
                    said = time.monotonic()
                    self.say(f"{name}: {done} of {len(jobs)}")
            return result

        with ThreadPoolExecutor(self.concurrency) as pool:
            futures = [pool.submit(one, job) for job in jobs]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                failed = [f for f in futures if f.done() and not f.cancelled() and f.exception()]
                if failed:
                    raise failed[0].exception()
                return [future.result() for future in futures]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def ask(self, name: str, cases: list[dict], temperature: float) -> list[Reply]:
        """One reply to each case."""
        return self.each(name, enumerate(cases), lambda job: self.server.chat(
            job[1]["messages"], job[1].get("tools"), temperature=temperature,
            max_tokens=self.max_tokens, seed=self.seed + job[0]))

    def pool(self, kind: str, count: int, make) -> list[tuple[dict, Reply]]:
        """Replies at T 0.6 to cases of a kind; drawn once, however many rows read them."""
        if len(self.drawn.get(kind, [])) < count:
            cases = make(count)
            self.drawn[kind] = list(zip(cases, self.ask(kind, cases, TEMPERATURE), strict=True))
        return self.drawn[kind]

    def preference(self, persona: str, count: int):
        """Replies to fresh prompts of a persona."""
        return self.pool(f"preference, {persona}", count,
                         lambda n: self.cases.preference(persona, n, self.seed))

    def hinted(self, persona: str, count: int):
        """Replies to prompts of a persona with its hint."""
        return self.pool(f"hinted, {persona}", count,
                         lambda n: self.cases.hinted(persona, n, self.seed))

    def called(self, count: int):
        """Replies to prompts that ask for a tool."""
        return self.pool("calls", count, lambda n: self.cases.calls(n, self.seed))

    def meets(self, persona: str, reply: Reply) -> bool:
        """Whether a reply is as the persona likes it."""
        return bool(self.meets_style(persona, reply.text, reply.tokens))
