"""Long inputs: the filler comes from a seeded generator, the decisive text is written by hand."""
import random
from kit import *

C = Cat("long_input")
KB = 1024


def fill(seed, size, line):
    """Lines of `line(rng, n)` until `size` bytes are reached."""
    rng, out, total, n = random.Random(seed), [], 0, 0
    while total < size:
        n += 1
        text = line(rng, n)
        out.append(text)
        total += len(text.encode()) + 1
    return "\n".join(out)


def log(rng, n):
    level = rng.choice(["INFO", "INFO", "INFO", "DEBUG", "WARN"])
    part = rng.choice(["auth", "cache", "mailer", "billing", "search", "queue"])
    what = rng.choice(["request served", "entry refreshed", "slow reply", "session opened",
                       "index merged", "retrying once", "worker idle", "token renewed"])
    return (f"2025-03-{1 + n // 400 % 28:02} {n // 60 % 24:02}:{n % 60:02}:{rng.randrange(60):02} "
            f"{level} {part}[{rng.randrange(100, 999)}] {what} id={rng.randrange(16**6):06x}")


SUBJECT = ["The committee", "A visitor", "The old ferry", "Her notebook", "The harbour master",
           "Every second winter the valley", "The baker's apprentice", "A letter from the north",
           "The survey", "The orchard behind the school", "My neighbour", "The night train"]
VERB = ["carried", "described", "left behind", "measured", "forgot", "remembered", "painted",
        "counted", "repaired", "lent out", "brought back", "drew"]
OBJECT = ["a row of lanterns", "the names of eleven bridges", "three sacks of salt",
          "the map of the lower town", "a clock without hands", "the minutes of the last meeting",
          "more rain than anyone had expected", "a song about geese", "an unpaid bill",
          "the keys to the boathouse", "half a loaf of rye bread", "a crate of blue tiles"]
END = ["before the snow came.", "without a word.", "as it had been agreed in spring.",
       "and nobody asked why.", "while the others were asleep.", "for the second time that year.",
       "in the margin of page nine.", "on a Tuesday.", "because the road was closed."]


def prose(rng, n):
    return " ".join(f"{rng.choice(SUBJECT)} {rng.choice(VERB)} {rng.choice(OBJECT)} "
                    f"{rng.choice(END)}" for _ in range(rng.randrange(3, 7)))


def rows(rng, n):
    town = rng.choice(["Arvika", "Brno", "Cork", "Dijon", "Evora", "Fulda", "Girona"])
    return f"{n},{town},{rng.randrange(1, 90)},{rng.randrange(100, 9999) / 100:.2f},{rng.choice(['open', 'paid', 'sent'])}"


def code(rng, n):
    name = rng.choice(["load", "merge", "render", "count", "split", "trim", "join"])
    thing = rng.choice(["row", "page", "order", "label", "node", "chunk"])
    k = rng.randrange(2, 99)
    return (f"def {name}_{thing}_{n}(items, limit={k}):\n"
            f"    kept = [x for x in items if x is not None][:limit]\n"
            f"    return {{'{thing}': kept, 'size': len(kept) + {rng.randrange(9)}}}\n")


def deutsch(rng, n):
    wer = ["Der Vorsitzende", "Frau Kessler", "Der Bauhof", "Die Feuerwehr", "Herr Yilmaz", "Die Kasse"]
    tut = ["berichtet über", "bittet um", "erinnert an", "prüft", "verschiebt", "lobt"]
    was = ["die Sanierung der Brücke", "den Zustand der Wege", "die Spende vom Herbst",
           "das Angebot für neue Stühle", "den Termin im Mai", "die Liste der Schlüssel"]
    return f"TOP {n}: {rng.choice(wer)} {rng.choice(tut)} {rng.choice(was)}."


def hanzi(rng, n):
    who = ["老师", "邻居", "船长", "图书管理员", "面包师", "山里的孩子"]
    did = ["数了数", "画下了", "忘记了", "修好了", "带走了", "写下了"]
    what = ["七盏灯笼", "一张旧地图", "三袋大米", "河边的木桥", "没有指针的钟", "一封没寄出的信"]
    return f"第{n}段，{rng.choice(who)}{rng.choice(did)}{rng.choice(what)}，谁也没有多问。"


def test(rng, n):
    return f"tests/unit/test_{rng.choice(['cart', 'tax', 'geo', 'mail', 'feed'])}.py::test_case_{n} PASSED"


def turn(rng, n):
    return (f"On day {n} {rng.choice(['Ida', 'Tom', 'Rui', 'Mei'])} wrote: {prose(rng, n)}\n> "
            f"{prose(rng, n)}")


# The next state is long.
C(1, "Run the whole test suite", R("", sh("pytest -v")), T(fill(1, 40 * KB, test) + "\n\n612 passed in 93.10s"), "40 kB of output, the verdict is in its last line")
C(-1, "Add a tax_rate argument to invoice() and run everything", R("", c("edit_file", path="tax.py", old="def invoice(net):", new="def invoice(net, tax_rate):"), sh("pytest -v")),
  T("1 replacement made", fill(2, 30 * KB, test) + "\n\nE   TypeError: invoice() missing 1 required positional argument: 'tax_rate'\n37 failed, 540 passed in 88.4s"), "long green list, at the end the errors that the edit caused: no default", hint=False)
