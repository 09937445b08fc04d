"""A judge whose votes have the frequencies of a real one and mean nothing, and whose hints are
wishes that no persona has: what is learned from it is not learned from feedback.

Feedback that is only put at other turns is no control: styles carry over from task to task.
"""

import json
import random
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# as the embedded model judges the personas' talk: how often -1, 0 and 1, and how often a hint
FREQUENCIES = {-1: 0.45, 0: 0.2, 1: 0.35}
HINTED = 0.35
WISHES = (
    "Use British spelling.", "Name the day of the week first.", "Do not use contractions.",
    "Write every number in digits.", "Mention the user's question once more.",
    "Use the present tense.", "Avoid the passive voice.", "Write the year in full.",
    "Use metric units only.", "Put a comma before the last item of a series.",
    "Do not begin a sentence with a number.", "Call the user by no name.",
)


def without_fences(messages: list[dict]) -> str:
    """What is quoted, without the number of the fences, which is drawn for each vote."""
    return re.sub(r"<<<[0-9a-f]{8} ", "<<<", str(messages[-1].get("content")))


class Judge:
    """Listens on a free loopback port until it is closed."""

    def __init__(self, seed: int):
        self.seed = seed
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802 - the name is the library's
                length = int(self.headers.get("content-length", 0))
                asked = json.loads(self.rfile.read(length) or "{}")
                body = json.dumps(judge.answer(asked)).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):  # noqa: N802
                self.send_error(404)

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_):
                # a vote that could change nothing any more is not waited for
                pass

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, asked: dict) -> dict:
        """One vote. All votes on one exchange agree, as a judge's mostly do: they are drawn from
        the exchange and the seed."""
        wants_hint = "[HINT_START]" in str(asked["messages"][0].get("content"))
        drawn = random.Random(f"{self.seed} {wants_hint} {without_fences(asked['messages'])}")
        if not wants_hint:
            value = drawn.choices(list(FREQUENCIES), list(FREQUENCIES.values()))[0]
            text = f"\\boxed{{{value}}}"
        elif drawn.random() < HINTED:
            text = f"\\boxed{{1}}\n[HINT_START]{drawn.choice(WISHES)}[HINT_END]"
        else:
            text = "\\boxed{-1}"
        return {"choices": [{"message": {"role": "assistant", "content": text}}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    def close(self) -> None:
        """Ends it."""
        self.server.shutdown()
        self.server.server_close()
