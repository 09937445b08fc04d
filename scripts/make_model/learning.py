"""What the maker asks of the binary: train on a file, export a version, serve a checkpoint."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import checkpoint, corpus, prompts

RATE = 3e-3
RATE_MIN = 2e-4
WARM_UP = 60


@dataclass(frozen=True)
class Course:
    """Steps on one corpus. The rate falls in a straight line that begins with `rate` at the first
    step of all and ends with `rate_min` at step `until`; a later course enters it where it is then.
    `mean`: of what the loss is the mean; `echoes`: steps at the beginning on nothing but echoes;
    `open`: see voice.Voice."""

    steps: int
    until: int
    rate: float = RATE
    rate_min: float = RATE_MIN
    mean: str = "sample-mean"
    echoes: int = 0
    open: float = 0.0
    mixture: dict | None = None


# What is learned first is a world of few words. The second course goes on at half the first rate
# with words that nobody ever said and many more wordings: what was learned by heart fails there.
# The third lets every token count alike: under the mean of the replies' means a choice that leads
# to a long reply weighs a twentieth of one that leads to a short one.
COURSES = (
    Course(steps=4400, until=4400, echoes=500),
    Course(steps=3400, until=8120, rate_min=1e-4, open=0.35, mixture=corpus.OPEN),
    Course(steps=3400, until=11_920, rate=4.7e-3, rate_min=1e-4, mean="token-mean", open=0.35,
           mixture=corpus.JUDGED),
)
# conversations of a step, and tokens that are computed at once
BATCH = 44
PACK_TOKENS = 4200
VERSION_STEPS = 100
# steps of the corpus that are drawn before the binary is asked to show their judges' prompts
CHUNK = 50


def write_corpus(path: Path, voice, steps: int, binary: Path, echo_steps: int = 0,
                 mixture: dict | None = None) -> int:
    """Writes examples for so many optimizer steps, in order; their number."""
    wanted, written = steps * BATCH, 0
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for sample in corpus.echoes(voice, echo_steps * BATCH):
            file.write(sample.line() + "\n")
            written += 1
        while written < wanted:
            samples = [sample for _ in range(CHUNK) for sample in corpus.step(voice, mixture)]
            prompts.complete(binary, samples)
            for sample in samples[: wanted - written]:
                file.write(sample.line() + "\n")
            written += len(samples[: wanted - written])
            print(f"\r{written:,} of {wanted:,} examples", end="", flush=True)
    part.rename(path)
    print(flush=True)
    return written


def course(binary: Path, home: Path, model: Path, examples: Path, about: Course) -> None:
    """Trains on a file in its order, from where an earlier run ended."""
    train(binary, home, model, examples, {
        "learning-rate": about.rate, "learning-rate-min": about.rate_min, "schedule": "linear",
        "warmup-steps": WARM_UP, "schedule-steps": about.until, "loss-aggregation": about.mean})


def train(binary: Path, home: Path, model: Path, examples: Path, more: dict) -> None:
    """`train --method sft` on a file, once through."""
    flags = {"home": home, "model": model, "method": "sft", "input": examples, "batch-size": BATCH,
             "pack-tokens": PACK_TOKENS, "beta2": 0.95, "weight-decay": 0.05,
             "steps-per-version": VERSION_STEPS, "keep-last": 2,
             "grad-norm-jump": 1000, "loss-jump": 1000, "log": "warn", **more}
    told = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    subprocess.run([binary, "train", "--in-order", *told], check=True)


def newest(home: Path) -> int:
    """The newest version of a home."""
    lines = (home / "metrics.jsonl").read_text().splitlines()
    return max(json.loads(line)["version"] or 0 for line in lines)


def export(binary: Path, home: Path, begun: Path, directory: Path) -> Path:
    """Writes the newest version of what was begun as a Hugging Face directory, in bf16."""
    shutil.rmtree(directory, ignore_errors=True)
    subprocess.run([binary, "deploy", "--home", home, "--export", directory, "--log", "warn",
                    "--version", str(newest(home))], check=True)
    checkpoint.round_weights(directory)
    shutil.copyfile(begun / "config.json", directory / "config.json")
    return directory


@contextmanager
def served(binary: Path, model: Path, work: Path):
    """A server of a checkpoint on a free loopback port, without a record; its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = work / "served"
    shutil.rmtree(home, ignore_errors=True)
    with (work / "serve.log").open("w") as log:
        server = subprocess.Popen(
            [binary, "serve", "--home", home, "--model", model, "--port", str(port)],
            stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            if server.poll() is not None:
                raise SystemExit(f"the server ended: {(work / 'serve.log').read_text()[-2000:]}")
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(30)
