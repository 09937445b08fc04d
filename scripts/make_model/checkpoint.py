"""Writes the Hugging Face directory that training begins with: shape, tokenizer, drawn weights."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import serialize_file
from safetensors.numpy import load_file, save_file

from .words import SPECIALS

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Shape:
    """Sizes of the decoder; `context` is what config.json promises, not what training sees."""

    vocab: int = 2560
    hidden: int = 192
    layers: int = 6
    heads: int = 6
    kv_heads: int = 2
    head_dim: int = 32
    inner: int = 512
    context: int = 32768
    rope_theta: float = 1e6
    norm_eps: float = 1e-6


def write(directory: Path, shape: Shape, tokenizer, seed: int) -> int:
    """Writes every file of a checkpoint into `directory`; the number of its parameters."""
    directory.mkdir(parents=True, exist_ok=True)
    ids = {name: tokenizer.token_to_id(name) for name, _ in SPECIALS}
    write_config(directory, shape, ids)
    write_tokenizer(directory, tokenizer, ids)
    weights = draw(shape, np.random.default_rng(seed))
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return sum(weight.size for weight in weights.values())


def draw(s: Shape, random) -> dict:
    """Names and first values: normal with a deviation of 1/√inputs, what is added to the residual
    stream by 1/√(2·layers) of that, norms at one; and on top of it the circuit of `look_back`."""
    def normal(rows: int, inputs: int, scale: float = 1.0):
        return random.standard_normal((rows, inputs), dtype=np.float32) * scale * inputs**-0.5

    def ones(size: int):
        return np.ones(size, np.float32)

    made = {"model.embed_tokens.weight": normal(s.vocab, s.hidden),
            "model.norm.weight": ones(s.hidden)}
    queries, keys, added = s.heads * s.head_dim, s.kv_heads * s.head_dim, (2 * s.layers) ** -0.5
    for layer in range(s.layers):
        block = {
            "input_layernorm": ones(s.hidden),
            "post_attention_layernorm": ones(s.hidden),
            "self_attn.q_proj": normal(queries, s.hidden),
            "self_attn.k_proj": normal(keys, s.hidden),
            "self_attn.v_proj": normal(keys, s.hidden),
            "self_attn.o_proj": normal(s.hidden, queries, added),
            "self_attn.q_norm": ones(s.head_dim),
            "self_attn.k_norm": ones(s.head_dim),
            "mlp.gate_proj": normal(s.inner, s.hidden),
            "mlp.up_proj": normal(s.inner, s.hidden),
            "mlp.down_proj": normal(s.hidden, s.inner, added),
        }
        for name, weight in block.items():
            made[f"model.layers.{layer}.{name}.weight"] = weight
    look_back(made, s, random)
    return made


# a coordinate in which all embeddings agree: queries and keys that depend on the place alone
CONSTANT = 0.3
# first value of the norms of queries and keys in the two layers of the circuit. With normed heads
# of 32 no score exceeds √32 times their product; at one no head can look at one place of hundreds
SHARPNESS = 2.0
# energy of the rotary pairs (fastest first) by which a head tells one place from the next
PLACE_ENERGY = (12.0, 10.0, 6.0, 4.0)
# rotary pairs that turn slowly enough to compare contents hundreds of tokens apart
SLOW_PAIRS_FROM = 6
# how much of the rest is left in the rows of the circuit
REST = 0.1


def look_back(made: dict, s: Shape, random) -> None:
    """Sets out with what takes a small model longest to find: to look at the token before, and
    from there at what followed when the present token stood there last (an induction head, Olsson
    et al. 2022). Training changes it as it changes everything else.

    Layer 0: keys are the same at each place but for their rotation, and so are queries, each head
    of a group turned by one place more; the first head hands on a projection of the token before.
    Layer 1: keys are that projection, queries the same one of the present token, values another
    projection of the token, which is added to the stream.
    """
    half, width = s.head_dim // 2, s.head_dim
    made["model.embed_tokens.weight"][:, 0] = CONSTANT
    slow = [*range(SLOW_PAIRS_FROM, half), *range(half + SLOW_PAIRS_FROM, width)]
    group = s.heads // s.kv_heads
    turns = s.rope_theta ** (-2.0 * np.arange(half) / width)
    first, second = ({name: made[f"model.layers.{layer}.self_attn.{name}.weight"]
                      for name in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")}
                     for layer in (0, 1))
    for layer in (first, second):
        layer["q_norm"][:] = layer["k_norm"][:] = SHARPNESS
    for kv in range(s.kv_heads):
        rows = slice(kv * width, (kv + 1) * width)
        seen, handed, told = (orthogonal(s.hidden, width, random) for _ in range(3))
        first["k_proj"][rows] *= REST
        first["k_proj"][rows, 0] = place(turns, 0)
        for number in range(group):
            head = slice((kv * group + number) * width, (kv * group + number + 1) * width)
            first["q_proj"][head] *= REST
            first["q_proj"][head, 0] = place(turns, -(number + 1))
        head = slice(kv * group * width, (kv * group + 1) * width)
        first["v_proj"][rows] = seen.T
        first["o_proj"][:, head] = 0.25 * handed
        second["k_proj"][rows] *= REST
        second["q_proj"][head] *= REST
        second["k_proj"][rows][slow] = handed.T[slow]
        second["q_proj"][head][slow] = seen.T[slow]
        second["v_proj"][rows] = told.T
        second["o_proj"][:, head] = 0.15 * told


def place(turns, by: int):
    """A vector whose energy lies in the fastest rotary pairs, turned back by so many places."""
    vector = np.zeros(2 * len(turns), np.float32)
    for pair, energy in enumerate(PLACE_ENERGY):
        vector[pair] = energy**0.5 * np.cos(turns[pair] * by)
        vector[pair + len(turns)] = energy**0.5 * np.sin(turns[pair] * by)
    return vector


def orthogonal(rows: int, columns: int, random):
    """Orthonormal columns; the constant coordinate is left alone."""
    drawn = random.standard_normal((rows, columns), dtype=np.float32)
    drawn[0] = 0.0
    return np.linalg.qr(drawn)[0].astype(np.float32)


def round_weights(directory: Path) -> None:
    """Stores the weights of a checkpoint in bf16, rounded to the nearest, ties to even."""
    path = directory / "model.safetensors"
    rounded = {}
    for name, weight in load_file(path).items():
        bits = weight.astype(np.float32).view(np.uint32)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        rounded[name] = {"dtype": "bfloat16", "shape": weight.shape,
                         "data": bits.astype("<u2").tobytes()}
    part = path.with_suffix(".part")
    serialize_file(rounded, part, {"format": "pt"})
    part.rename(path)


def write_config(directory: Path, s: Shape, ids) -> None:
    """config.json and generation_config.json, in the style of published checkpoints."""
    dump(directory / "config.json", {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "head_dim": s.head_dim,
        "hidden_act": "silu",
        "hidden_size": s.hidden,
        "initializer_range": 0.02,
        "intermediate_size": s.inner,
        "max_position_embeddings": s.context,
        "max_window_layers": s.layers,
        "model_type": "qwen3",
        "num_attention_heads": s.heads,
        "num_hidden_layers": s.layers,
        "num_key_value_heads": s.kv_heads,
        "rms_norm_eps": s.norm_eps,
        "rope_scaling": None,
        "rope_theta": s.rope_theta,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": s.vocab,
    })
    dump(directory / "generation_config.json", {
        "bos_token_id": ids["<|endoftext|>"],
        "do_sample": True,
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "pad_token_id": ids["<|endoftext|>"],
        "temperature": 0.6,
    })


def write_tokenizer(directory: Path, tokenizer, ids) -> None:
    """tokenizer.json, tokenizer_config.json and the chat template."""
    tokenizer.save(str(directory / "tokenizer.json"))
    dump(directory / "tokenizer_config.json", {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(ids[name]): {
                "content": name,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": special,
            }
            for name, special in SPECIALS
        },
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 32768,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": None,
    })
    shutil.copyfile(HERE / "chat_template.jinja", directory / "chat_template.jinja")


def dump(path: Path, value) -> None:
    """A JSON file that a person can read."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
