"""transformers on torch's CPU; also makes the weights that everybody measures with.

Arguments: `make TOKENIZER_MODEL OUT` or `serve MODEL THREADS`. A decode step is one forward pass
with a key-value cache and an argmax: less than `generate()` does.
"""

import json
import shutil
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from bench_serve import CONTEXT, HEAD_DIM, HEADS, HIDDEN, INNER, KV_HEADS, LAYERS, VOCAB

from bench_serve.server import Seconds


def now() -> Seconds:
    return Seconds(time.perf_counter(), time.process_time())


def make(source: Path, out: Path) -> None:
    torch.manual_seed(1)
    config = Qwen3Config(
        hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, intermediate_size=INNER,
        vocab_size=VOCAB, max_position_embeddings=CONTEXT, tie_word_embeddings=True,
        eos_token_id=json.loads((source / "config.json").read_text())["eos_token_id"],
    )
    model = Qwen3ForCausalLM(config)
    for name, dtype in [("f32", torch.float32), ("bf16", torch.bfloat16)]:
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        weights = {key: value.to(dtype).contiguous() for key, value in model.state_dict().items()
                   if key != "lm_head.weight"}
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        config.architectures = ["Qwen3ForCausalLM"]
        (folder / "config.json").write_text(config.to_json_string(use_diff=False))
        for file in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]:
            if (source / file).exists():
                shutil.copy(source / file, folder / file)


class Peer:
    def __init__(self, model: str, threads: int) -> None:
        torch.set_num_threads(threads)
        loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.model = loaded.eval()

    @torch.inference_mode()
    def run(self, prompts: list[list[int]], tokens: int) -> list[Seconds]:
        """Of the prompt, and of `tokens` steps after it."""
        ids = torch.tensor(prompts)
        start = now()
        out = self.model(ids, use_cache=True, logits_to_keep=1)
        ids = out.logits[:, -1].argmax(-1, keepdim=True)
        first = now()
        for _ in range(tokens):
            out = self.model(ids, past_key_values=out.past_key_values, use_cache=True)
            ids = out.logits[:, -1].argmax(-1, keepdim=True)
        return [first.minus(start), now().minus(first)]


def calibrate() -> dict:
    """What one thread does: a product that fits the caches, and reading memory that does not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a, much = torch.ones(512, 512), torch.ones(1 << 26)

    def best(work) -> float:
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    product, reading = best(lambda: a @ a), best(lambda: much.sum())
    torch.set_num_threads(threads)
    return {"gflops": 2 * 512**3 / product / 1e9, "read_gb_s": much.nbytes / reading / 1e9}


def main() -> None:
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    peer = Peer(sys.argv[2], int(sys.argv[3]))
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if question.get("calibrate"):
            print(json.dumps(calibrate()), flush=True)
            continue
        prompt, decode = peer.run(question["prompts"], question["tokens"])
        print(json.dumps({"prompt": prompt, "decode": decode}), flush=True)


main()
