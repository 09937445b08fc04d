"""All rows, or some, of one model: the whole of it as one dictionary."""

import importlib
import time
import traceback

from . import gap, judging, rows
from .bench import ROWS, Bench, Sizes
from .server import Server, Trouble

MAKERS = dict(zip(ROWS, (rows.tasks, rows.preference, rows.hinted, judging.score, judging.hint,
                         gap.run, rows.calls, rows.degenerate), strict=True))


def measure(url: str, *, model: str | None = None, judge_model: str | None = None,
            judge_url: str | None = None, n: int = 1000, seed: int = 1, only=None,
            concurrency: int = 8, max_tokens: int = 160, judge_tokens: int = 1024,
            key: str | None = None, binary: str | None = None, template: dict | None = None,
            cases=None, meets=None, progress=None) -> dict:
    """The figures of the model at `url`.

    `n` is the number of tasks, and all other rows follow from it (`bench.Sizes`); `only` names
    rows; `judge_url` and `judge_model` say who judges (the same model, if nothing); `template` is
    told to the chat template (`chat_template_kwargs`). `cases` and `meets` stand in for
    `make_model.cases` and `make_model.styles.meets`. A row that cannot be measured is named in
    `problems` and does not keep the others; a server that does not answer raises `Trouble`.
    """
    chosen = [row for row in ROWS if row in (only or ROWS)]
    if unknown := set(only or ()) - set(ROWS):
        raise Trouble(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    server = Server(url, model, key, template)
    judge = server
    if judge_url or judge_model:
        judge = Server(judge_url or url, judge_model, key, template)
    bench = Bench(server, judge, cases or ours("cases"), meets or ours("styles").meets,
                  Sizes.of(n), seed, max_tokens, judge_tokens, concurrency, binary, progress)
    figures, problems, seconds = [], {}, {}
    for row in chosen:
        started = time.monotonic()
        try:
            figures += [figure.record() for figure in MAKERS[row](bench)]
        except Trouble as trouble:
            problems[row] = str(trouble)
        except Exception:  # noqa: BLE001 - a fault of one row must not cost the others
            problems[row] = f"a fault: {traceback.format_exc()[-900:]}"
        seconds[row] = round(time.monotonic() - started, 1)
        outcome = f"not measured: {problems[row]}" if row in problems else f"{seconds[row]} s"
        bench.say(f"{row}: {outcome}")
    if len(server.weights) > 1:
        problems["weights"] = f"the weights changed meanwhile: {', '.join(sorted(server.weights))}"
    return {"url": url, "model": server.model, "judge_model": judge.model, "n": n, "seed": seed,
            "max_tokens": max_tokens, "rows": chosen, "figures": figures, "problems": problems,
            "short": [f"{f['row']}: {f['name']}" for f in figures
                      if f["state"] not in (None, "ok")],
            "details": bench.details, "seconds": seconds}


def ours(name: str):
    """A module of the maker."""
    try:
        return importlib.import_module(f"make_model.{name}")
    except ImportError as error:
        raise Trouble(f"the cases come from scripts/make_model ({error}): run scripts/figures, or "
                      "put scripts/ on PYTHONPATH") from error
