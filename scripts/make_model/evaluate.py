"""Figures of the finished checkpoint on wording and sums that training never saw."""

import json
import re
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from . import agent, corpus, tasks, tools
from .voice import Voice

NEW_TOKENS = 96
TEMPERATURE = 0.6


class Speaker:
    """Answers many prompts at once."""

    def __init__(self, directory: Path, threads: int):
        torch.set_num_threads(threads)
        self.tokenizer = AutoTokenizer.from_pretrained(directory, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(
            directory, torch_dtype=torch.float32).eval()

    def answer(self, prompts, greedy=False, batch=32) -> list[tuple[str, bool, int]]:
        """For each (messages, tools): the reply, whether it ended by itself, its tokens."""
        texts = [self.tokenizer.apply_chat_template(
            m, tools=t, tokenize=False, add_generation_prompt=True) for m, t in prompts]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        replies = [None] * len(texts)
        for at in range(0, len(order), batch):
            part = order[at : at + batch]
            for i, reply in zip(part, self.generate([texts[i] for i in part], greedy)):
                replies[i] = reply
        return replies

    def generate(self, texts, greedy):
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True)
        chosen = {"do_sample": False, "temperature": None} if greedy else {
            "do_sample": True, "temperature": TEMPERATURE, "top_k": 0, "top_p": 1.0}
        with torch.no_grad():
            out = self.model.generate(**inputs, max_new_tokens=NEW_TOKENS, **chosen)
        end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")
        for row in out[:, inputs["input_ids"].shape[1] :].tolist():
            ended = end in row
            row = row[: row.index(end)] if ended else row
            yield self.tokenizer.decode(row), ended, len(row) + 1


def run(directory: Path, threads: int) -> dict:
    """All figures, as numbers by name."""
    torch.manual_seed(7)
    speaker, figures, started = Speaker(directory, threads), {}, time.monotonic()
    for part in (endings, hints, first_replies, answers, judging, calling, long_prompts):
        figures.update(part(speaker))
        print(part.__name__, round(time.monotonic() - started), "s", flush=True)
    for name, value in figures.items():
        print(f"{name}: {value}")
    return figures


def prompts_of(seed: int, kind: str | None, count: int):
    """Test conversations up to their last reply: (sample, prompt)."""
    voice, made = Voice(seed, test=True), []
    while len(made) < count:
        sample = corpus.sample(voice, kind)
        if sample.kind != "agent" or len(str(sample.messages)) < 6000:
            made.append((sample, (sample.messages[:-1], sample.tools)))
    return made


def share(hits) -> float:
    hits = list(hits)
    return round(sum(hits) / len(hits), 3)


