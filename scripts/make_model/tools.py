"""Tools of the small world: read, write, exec; when to call them and what to say afterwards."""

import json
import re
from dataclasses import dataclass, field
from typing import Callable

from . import agent
from . import lexicon as lex

ABOUT = {
    "read": ["Read a file.", "Shows the text of a file.", "Read the contents of a file at a path.",
             "Read text from a file; long files are cut."],
    "write": ["Write a file.", "Creates or overwrites a file.", "Write content to a file at a path.",
              "Write text to a file; folders are made as needed."],
    "exec": ["Run a command.", "Run a shell command and wait for it.", "Executes a command line.",
             "Run a command in a shell and return its output."],
}
ARGUMENTS = {"read": ["path"], "write": ["path", "content"], "exec": ["command"]}
MEANING = {"path": "Path of the file.", "content": "The text.", "command": "The command line."}
EXTRA = ["edit", "search", "fetch", "list"]


def known(voice, name: str, size: int) -> dict:
    """The description of one of the three tools."""
    required = {a: {"type": "string", "description": MEANING[a]} for a in ARGUMENTS[name]}
    return agent.tool(voice.random, name, required, voice.any(ABOUT[name]), size)


def kit(voice, stray: int, size: int) -> list[dict]:
    """The three tools and some that are of no use, in any order."""
    made = [known(voice, name, size) for name in ABOUT]
    made += [agent.stray_tool(voice.random) for _ in range(stray)]
    voice.random.shuffle(made)
    return made


def short_path(voice) -> str:
    """A path that a user would type."""
    folder = voice.any(["", "", "notes/", "docs/", "memory/", "src/", "/tmp/", "data/", "./"])
    if voice.opens(0.5):
        folder = lex.invented(voice.random) + "/"
    return folder + voice.term(lex.NOUNS) + "." + voice.any(lex.EXTENSIONS)


def words(voice) -> str:
    """One to three words to carry from place to place."""
    made = [voice.term(lex.NOUNS + lex.ADJECTIVES + lex.VERBS) for _ in range(voice.number(1, 3))]
    if voice.chance(0.25):
        made.append(str(voice.number(0, 999)))
    return voice.any([" ", " ", "-"]).join(made)


def call(name: str, arguments: dict) -> dict:
    """An assistant message that calls one tool."""
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": None,
            "tool_calls": [{"id": "call_0", "type": "function", "function": function}]}


@dataclass(frozen=True)
class ToolTask:
    """A request that needs one call: user, call, result, answer."""

    kind: str
    messages: list
    wanted: Callable[[str], bool] = field(repr=False)

    def solved_call(self, message: dict) -> bool:
        """Whether a message makes exactly the expected call."""
        function = self.messages[1]["tool_calls"][0]["function"]
        calls = message.get("tool_calls") or []
        if len(calls) != 1:
            return False
        made = calls[0].get("function") or {}
        arguments = made.get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except ValueError:
                return False
        return made.get("name") == function["name"] and arguments == function["arguments"]

    def solved_answer(self, text: str) -> bool:
        """Whether a reply behind the result says what it should."""
        return self.wanted(text)


def used(voice, kind: str | None = None) -> ToolTask:
    """A request that needs a tool, the call, its result, the answer."""
    kind = kind or voice.weighted({"exec": 34, "read": 24, "list": 20, "write": 22})
    return {"read": reading, "list": listing, "write": writing, "exec": running}[kind](voice)


def finish(kind: str, ask: str, made: dict, result: str, answer: str, said: str) -> ToolTask:
    """The whole exchange; an answer is right if it holds `said`."""
    messages = [{"role": "user", "content": ask}, made,
                {"role": "tool", "tool_call_id": "call_0", "content": result},
                {"role": "assistant", "content": answer}]
    return ToolTask(kind, messages, lambda text: said.lower() in text.lower())


def failed(kind: str, ask: str, made: dict, wrong: str, answer: str) -> ToolTask:
    """An exchange whose call fails."""
    return finish(kind, ask, made, f"Error: {wrong}", answer, wrong)


def running(voice) -> ToolTask:
    """exec: the printed text comes back."""
    text = words(voice)
    command, printed = voice.any([
        (f"echo {text}", text), (f"echo {text}", text), (f"echo '{text}'", text),
        ("pwd", "/home/user/" + voice.term(lex.NOUNS)), ("whoami", voice.term(lex.NOUNS)),
        (f"cat {short_path(voice)}", text), ("hostname", voice.term(lex.NOUNS)),
        (f"ls {voice.any(lex.FOLDERS)}", f"{short_path(voice)}"),
        (f"wc -l {short_path(voice)}", str(voice.number(1, 500))),
    ])
    ask = voice.say([
        "Run `{}`.", "Run: {}", "Please run {}", "Execute {}", "Use your exec tool to run: {}",
        "Run {} and tell me what it printed.", "Use exec to run {}. Then tell me what it printed.",
        "What does `{}` print?", "Run this command: {}. Tell me exactly what it printed.",
        "Start {} and show me the result.", "Can you run {} for me?", "I need the output of {}.",
        "Please execute `{}`.", "Tell me the output of {}.", "Run the command {}",
        "What does {} print? Tell me.",
    ]).format(command)
    made = call("exec", {"command": command})
    if voice.chance(0.12):
        wrong = voice.any(["command not found", "permission denied", "no such file"])
        return failed("exec", ask, made, wrong, f"That failed: {wrong}.")
    result = printed + (f"\n{agent.path(voice.random)}" if voice.chance(0.15) else "")
    said = voice.any(["It printed: {}", "It printed: {}", "The output is: {}"]).format(printed)
    return finish("exec", ask, made, result, said, printed)


