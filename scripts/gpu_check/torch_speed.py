"""Decode and prefill by transformers, at the shapes of `openclaw-rl bench`; one JSON line each.

Exit status 3 where there is nothing to measure with.
"""

import json
import sys
import time

try:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM
except ImportError:
    sys.exit(3)

SHAPES = {
    "s": (256, 8, 8, 4, 64, 768, 8192),
    "0.6b": (1024, 28, 16, 8, 128, 3072, 151936),
    "4b": (2560, 36, 32, 8, 128, 9728, 151936),
}


def model(shape, dtype, device):
    hidden, layers, heads, kv_heads, head_dim, inner, vocab = SHAPES[shape]
    config = Qwen3Config(
        hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, head_dim=head_dim, intermediate_size=inner,
        vocab_size=vocab, max_position_embeddings=32768, tie_word_embeddings=True)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        return Qwen3ForCausalLM(config).eval(), vocab


def sync(device):
    if device.startswith("cuda"):
        torch.cuda.synchronize()


@torch.inference_mode()
def run(model, vocab, device, batch, prompt, steps):
    """Seconds of the prompt, and of the steps after it."""
    ids = torch.randint(vocab, (batch, prompt), device=device)
    sync(device)
    start = time.perf_counter()
    out = model(ids, use_cache=True, logits_to_keep=1)
    ids = out.logits[:, -1].argmax(-1, keepdim=True)
    sync(device)
    first = time.perf_counter()
    for _ in range(steps):
        out = model(ids, past_key_values=out.past_key_values, use_cache=True)
        ids = out.logits[:, -1].argmax(-1, keepdim=True)
    sync(device)
    return first - start, time.perf_counter() - first


def main():
    device = sys.argv[1]
    on_gpu = device.startswith("cuda")
    if on_gpu and not torch.cuda.is_available():
        sys.exit(3)
    prompt, prefill, steps = (512, 2048, 64) if on_gpu else (64, 128, 16)
    for shape in ["0.6b", "4b"] if on_gpu else ["s"]:
        for dtype in [torch.bfloat16, torch.float32][: 2 if shape != "4b" else 1]:
            loaded, vocab = model(shape, dtype, device)
            run(loaded, vocab, device, 1, prefill, 4)
            seconds = min(run(loaded, vocab, device, 1, prefill, 0)[0] for _ in range(3))
            decode = {}
            for batch in [1, 8, 32] if on_gpu else [1, 4]:
                spent = min(run(loaded, vocab, device, batch, prompt, steps)[1] for _ in range(3))
                decode[batch] = batch * steps / spent
            print(json.dumps({
                "shape": shape, "dtype": str(dtype).removeprefix("torch."), "device": device,
                "prefill_tokens": prefill, "prefill_tokens_s": prefill / seconds,
                "context": prompt, "decode": decode}), flush=True)
            del loaded


main()
