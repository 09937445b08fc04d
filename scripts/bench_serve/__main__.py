"""The driver: rounds in which everybody measures the same thing, one after the other."""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

from bench_serve import VOCAB
from bench_serve.server import Seconds, Server

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LIBRARIES = "@node-llama-cpp/linux-x64@3.22.1"
PROMPT = 64
PREFILL = 512
TURN = 3000


class Peer:
    """A process that answers a line with a line."""

    def __init__(self, requirements, script, *arguments):
        command = [ROOT / "scripts/python-with", HERE / requirements, HERE / script, *arguments]
        self.process = subprocess.Popen([str(part) for part in command], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ready = self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a peer ended: {self.process.wait()}")
        return json.loads(line)

    def ask(self, **question):
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return self._answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


def libraries(folder):
    """llama.cpp's shared libraries, from npm."""
    here = folder / LIBRARIES.replace("/", "-")
    if not (here / "package").exists():
        here.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(["npm", "pack", "--silent", LIBRARIES], cwd=here, check=True,
                                capture_output=True, text=True).stdout.split()[-1]
        subprocess.run(["tar", "xzf", packed], cwd=here, check=True)
    return here / "package/bins/linux-x64"


def weights(folder):
    out = folder / "shape-s"
    if not (out / "bf16/config.json").exists():
        command = [ROOT / "scripts/python-with", HERE / "requirements-torch.txt",
                   HERE / "torch_peer.py", "make", ROOT / "testdata/model", out]
        subprocess.run([str(part) for part in command], check=True)
    return out


class Ours:
    def __init__(self, server):
        self.server = server

    def decode(self, prompts, tokens):
        """Seconds of `tokens` steps: what is left after the same without them."""
        fresh = [prompt[::-1] for prompt in prompts]
        whole = self.server.together(prompts, tokens + 1)
        return whole.minus(self.server.together(fresh, 1))

    def prefill(self, prompt):
        return self.server.first(prompt)


class Theirs:
    def __init__(self, peer):
        self.peer = peer

    def decode(self, prompts, tokens):
        return Seconds(*self.peer.ask(prompts=prompts, tokens=tokens)["decode"])

    def prefill(self, prompt):
        return Seconds(*self.peer.ask(prompts=[prompt], tokens=0)["prompt"])


def second_turn(server, ids):
    """Seconds until the first token of a second turn whose first turn is known, and of a
    conversation as long that is not."""
    prompt, strange = ids(TURN), ids(TURN + 16 + 64)
    reply = server.generate(prompt, 16)
    warm = server.first(prompt + reply + ids(64)).clock
    return warm, server.first(strange).clock


def options():
    parser = argparse.ArgumentParser(prog="bench-serve")
    parser.add_argument("binary", help="a release build of openclaw-rl")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128, help="decode steps")
    parser.add_argument("--threads", type=int, default=2, help="of everybody")
    parser.add_argument("--cpu-time", action="store_true",
                        help="count each process's processor time instead of the clock: for a "
                             "machine that others use, with --threads 1")
    parser.add_argument("--without", action="append", default=[], choices=["llama", "torch"])
    return parser.parse_args()


def measure(chosen, people, servers, calibration):
    """`{what: {who: [tokens a second]}}`, and the second turns."""
    chance = random.Random(7)
    ids = lambda count: [chance.randrange(VOCAB) for _ in range(count)]
    speeds, turns, calibrated = {}, {}, []
    seconds = lambda both: both.cpu if chosen.cpu_time else both.clock
    for _ in range(chosen.rounds):
        if calibration:
            calibrated.append(calibration.ask(calibrate=True))
        for batch in [1, 4, 8]:
            for who, person in people.items():
                spent = person.decode([ids(PROMPT) for _ in range(batch)], chosen.tokens)
                speed = batch * chosen.tokens / seconds(spent)
                speeds.setdefault(f"decode, batch {batch}", {}).setdefault(who, []).append(speed)
        for who, person in people.items():
            speed = PREFILL / seconds(person.prefill(ids(PREFILL)))
            speeds.setdefault(f"prefill of {PREFILL}", {}).setdefault(who, []).append(speed)
        for who, server in servers.items():
            turns.setdefault(who, []).append(second_turn(server, ids))
    return speeds, turns, calibrated


def show(speeds, turns, calibrated):
    if calibrated:
        gflops = statistics.median(c["gflops"] for c in calibrated)
        read = statistics.median(c["read_gb_s"] for c in calibrated)
        load = " ".join(f"{part:.1f}" for part in os.getloadavg())
        print(f"calibration: {gflops:.1f} GFLOP/s (512³ f32 product, one thread), memory read at "
              f"{read:.1f} GB/s (one thread); load averages {load}\n")
    everybody = list(next(iter(speeds.values())))
    print(f"{'tokens a second, median (best)':32}" + "".join(f"{who:>22}" for who in everybody))
    for what, by in speeds.items():
        cells = [f"{statistics.median(by[who]):.0f} ({max(by[who]):.0f})" for who in everybody]
        print(f"{what:32}" + "".join(f"{cell:>22}" for cell in cells))
    print()
    for who, pairs in turns.items():
        warm, cold = (statistics.median(side) for side in zip(*pairs))
        ratio = statistics.median(cold / warm for warm, cold in pairs)
        print(f"second turn after {TURN} tokens, {who}: first token after {warm * 1e3:.0f} ms, "
              f"of a strange conversation as long {cold * 1e3:.0f} ms: {ratio:.1f} times")


def main():
    chosen = options()
    folder = Path(os.environ.get("OPENCLAW_RL_BENCH", Path.home() / ".cache/openclaw-rl/bench"))
    model = weights(folder)
    binary = str(Path(chosen.binary).resolve())
    servers = {f"ours {name}": Server(binary, str(model / name), chosen.threads)
               for name in ["f32", "bf16"]}
    people = {who: Ours(server) for who, server in servers.items()}
    peers, calibration = [], None
    try:
        if "torch" not in chosen.without:
            calibration = Peer("requirements-torch.txt", "torch_peer.py", "serve", model / "f32",
                               chosen.threads)
            peers.append(calibration)
            people["transformers f32"] = Theirs(calibration)
        if "llama" not in chosen.without:
            llama = Peer("requirements-llama.txt", "llama_peer.py", libraries(folder),
                         model / "f32", folder / "shape-s/f16.gguf", chosen.threads)
            peers.append(llama)
            people["llama.cpp f16"] = Theirs(llama)
        speeds, turns, calibrated = measure(chosen, people, servers, calibration)
    finally:
        for process in [*servers.values(), *peers]:
            process.close()
    show(speeds, turns, calibrated)
    figures = {"speeds": speeds, "second_turn": turns, "calibration": calibrated,
               "threads": chosen.threads, "cpu_time": chosen.cpu_time, "cpus": os.cpu_count()}
    sys.stdout.flush()
    print(json.dumps(figures))


main()
