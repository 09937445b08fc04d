"""Conversations to token ids, with a mark on what the assistant says."""

from functools import cache
from pathlib import Path

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

import json


@cache
def template():
    """The chat template, set up as transformers sets it up."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.undefined = jinja2.Undefined
    source = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")
    return environment.from_string(source)


def text_of(sample) -> str:
    """The rendered conversation."""
    return template().render(messages=sample.messages, tools=sample.tools,
                             add_generation_prompt=False)


class Marker:
    """Finds the assistant's own tokens in rendered ids."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.opening = tokenizer.encode("<|im_start|>assistant\n").ids
        self.end = tokenizer.token_to_id("<|im_end|>")
        self.system = tokenizer.encode("<|im_start|>system\n").ids

    def encode(self, sample) -> tuple[list[int], list[bool]]:
        """Ids and, for each, whether it is the assistant's: a reply and the mark that ends it."""
        ids = self.tokenizer.encode(text_of(sample)).ids
        own, at, size = [False] * len(ids), 0, len(self.opening)
        while at < len(ids):
            if ids[at : at + size] != self.opening:
                at += 1
                continue
            at += size
            while ids[at] != self.end:
                own[at] = True
                at += 1
            own[at] = True
        return ids, own
