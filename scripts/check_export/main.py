"""Exports a version of a home by `openclaw-rl deploy --export`, loads it with transformers (the
merged weights) and, where it is an adapter version, with peft (its base and the adapter), and
compares log-probabilities with those of our own server, which serves the version itself.

The server is started here, on a copy of what the home's registry holds, so that the home is only
read. The last line on stdout is one JSON object. Exit status: 0 when every difference is within
the tolerance, 1 otherwise.
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = ["What is a lighthouse for?", "2 + 2 = 4, and 3 * 7 = 21.", "fn main() { println!(\"hi\"); }",
         "Der Leuchtturm zeigt nachts die Küste.", "one two three four five six seven eight nine"]
TOP = 64


def export(binary: str, home: Path, to: Path, version: int | None) -> dict:
    command = [binary, "deploy", "--home", str(home), "--export", str(to)]
    command += [] if version is None else ["--version", str(version)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """Our server, with one version of a copied registry live."""

    def __init__(self, binary: str, home: Path, version: int):
        state = home / "weights" / "state.json"
        known = json.loads(state.read_text()) if state.exists() else {"schema_version": 1, "dead": []}
        known |= {"live": version}
        state.write_text(json.dumps(known))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [binary, "serve", "--home", str(home), "--port", str(port), "--device", "cpu",
                   "--dtype", "f32"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(1200):
            try:
                self.ask("/health")
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("the server did not start")
                time.sleep(0.1)
        sys.exit("the server is not ready after two minutes")

    def ask(self, path: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def score(self, ids: list[int]) -> list[dict[int, float]]:
        """Of each position but the first: log-probabilities of the most probable ids and of the
        one that stands there."""
        body = {"input_ids": ids, "return_logprob": True, "logprob_start_len": 1,
                "top_logprobs_num": TOP, "sampling_params": {"max_new_tokens": 0, "temperature": 1.0}}
        meta = self.ask("/generate", body)["meta_info"]
        each = []
        for own, top in zip(meta["input_token_logprobs"], meta["input_top_logprobs"]):
            each.append({entry[1]: entry[0] for entry in [*top, own]})
        return each

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@torch.no_grad()
def apart(model: torch.nn.Module, scored: list[tuple[list[int], list[dict[int, float]]]]) -> float:
    """The greatest difference of two log-probabilities."""
    greatest = 0.0
    for ids, each in scored:
        theirs = torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), -1)
        assert len(each) == len(ids) - 1, "a position is missing"
        for position, known in enumerate(each):
            for token, logprob in known.items():
                greatest = max(greatest, abs(theirs[position, token].item() - logprob))
    return greatest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--version", type=int, help="default: the live one")
    parser.add_argument("--binary", default="target/debug/openclaw-rl")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    told = parser.parse_args()
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exported = export(told.binary, told.home, folder / "export", told.version)
        (folder / "home").mkdir()
        shutil.copytree(told.home / "weights", folder / "home" / "weights")
        tokenizer = AutoTokenizer.from_pretrained(folder / "export")
        texts = [tokenizer(text).input_ids for text in TEXTS]
        server = Server(told.binary, folder / "home", exported["version"])
        try:
            scored = [(ids, server.score(ids)) for ids in texts]
        finally:
            server.stop()
        load = lambda path: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        result = {"version": exported["version"], "tokens": sum(map(len, texts)),
                  "merged_max": apart(load(folder / "export"), scored)}
        if "adapter" in exported:
            adapted = PeftModel.from_pretrained(load(exported["base"]), exported["adapter"]).eval()
            result["adapter_max"] = apart(adapted, scored)
        result["tolerance"] = told.tolerance
        result["within"] = all(result.get(key, 0.0) <= told.tolerance
                               for key in ("merged_max", "adapter_max"))
        print(json.dumps(result))
        sys.exit(0 if result["within"] else 1)


if __name__ == "__main__":
    main()
