"""The command line of the figures."""

import argparse
import json
import sys
from pathlib import Path

from . import ROWS, Trouble, measure, table

DEFAULT_N, QUICK_N = 1000, 100

SAYS = """\
rows:
  tasks        tasks solved, greedy, by kind
  preference   preference met without a hint at T 0.6, per persona
  hinted       preference met with a hint in unseen wording
  judge        votes on replies: accuracy, precision of -1
  hint         hints: right where the user said what to do, none elsewhere
  gap          the teacher's gap on violating and on unconcerned tokens
  calls        tool calls well-formed where a tool is asked for
  degenerate   replies that loop, are cut off or say nothing

With --n 1000: 1,000 tasks, 500 replies a persona without a hint and 200 with one, 600 judged
exchanges (three votes each), 200 replies a persona for the gap, 300 requests for a tool.
Exit status: 0 measured, 1 a row could not be measured (or, with --strict, a figure is short),
2 the command was wrong.
"""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="figures", description="The figures of a model behind an OpenAI-compatible URL.",
        epilog=SAYS, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of the server, with or without /v1")
    parser.add_argument("--model", help="its name there (default: the first that is served)")
    parser.add_argument("--judge-model", help="the name of the judge (default: the same model)")
    parser.add_argument("--judge-url", help="where the judge is (default: the same address); "
                        "the key is sent there too")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--n", type=int, default=DEFAULT_N, help="tasks; the other rows follow from "
                      "it (default %(default)s)")
    size.add_argument("--quick", action="store_const", dest="n", const=QUICK_N,
                      help=f"the same as --n {QUICK_N}")
    parser.add_argument("--seed", type=int, default=1, help="of cases and replies")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help="these rows alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as well")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a figure is short")
    parser.add_argument("--concurrency", type=int, default=8, help="requests at the same time "
                        "(default %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=160, help="of a reply; what is longer "
                        "counts as cut off (default %(default)s)")
    parser.add_argument("--judge-tokens", type=int, default=1024, help="of a vote (default "
                        "%(default)s, as `score` has it)")
    parser.add_argument("--chat-template-kwargs", type=json.loads, metavar="JSON", default={},
                        help="told to the chat template, such as '{\"enable_thinking\": false}'")
    parser.add_argument("--key-file", type=Path, help="file that holds the API key")
    parser.add_argument("--binary", help="openclaw-rl, for the judge's prompts")
    chosen = parser.parse_args()
    if chosen.n < 1 or chosen.concurrency < 1 or chosen.max_tokens < 1:
        parser.error("--n, --concurrency and --max-tokens are numbers from 1")
    return chosen


def main() -> int:
    chosen = arguments()
    try:
        result = measure(
            chosen.url, model=chosen.model, judge_model=chosen.judge_model,
            judge_url=chosen.judge_url, n=chosen.n, seed=chosen.seed, only=chosen.only,
            concurrency=chosen.concurrency, max_tokens=chosen.max_tokens,
            judge_tokens=chosen.judge_tokens, binary=chosen.binary,
            key=chosen.key_file and chosen.key_file.read_text().strip(),
            template=chosen.chat_template_kwargs)
    except (Trouble, OSError) as trouble:
        print(f"figures: {trouble}", file=sys.stderr)
        return 1
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"{result['model']} at {result['url']}, judge {result['judge_model']}")
    print(table.text(result))
    print(json.dumps(result, ensure_ascii=False))
    return int(bool(result["problems"]) or chosen.strict and bool(result["short"]))


if __name__ == "__main__":
    sys.exit(main())
