"""The one command: tokenizer, first weights, corpus, training, steering, checkpoint, figures, card.

Every stage leaves its work in the work folder and is skipped where that is done already; training
itself goes on from its last version. See --help.
"""

import argparse
import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path

from tokenizers import Tokenizer

from . import card, checkpoint, corpus, learning, prompts, steering, words
from . import agent
from .voice import Voice

COURSES = range(1, len(learning.COURSES) + 1)
STAGES = ("tokenizer", "begin",
          *(f"{stage}{course}" for course in COURSES for stage in ("corpus", "train", "steer")),
          "export", "figures", "card")
SEED = 20261123
# conversations that the tokenizer learns from, in steps, and characters of agent prompts
TOKENIZER_STEPS = 60
TOKENIZER_AGENT_CHARS = 2_000_000
# of a judge's instructions, which are the same each time, the tokenizer reads one in so many
INSTRUCTIONS_KEPT = 8


class Maker:
    """The work folder and what is done in it."""

    def __init__(self, args):
        self.args, self.work = args, args.work
        self.begin_dir, self.home, self.out = self.work / "begin", self.work / "home", args.out
        self.shape = checkpoint.Shape()

    def tokenizer(self) -> None:
        """Trains the tokenizer on the words of conversations and the shapes of agent prompts."""
        self.work.mkdir(parents=True, exist_ok=True)
        made = words.train(self.texts(), self.shape.vocab)
        made.save(str(self.work / "tokenizer.json"))

    def texts(self):
        """What the tokenizer learns from."""
        yield from agent.tokenizer_texts(self.args.seed, TOKENIZER_AGENT_CHARS)
        voice = Voice(self.args.seed)
        samples = [s for _ in range(TOKENIZER_STEPS) for s in corpus.step(voice)]
        prompts.complete(self.args.binary, samples)
        for at, sample in enumerate(samples):
            rare = sample.exchange and at % INSTRUCTIONS_KEPT
            for message in sample.messages[1 if rare else 0 :]:
                yield f"{message['role']}\n{message['content'] or ''}\n"
            if sample.tools:
                yield json.dumps(sample.tools[0])

    def begin(self) -> None:
        """Writes the checkpoint that training begins with."""
        tokenizer = Tokenizer.from_file(str(self.work / "tokenizer.json"))
        size = checkpoint.write(self.begin_dir, self.shape, tokenizer, self.args.seed)
        self.note("parameters", size)

    def course_file(self, course: int) -> Path:
        """Where the examples of a course stand."""
        return self.work / f"course{course}.jsonl"

    def corpus(self, course: int) -> None:
        """Writes the examples of a whole course, in order."""
        about = learning.COURSES[course - 1]
        voice = Voice(self.seed(course) + 1, open=about.open)
        learning.write_corpus(self.course_file(course), voice, about.steps, self.args.binary,
                              about.echoes, about.mixture)

    def train(self, course: int) -> None:
        """Trains on them, from where an earlier run ended."""
        started = time.monotonic()
        learning.course(self.args.binary, self.home, self.begin_dir, self.course_file(course),
                        learning.COURSES[course - 1])
        self.note("train_seconds", self.noted().get("train_seconds", 0)
                  + round(time.monotonic() - started))

    def steer(self, course: int) -> None:
        """Short rounds of training with other shares, until each preference is met as often as it
        should be."""
        work = self.work / f"steering{course}"
        work.mkdir(exist_ok=True)
        rounds = steering.run(self.args.binary, self.home, self.begin_dir, work,
                              self.seed(course) + 2, self.args.steer_rounds,
                              learning.COURSES[course - 1])
        self.note(f"steering{course}", rounds)

    def seed(self, course: int) -> int:
        """Where the seeds of a course begin."""
        return self.args.seed + 100 * (course - 1)

    def export(self) -> None:
        """Puts the newest version where the program embeds it from."""
        fresh = learning.export(self.args.binary, self.home, self.begin_dir,
                                self.work / "export")
        self.out.mkdir(parents=True, exist_ok=True)
        for file in fresh.iterdir():
            shutil.copyfile(file, self.out / file.name)
        print(f"{self.out}: {sum(f.stat().st_size for f in self.out.iterdir()) / 1e6:.1f} MB")

    def figures(self) -> None:
        """Measures every figure of the finished checkpoint on the test split."""
        with learning.served(self.args.binary, self.out, self.work) as url:
            measured = steering.figures_of(url, self.args.binary, self.args.n, self.args.seed + 3)
        (self.work / "figures.json").write_text(json.dumps(measured, indent=1))

    def card(self) -> None:
        """Writes the page about it."""
        made = {"seed": self.args.seed, "courses": [asdict(course) for course in learning.COURSES],
                "shape": asdict(self.shape), **self.noted()}
        card.write(self.args.card, self.out, self.home, made,
                   json.loads((self.work / "figures.json").read_text()))

    def noted(self) -> dict:
        """What stages wrote down for the card."""
        path = self.work / "made.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def note(self, name: str, value) -> None:
        """Writes something down for the card."""
        (self.work / "made.json").write_text(json.dumps(self.noted() | {name: value}, indent=1))


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="make-model", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the model directory to write")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything between")
    parser.add_argument("--card", type=Path, required=True, help="the Markdown page to write")
    parser.add_argument("--binary", type=Path, required=True, help="the openclaw-rl to train with")
    parser.add_argument("--steer-rounds", type=int, default=steering.ROUNDS_MAX)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--n", type=int, default=1000, help="size of the figures' samples")
    parser.add_argument("--only", nargs="*", choices=STAGES, default=None,
                        help="run these stages, done or not")
    parser.add_argument("--fresh", action="store_true", help="forget what the work folder holds")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.fresh:
        shutil.rmtree(args.work, ignore_errors=True)
    maker = Maker(args)
    for stage in args.only if args.only is not None else STAGES:
        done = args.work / f"{stage}.done"
        if args.only is None and done.exists():
            print(f"== {stage}: done already", flush=True)
            continue
        print(f"== {stage}", flush=True)
        name, course = stage.rstrip("0123456789"), stage[len(stage.rstrip("0123456789")):]
        getattr(maker, name)(*[int(course)] if course else [])
        done.touch()


if __name__ == "__main__":
    main()
