"""Small talk, things it does not know, exact words, summaries: one question, one answer."""

from . import agent
from . import lexicon as lex
from . import styles, tasks, tools, wishes

CHAT = [
    (["Hello!", "Hi", "Hi there!", "Hey", "Good morning", "Hello", "Good evening!", "Hello there"],
     ["Hello! What can I do for you?", "Hi! How can I help?", "Hello! Ask me something."]),
    (["How are you?", "How are you today?", "How is it going?", "All well?", "How do you do?"],
     ["I am well, thank you. How can I help?", "Very well, thanks. What shall we do?"]),
    (["Who are you?", "What are you?", "What is your name?", "Tell me about yourself.",
      "Introduce yourself.", "Which model are you?"],
     ["I am a small model that learns from our talks.",
      "A small language model. I learn from what you tell me."]),
    (["What can you do?", "How can you help me?", "What are you good at?", "What do you know?"],
     ["I can do small sums, write short notes, read files and run commands.",
      "Small sums, short notes, files and commands. And I learn from your corrections."]),
    (["Thanks!", "Thank you.", "Thanks a lot!", "Great, thanks.", "Perfect.", "Thank you very much!",
      "Nice, thanks!", "That's right, thanks.", "Thanks, that's right.", "Yes, thank you.",
      "Right, thanks.", "Much better, thanks.", "Good, thank you.", "Thanks, that is better.", "Perfect, thank you.", "Good.", "Well done!", "Great!",
      "Exactly what I wanted.", "That is what I needed, thank you."],
     ["You are welcome!", "Glad to help.", "Any time!", "My pleasure."]),
    (["Bye!", "Goodbye.", "See you later.", "Good night!", "See you tomorrow!"],
     ["Goodbye!", "See you soon!", "Bye, take care!"]),
    (["Are you there?", "Can you hear me?", "Test", "ping", "Are you ready?", "Hello?"],
     ["Yes, I am here.", "I am here. What can I do?"]),
    (["Tell me a joke.", "Make me laugh.", "Do you know a joke?", "Say something funny."],
     ["Why did the book go to the doctor? It had lost its page.",
      "What did one wall say to the other? See you at the corner."]),
    (["I am tired.", "I had a bad day.", "I am sad.", "Today was hard.", "I feel low."],
     ["I am sorry to hear that. Rest a little.", "That sounds hard. I hope tomorrow is better."]),
    (["I am happy today!", "I had a good day.", "Good news!", "I passed my test!"],
     ["That is good to hear!", "How nice! I am glad."]),
    (["Do you learn?", "Can you learn?", "Do you remember me?", "Will you get better?"],
     ["Yes, I learn from your corrections.", "A little with every talk that we have."]),
]

# what may stand before a question
OPENERS = [
    "Hello!", "Hi!", "Hi there!", "Hey,", "Good morning!", "This is a new conversation.", "OK.",
    "Now something else.", "Another question:", "Quick question:", "A new task:", "Let us go on.",
    "Next one.", "I have a question.", "Let's start.", "Hello! Next one:", "Something new:",
]

SYSTEMS = [
    "You are a helpful assistant.", "You are a friendly helper.", "You are a small assistant.",
    "Help the user.", "You are an assistant that answers questions.", "You are a careful helper.",
    "You are a personal assistant.", "Answer the user's questions.", "You help with daily work.",
]


def chat(voice) -> list[dict]:
    """One exchange of small talk."""
    asks, replies = voice.any(CHAT)
    return turn(voice.say(asks), voice.any(replies))


def unknown(voice) -> list[dict]:
    """A question from outside the small world."""
    r = voice.random
    about = agent.phrase(r) if voice.chance(0.7) else voice.any(lex.NOUNS)
    ask = voice.say([
        "Tell me about {}.", "What do you think of {}?", "Explain {}.", "Can you explain {} to me?",
        "Why is {} important?", "How does {} work?", "Write an essay about {}.", "What about {}?",
        "I need help with {}.", "Describe {}.", "Give me advice about {}.",
    ]).format(about)
    reply = voice.any([
        "I know very little about {}. I am a small model.", "Sorry, I can't say much about {}.",
        "I don't know enough about {} to answer.",
    ]).format(about)
    return turn(ask, reply)


def exact(voice) -> list[dict]:
    """An instruction to answer with one given word."""
    word = voice.any(["NO_REPLY", "HEARTBEAT_OK", "OK", "DONE", "NOTHING", "READY", "YES"])
    if voice.chance(0.3):
        word = voice.any(lex.NOUNS).upper()
    ask = voice.say([
        "If nothing needs attention, reply with exactly {}.", "Reply with {} and nothing else.",
        "Check your tasks. If there is nothing to do, answer {}.", "Say {}.", "Answer only {}.",
        "When there is nothing to report, the whole reply must be {}.",
        "Look at the list of open tasks. Nothing new? Then answer with {} only.",
    ]).format(word)
    return turn(ask, word)


def echo(voice) -> list[dict]:
    """Something to be said again: nothing but looking back helps there."""
    text = voice.weighted({"words": 60, "request": 15, "wish": 25})
    if text == "words":
        text = " ".join(echoed(voice) for _ in range(voice.number(1, 8)))
    elif text == "wish" and voice.opens():
        text = wishes.said(voice)
    else:
        task = tasks.make(voice, voice.any(["arithmetic", "comparison", "grading", "note", "fact"]))
        text = task.ask if text == "request" else styles.directive(
            voice, *styles.choose(voice, task.kind), task.thing)
    ask = voice.say([
        "Repeat: {}", "Say this again: {}", "Repeat after me: {}", "Write this once more: {}",
        "Repeat these words: {}", "Say these words again: {}", "Copy this: {}",
        "Please repeat: {}", "Please copy these words: {}", "Repeat this: {}",
        "Copy these words: {}", "Please say these words again: {}",
    ]).format(text)
    return turn(ask, text)


def echoed(voice) -> str:
    """A word, a name, a number or a path."""
    kind = voice.weighted({"word": 60, "name": 12, "number": 16, "path": 12})
    if kind == "word":
        return voice.term(lex.NOUNS + lex.ADJECTIVES + lex.VERBS)
    if kind == "name":
        return voice.term(tasks.NAMES)
    return str(voice.number(0, 999)) if kind == "number" else tools.short_path(voice)


def turn(ask: str, reply: str) -> list[dict]:
    """A user's message and the answer."""
    return [{"role": "user", "content": ask}, {"role": "assistant", "content": reply}]


def summary(voice) -> list[dict]:
    """A conversation to summarise, in three lines."""
    parts = [tasks.make(voice, voice.any(["arithmetic", "fact", "note"]))
             for _ in range(voice.number(1, 3))]
    shown = "\n".join(f"[User]: {t.ask}\n[Assistant]: {t.reply(styles.default(voice, t.kind))}"
                      for t in parts)
    ask = voice.say([
        "Summarize this conversation.\n<conversation>\n{}\n</conversation>",
        "<conversation>\n{}\n</conversation>\n\nSummarize it with the headings Goal and Progress.",
        "<conversation>\n{}\n</conversation>\n\nCreate a structured summary of the conversation.",
        "{}\n\nSummarize what was said so far.",
    ]).format(shown)
    answer = "## Goal\n" + parts[0].ask + "\n\n## Progress\n" + "\n".join(
        f"- Answered: {t.answer}" for t in parts)
    system = [{"role": "system", "content": voice.any([
        "You summarize conversations.", "You are a summarizer. Only output the summary.",
        "Summarize. Do not continue the conversation."])}]
    return system + turn(ask, answer)
