"""Writes docs/embedded-model.md from what the run measured."""

import json
from pathlib import Path

ROWS = [
    ("ended", "replies that end by themselves within 96 tokens, T 0.6, all kinds (n = {ended_n})"),
    ("reply_empty", "empty replies"),
    ("reply_tokens_median", "tokens of a reply, median"),
    ("reply_tokens_p95", "tokens of a reply, 95th percentile"),
    ("hint_followed", "style met when asked for in unseen wording, T 0.6 (n = {hint_followed_n})"),
    ("hint_plain", "– no bold, lists or boxes"),
    ("hint_bold", "– bold"), ("hint_numbered", "– numbered"), ("hint_boxed", "– boxed"),
    ("hint_bare", "– just the number, the name, the word"),
    ("hint_short", "– at most 32 tokens"), ("hint_long", "– at least 20 tokens"),
    ("hint_warm", "– warm"), ("hint_cold", "– cold"),
    ("unasked_plain", "plain arithmetic without being asked"),
    ("unasked_long", "at least 36 tokens on grading without being asked"),
    ("unasked_warm", "warm notes without being asked"),
    ("right_fact", "facts right, greedy (n = 100)"),
    ("right_sum_small", "sums right where one number has one digit, greedy (n = 100)"),
    ("right_sum_two_digits", "unseen sums of two-digit numbers right, greedy (n = 100)"),
    ("verdict_right", "judge: verdict right, one vote, T 0.6, unseen wording"),
    ("hint_extracted_exactly", "judge: hint copied word for word, or none where there is none"),
    ("call_well_formed", "tool calls that are well-formed (n = 120)"),
    ("call_exact", "tool calls with the right tool and arguments"),
    ("result_told", "tool results passed on to the user word for word"),
    ("long_prompt_ended", "replies that end by themselves behind {long_prompt_tokens} tokens of "
                          "agent prompt (n = {long_prompt_n})"),
]


def write(card: Path, work: Path, directory: Path) -> None:
    """The page, from work/training.json and work/figures.json."""
    training = json.loads((work / "training.json").read_text())
    figures = json.loads((work / "figures.json").read_text())
    curve, recipe, shape = training["curve"], training["recipe"], training["shape"]
    size = sum(f.stat().st_size for f in directory.iterdir())
    last = curve[-1]
    lines = [
        "# The embedded model", "",
        "Made by `scripts/make-model`, and so is this page: run it again rather than edit here.",
        "What `openclaw-rl run` uses when no `--model` is given: a real Qwen3 checkpoint with a",
        "small world of its own (small talk, sums, a few facts, notes, grading, three tools,",
        "judging), so that the first run needs no download. Every text it learned from comes from",
        "the generator in `scripts/make_model`.", "",
        f"- Shape: {shape['layers']} layers, hidden {shape['hidden']}, {shape['heads']} heads on "
        f"{shape['kv_heads']} of {shape['head_dim']}, inner {shape['inner']}, vocabulary "
        f"{shape['vocab']}, tied head, {shape['context']} positions; {size / 1e6:.1f} MB in bf16.",
        f"- Training: {last['tokens']:,} tokens ({last['own_tokens']:,} of them the assistant's), "
        f"{last['step']} steps of Muon (hidden matrices, {recipe['matrix_rate']}) and AdamW (the "
        f"rest, {recipe['rate']}), seed {recipe['seed']}, "
        f"{recipe['threads']} thread, {last['seconds'] // 60} minutes on a machine that was busy.",
        "- The same seed on the same machine gives the same weights; another machine's "
        "arithmetic gives slightly others.", "",
        "## Loss", "", "Mean cross-entropy of the assistant's tokens since the row above.", "",
        "| step | tokens | loss |", "|---:|---:|---:|",
    ]
    shown = curve[:: max(1, len(curve) // 12)]
    if shown[-1] is not last:
        shown.append(last)
    lines += [f"| {p['step']} | {p['tokens']:,} | {p['loss']:.3f} |" for p in shown]
    lines += ["", "## Figures", "",
              "On prompts whose wording (and whose two-digit sums) training never saw.", "",
              "| measured | value |", "|---|---:|"]
    lines += [f"| {label.format(**figures)} | {figures[name]} |"
              for name, label in ROWS if name in figures]
    lines += ["", "## What it cannot do", "",
              "It has the manners of its small world sooner than its facts: replies are short, end,",
              "and mostly have the style that was asked for, while names, numbers and results are",
              "often mixed up (the figures above say how often). Positions past 3,072 tokens were",
              "never trained except as leaps in position, so a long agent prompt makes it babble.",
              "Its skill is the matter of a later, longer run of the same command.",
              ""]
    card.parent.mkdir(parents=True, exist_ok=True)
    card.write_text("\n".join(lines), encoding="utf-8")
