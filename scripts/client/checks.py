"""Checks that are run one after the other: each passes, or says what was wrong."""

import argparse
import json
import os
import sys
import time
import traceback

CHECKS = []


def check(function):
    """Marks a function (of a client and the arguments) as a check."""
    CHECKS.append(function)
    return function


def equal(got, expected, what=""):
    """Both are the same."""
    if got != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {got!r}")


def holds(condition, what):
    """Something that must be so."""
    if not condition:
        raise AssertionError(what)


def raises(kind, call):
    """The error that a call must end with."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, got an answer")


def run(package: str, make_client) -> int:
    """Runs every check with a client of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--expect-cache", action="store_true",
                        help="the prefix cache must have been of use")
    args = parser.parse_args()
    args.key = os.environ.get("OPENCLAW_RL_API_KEY", "none")
    failed, began = [], time.monotonic()
    for function in CHECKS:
        name = function.__name__.replace("_", " ")
        try:
            function(make_client(args), args)
            print(f"ok    {name}", flush=True)
        except Exception as error:  # every check has its say
            failed.append(name)
            where = traceback.extract_tb(error.__traceback__)
            lines = [frame.lineno for frame in where if frame.filename == sys.argv[0]]
            print(f"FAIL  {name} (line {lines[-1] if lines else '?'}): "
                  f"{type(error).__name__}: {error}", flush=True)
    print(json.dumps({"package": package, "checks": len(CHECKS), "failed": failed,
                      "seconds": round(time.monotonic() - began, 1)}), flush=True)
    return 1 if failed else 0