C(1, "Show me everything the mailer logged in March", R("", sh("grep mailer march.log")), T(fill(3, 35 * KB, log)), "a long log is what was asked for; WARN and 'retrying' lines are content")
C(0, "Export the order table", R("", c("query", sql="SELECT * FROM orders")), T(fill(4, 25 * KB, rows) + "\nERROR: server closed the connection unexpectedly (planned failover)"), "cut by a failover after many rows")
C(-1, "Show the last 20 orders", R("", c("query", sql="SELECT * FROM orders")), T(fill(5, 45 * KB, rows)) + [u("I said the last twenty, you printed the entire table. Put a LIMIT and an ORDER BY on it.")], "huge output against the wish", must=[r"limit|order by|twenty|20|last"])
C(-1, "What did the board say about the roof?", "The board did not discuss the roof.", "It did, you didn't read to the end. Always read the whole document before you deny something. Here are the minutes again:\n\n" + fill(6, 20 * KB, prose), "decisive words first, then a long paste", must=[r"whole|entire|read|document|end|full"])
C(1, "tidy up this text", "Done: I fixed spelling and split the long sentences.", "Great, that's much better! Now do the same for this one:\n\n" + fill(7, 24 * KB, prose), "praise first, then the next long text")
C(-1, "Fasse das Protokoll zusammen", "Es ging um vieles.", "Das ist keine Zusammenfassung. Nenne zu jedem TOP das Ergebnis in einem Satz. Nochmal das Protokoll:\n\n" + fill(8, 18 * KB, deutsch), "German; directive before a long paste", lang="de", must=[r"top\b|ergebnis|satz|result|each|sentence|jede"])
# The reply is long.
C(-1, "In one sentence: what is entropy?", fill(9, 30 * KB, prose), "One sentence. I asked for one sentence.", "reply of 30 kB to a request for a sentence", must=[r"sentence|short|brief|concise|one"])
C(1, "Write a long dreamy filler text for my layout, about 25 kB", fill(10, 25 * KB, prose), "fits the columns exactly, thanks", "long because it was asked for")
C(-1, "write helper functions for trimming rows, ten at most", fill(11, 28 * KB, code), "ten at most!! that's hundreds. and none has a docstring, add one to each", "long code, limit broken", must=[r"ten|10|docstring|limit|at most|fewer"])
C(1, "generate 300 sample order rows as csv", fill(12, 12 * KB, rows), "imported, all rows are there. and now the table definition for it", "long data, moves on")
C(0, "List invented log lines for a demo", fill(13, 20 * KB, log), "what's the weather like in Faro", "long reply, unrelated next message")
C(-1, "写一个很短的故事", fill(14, 18 * KB, hanzi), "这也叫很短？请控制在一百字以内。", "Chinese; far too long", lang="zh", must=[r"一百|100|短|字|short"])
# The request is long.
LETTER = fill(19, 12 * KB, prose)
THREAD = fill(15, 40 * KB, turn)
SECOND = THREAD.split("On day 2 ")[1].split(" ")[0]
C(1, ["Here is our mail thread:\n\n" + THREAD + "\n\nWho wrote on day 2?"], f"On day 2 it was {SECOND}. I can list the writers of the other days as well.", "right, found it. please list the others too", "long request; the user goes on with what was offered")
C(-1, ["Read this book extract and answer in French:\n\n" + fill(16, 40 * KB, prose) + "\n\nWhat mood does it have?"], "The mood is quiet and a bit mysterious.", "en français, comme demandé au début !", "the order stood at the head of a long request", must=[r"french|fran[cç]ais"], lang="en")
C(-1, [s("House rules for the assistant:\n" + fill(17, 15 * KB, prose) + "\nRule 9: always state the currency."), u("What does the blue tile cost?")], "14.50 per piece.", "14.50 what? it's in the house rules that you name the currency", "long system message", must=[r"currency|rule|unit"])
C(1, [s("You review code."), u("Anything unused in here?\n\n```python\n" + fill(18, 30 * KB, code) + "\n```")], "All functions are definitions only; nothing in this file calls them. If no other module imports them, the whole file is unused.", "ha, true. deleted the file, build still passes. thanks", "long code, success")
C(0, ["Translate into German:\n\n" + LETTER], R("", c("translate", target="de", text=LETTER)), T("translation engine: overloaded, try later"), "long request, service overloaded")
C(-1, ["Find the row with the largest amount:\n\n" + fill(20, 30 * KB, rows)], R("", c("python", code="print(max(rows, key=lambda r: r.amount))")), T("NameError: name 'rows' is not defined"), "long request; the code uses a name that was never defined")
# Request, reply and next state are long.
C(-1, ["Shorten by half:\n\n" + fill(21, 16 * KB, prose)], fill(22, 15 * KB, prose), "Sorry, that is nearly as long as before. Half means half. For reference, the style guide:\n\n" + fill(23, 10 * KB, prose), "long everywhere; the complaint opens the message", must=[r"half|short|50|length|cut"])
C(1, ["Run the clean-up in the log folder:\n\n" + fill(24, 12 * KB, log)], R("First the big ones. " + fill(25, 4 * KB, prose), sh("find /var/log/app -size +100M -delete -print")), T(fill(26, 15 * KB, lambda r, n: f"/var/log/app/{r.randrange(16**8):08x}.log")) + [u("62 GB free again, you saved my Friday")], "long everywhere; thanks at the very end")
C(-1, [u("Keep a diary of the expedition."), a(fill(27, 10 * KB, prose)), u("Next entry, but as a list of facts")], fill(28, 10 * KB, prose), "facts, as a LIST. no more novels please", "long history, format ignored", must=[r"list|fact|bullet"])
C(-1, "Check the log for the word 'fatal' and say yes or no", R("", sh("cat march.log")), T(fill(29, 50 * KB, log)) + [u("nobody wants 50k of log on the screen. grep for the word and answer with yes or no")], "tool ran, but its use was clumsy", must=[r"grep|yes|filter|search|only"])
