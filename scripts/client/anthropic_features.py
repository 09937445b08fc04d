"""Every feature of the server that the anthropic package reaches, asked for through it, unmodified."""

import json
import sys

import anthropic
from pydantic import BaseModel

from checks import check, equal, holds, raises, run

MODEL = "openclaw"
ASK = [{"role": "user", "content": "What is 3 + 4? Explain it in more detail."}]
TOOL = {"name": "look_up", "description": "Looks a word up.", "input_schema": {
    "type": "object", "additionalProperties": False, "required": ["word"],
    "properties": {"word": {"type": "string", "maxLength": 12}}}}


class Answer(BaseModel):
    """What a structured reply holds."""

    sure: bool
    number: int


def ask(client, **more):
    """One message, short and repeatable unless said otherwise."""
    fields = {"model": MODEL, "messages": ASK, "max_tokens": 24, "extra_body": {"seed": 7}} | more
    return client.messages.create(**fields)


def text(message):
    """What a message says."""
    return "".join(block.text for block in message.content if block.type == "text")


@check
def a_whole_message(client, _):
    message = ask(client, system="Be kind.")
    equal((message.type, message.role, message.model), ("message", "assistant", MODEL))
    holds(text(message), message)
    holds(message.stop_reason in ("end_turn", "max_tokens"), message)
    holds(message.usage.input_tokens > 0 and message.usage.output_tokens > 0, message.usage)


@check
def a_stream_says_the_same(client, _):
    whole = ask(client)
    kinds = [event.type for event in ask(client, stream=True)]
    equal((kinds[0], kinds[-1]), ("message_start", "message_stop"))
    with client.messages.stream(model=MODEL, messages=ASK, max_tokens=24,
                                extra_body={"seed": 7}) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    equal(said, text(whole))
    equal((text(final), final.stop_reason), (text(whole), whole.stop_reason))
    equal(final.usage.output_tokens, whole.usage.output_tokens)


@check
def why_it_stopped(client, _):
    equal(ask(client, max_tokens=3).stop_reason, "max_tokens")
    said = text(ask(client))
    word = said.split()[1]
    stopped = ask(client, stop_sequences=["never said, that", word])
    equal((stopped.stop_reason, stopped.stop_sequence), ("stop_sequence", word))
    equal(text(stopped), said[:said.index(word)])


@check
def tools_are_offered_and_results_read(client, _):
    holds(ask(client, tools=[TOOL]).content, "no answer")
    messages = [*ASK,
                {"role": "assistant", "content": [
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "toolu_1", "name": "look_up",
                     "input": {"word": "a"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": False,
                     "content": [{"type": "text", "text": "a letter"}]},
                    {"type": "text", "text": "So?", "cache_control": {"type": "ephemeral"}}]}]
    holds(ask(client, messages=messages, tools=[TOOL]).content, "no answer")
    none = ask(client, tools=[TOOL], tool_choice={"type": "none"})
    holds(all(block.type != "tool_use" for block in none.content), none)


@check
def a_call_can_be_required(client, _):
    for choice in ({"type": "any"}, {"type": "tool", "name": "look_up"}):
        choice = choice | {"disable_parallel_tool_use": True}
        message = ask(client, tools=[TOOL], tool_choice=choice, max_tokens=200)
        equal(message.stop_reason, "tool_use")
        calls = [block for block in message.content if block.type == "tool_use"]
        equal([call.name for call in calls], ["look_up"])
        equal(list(calls[0].input), ["word"])
        with client.messages.stream(model=MODEL, messages=ASK, max_tokens=200, tools=[TOOL],
                                    tool_choice=choice, extra_body={"seed": 7}) as stream:
            final = stream.get_final_message()
        equal([block.input for block in final.content if block.type == "tool_use"],
              [calls[0].input])


@check
def formats_are_kept(client, _):
    schema = Answer.model_json_schema() | {"additionalProperties": False}
    message = ask(client, max_tokens=200, output_config={
        "format": {"type": "json_schema", "schema": schema}})
    Answer.model_validate(json.loads(text(message)))
    parsed = client.messages.parse(model=MODEL, messages=ASK, max_tokens=200,
                                   output_format=Answer)
    holds(isinstance(parsed.parsed_output, Answer), parsed)


@check
def tokens_are_counted(client, _):
    counted = client.messages.count_tokens(model=MODEL, messages=ASK, system="Be kind.")
    usage = ask(client, system="Be kind.").usage
    equal(counted.input_tokens, usage.input_tokens + usage.cache_read_input_tokens)


@check
def thinking_may_be_asked_for(client, _):
    for thinking in ({"type": "disabled"}, {"type": "enabled", "budget_tokens": 1024}):
        holds(ask(client, thinking=thinking, max_tokens=30).usage.output_tokens > 0, thinking)


@check
def a_conversation_goes_on(client, args):
    messages = [{"role": "user", "content": "Hello. " * 40}]
    messages.append({"role": "assistant", "content": ask(client, messages=messages).content})
    messages.append({"role": "user", "content": "Thanks."})
    usage = ask(client, messages=messages).usage
    holds(usage.cache_read_input_tokens > 0 or not args.expect_cache, "nothing was cached")


@check
def errors_are_the_packages_own(client, _):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    error = raises(anthropic.BadRequestError,
                   lambda: ask(client, messages=[{"role": "user", "content": [image]}]))
    equal(error.body["error"]["type"], "invalid_request_error")
    holds("messages[0].content[0].type" in str(error), error)
    raises(anthropic.BadRequestError, lambda: ask(client, tool_choice={"type": "any"}))


@check
def a_command_is_answered_by_the_server(client, _):
    said = [*ASK, {"role": "assistant", "content": "7"},
            {"role": "user", "content": [{"type": "text", "text": "/bad say it in French"}]}]
    whole = ask(client, messages=said)
    holds(text(whole).startswith("Noted"), whole)
    equal((whole.stop_reason, whole.usage.output_tokens), ("end_turn", 0))
    with client.messages.stream(model=MODEL, messages=said, max_tokens=24) as stream:
        told = stream.get_final_message()
    equal((text(told), told.stop_reason), (text(whole), "end_turn"))


def make_client(args):
    """No retries: a request that fails must be seen to fail."""
    return anthropic.Anthropic(base_url=args.url, api_key=args.key, max_retries=0, timeout=300)


if __name__ == "__main__":
    sys.exit(run("anthropic (Python) " + anthropic.__version__, make_client))
