"""Places the recorded turns of a home a second time without any header or body field that names a
session or a turn type, and compares.

    scripts/same-placing BINARY HOME [--show]

Compared are: which turns are side, which main turns share a session, which share a generation, and
every next state. The last line on stdout is one JSON object. Exit status 0 when both agree.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as dataset
import pyarrow.parquet as parquet


def turns_of(home):
    table = dataset.dataset(f"{home}/store/turns", format="parquet").to_table()
    return table.sort_by([("received_at", "ascending"), ("turn_id", "ascending")])


def stripped(turns):
    """The same turns, as a client without any configuration would have sent them."""
    at = turns.schema.get_field_index("session_keys")
    return turns.set_column(at, turns.schema.field(at), pa.array(["{}"] * turns.num_rows))


def place(binary, turns, folder, name):
    source, target = folder / f"{name}-turns.parquet", folder / f"{name}-rollouts.parquet"
    parquet.write_table(turns, source)
    subprocess.run([binary, "--home", str(folder / name), "collect", "--close-all", "--input", str(source),
                    "--output", str(target)], check=True, stdout=subprocess.DEVNULL)
    rows = {row["turn_id"]: row for row in parquet.read_table(target).to_pylist()}
    return [rows[turn] for turn in turns.column("turn_id").to_pylist() if turn in rows]


def numbered(rows, name):
    """The names that main turns have, by the order in which they came up; none for side turns,
    which are in no session where nothing tells it."""
    seen = {}
    return [seen.setdefault(name(row), len(seen)) if row["kind"] == "main" else None for row in rows]


def story(rows):
    sessions = numbered(rows, lambda row: row["session_id"])
    generations = numbered(rows, lambda row: (row["session_id"], row["generation"]))
    return [{"session": session, "generation": generation, "kind": row["kind"],
             "next_state": row["next_state"]}
            for session, generation, row in zip(sessions, generations, rows)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("home")
    parser.add_argument("--show", action="store_true", help="a line for each turn, without content")
    args = parser.parse_args()
    turns = turns_of(args.home)
    with tempfile.TemporaryDirectory(prefix="openclaw-rl-placing-") as folder:
        folder = Path(folder)
        told = place(args.binary, turns, folder, "told")
        untold = place(args.binary, stripped(turns), folder, "untold")
    with_keys, without = story(told), story(untold)
    differing = []
    for at, (a, b) in enumerate(zip(with_keys, without)):
        what = [name for name in a if a[name] != b[name]]
        if what:
            differing.append({"turn": told[at]["turn_id"], "differs": what})
        if args.show:
            shown = {name: value for name, value in a.items() if name != "next_state"}
            roles = [m["role"] for m in json.loads(a["next_state"] or "[]")]
            print(at, shown, told[at]["placed_by"], "|", untold[at]["placed_by"], roles, told[at]["closed_by"],
                  "DIFFERS in " + ", ".join(what) if what else "", file=sys.stderr)
    result = {"turns": turns.num_rows, "placed": len(told), "main": sum(r["kind"] == "main" for r in told),
              "side": sum(r["kind"] == "side" for r in told), "sessions": len({r["session_id"] for r in told}),
              "differing": differing, "ok": not differing and len(told) == len(untold)}
    print(json.dumps(result))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
