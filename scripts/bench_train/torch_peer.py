"""A training step by transformers, with peft for LoRA, at the shapes of `openclaw-rl bench train`.

Argument: a JSON object with shape, mode, rank, batch, length, threads and device. Every line on
stdin is answered with the figures of one more step. At the end the last line says the peak memory.
"""

import json
import resource
import sys
import time

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

SHAPES = {
    "tiny": (64, 2, 4, 2, 16, 128, 256),
    "s": (256, 8, 8, 4, 64, 768, 8192),
    "m": (512, 12, 8, 4, 64, 1536, 8192),
    "0.6b": (1024, 28, 16, 8, 128, 3072, 151936),
    "4b": (2560, 36, 32, 8, 128, 9728, 151936),
}
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def model(asked):
    hidden, layers, heads, kv_heads, head_dim, inner, vocab = SHAPES[asked["shape"]]
    torch.manual_seed(1)
    config = Qwen3Config(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, head_dim=head_dim, intermediate_size=inner,
        vocab_size=vocab, max_position_embeddings=32768, tie_word_embeddings=True,
        attn_implementation="sdpa", use_cache=False)
    made = Qwen3ForCausalLM(config)
    if asked["mode"] == "lora":
        from peft import LoraConfig, get_peft_model
        made = get_peft_model(made, LoraConfig(
            r=asked["rank"], lora_alpha=asked["rank"], lora_dropout=0.0,
            target_modules=PROJECTIONS, task_type="CAUSAL_LM"))
    if asked.get("recompute"):
        made.gradient_checkpointing_enable({"use_reentrant": False})
        made.enable_input_require_grads()
    return made.to(asked["device"]).train(), vocab


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Trainer:
    def __init__(self, asked):
        self.asked = asked
        torch.set_num_threads(asked["threads"])
        self.model, vocab = model(asked)
        self.bf16 = asked.get("dtype") == "bf16"
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.trained = trained
        self.optimizer = torch.optim.AdamW(trained, lr=1e-5, betas=(0.9, 0.98), weight_decay=0.1)
        torch.manual_seed(2)
        shape = (asked["batch"], asked["length"])
        self.ids = torch.randint(vocab, shape, device=asked["device"])

    def sync(self):
        if self.asked["device"].startswith("cuda"):
            torch.cuda.synchronize()

    def step(self):
        self.sync()
        start, used = time.perf_counter(), cpu_seconds()
        with torch.autocast(self.asked["device"].split(":")[0], torch.bfloat16, self.bf16):
            logits = self.model(self.ids).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]).float(), self.ids[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.sync()
        gradient = time.perf_counter() - start
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.sync()
        return {"seconds": time.perf_counter() - start, "gradient_seconds": gradient,
                "cpu_seconds": cpu_seconds() - used, "loss": float(loss.detach())}


def main():
    asked = json.loads(sys.argv[1])
    if asked["device"].startswith("cuda") and not torch.cuda.is_available():
        sys.exit(3)
    trainer = Trainer(asked)
    for _ in sys.stdin:
        print(json.dumps(trainer.step()), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_rss_mib": peak}), flush=True)


main()
