"""Tiny random models, and what transformers and peft compute with them.

Each folder of --out is one case: config.json, model.safetensors, expected.safetensors (`ids`,
`logits` of every position, and where the case asks for it `grad/NAME` of each parameter), and for
adapters a folder `adapter` in PEFT form with `adapter_logits` and `adapter_grad/NAME`.

The gradients are of `sum_t w_t logp(ids[t] | ids[:t])`, w_t = 1 - 0.3 (t - start) for t >= start.
Everything is computed in float64 from weights that float32 holds exactly; `all_in_float64` says
how.
"""

import argparse
import contextlib
import json
import shutil
from pathlib import Path

import numpy
import peft
import torch
import transformers
from safetensors.numpy import load_file, save_file

VOCAB = 96
LENGTH = 80
START = 70

SHAPE = dict(
    vocab_size=VOCAB,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    bos_token_id=None,
    eos_token_id=7,
    pad_token_id=None,
)

YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
LLAMA3 = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)

# name: family, rope, further keys, which style of config.json, whether there are gradients
CASES = {
    "qwen2": ("qwen2", None, dict(tie_word_embeddings=True), "old", True),
    "qwen2-yarn": ("qwen2", YARN, dict(tie_word_embeddings=False), "old", True),
    "qwen3-linear": ("qwen3", dict(rope_type="linear", factor=4.0), dict(head_dim=16), "new", False),
    "qwen3-yarn": (
        "qwen3",
        dict(YARN, beta_fast=16.0, beta_slow=2.0, mscale=0.8, mscale_all_dim=0.5, truncate=False),
        dict(head_dim=16, attention_bias=True, tie_word_embeddings=True),
        "new",
        True,
    ),
    "llama": ("llama", None, dict(tie_word_embeddings=False), "new", True),
    "llama-llama3": ("llama", LLAMA3, dict(tie_word_embeddings=True), "old", True),
    "llama-biased": (
        "llama",
        dict(rope_type="linear", factor=2.0),
        dict(attention_bias=True, mlp_bias=True, head_dim=12),
        "old",
        True,
    ),
}

# name: base case, settings of the adapter
ADAPTERS = {
    "qwen3-lora": (
        "qwen3-linear",
        dict(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "o_proj", "down_proj"]),
    ),
    "llama-lora": ("llama", dict(r=3, lora_alpha=8, use_rslora=True, target_modules="all-linear")),
    "qwen2-lora": ("qwen2", dict(r=2, lora_alpha=4, target_modules=r".*\.1\..*(k_proj|up_proj)")),
}

MODELS = {
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
}


@contextlib.contextmanager
def all_in_float64():
    """transformers forms rotary tables, norms and softmax in float32, whatever the model's dtype:
    its difference from the truth would be several times ours. So the names that it uses for
    float32 mean float64 for a while."""
    names = [(torch, "float32"), (torch, "float"), (torch.Tensor, "float")]
    kept = [getattr(owner, name) for owner, name in names]
    for (owner, name), double in zip(names, [torch.float64, torch.float64, torch.Tensor.double]):
        setattr(owner, name, double)
    yield
    for (owner, name), value in zip(names, kept):
        setattr(owner, name, value)


def randomize(parameters, generator):
    """Weights of a size that keeps every part of the network at work; exact in float32."""
    for name, parameter in parameters:
        if "norm" in name:
            values = 1 + 0.3 * torch.randn(parameter.shape, generator=generator)
        elif name.endswith(".bias"):
            values = 0.5 * torch.randn(parameter.shape, generator=generator)
        else:
            values = torch.randn(parameter.shape, generator=generator)
            values *= 0.5 if "embed" in name else 1.5 / parameter.shape[-1] ** 0.5
        parameter.data = values.to(torch.float32).to(torch.float64)


def config_json(case, config):
    """The file as releases of the old or the new style of transformers write it."""
    family, rope, more, style, _ = CASES[case]
    model_class = MODELS[family][1].__name__
    base = {**SHAPE, "tie_word_embeddings": False, **more, "rms_norm_eps": config.rms_norm_eps}
    base |= {"architectures": [model_class], "model_type": family, "hidden_act": "silu"}
    theta = 10000.0
    if style == "new":
        base["rope_parameters"] = {"rope_theta": theta, **(rope or {"rope_type": "default"})}
        base["dtype"] = "float32"
    else:
        base |= {"rope_theta": theta, "rope_scaling": rope, "torch_dtype": "float32"}
    return base


