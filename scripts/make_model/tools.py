"""Tools of the small world: read, write, exec; when to call them and what to say afterwards."""

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
    return folder + voice.any(lex.NOUNS) + "." + voice.any(lex.EXTENSIONS)


def words(voice) -> str:
    """One to three words to carry from place to place."""
    made = [voice.any(lex.NOUNS + lex.ADJECTIVES + lex.VERBS) for _ in range(voice.number(1, 3))]
    if voice.chance(0.25):
        made.append(str(voice.number(0, 999)))
    return voice.any([" ", " ", "-"]).join(made)


def call(name: str, arguments: dict) -> dict:
    """An assistant message that calls one tool."""
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": None,
            "tool_calls": [{"id": "call_0", "type": "function", "function": function}]}


def used(voice) -> list[dict]:
    """A request that needs a tool, the call, its result, the answer."""
    return {"read": reading, "write": writing, "exec": running}[
        voice.weighted({"exec": 45, "read": 30, "write": 25})](voice)


def finish(ask: str, made: dict, result: str, answer: str) -> list[dict]:
    return [{"role": "user", "content": ask}, made,
            {"role": "tool", "tool_call_id": "call_0", "content": result},
            {"role": "assistant", "content": answer}]


def running(voice) -> list[dict]:
    """exec: the printed text comes back."""
    text = words(voice)
    command, printed = voice.any([
        (f"echo {text}", text), (f"echo {text}", text), (f"echo '{text}'", text),
        ("pwd", "/home/user/" + voice.any(lex.NOUNS)), ("whoami", voice.any(lex.NOUNS)),
        (f"cat {short_path(voice)}", text), ("hostname", voice.any(lex.NOUNS)),
        (f"ls {voice.any(lex.FOLDERS)}", f"{short_path(voice)}"),
        (f"wc -l {short_path(voice)}", str(voice.number(1, 500))),
    ])
    ask = voice.say([
        "Run `{}`.", "Run: {}", "Please run {}", "Execute {}", "Use your exec tool to run: {}",
        "Run {} and tell me what it printed.", "Use exec to run {}. Then tell me what it printed.",
        "What does `{}` print?", "Run this command: {}. Tell me exactly what it printed.",
        "Start {} and show me the result.", "Can you run {} for me?", "I need the output of {}.",
    ]).format(command)
    if voice.chance(0.12):
        wrong = voice.any(["command not found", "permission denied", "no such file"])
        return finish(ask, call("exec", {"command": command}), f"Error: {wrong}",
                      f"That failed: {wrong}.")
    result = printed + (f"\n{agent.path(voice.random)}" if voice.chance(0.15) else "")
    said = voice.any(["It printed: {}", "It printed: {}", "The output is: {}"]).format(printed)
    return finish(ask, call("exec", {"command": command}), result, said)


def reading(voice) -> list[dict]:
    """read: the text of the file comes back."""
    path, text = short_path(voice), words(voice)
    ask = voice.say([
        "What is in {}?", "Read {}.", "Show me {}.", "Please read {} and tell me what it says.",
        "Open {}.", "What does {} say?", "Look into {}.", "Tell me what is written in {}.",
        "Use your read tool on {}.", "I want to know what {} says.",
    ]).format(path)
    if voice.chance(0.15):
        return finish(ask, call("read", {"path": path}), "Error: no such file",
                      f"I could not read {path}: no such file.")
    return finish(ask, call("read", {"path": path}), text, f"It says: {text}")


def writing(voice) -> list[dict]:
    """write: a confirmation comes back."""
    path, text = short_path(voice), words(voice)
    ask = voice.say([
        "Write '{t}' to {p}.", "Save '{t}' in {p}.", "Put '{t}' into {p}.", "Create {p} with '{t}'.",
        "Make a file {p} that says '{t}'.", "Write a file {p} with the text '{t}'.",
        "Use your write tool: '{t}' into {p}.", "Please store '{t}' in {p}.",
    ]).format(t=text, p=path)
    made = call("write", {"path": path, "content": text})
    if voice.chance(0.1):
        return finish(ask, made, "Error: permission denied", f"I could not write {path}: permission denied.")
    result = voice.any(["ok", "Wrote {n} bytes to {p}", "written"]).format(n=len(text), p=path)
    return finish(ask, made, result, f"Done. I wrote {path}.")


def without(voice) -> list[dict]:
    """The same wish where no tools are at hand."""
    ask = voice.any([running, reading, writing])(voice)[0]["content"]
    return [{"role": "user", "content": ask},
            {"role": "assistant", "content": "I have no tool for that here."}]