def endings(speaker) -> dict:
    """Replies that end by themselves, over the whole mixture."""
    made = prompts_of(101, None, 320)
    replies = speaker.answer([p for _, p in made])
    lengths = sorted(n for _, _, n in replies)
    return {"ended": share(e for _, e, _ in replies), "ended_n": len(replies),
            "reply_tokens_median": lengths[len(lengths) // 2],
            "reply_tokens_p95": lengths[len(lengths) * 95 // 100],
            "reply_empty": share(not text.strip() for text, _, _ in replies)}


def meets(dimension: str, value: str, text: str, tokens: int, task) -> bool:
    """Whether a reply shows the style, by rule."""
    listed = bool(re.search(r"^\d+\. ", text, re.M))
    signs = {"bold": "**" in text, "boxed": "\\boxed" in text, "numbered": listed}
    if dimension == "form":
        return not any(signs.values()) if value == "plain" else signs[value]
    if value == "bare":
        return len(text.split()) <= 2 and "\n" not in text
    if value == "short":
        return tokens <= 32
    if value == "long":
        return tokens >= 20
    warm = "!" in text
    return warm if value == "warm" else not warm


def hints(speaker) -> dict:
    """Style asked for in unseen wording, met at T 0.6."""
    made = prompts_of(102, "hinted", 400)
    replies = speaker.answer([p for _, p in made])
    by, figures = {}, {}
    for (sample, _), (text, _, tokens) in zip(made, replies):
        task, _, dimension, value = sample.wanted
        by.setdefault(value, []).append(meets(dimension, value, text, tokens, task))
    everything = [x for hits in by.values() for x in hits]
    figures["hint_followed"], figures["hint_followed_n"] = share(everything), len(everything)
    figures.update({f"hint_{value}": share(hits) for value, hits in sorted(by.items())})
    return figures


def first_replies(speaker) -> dict:
    """How often a persona's preference is met by chance, without a hint."""
    made = prompts_of(103, "fresh", 500)
    replies = speaker.answer([p for _, p in made])
    plain, long, warm = [], [], []
    for (sample, _), (text, _, tokens) in zip(made, replies):
        task = sample.wanted[0]
        if task.kind == "arithmetic":
            plain.append(meets("form", "plain", text, tokens, task))
        elif task.kind == "grading":
            long.append(tokens >= 36)
        elif task.kind == "note":
            warm.append(meets("tone", "warm", text, tokens, task))
    return {"unasked_plain": share(plain), "unasked_long": share(long), "unasked_warm": share(warm)}


def answers(speaker) -> dict:
    """Right answers, greedy, by kind of task; two-digit sums are ones kept out of training."""
    voice, sets = Voice(104, test=True), {"sum_small": [], "sum_two_digits": [], "fact": []}
    while min(len(s) for s in sets.values()) < 100:
        task = tasks.make(voice, voice.any(["arithmetic", "fact"]))
        two = len(re.findall(r"\d\d", task.ask)) >= 2
        name = "fact" if task.kind == "fact" else "sum_two_digits" if two else "sum_small"
        if len(sets[name]) < 100:
            sets[name].append(task)
    figures = {}
    for name, made in sets.items():
        replies = speaker.answer([([{"role": "user", "content": t.ask}], None) for t in made], True)
        figures[f"right_{name}"] = share(
            bool(re.search(rf"(?<!\d){re.escape(t.answer)}(?!\d)", text, re.I)) and says(text, t)
            for t, (text, _, _) in zip(made, replies))
    return figures


def says(text: str, task) -> bool:
    """The last number of a reply to a sum is its answer."""
    if task.kind != "arithmetic":
        return True
    plain = text.replace("You can check it by going backwards.", "")
    return re.findall(r"\d+", plain)[-1:] == [task.answer]


def judging(speaker) -> dict:
    """Verdict or hint as it should be, one vote at T 0.6, unseen wording."""
    made = prompts_of(105, "judge", 240)
    replies = speaker.answer([p for _, p in made])
    verdicts, extracted = [], []
    for (sample, _), (text, _, _) in zip(made, replies):
        expected = sample.messages[-1]["content"]
        boxed = re.findall(r"\\boxed\{(-?\d)\}", text)[-1:]
        if "HINT" in sample.messages[1]["content"]:
            extracted.append(text.strip() == expected)
        else:
            verdicts.append(boxed == re.findall(r"\\boxed\{(-?\d)\}", expected)[-1:])
    return {"verdict_right": share(verdicts), "hint_extracted_exactly": share(extracted)}


def calling(speaker) -> dict:
    """Tool calls: well-formed, with the right arguments, and the result passed on."""
    voice, call_prompts, say_prompts = Voice(106, test=True), [], []
    for _ in range(120):
        messages, kit = tools.used(voice), tools.kit(voice, 0, 0)
        call_prompts.append((messages, kit))
        say_prompts.append((messages, kit))
    called = speaker.answer([(m[:1], k) for m, k in call_prompts])
    said = speaker.answer([(m[:3], k) for m, k in say_prompts])
    well, right = [], []
    for (messages, _), (text, _, _) in zip(call_prompts, called):
        found = re.fullmatch(r"<tool_call>\n(.*)\n</tool_call>", text.strip(), re.S)
        try:
            parsed = json.loads(found[1]) if found else {}
        except ValueError:
            parsed = {}
        well.append(set(parsed) == {"name", "arguments"})
        right.append(parsed == messages[1]["tool_calls"][0]["function"])
    told = [text.strip() == m[3]["content"] or m[2]["content"].split("\n")[0] in text
            for (m, _), (text, _, _) in zip(say_prompts, said)]
    return {"call_well_formed": share(well), "call_exact": share(right), "result_told": share(told)}


def long_prompts(speaker) -> dict:
    """A whole agent's prompt (44,000 characters and a dozen tools), far beyond training."""
    voice, prompts, sizes = Voice(107, test=True), [], []
    for at in range(6):
        kit = tools.kit(voice, 12, 4)
        ask = tools.used(voice)[:1] if at % 2 else [{"role": "user", "content": "Hello! What is 2+2?"}]
        prompts.append(([{"role": "system", "content": agent.instructions(voice.random, 44_000)},
                         *ask], kit))
        sizes.append(len(speaker.tokenizer.apply_chat_template(prompts[-1][0], tools=kit)))
    replies = speaker.answer(prompts, batch=1)
    for text, ended, _ in replies:
        print("  long prompt:", ended, repr(text[:150]))
    return {"long_prompt_tokens": sum(sizes) // len(sizes), "long_prompt_n": len(replies),
            "long_prompt_ended": share(e for _, e, _ in replies)}
