"""Teacher-forces recorded turns through /generate: each token must have the log-probability that
was recorded when it was sampled, whatever the batch, the chunks, the prefix cache or a swap did.

Every version that sampled something is made live in turn (an admin request), and the version that
was live before is made live again at the end: use a server of one's own on a copy of the home.

The last line on stdout is one JSON object. Exit status: 0 when every difference is within the
tolerance and at least one token was compared, 1 otherwise.
"""

import argparse
import json
import sys
import urllib.request
from pathlib import Path

import pyarrow.parquet as parquet

COLUMNS = ["turn_id", "policy", "prompt_ids", "response_ids", "response_logprobs", "version_spans",
           "sampling", "finish_reason"]


class Server:
    """The routes that are needed."""

    def __init__(self, url: str, key: str | None, admin_key: str | None):
        self.url = url.rstrip("/").removesuffix("/v1")
        self.key, self.admin_key = key, admin_key or key

    def ask(self, path: str, body: dict | None = None, key: str | None = None) -> dict:
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def live(self) -> int:
        return int(self.ask("/model_info", key=self.key)["weight_version"])

    def put_live(self, home: Path, version: int) -> None:
        body = {"model_path": str((home / "weights" / f"v{version:010}").resolve())}
        self.ask("/update_weights_from_disk", body, key=self.admin_key)

    def score(self, ids: list[int], start: int, temperature: float) -> tuple[list[float], int]:
        """Log-probabilities of ids[start:], and the version that gave them."""
        body = {"input_ids": ids, "return_logprob": True, "logprob_start_len": start,
                "sampling_params": {"max_new_tokens": 0, "temperature": temperature}}
        meta = self.ask("/generate", body, key=self.key)["meta_info"]
        entries = meta["input_token_logprobs"]
        assert [entry[1] for entry in entries] == ids[start:], "other ids came back"
        return [entry[0] for entry in entries], int(meta["weight_version"])


def spans(turn: dict) -> list[tuple[int, range]]:
    """Which version sampled which response tokens."""
    starts = [(span["version"], span["start"]) for span in turn["version_spans"]]
    ends = [start for _, start in starts[1:]] + [len(turn["response_ids"])]
    return [(version, range(start, end)) for (version, start), end in zip(starts, ends)]


def read(home: Path, count: int) -> list[dict]:
    """The newest turns of the base policy that hold tokens."""
    files = sorted((home / "store" / "turns").rglob("*.parquet"))
    rows = [row for f in files for row in parquet.read_table(f, columns=COLUMNS, partitioning=None).to_pylist()]
    rows = [row for row in rows if row["response_ids"] and row["policy"] == "default"]
    return sorted(rows, key=lambda row: row["turn_id"])[-count:]


def main() -> int:
    parser = argparse.ArgumentParser(prog="check-fidelity", description=__doc__)
    parser.add_argument("url", help="of the server")
    parser.add_argument("home", type=Path, help="the --home whose turns and weights are compared")
    parser.add_argument("--turns", type=int, default=200, help="at most so many, the newest")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--admin-key-file", type=Path)
    args = parser.parse_args()
    key, admin = (f and f.read_text().strip() for f in (args.key_file, args.admin_key_file))
    server = Server(args.url, key, admin)
    turns, before = read(args.home, args.turns), server.live()
    worst, tokens, by_version = 0.0, 0, {}
    try:
        for version in sorted({version for turn in turns for version, _ in spans(turn)}):
            if server.live() != version:
                server.put_live(args.home, version)
            for turn in turns:
                for tokens_of in (r for v, r in spans(turn) if v == version):
                    prompt, response = turn["prompt_ids"], turn["response_ids"]
                    temperature = turn["sampling"]["temperature"]
                    got, by = server.score(prompt + response, len(prompt), temperature)
                    assert by == version, f"version {by} answered, not {version}"
                    for at in tokens_of:
                        off = abs(got[at] - turn["response_logprobs"][at])
                        if off > args.tolerance:
                            print(f"{turn['turn_id']} token {at}: off by {off:.2e}", file=sys.stderr)
                        worst, tokens = max(worst, off), tokens + 1
                    by_version[version] = by_version.get(version, 0) + 1
    finally:
        if server.live() != before:
            server.put_live(args.home, before)
    print(json.dumps({"turns": len(turns), "tokens": tokens, "worst": worst,
                      "tolerance": args.tolerance, "turns_by_version": by_version}))
    return 0 if tokens and worst <= args.tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
