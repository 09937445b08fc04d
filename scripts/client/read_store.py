"""Reads every table of a home with duckdb and with pyarrow, as any other tool would.

Exit status: 0 when both read every file and agree on rows and columns, 1 otherwise.
"""

import argparse
import json
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as parquet

TABLES = ["turns", "rollouts", "scores", "hints", "steps", "deployments"]


def with_duckdb(files: list[str]) -> tuple[int, list[str]]:
    """Rows and columns; every value is fetched, not counted from the footers."""
    query = "select * from read_parquet($1, hive_partitioning = false)"
    table = duckdb.execute(query, [files]).fetch_arrow_table()
    return table.num_rows, table.column_names


def with_pyarrow(files: list[str]) -> tuple[int, list[str], pa.Schema]:
    """Rows and columns; each file by itself, then together, so that schemas must agree."""
    tables = [parquet.read_table(file, partitioning=None) for file in files]
    together = pa.concat_tables(tables)
    together.validate(full=True)
    return together.num_rows, together.column_names, together.schema


def read(folder: Path) -> dict:
    """What one table holds, or what is wrong with it."""
    files = sorted(str(f) for f in folder.rglob("*.parquet"))
    found = {"table": folder.name, "segments": len(files), "rows": 0, "columns": {}}
    if not files:
        return found
    try:
        rows, names, schema = with_pyarrow(files)
        found["rows"], found["columns"] = rows, {f.name: str(f.type) for f in schema}
        duck_rows, duck_names = with_duckdb(files)
        if (duck_rows, duck_names) != (rows, names):
            found["error"] = f"duckdb reads {duck_rows} rows of {duck_names}, pyarrow {rows} of {names}"
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        found["error"] = f"{type(error).__name__}: {error}"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="read-store", description=__doc__)
    parser.add_argument("home", type=Path, help="the --home of openclaw-rl (it holds store/)")
    parser.add_argument("--table", nargs="*", default=TABLES, choices=TABLES)
    parser.add_argument("--json", action="store_true", help="one JSON line a table")
    args = parser.parse_args()
    store = args.home / "store"
    if not store.is_dir():
        print(f"read-store: {store} is no folder", file=sys.stderr)
        return 1
    bad = 0
    for name in args.table:
        found = read(store / name)
        bad += "error" in found
        if args.json:
            print(json.dumps(found))
            continue
        print(f"{name}: {found['rows']} rows in {found['segments']} segments")
        for column, kind in found["columns"].items():
            print(f"  {column}: {kind}")
        if "error" in found:
            print(f"  error: {found['error']}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
