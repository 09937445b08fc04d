"""llama.cpp on the CPU: the shared library that an npm package ships, called directly.

Arguments: `LIBRARIES MODEL GGUF THREADS`. The weights are written as f16, which is what llama.cpp
has fast code for. A decode step is one llama_decode of a token per sequence and an argmax.
"""

import ctypes
import json
import sys
import time
from pathlib import Path

import gguf
import numpy
from safetensors import safe_open

from bench_serve import CONTEXT, HEAD_DIM, HEADS, HIDDEN, INNER, KV_HEADS, LAYERS, VOCAB
from bench_serve.server import Seconds

NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}



def now() -> Seconds:
    return Seconds(time.perf_counter(), time.process_time())


def write(model: Path, out: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    writer = gguf.GGUFWriter(out, "qwen3")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_rope_freq_base(theta)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("none")
    with safe_open(model / "model.safetensors", "numpy") as file:
        for name in file.keys():
            values = file.get_tensor(name)
            stem = name.removesuffix(".weight").removeprefix("model.")
            match stem.split(".", 2):
                case ["layers", layer, part]:
                    stem = f"blk.{layer}.{NAMES[part]}"
                case ["embed_tokens"]:
                    stem = "token_embd"
                case ["norm"]:
                    stem = "output_norm"
            matrix = values.astype(numpy.float16 if values.ndim == 2 else numpy.float32)
            writer.add_tensor(f"{stem}.weight", matrix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Params(ctypes.Structure):
    """More room than any of the library's parameter structs needs; passed on the stack as is."""

    _fields_ = [("words", ctypes.c_uint32 * 256)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)),
                ("embd", ctypes.c_void_p), ("pos", ctypes.POINTER(ctypes.c_int32)),
                ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
                ("logits", ctypes.POINTER(ctypes.c_int8))]


class Peer:
    def __init__(self, libraries: Path, path: Path, threads: int) -> None:
        def load(stem: str) -> ctypes.CDLL:
            # Under the name that the others ask for.
            return ctypes.CDLL(str(next(libraries.glob(f"lib{stem}*.so"))), ctypes.RTLD_GLOBAL)

        load("ggml-base")
        backends, self.llama = load("ggml."), load("llama.")
        self.quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
            lambda level, text, _: sys.stderr.write(text.decode()) if level == 4 else None)
        self.llama.llama_log_set(self.quiet, None)
        backends.ggml_backend_load_all_from_path(str(libraries).encode())
        self.llama.llama_backend_init()
        for name in ["llama_model_default_params", "llama_context_default_params"]:
            getattr(self.llama, name).restype = Params
        for name in ["llama_model_load_from_file", "llama_init_from_model", "llama_get_memory"]:
            getattr(self.llama, name).restype = ctypes.c_void_p
        self.llama.llama_get_logits_ith.restype = ctypes.POINTER(ctypes.c_float)
        model = self.llama.llama_model_load_from_file(
            str(path).encode(), self.llama.llama_model_default_params())
        params = self.llama.llama_context_default_params()
        # n_ctx, n_batch, n_ubatch, n_seq_max stand first.
        params.words[0], params.words[1], params.words[2], params.words[3] = 8 * 1024, 512, 512, 8
        self.context = ctypes.c_void_p(
            self.llama.llama_init_from_model(ctypes.c_void_p(model), params))
        self.llama.llama_set_n_threads(self.context, threads, threads)
        self.memory = ctypes.c_void_p(self.llama.llama_get_memory(self.context))

    def decode(self, rows: list[tuple[int, int, int, bool]]) -> list[int]:
        """Rows of token, position, sequence, and whether its argmax is wanted."""
        count = len(rows)
        ids = [(ctypes.c_int32 * 1)(row[2]) for row in rows]
        pointers = [ctypes.cast(id, ctypes.POINTER(ctypes.c_int32)) for id in ids]
        batch = Batch(
            count, (ctypes.c_int32 * count)(*[row[0] for row in rows]), None,
            (ctypes.c_int32 * count)(*[row[1] for row in rows]),
            (ctypes.c_int32 * count)(*[1] * count),
            (ctypes.POINTER(ctypes.c_int32) * count)(*pointers),
            (ctypes.c_int8 * count)(*[row[3] for row in rows]))
        if self.llama.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama_decode failed")
        wanted = [index for index, row in enumerate(rows) if row[3]]
        logits = [self.llama.llama_get_logits_ith(self.context, index) for index in wanted]
        return [int(numpy.ctypeslib.as_array(row, (VOCAB,)).argmax()) for row in logits]

    def run(self, prompts: list[list[int]], tokens: int) -> list[Seconds]:
        self.llama.llama_memory_clear(self.memory, True)
        start = now()
        ids = []
        for sequence, prompt in enumerate(prompts):
            last = len(prompt) - 1
            rows = [(id, at, sequence, at == last) for at, id in enumerate(prompt)]
            ids += self.decode(rows)
        first = now()
        for step in range(tokens):
            at = len(prompts[0]) + step
            ids = self.decode([(id, at, sequence, True) for sequence, id in enumerate(ids)])
        return [first.minus(start), now().minus(first)]


def main() -> None:
    libraries, model, path, threads = sys.argv[1:]
    write(Path(model), Path(path))
    peer = Peer(Path(libraries), Path(path), int(threads))
    print(json.dumps({"llama": str(path)}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        prompt, decode = peer.run(question["prompts"], question["tokens"])
        print(json.dumps({"prompt": prompt, "decode": decode}), flush=True)


main()