def reading(voice) -> ToolTask:
    """read: the text of the file comes back."""
    path, text = short_path(voice), words(voice)
    ask = voice.say([
        "What is in {}?", "Read {}.", "Show me {}.", "Please read {} and tell me what it says.",
        "Open {}.", "What does {} say?", "Look into {}.", "Tell me what is written in {}.",
        "Use your read tool on {}.", "I want to know what {} says.", "Please open {}.",
        "Can you read {} for me?", "What is written in {}?", "Tell me what {} says.",
        "Please show me what is in {}.", "Look into {} and tell me what it says.",
    ]).format(path)
    made = call("read", {"path": path})
    if voice.chance(0.12):
        return failed("read", ask, made, "no such file", f"I could not read {path}: no such file.")
    return finish("read", ask, made, text, f"It says: {text}", text)


def listing(voice) -> ToolTask:
    """read: a list comes back, and one thing in it is asked for."""
    path = short_path(voice)
    things = voice.random.sample(lex.NOUNS, voice.number(2, 5))
    things = [lex.invented(voice.random) if voice.opens() else thing for thing in things]
    about, said, answer = voice.any([
        ("the first entry", things[0], f"The first entry is {things[0]}."),
        ("the last entry", things[-1], f"The last entry is {things[-1]}."),
        ("the second entry", things[1], f"The second entry is {things[1]}."),
        ("the number of entries", str(len(things)), f"There are {len(things)} entries."),
    ])
    ask = voice.say([
        "What is {a} of the list in {p}?", "Tell me {a} of the list in {p}.",
        "Read the list in {p}. What is {a}?", "Look at {p} and tell me {a}.",
        "I need {a} of the list {p}.", "{p} holds a list. What is {a}?",
        "Open the list {p} and tell me {a}.", "Which is {a} in {p}?",
        "Please tell me {a} in {p}.", "What is {a} in the list {p}?",
        "There is a list in {p}. Tell me {a}.", "Read {p} and give me {a} of the list.",
        "Give me {a} of the list in {p}.", "In {p} is a list. I need {a}.",
        "Please look at the list {p}. What is {a}?", "Open {p}. Which is {a} of the list?",
    ]).format(a=about, p=path)
    text = "\n".join(f"- {thing}" for thing in things)
    made = call("read", {"path": path})
    task = finish("list", ask, made, text, answer, said)
    return ToolTask("list", task.messages, lambda reply: is_named(reply, said, things))


def is_named(reply: str, said: str, things: list) -> bool:
    """Whether a reply names one thing, and no other one of the list."""
    found = set(re.findall(r"[\w-]+", reply.lower()))
    others = {thing.lower() for thing in things} - {said.lower()}
    known = {"first", "last", "second", "entry", "entries", "the", "is", "are", "there"}
    return said.lower() in found and not found & (others - known)


def writing(voice) -> ToolTask:
    """write: a confirmation comes back."""
    path, text = short_path(voice), words(voice)
    ask = voice.say([
        "Write '{t}' to {p}.", "Save '{t}' in {p}.", "Put '{t}' into {p}.", "Create {p} with '{t}'.",
        "Make a file {p} that says '{t}'.", "Write a file {p} with the text '{t}'.",
        "Use your write tool: '{t}' into {p}.", "Please store '{t}' in {p}.",
        "Please write '{t}' into {p}.", "Create a file {p} that says '{t}'.",
        "Store the text '{t}' in {p}.", "Write to {p}: '{t}'", "Save the text '{t}' to {p}.",
        "Put the text '{t}' in a file {p}.", "Please create {p} with the text '{t}'.",
        "Make {p} say '{t}'.",
    ]).format(t=text, p=path)
    made = call("write", {"path": path, "content": text})
    if voice.chance(0.1):
        wrong = "permission denied"
        return failed("write", ask, made, wrong, f"I could not write {path}: {wrong}.")
    result = voice.any(["ok", "Wrote {n} bytes to {p}", "written"]).format(n=len(text), p=path)
    return finish("write", ask, made, result, f"Done. I wrote {path}.", path)


def without(voice) -> list[dict]:
    """The same wish where no tools are at hand."""
    ask = voice.any([running, reading, writing, listing])(voice).messages[0]["content"]
    return [{"role": "user", "content": ask},
            {"role": "assistant", "content": "I have no tool for that here."}]
