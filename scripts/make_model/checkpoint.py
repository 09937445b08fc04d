"""Writes a Hugging Face directory: configuration, bf16 weights, tokenizer, chat template."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from .model import Decoder
from .words import SPECIALS

HERE = Path(__file__).parent


def write(directory: Path, decoder: Decoder, tokenizer) -> None:
    """Writes every file of testdata/model into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    ids = {name: tokenizer.token_to_id(name) for name, _ in SPECIALS}
    write_config(directory, decoder.s, ids)
    write_tokenizer(directory, tokenizer, ids)
    weights = {name: p.detach().to(torch.bfloat16) for name, p in decoder.named_parameters()}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def write_config(directory: Path, s, ids) -> None:
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
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
