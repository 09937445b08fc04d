"""Judge prompts as the binary shows them, and examples with them written in the trainer's form."""

import json
import subprocess
from pathlib import Path


def shown(binary: Path, stage: str, exchanges: list[dict]) -> list[list[dict]]:
    """The messages with which `stage` (`score` or `hint`) asks about each exchange."""
    lines = "".join(json.dumps(exchange, ensure_ascii=False) + "\n" for exchange in exchanges)
    done = subprocess.run([binary, stage, "--print-prompts"], input=lines, text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{binary} {stage} --print-prompts: {done.stderr.strip()}")
    return [json.loads(line)["messages"] for line in done.stdout.splitlines()]


def complete(binary: Path, samples: list) -> None:
    """Puts the judge's prompt before the answer of each sample that holds an exchange."""
    for stage in ("score", "hint"):
        asked = [sample for sample in samples if sample.kind == stage]
        prompts = shown(binary, stage, [sample.exchange for sample in asked])
        for sample, messages in zip(asked, prompts, strict=True):
            sample.messages = messages + sample.messages
