"""Checks the directory as others will load it: transformers, and our own decoder beside it."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from . import corpus, encode
from .model import Decoder, Shape
from .voice import Voice

BYTES_MAX = 12_000_000
LOGITS_APART_MAX = 2e-4


def run(directory: Path) -> None:
    """Raises SystemExit with the reason if anything is not as it should be."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, torch_dtype=torch.float32).eval()
    size = sum(f.stat().st_size for f in directory.iterdir())
    demand(size <= BYTES_MAX, f"{size} bytes are more than {BYTES_MAX}")
    same_logits(directory, tokenizer, model)
    same_template(tokenizer)
    round_trip(tokenizer)
    print(f"verified: {size} bytes, {sum(p.numel() for p in model.parameters())} parameters")


def demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(f"verify: {otherwise}")


def same_logits(directory: Path, tokenizer, model) -> None:
    """Our decoder with the stored weights gives the logits that transformers gives."""
    decoder = Decoder(Shape(), 0).eval()
    stored = {name: t.float() for name, t in load_file(directory / "model.safetensors").items()}
    decoder.load_state_dict(stored, strict=True)
    voice, worst = Voice(3, test=True), 0.0
    for _ in range(8):
        ids = torch.tensor([tokenizer.encode(encode.text_of(corpus.sample(voice)))[:600]])
        with torch.no_grad():
            ours = decoder.logits(decoder.hidden(ids, torch.arange(ids.shape[1])[None]))
            theirs = model(ids).logits
        worst = max(worst, (ours - theirs).abs().max().item())
    print(f"logits differ from transformers' by at most {worst:.1e}")
    demand(worst <= LOGITS_APART_MAX, f"logits differ by {worst}")


def same_template(tokenizer) -> None:
    """apply_chat_template, with and without tools, gives the text that training saw."""
    voice = Voice(4)
    for kind in list(corpus.MIXTURE) * 3:
        sample = corpus.sample(voice, kind)
        text = tokenizer.apply_chat_template(sample.messages, tools=sample.tools, tokenize=False)
        demand(text == encode.text_of(sample), f"the template differs on a {kind} conversation")
    arguments = json.dumps({"path": "a.txt"})
    made = {"role": "assistant", "content": "Let me look.", "tool_calls": [
        {"id": "x", "type": "function", "function": {"name": "read", "arguments": arguments}}]}
    parts = [{"type": "text", "text": "Read a"}, {"type": "text", "text": ".txt"}]
    shown = tokenizer.apply_chat_template(
        [{"role": "user", "content": parts}, made, {"role": "tool", "content": "x"},
         {"role": "tool", "content": None}], tokenize=False, add_generation_prompt=True)
    expected = (
        "<|im_start|>user\nRead a.txt<|im_end|>\n<|im_start|>assistant\nLet me look.\n<tool_call>\n"
        '{"name": "read", "arguments": {"path": "a.txt"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\nx\n</tool_response>\n<tool_response>\n\n"
        "</tool_response><|im_end|>\n<|im_start|>assistant\n")
    demand(shown == expected, f"the template gives {shown!r}")


def round_trip(tokenizer) -> None:
    """What is encoded decodes to the same text, whatever the script."""
    for text in ["a  b\n\n\tc ", "Grüße, 你好 👩‍👩‍👧 ok", "x" * 50, "1234567890", "<tool_call>{}"]:
        back = tokenizer.decode(tokenizer.encode(text), clean_up_tokenization_spaces=False)
        demand(back == text, f"{text!r} comes back as {back!r}")
