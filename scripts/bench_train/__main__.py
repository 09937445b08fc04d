"""The driver: rounds in which both take a step of the same case, one after the other.

A step is the gradient of the mean log-probability of all tokens but the first, clipping by the
global norm, and AdamW, in f32. The time of a case is the least of all rounds, in seconds by the
clock and in seconds that the process was computed for: the machine may have other things to do.
"""

import argparse
import json
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TORCH_LENGTH_MAX = 4096
SHARED, OWN, TURNS = 8192, 256, 16


class Ours:
    """A process for each round: one step that is not timed, and some that are."""

    def __init__(self, binary, threads):
        self.binary, self.threads = binary, str(threads)

    def run(self, steps=2, **flags):
        command = [self.binary, "--log", "error", "bench", "train", "--steps", str(steps)]
        for name, value in flags.items():
            command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        done = subprocess.run(command, capture_output=True, text=True, check=True,
                              env={**os.environ, "RAYON_NUM_THREADS": self.threads})
        return json.loads(done.stdout.strip().splitlines()[-1])


class Torch:
    """A process for each case, told when to take a step."""

    def __init__(self, **case):
        command = [ROOT / "scripts/python-with", HERE / "requirements.txt",
                   HERE / "torch_peer.py", json.dumps(case)]
        self.process = subprocess.Popen([str(part) for part in command], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)

    def step(self):
        print(file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        peak = json.loads(self.process.stdout.readline())
        self.process.wait(60)
        return peak["peak_rss_mib"]


def least(figures, key):
    return min(figure[key] for figure in figures)


def summary(figures, tokens, peak):
    seconds = least(figures, "seconds")
    return {"seconds": seconds, "cpu_seconds": least(figures, "cpu_seconds"),
            "tokens_s": tokens / seconds, "peak_rss_mib": peak}


def measured(ours, chosen, rounds, **case):
    tokens = case["batch"] * case["length"]
    peer = Torch(threads=chosen.threads, device="cpu", rank=16, **case)
    peer.step()
    own, other = [], []
    for _ in range(rounds):
        own.append(ours.run(rank=16, **case))
        other += [peer.step(), peer.step()]
    own = summary(own, tokens, max(figure["peak_rss_mib"] for figure in own))
    other = summary(other, tokens, peer.close())
    found = {**case, "ours": own, "torch": other,
             "speed": own["tokens_s"] / other["tokens_s"],
             "speed_by_cpu": other["cpu_seconds"] / own["cpu_seconds"],
             "memory": own["peak_rss_mib"] / other["peak_rss_mib"]}
    print(f"{case['shape']:>4} {case['batch']:>3} x {case['length']:<6} {case['mode']:<5}"
          f"{own['seconds']:9.3f} s {other['seconds']:9.3f} s {found['speed']:6.2f}"
          f"{found['speed_by_cpu']:6.2f}{own['peak_rss_mib']:8.0f} MiB"
          f"{other['peak_rss_mib']:8.0f} MiB", flush=True)
    return found


def steps(ours, chosen):
    found = []
    for shape in chosen.shapes.split(","):
        for batch in chosen.batches:
            for mode in ["all", "lora"]:
                found.append(measured(ours, chosen, chosen.rounds, shape=shape, mode=mode,
                                      batch=batch, length=256))
    for all_weights, lora in zip(found[::2], found[1::2]):
        ratio = lora["ours"]["tokens_s"] / all_weights["ours"]["tokens_s"]
        print(f"LoRA beside all weights, {lora['shape']} {lora['batch']} x 256: {ratio:.2f}")
        lora["beside_all"] = ratio
    return found


def lengths(ours, chosen):
    found = []
    length = 256
    while length <= chosen.length_max:
        case = {"shape": "s", "mode": "all", "batch": 1, "length": length}
        if length <= TORCH_LENGTH_MAX:
            found.append(measured(ours, chosen, 1, **case))
        else:
            own = ours.run(steps=1, **case)
            print(f"   s   1 x {length:<6} all  {own['seconds']:9.3f} s {'':>33}"
                  f"{own['peak_rss_mib']:8.0f} MiB", flush=True)
            found.append({**case, "ours": own})
        length *= 2
    return found


def shared(ours, _):
    """Without sharing, turns cost one after the other what one costs: two are measured."""
    case = {"shape": "s", "mode": "all", "length": SHARED + OWN, "shared": SHARED}
    packed = ours.run(steps=1, batch=TURNS, **case)
    two = ours.run(steps=1, batch=2, unshared=True, rows=SHARED + OWN, **case)
    apart = two["seconds"] / 2 * TURNS
    together = packed["seconds"]
    print(f"{TURNS} turns of {OWN} tokens behind the same {SHARED}: {together:.1f} s in one pack "
          f"of {packed['rows']} rows ({packed['peak_rss_mib']:.0f} MiB), {apart:.1f} s apart: "
          f"{apart / together:.1f} times as much", flush=True)
    return {"packed": packed, "unshared_two": two, "ratio": apart / together}


def main():
    parser = argparse.ArgumentParser(prog="bench-train")
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", default="steps,lengths,shared")
    parser.add_argument("--shapes", default="s,m")
    parser.add_argument("--batches", type=lambda text: [int(part) for part in text.split(",")],
                        default=[4, 16])
    parser.add_argument("--length-max", type=int, default=16_384)
    chosen = parser.parse_args()
    ours = Ours(str(Path(chosen.binary).resolve()), chosen.threads)
    print("shape, batch, part: ours, torch; speed by the clock and by CPU time; peak memory")
    parts = {"steps": steps, "lengths": lengths, "shared": shared}
    found = {name: parts[name](ours, chosen) for name in chosen.parts.split(",")}
    print(json.dumps({"threads": chosen.threads, **found}))


main()
