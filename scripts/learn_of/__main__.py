"""The command line of the experiment."""

import argparse
import hashlib
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from figures_of.judging import binary
from figures_of.server import Trouble

from . import loop, summary
from .arms import ARMS, PERSONAS

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"arms": ["combine", "untrained"], "personas": ["joint"], "seeds": [1], "sessions": 36,
         "held_out": 64, "tasks": 400}


def arguments() -> argparse.Namespace:
    """The command line."""
    arms = "\n".join(f"  {name:<10} {arm.about}" for name, arm in ARMS.items())
    parser = argparse.ArgumentParser(
        prog="learn", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Does it learn? Simulated users talk to the loop, arm by arm.",
        epilog=f"arms:\n{arms}\n\nExit status: 0 all runs are done, 1 one failed, 2 the command "
               "was wrong.")
    parser.add_argument("--out", type=Path, required=True, help="directory of ledger and results")
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="finished runs (default: "
                        "ledger.jsonl in --out; docs/learn.jsonl holds those of the log)")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["combine", "untrained",
                        "foreign"], metavar="ARM", help="default: %(default)s")
    parser.add_argument("--personas", nargs="+", choices=["joint", *PERSONAS], default=["joint"],
                        metavar="WHO", help="joint (all in turns), or one of them "
                        "(default: %(default)s)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], metavar="N")
    parser.add_argument("--sessions", type=int, default=50, help="of a run (default %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of a session that can be learned "
                        "from (default %(default)s)")
    parser.add_argument("--held-out", type=int, default=96, help="prompts of each persona")
    parser.add_argument("--tasks", type=int, default=1000, help="held-out problems")
    parser.add_argument("--noise", type=float, default=0.07, help="share of false reactions")
    parser.add_argument("--free", dest="lockstep", action="store_false", help="do not wait for the "
                        "loop between sessions (figures then depend on the machine's speed)")
    parser.add_argument("--lockstep", action="store_true", default=True, help="wait (the default)")
    parser.add_argument("--preset", default="embedded", help="of the loop (default %(default)s; "
                        "empty for none)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a line of [train], such as 'learning_rate = 2e-4'; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--keep", action="store_true", help="keep the homes of finished runs")
    parser.add_argument("--quick", action="store_true", help="where nothing else is said, one arm "
                        "and a control, one seed, 36 sessions: two minutes on two cores")
    parser.add_argument("--summary", action="store_true", help="hold nothing: show what the ledger "
                        "has of these arms and personas, whatever the seed")
    if "--quick" in sys.argv:
        parser.set_defaults(**QUICK)
    return parser.parse_args()


def commit() -> str:
    """The commit that is measured, with a mark where the tree differs from it."""
    told = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                          capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


class Ledger:
    """Finished runs, a line each."""

    def __init__(self, path: Path):
        self.path, self.lock = path, threading.Lock()
        text = path.read_text() if path.exists() else ""
        # the last line of a run that was cut off
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        if text and not text.endswith("\n"):
            path.write_text("".join(whole))
        self.lines = [json.loads(line) for line in whole]

    def has(self, run: loop.Run, settings: dict) -> bool:
        """Whether this run is done."""
        return any((line["arm"], line["personas"], line["seed"]) ==
                   (run.arm, run.personas, run.seed) and line["settings"] == settings
                   for line in self.lines)

    def add(self, run: loop.Run, settings: dict, made_by: dict, found: dict) -> None:
        """Notes a finished run."""
        line = {"arm": run.arm, "personas": run.personas, "seed": run.seed, **made_by,
                "settings": settings, **found}
        with self.lock:
            self.lines.append(line)
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")


def main() -> int:
    """Holds what is missing, and shows everything."""
    options = arguments()
    try:
        program = Path(binary(None))
    except Trouble as trouble:
        sys.exit(f"learn: {trouble}")
    settings = loop.settings(options)
    options.out.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(options.ledger or options.out / "ledger.jsonl")
    wanted = [loop.Run(arm, who, seed) for seed in options.seeds for who in options.personas
              for arm in options.arms]
    missing = [run for run in wanted if not ledger.has(run, settings)]
    failures = []
    digest = hashlib.sha256(program.read_bytes()).hexdigest()[:12]
    made_by = {"commit": commit(), "binary": digest}

    def one(run: loop.Run) -> None:
        print(f"{run.name}: begins", file=sys.stderr, flush=True)
        try:
            found = loop.hold(program, run, options)
        except Exception as failed:  # noqa: BLE001 - one run must not cost the others
            failures.append(run.name)
            print(f"{run.name}: {failed}", file=sys.stderr, flush=True)
            return
        ledger.add(run, settings, made_by, found)
        report = found["report"]
        print(f"{run.name}: {report['satisfaction_first']['share']:.2f} -> "
              f"{report['satisfaction_last']['share']:.2f} in {report['turns']} turns, "
              f"{report['seconds']:.0f} s", file=sys.stderr, flush=True)

    if not options.summary:
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(one, missing))
    lines = [line for line in ledger.lines if line["settings"] == settings
             and line["arm"] in options.arms and line["personas"] in options.personas]
    if not lines:
        print("learn: no run of these arms and settings is done", file=sys.stderr)
        return 1
    if len(programs := {line["binary"] for line in lines}) > 1:
        print(f"learn: these runs are of {len(programs)} builds of the program: take another --out "
              "where they must be of one", file=sys.stderr)
    made = summary.figures(lines)
    print(summary.table(made), file=sys.stderr)
    picture = summary.draw(program, lines, options.out)
    print(f"{picture}", file=sys.stderr)
    print(json.dumps({**made, "failed_runs": failures}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
