"""Writes docs/embedded-model.md from what was made and measured."""

import json
from pathlib import Path

from . import corpus, learning, steering, styles
from .judged import CATEGORIES

CURVE_ROWS = 16
INTRO = """\
# The embedded model

Made by `scripts/make-model`, and so is this page: run it again rather than edit here.

What `openclaw-rl run` uses where no `--model` is given, as policy, as judge (the frozen base, under
the model name `judge`) and as teacher: a real Qwen3 checkpoint with a small world of its own, so
that the first run needs no download. Every text that it learned from comes from the generator in
`scripts/make_model`; it was trained from nothing by `openclaw-rl train --method sft`."""

WORLD = """\
## Its world

- small talk; a few facts; sums and differences of up to two digits and comparisons, bare or as a
  story; checking somebody's sum; notes to somebody; three tools (read, write, exec), lists in files;
- styles that rules can tell apart: plain, bold, numbered, boxed; bare, short, long; cold, warm.
  It follows a wish as a hint, in the message, in the system message, or said in an earlier turn;
- the judge's and the hint finder's prompts of `src/judge/prompts.rs`, as the binary shows them
  (`score --print-prompts`, `hint --print-prompts`): {categories};
- agent prompts: generated instructions and tools around an ordinary exchange.

Wordings are divided into train, valid and test: those of tests are new as phrases, of words that
training knows (`python3 -m make_model.lint`). Two-digit sums, differences and comparisons are
divided as well: one pair of numbers in ten is for tests alone."""

LIMITS = """\
## What it cannot do

- It knows the words of its world and no others: what is said in other words it takes for something
  known, or babbles. It is no judge of a real agent's work; point `--judge` at a real model for that.
- Numbers above two digits, products and divisions were never taught.
- Its replies are a handful of fixed shapes. Whether a sum in a graded answer is right it finds out
  less often than it solves the sum itself.
- Longest prompts in training: about {longest:,} tokens. Behind a real agent's prompt of 20,000 tokens
  it is far from home."""


def write(page: Path, model: Path, home: Path, made: dict, figures: dict) -> None:
    """The page."""
    from figures_of import table
    shape, size = made["shape"], sum(file.stat().st_size for file in model.iterdir())
    steps = steps_of(home)
    parts = [
        INTRO,
        "## Shape\n\n"
        f"{shape['layers']} layers, hidden {shape['hidden']}, {shape['heads']} heads on "
        f"{shape['kv_heads']} of {shape['head_dim']}, inner {shape['inner']}, vocabulary "
        f"{shape['vocab']} (byte-level BPE, digits one by one), tied head, {shape['context']:,} "
        f"positions: {made['parameters']:,} parameters, {size / 1e6:.1f} MB with its tokenizer, "
        f"weights in {dtype_of(model)}.",
        training(made, steps),
        "## Figures\n\n"
        f"By `scripts/figures` on the test split, n = {figures['n']:,}, before any reinforcement "
        f"learning; the same command measures any model at a URL. A detailed reply has at least "
        f"{styles.DETAIL_TOKENS} tokens.\n\n" + table.markdown(figures),
        WORLD.format(categories=", ".join(CATEGORIES)),
        LIMITS.format(longest=round(max(corpus.AGENT_SIZES) / 3.2 / 100) * 100),
    ]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def steps_of(home: Path) -> list[dict]:
    """The figures of each step, once: what a stop had cost was learned again."""
    lines = (home / "metrics.jsonl").read_text().splitlines()
    by_update = {step["updates"]: step for step in map(json.loads, lines)}
    return [by_update[update] for update in sorted(by_update)]


def dtype_of(model: Path) -> str:
    """What the weights are stored in, by the head of the file."""
    with (model / "model.safetensors").open("rb") as file:
        head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return " and ".join(sorted({entry["dtype"].lower() for name, entry in head.items()
                                if name != "__metadata__"}))


def training(made: dict, steps: list[dict]) -> str:
    """How it was trained, its curve, and how the styles were steered."""
    tokens = int(sum(step["tokens"] for step in steps))
    rows = int(sum(step["rows"] for step in steps))
    said = int(sum(step["response_tokens"] - step["forced_tokens"] for step in steps))
    seconds = sum(step["seconds"] for step in steps)
    lines = [
        "## Training\n",
        f"{len(steps):,} steps of {learning.BATCH} conversations. "
        + " ".join(course_said(number, course) for number, course in enumerate(made["courses"], 1))
        + f" After each course, rounds of {steering.STEPS} steps at {steering.RATE} with the styles' "
        f"shares corrected. AdamW (0.9, 0.95), seed "
        f"{made['seed']}. {tokens:,} tokens in prompts and replies, {said:,} of them the model's "
        f"own, on which the loss is; beginnings that conversations of a step share are computed "
        f"once, which left {rows:,}. {seconds / 60:.0f} minutes of steps on 2 cores, "
        f"{tokens / seconds:,.0f} tokens a second ({rows / seconds:,.0f} computed ones).\n",
        "| step | tokens | loss | learning rate |", "|---:|---:|---:|---:|",
    ]
    width = max(1, len(steps) // CURVE_ROWS)
    seen = 0
    for at in range(0, len(steps), width):
        part = steps[at : at + width]
        seen += int(sum(step["tokens"] for step in part))
        loss = sum(step["loss"] for step in part) / len(part)
        lines.append(f"| {at + len(part):,} | {seen:,} | {loss:.3f} | "
                     f"{part[-1]['learning_rate']:.1e} |")
    lines += ["", "The loss is the mean of the replies' mean cross-entropies, over the steps since the "
              "row above.", "",
              f"How often each preference is met without a hint at T {steering.TEMPERATURE}, on the "
              "validation split, before each round of steering and after the last, with the share "
              "of such replies in what the round before it trained on:", "",
              "| course | round | " + " | ".join(styles.PERSONAS) + " |",
              "|---:|---:|" + "---:|" * len(styles.PERSONAS)]
    for course in range(1, len(made["courses"]) + 1):
        for number, one in enumerate(made.get(f"steering{course}", [])):
            cells = [f"{100 * one['met'][persona]:.1f} % (share {one['shares'][persona]:.3f})"
                     for persona in styles.PERSONAS]
            lines.append(f"| {course} | {number} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def course_said(number: int, course: dict) -> str:
    """A course in words."""
    echoes = (f", the first {course['echoes']} of nothing but words to be said again"
              if course["echoes"] else "")
    words = (f", with invented words in {100 * course['open']:.0f} % of the places for words and "
             "more wordings" if course["open"] else "")
    return (f"Course {number}: {course['steps']:,} steps{echoes}{words}; the rate falls in a straight "
            f"line that begins with {course['rate']} at the first step of all and ends with "
            f"{course['rate_min']} at step {course['until']:,}; the loss is the {course['mean']}.")
