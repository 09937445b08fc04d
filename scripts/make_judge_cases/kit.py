"""Helpers that let the case files stay compact. See ../README.md."""
import hashlib
import json

CASES = []


def u(text):
    return {"role": "user", "content": text}


def s(text):
    return {"role": "system", "content": text}


def a(text, *calls):
    return {"role": "assistant", "content": text, "calls": list(calls)}


def t(text):
    """A tool result: it takes the next unanswered call of the assistant before it."""
    return {"role": "tool", "content": text}


def T(*texts):
    return [t(x) for x in texts]


def c(tool, **arguments):
    return (tool, arguments)


def sh(command):
    return c("bash", command=command)


def R(content, *calls):
    return a(content, *calls)


def _messages(value):
    if isinstance(value, str):
        return [u(value)]
    if isinstance(value, dict):
        return [value]
    return [u(x) if isinstance(x, str) else x for x in value]


class _Build:
    def __init__(self, case):
        self.case, self.n, self.open = case, 0, []

    def message(self, m):
        out = {"role": m["role"], "content": m["content"]}
        if m["role"] == "tool":
            out = {"role": "tool", "tool_call_id": self.open.pop(0), "content": m["content"]}
        for tool, arguments in m.get("calls", []):
            self.n += 1
            ident = "call_" + hashlib.sha256(f"{self.case}/{self.n}".encode()).hexdigest()[:12]
            self.open.append(ident)
            out.setdefault("tool_calls", []).append({
                "id": ident, "type": "function",
                "function": {"name": tool,
                             "arguments": json.dumps(arguments, ensure_ascii=False)}})
        return out


class Cat:
    counts = {}

    def __init__(self, name):
        self.name = name

    def __call__(self, score, req, rep, nxt, note, must=None, never=None, lang="en", hint=None):
        """`must` given means that a hint is expected."""
        self.counts[self.name] = self.counts.get(self.name, 0) + 1
        ident = f"{self.name}-{self.counts[self.name]:03}"
        build = _Build(ident)
        reply = a(rep) if isinstance(rep, str) else rep
        request = [build.message(m) for m in _messages(req)]
        assert not build.open, f"{ident}: a call of the request is unanswered"
        made = build.message(reply)
        made.pop("role")
        nexts = [build.message(m) for m in _messages(nxt)]
        assert not build.open, f"{ident}: a call of the reply is unanswered"
        case = {"id": ident, "category": self.name, "language": lang, "request": request,
                "reply": made, "next_state": nexts, "score": score,
                "hint_expected": bool(must) if hint is None else hint}
        if must:
            case["hint_must"] = [must] if isinstance(must, str) else must
        if never:
            case["hint_must_not"] = [never] if isinstance(never, str) else never
        case["note"] = note
        CASES.append(case)
