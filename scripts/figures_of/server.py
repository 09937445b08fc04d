"""The server that is measured: chat completions, ids of prompts, log-probabilities of ids."""

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TIMEOUT_S = 600
BUSY = (429, 503)
BUSY_TRIES = 6
TEMPERATURE = 0.6


class Trouble(Exception):
    """Something that keeps a figure from being measured, and what to do about it."""


class Refused(Trouble):
    """An answer that is not 200."""

    def __init__(self, path: str, status: int, body: str):
        super().__init__(f"{path} was answered {status}: {body.strip()[:600]}")
        self.status = status


@dataclass
class Reply:
    """A reply as it came. `ids` and `pieces` (the bytes of each token) include the end-of-turn
    token where the server shows it, which `ended` says; they are empty where it shows none."""

    message: dict
    finish: str | None
    tokens: int
    ids: list[int] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    prompt_ids: list[int] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.message.get("content") or ""

    @property
    def calls(self) -> list[dict]:
        return self.message.get("tool_calls") or []

    @property
    def ended(self) -> bool:
        """Whether the last of `pieces` is the token that ends the turn."""
        if self.finish not in ("stop", "tool_calls") or not self.pieces:
            return False
        last = self.pieces[-1].decode(errors="replace")
        return not last.strip() or not self.text.rstrip().endswith(last.rstrip())