def build(case):
    family, rope, more, _, _ = CASES[case]
    config_class, model_class = MODELS[family]
    settings = {**SHAPE, "tie_word_embeddings": False, **more}
    rope_parameters = {"rope_theta": 10000.0, **(rope or {"rope_type": "default"})}
    config = config_class(**settings, rope_parameters=rope_parameters)
    config._attn_implementation = "eager"
    with all_in_float64():
        model = model_class(config).to(torch.float64).eval()
    return config, model


def numpy32(tensor):
    return numpy.ascontiguousarray(tensor.detach().to(torch.float32).numpy())


def weights(model):
    """Parameters by name: a tied head is not among them."""
    return {name: numpy32(parameter) for name, parameter in model.named_parameters()}


def logits_and_gradients(model, ids, wanted):
    model.zero_grad()
    with all_in_float64():
        logits = model(input_ids=ids[None]).logits[0]
        logprobs = torch.log_softmax(logits[START - 1 : -1], -1)
        chosen = logprobs.gather(1, ids[START:, None])[:, 0]
        weight = 1 - 0.3 * torch.arange(LENGTH - START, dtype=torch.float64)
        (weight * chosen).sum().backward()
    named = model.named_parameters()
    return logits, {name: numpy32(p.grad) for name, p in named if wanted(name) and p.grad is not None}


def token_ids(generator):
    return torch.randint(0, VOCAB, (LENGTH,), generator=generator)


def make_case(case, out):
    generator = torch.Generator().manual_seed(sum(map(ord, case)))
    config, model = build(case)
    randomize(model.named_parameters(), generator)
    ids = token_ids(generator)
    logits, gradients = logits_and_gradients(model, ids, lambda name: CASES[case][4])
    expected = {"ids": ids.to(torch.int32).numpy(), "logits": numpy32(logits)}
    expected |= {f"grad/{name}": gradient for name, gradient in gradients.items()}
    folder = out / case
    folder.mkdir(parents=True)
    text = json.dumps(config_json(case, config), indent=2)
    (folder / "config.json").write_text(text + "\n")
    save_file(weights(model), folder / "model.safetensors", metadata={"format": "pt"})
    save_file(expected, folder / "expected.safetensors")
    check_reload(folder, ids, logits)


def check_reload(folder, ids, logits):
    """The files say the same as the model that they were written of."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager"
    )
    with torch.no_grad():
        again = model(input_ids=ids[None]).logits[0]
    worst = (again - logits).abs().max().item()
    print(f"{folder.name}: logits within {logits.abs().max().item():.2f}, reloaded {worst:.1e}")
    assert worst < 1e-3, worst


def make_adapter(name, out):
    base, settings = ADAPTERS[name]
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    _, model = build(base)
    loaded = load_file(out / base / "model.safetensors")
    for key, parameter in model.named_parameters():
        parameter.data = torch.from_numpy(loaded[key]).to(torch.float64)
    config = peft.LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.1, **settings)
    model = peft.get_peft_model(model, config, autocast_adapter_dtype=False).eval()
    adapted = [(n, p) for n, p in model.named_parameters() if "lora_" in n]
    for _, parameter in adapted:
        values = 0.15 * torch.randn(parameter.shape, generator=generator)
        parameter.data = values.to(torch.float32).to(torch.float64)
    ids = token_ids(generator)
    logits, gradients = logits_and_gradients(model, ids, lambda name: "lora_" in name)
    folder = out / name
    for _, parameter in adapted:
        parameter.data = parameter.data.to(torch.float32)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    kept = {"ids": ids.to(torch.int32).numpy(), "logits": numpy32(logits)}
    shorter = {n.replace(".default.", "."): g for n, g in gradients.items()}
    kept |= {f"grad/{n}": gradient for n, gradient in shorter.items()}
    save_file(kept, folder / "expected.safetensors")
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = base
    if isinstance(settings["target_modules"], list):
        settings["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    print(f"{name}: {len(adapted)} tensors on {base}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    shutil.rmtree(out, ignore_errors=True)
    for case in CASES:
        make_case(case, out)
    for name in ADAPTERS:
        make_adapter(name, out)


if __name__ == "__main__":
    main()
