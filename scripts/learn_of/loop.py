"""One run: a fresh home, the loop or a server alone, and users who talk to it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .arms import ARMS, personas_of
from .foreign import Judge

STARTS_WITHIN, ENDS_WITHIN = 120, 120


class Failed(Exception):
    """A run that came to no figures."""


@dataclass(frozen=True)
class Run:
    """What one run is: its arm, who talks, the seed."""

    arm: str
    personas: str
    seed: int

    @property
    def name(self) -> str:
        """For paths and people."""
        return f"{self.arm}-{self.personas}-{self.seed}"


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def settings(options) -> dict:
    """What a run's figures depend on beside its arm: runs that differ here are not the same."""
    return {"sessions": options.sessions, "turns": options.turns, "held_out": options.held_out,
            "tasks": options.tasks, "noise": options.noise, "lockstep": options.lockstep,
            "preset": options.preset, "set": sorted(options.set)}


def hold(binary: Path, run: Run, options) -> dict:
    """Holds a run; what `eval` measured, and whether the store is whole after it."""
    work = options.out / "runs" / run.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    home = work / "home"
    with looped(binary, run, options, work, home) as url:
        report = talk(binary, run, options, url, work)
    verified = subprocess.run([binary, "store", "verify", "--home", home], capture_output=True,
                              text=True, check=False)
    (work / "verify.json").write_text(verified.stdout + verified.stderr)
    if not options.keep:
        shutil.rmtree(home, ignore_errors=True)
    return {"report": report, "store_clean": verified.returncode == 0}


def configuration(run: Run, options) -> str:
    """The loop's configuration file."""
    lines = ["[train]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in ARMS[run.arm].train.items()]
    lines += options.set
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def looped(binary: Path, run: Run, options, work: Path, home: Path):
    """The loop of an arm, or the server alone; its address."""
    arm, port = ARMS[run.arm], free_port()
    config = work / "config.toml"
    config.write_text(configuration(run, options))
    judge = Judge(run.seed) if arm.judge == "foreign" else None
    told = [binary, "run" if arm.learns else "serve", "--home", home, "--port", port,
            "--config", config, "--log", "info"]
    if options.preset:
        told += ["--preset", options.preset]
    if arm.learns:
        told += ["--judge", judge.url if judge else arm.judge, "--judge-port", 0]
    with (work / "loop.log").open("w") as log:
        process = subprocess.Popen([str(part) for part in told], stdout=log, stderr=log,
                                   start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        await_health(url, process, work)
        yield url
    finally:
        end(process)
        if judge:
            judge.close()


def await_health(url: str, process: subprocess.Popen, work: Path) -> None:
    """Returns once the server answers."""
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    raise Failed(f"the loop did not start: {(work / 'loop.log').read_text()[-1500:]}")


def end(process: subprocess.Popen) -> None:
    """Ends the loop as Ctrl-C does, and whatever is left of it after a while."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def talk(binary: Path, run: Run, options, url: str, work: Path) -> dict:
    """Lets the users talk; what was measured."""
    told = [binary, "eval", "--url", url, "--persona", ",".join(personas_of(run.personas)),
            "--sessions", options.sessions, "--turns", options.turns, "--seed", run.seed,
            "--held-out", options.held_out, "--tasks", options.tasks, "--noise", options.noise,
            "--timeout-s", 300, "--json", work / "report.json", "--plot", work / "plot.svg"]
    if options.preset:
        told += ["--preset", options.preset]
    if options.lockstep and ARMS[run.arm].learns:
        told += ["--lockstep", "--batch-size", batch_size(binary, run, options, work)]
    with (work / "eval.log").open("w") as log:
        done = subprocess.run([str(part) for part in told], stdout=subprocess.DEVNULL, stderr=log,
                              check=False)
    if done.returncode:
        raise Failed(f"eval ended with {done.returncode}: "
                     f"{(work / 'eval.log').read_text()[-1500:]}")
    return json.loads((work / "report.json").read_text())


def batch_size(binary: Path, run: Run, options, work: Path) -> int:
    """The trainer's batch, as the binary resolves it."""
    told = [str(binary), "train", "--dry-run", "--config", str(work / "config.toml"),
            "--home", str(work / "home")]
    told += ["--preset", options.preset] if options.preset else []
    shown = subprocess.run(told, capture_output=True, text=True, check=True).stdout
    line = next(line for line in shown.splitlines() if line.startswith("batch_size = "))
    return int(line.split("=")[1].split("#")[0])