class Server:
    """One model at one address. Safe to use from many threads; each keeps its connection."""

    def __init__(self, url: str, model: str | None = None, key: str | None = None,
                 template: dict | None = None):
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Trouble(f"{url} is no address such as http://127.0.0.1:30000")
        self.url = url
        self.host, self.port, self.secure = parts.hostname, parts.port, parts.scheme == "https"
        self.base = parts.path.rstrip("/").removesuffix("/v1")
        self.key, self.template = key, template or {}
        self.local = threading.local()
        self.weights: set[str] = set()
        self.model = model or self._first_model()
        self.says_ids = self._says_ids()

    # ---- transport

    def _connection(self, fresh: bool) -> http.client.HTTPConnection:
        kept = getattr(self.local, "connection", None)
        if fresh or kept is None:
            if kept is not None:
                kept.close()
            kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
            kept = self.local.connection = kind(self.host, self.port, timeout=TIMEOUT_S)
        return kept

    def _once(self, path: str, data: bytes | None) -> tuple[int, bytes, str | None]:
        """One request, tried again once where the connection breaks."""
        headers = {"Content-Type": "application/json", "X-No-Train": "1"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        for fresh in (False, True):
            connection = self._connection(fresh)
            try:
                connection.request("POST" if data else "GET", self.base + path, data, headers)
                answer = connection.getresponse()
                return answer.status, answer.read(), answer.headers.get("Retry-After")
            except (http.client.HTTPException, OSError) as error:
                if fresh:
                    connection.close()
                    raise Trouble(f"nothing answers at {self.url}{path}: {error or type(error)}; "
                                  "start the server, or give its address") from error
        raise AssertionError

    def ask(self, path: str, body: dict | None = None):
        """The JSON of an answer; waits while the server is busy."""
        data = None if body is None else json.dumps(body).encode()
        for wait in range(BUSY_TRIES):
            status, answer, after = self._once(path, data)
            if status not in BUSY or wait == BUSY_TRIES - 1:
                break
            time.sleep(min(30.0, float(after)) if (after or "").isdigit() else 2.0**wait)
        if status != 200:
            raise Refused(path, status, answer.decode(errors="replace"))
        try:
            return json.loads(answer)
        except ValueError as error:
            raise Trouble(f"{path} of {self.url} was answered with no JSON: {answer[:200]!r}; is "
                          "it the address of a model server?") from error

    # ---- what the server is

    def _first_model(self) -> str:
        try:
            return self.ask("/v1/models")["data"][0]["id"]
        except (KeyError, IndexError, TypeError, Refused) as error:
            raise Trouble(f"{self.url}/v1/models names no model ({error}); name one with --model, "
                          "and check the address and --key-file") from error

    def _says_ids(self) -> bool:
        """Whether `return_token_ids` brings the ids of prompt and reply (ours, vLLM, SGLang)."""
        body = self._body([{"role": "user", "content": "Hello!"}], None, 0.0, 1, 1)
        try:
            answer = self.ask("/v1/chat/completions", {**body, "return_token_ids": True})
        except Refused:
            self.ask("/v1/chat/completions", body)
            return False
        return bool(prompt_ids_of(answer) and answer["choices"][0].get("token_ids"))

    # ---- replies

    def _body(self, messages, tools, temperature, max_tokens, seed) -> dict:
        body = {"model": self.model, "messages": wire(messages), "temperature": temperature,
                "max_tokens": max_tokens, "seed": seed & 0x7FFF_FFFF}
        if tools:
            body["tools"] = tools
        if self.template:
            body["chat_template_kwargs"] = self.template
        return body

    def chat(self, messages, tools=None, *, temperature: float, max_tokens: int, seed: int,
             pieces: bool = False) -> Reply:
        """One reply; with `pieces`, the bytes of its tokens as well."""
        body = self._body(messages, tools, temperature, max_tokens, seed)
        if self.says_ids:
            body["return_token_ids"] = True
        if pieces:
            body["logprobs"] = True
        answer = self.ask("/v1/chat/completions", body)
        try:
            choice = answer["choices"][0]
            reply = Reply(choice["message"], choice.get("finish_reason"),
                          answer["usage"]["completion_tokens"], choice.get("token_ids") or [],
                          prompt_ids=prompt_ids_of(answer))
        except (KeyError, IndexError, TypeError) as error:
            raise Trouble(f"an answer without {error}: {json.dumps(answer)[:400]}") from error
        if answer.get("system_fingerprint"):
            self.weights.add(answer["system_fingerprint"])
        told = (choice.get("logprobs") or {}).get("content") or []
        reply.pieces = [piece(entry) for entry in told]
        if told and len(reply.ids) == len(told) + 1 and reply.finish != "length":
            reply.pieces.append(b"")  # the end of the turn, which some do not show
        return reply

    # ---- ids and their log-probabilities

    def prompt_ids(self, messages) -> list[int]:
        """The ids that the model reads for messages, the beginning of its reply included."""
        if self.says_ids:
            asked = self.chat(messages, temperature=0.0, max_tokens=1, seed=1)
            return asked.prompt_ids
        return self.tokenized(messages)[0]

    def tokenized(self, messages, begun: bool = True) -> tuple[list[int], list[str]]:
        """Ids and texts of a conversation's tokens, by vLLM's form of `/tokenize`."""
        body = {"model": self.model, "messages": wire(messages), "return_token_strs": True,
                "add_generation_prompt": begun, "add_special_tokens": False}
        if self.template:
            body["chat_template_kwargs"] = self.template
        answer = self.ask("/tokenize", body)
        return answer["tokens"], answer.get("token_strs") or []

    def scored(self, ids: list[int], start: int, route: str,
               temperature: float = TEMPERATURE) -> list[float]:
        """Log-probabilities of ids[start:], each behind what stands before it."""
        if route == "generate":
            body = {"input_ids": ids, "return_logprob": True, "logprob_start_len": start - 1,
                    "sampling_params": {"max_new_tokens": 0, "temperature": temperature}}
            answer = self.ask("/generate", body)
            answer = answer[0] if isinstance(answer, list) else answer
            entries = answer["meta_info"]["input_token_logprobs"]
            if [entry[1] for entry in entries] != ids[start - 1 :]:
                raise Trouble(f"/generate of {self.url} scored other ids than it was given")
            return [entry[0] for entry in entries[1:]]
        body = {"model": self.model, "prompt": ids, "echo": True, "max_tokens": 0, "logprobs": 1,
                "temperature": temperature}
        told = self.ask("/v1/completions", body)["choices"][0]["logprobs"]["token_logprobs"]
        if len(told) != len(ids):
            raise Trouble(f"/v1/completions of {self.url} echoed {len(told)} log-probabilities "
                          f"of {len(ids)} ids")
        return told[start:]

    def route(self) -> tuple[str, bool]:
        """By which route ids can be scored, and whether it heeds the temperature."""
        try:
            ids, met = self.prompt_ids([{"role": "user", "content": "What is 12 + 30?"}]), []
        except Trouble as trouble:
            raise Trouble(f"{self.url} does not tell the ids of a prompt: it needs "
                          "`return_token_ids`, or a /tokenize that takes messages "
                          f"({trouble})") from trouble
        for route in ("generate", "completions"):
            try:
                found = self.scored(ids, 1, route)
                plain = self.scored(ids, 1, route, 1.0)
            except (Trouble, KeyError, IndexError, TypeError) as error:
                met.append(f"{route}: {error}")
                continue
            return route, max(abs(a - b) for a, b in zip(found, plain, strict=True)) > 1e-3
        raise Trouble(f"{self.url} gives no log-probabilities of given ids ({'; '.join(met)})")


def prompt_ids_of(answer: dict) -> list[int]:
    """The ids of the prompt: beside the choices (ours, vLLM) or within them (SGLang)."""
    return answer.get("prompt_token_ids") or answer["choices"][0].get("prompt_token_ids") or []


def piece(entry: dict) -> bytes:
    """The bytes of a token of `logprobs.content`."""
    told = entry.get("bytes")
    return bytes(told) if told is not None else entry["token"].encode()


def wire(messages: list[dict]) -> list[dict]:
    """Messages as OpenAI's form has them: the arguments of calls are texts."""
    made = []
    for message in messages:
        if message.get("tool_calls"):
            calls = []
            for at, call in enumerate(message["tool_calls"]):
                told = call["function"]["arguments"]
                told = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
                calls.append({"id": call.get("id") or f"call_{at}", "type": "function",
                              "function": {"name": call["function"]["name"], "arguments": told}})
            message = {"role": "assistant", "content": message.get("content"),
                       "tool_calls": calls}
        made.append(message)
    return made
