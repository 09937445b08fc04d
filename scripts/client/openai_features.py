"""Every feature of the server that the openai package reaches, asked for through it, unmodified."""

import asyncio
import json
import sys

import openai
from pydantic import BaseModel

from checks import check, equal, holds, raises, run

MODEL = "openclaw"
ASK = [{"role": "user", "content": "What is 3 + 4? Explain it in more detail."}]
TOOL = {"type": "function", "function": {
    "name": "look_up", "description": "Looks a word up.",
    "parameters": {"type": "object", "additionalProperties": False, "required": ["word", "count"],
                   "properties": {"word": {"type": "string", "maxLength": 12},
                                  "count": {"type": "integer", "minimum": 0, "maximum": 9}}}}}
OTHER = {"type": "function", "function": {
    "name": "wait", "parameters": {"type": "object", "properties": {},
                                   "additionalProperties": False}}}


class Answer(BaseModel):
    """What a structured reply holds."""

    sure: bool
    number: int


def ask(client, **more):
    """One chat completion, short and repeatable unless said otherwise."""
    fields = {"model": MODEL, "messages": ASK, "max_completion_tokens": 24, "seed": 7} | more
    return client.chat.completions.create(**fields)


def arguments_fit(call):
    """A call of look_up with arguments by its schema."""
    equal(call.function.name, "look_up")
    given = json.loads(call.function.arguments)
    equal(sorted(given), ["count", "word"])
    holds(isinstance(given["word"], str) and isinstance(given["count"], int), given)


@check
def models(client, _):
    names = [model.id for model in client.models.list()]
    holds(MODEL in names, names)


@check
def a_whole_reply(client, _):
    made = ask(client)
    equal(made.object, "chat.completion")
    choice = made.choices[0]
    equal(choice.message.role, "assistant")
    holds(isinstance(choice.message.content, str), choice)
    holds(choice.finish_reason in ("stop", "length"), choice.finish_reason)
    usage = made.usage
    equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
    holds(usage.prompt_tokens_details.cached_tokens >= 0, usage)
    holds(usage.completion_tokens_details.reasoning_tokens >= 0, usage)
    holds(made.system_fingerprint.startswith("weights-"), made.system_fingerprint)


@check
def a_stream_says_the_same(client, _):
    whole = ask(client)
    text, reasons, usage = "", [], None
    for chunk in ask(client, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasons += [choice.finish_reason] if choice.finish_reason else []
        usage = chunk.usage or usage
    equal(text, whole.choices[0].message.content)
    equal(reasons, [whole.choices[0].finish_reason])
    equal(usage.completion_tokens, whole.usage.completion_tokens)


@check
def the_stream_helper(client, _):
    # The helper takes a reply that its limit cut off for an error.
    whole = ask(client, max_completion_tokens=1000)
    with client.chat.completions.stream(
            model=MODEL, messages=ASK, max_completion_tokens=1000, seed=7) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    holds("content.delta" in kinds and "content.done" in kinds, kinds)
    equal(final.choices[0].message.content, whole.choices[0].message.content)


@check
def several_choices(client, _):
    made = ask(client, n=3, temperature=1)
    equal([choice.index for choice in made.choices], [0, 1, 2])
    holds(len({choice.message.content for choice in made.choices}) > 1, "all the same")
    texts = ["", "", ""]
    for chunk in ask(client, n=3, temperature=1, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    equal(texts, [choice.message.content for choice in made.choices])


@check
def log_probabilities(client, _):
    made = ask(client, logprobs=True, top_logprobs=5)
    entries = made.choices[0].logprobs.content
    equal(len(entries), made.usage.completion_tokens)
    for entry in entries:
        equal(len(entry.top_logprobs), 5)
        values = [top.logprob for top in entry.top_logprobs]
        equal(values, sorted(values, reverse=True))
        holds(entry.logprob <= values[0] + 1e-6, entry)
        equal(bytes(entry.bytes).decode(errors="replace"), entry.token)
    plain = ask(client, logprobs=True)
    equal(plain.choices[0].logprobs.content[0].top_logprobs, [])


@check
def temperature_zero_and_seeds_repeat(client, _):
    for more in [{"temperature": 0, "seed": None}, {"temperature": 1, "seed": 5}]:
        texts = {ask(client, **more).choices[0].message.content for _ in range(2)}
        equal(len(texts), 1, more)


@check
def limits_and_stops(client, _):
    short = ask(client, max_completion_tokens=3)
    equal((short.choices[0].finish_reason, short.usage.completion_tokens), ("length", 3))
    equal(ask(client, max_tokens=2, max_completion_tokens=openai.omit).usage.completion_tokens, 2)
    text = ask(client).choices[0].message.content
    stop = text.split()[1]
    for wanted in (stop, ["never said, that", stop]):
        made = ask(client, stop=wanted)
        equal(made.choices[0].message.content, text[:text.index(stop)])
        equal(made.choices[0].finish_reason, "stop")


@check
def penalties_and_bias(client, args):
    ids = client.post("/tokenize", body={"prompt": " seven"}, cast_to=object)["tokens"]
    biased = ask(client, logit_bias={str(ids[0]): 100}, max_completion_tokens=6,
                 extra_body={"return_token_ids": True})
    equal(biased.choices[0].model_extra["token_ids"], [ids[0]] * 6)
    free = ask(client, temperature=0, max_completion_tokens=40)
    punished = ask(client, temperature=0, max_completion_tokens=40, frequency_penalty=2,
                   presence_penalty=2, extra_body={"repetition_penalty": 2.0})
    holds(free.choices[0].message.content != punished.choices[0].message.content, "no effect")


@check
def fields_that_vllm_adds(client, _):
    long = ask(client, max_completion_tokens=60, extra_body={"min_tokens": 50})
    holds(long.usage.completion_tokens >= 50, long.usage)
    on = ask(client, max_completion_tokens=60, extra_body={"ignore_eos": True})
    equal(on.usage.completion_tokens, 60)
    ask(client, extra_body={"top_k": 3, "min_p": 0.2, "chat_template_kwargs":
                            {"enable_thinking": False}})


@check
def tools_are_offered_and_results_read(client, _):
    made = ask(client, tools=[TOOL, OTHER])
    holds(made.choices[0].finish_reason in ("stop", "length", "tool_calls"), made)
    calls = [{"id": "callab", "type": "function",
              "function": {"name": "look_up", "arguments": '{"word": "a", "count": 1}'}}]
    messages = [*ASK, {"role": "assistant", "content": None, "tool_calls": calls},
                {"role": "tool", "tool_call_id": "callab", "content": "a letter"}]
    holds(ask(client, messages=messages, tools=[TOOL]).choices, "no answer")
    none = ask(client, tools=[TOOL], tool_choice="none")
    equal(none.choices[0].message.tool_calls, None)


@check
def a_call_can_be_required(client, _):
    made = ask(client, tools=[TOOL, OTHER], tool_choice="required", max_completion_tokens=200)
    equal(made.choices[0].finish_reason, "tool_calls")
    holds(all(call.function.name in ("look_up", "wait")
              for call in made.choices[0].message.tool_calls), made)
    for seed in range(3):
        made = ask(client, tools=[TOOL, OTHER], parallel_tool_calls=False, seed=seed, temperature=1,
                   tool_choice={"type": "function", "function": {"name": "look_up"}},
                   max_completion_tokens=200)
        equal(len(made.choices[0].message.tool_calls), 1)
        arguments_fit(made.choices[0].message.tool_calls[0])


@check
def a_call_streams_in_fragments(client, _):
    wanted = {"type": "function", "function": {"name": "look_up"}}
    more = {"tools": [TOOL], "tool_choice": wanted, "parallel_tool_calls": False,
            "max_completion_tokens": 200}
    whole = ask(client, **more).choices[0].message.tool_calls[0].function
    deltas = [call for chunk in ask(client, stream=True, **more) for choice in chunk.choices
              for call in choice.delta.tool_calls or []]
    holds(len(deltas) > 3, f"{len(deltas)} pieces")
    equal((deltas[0].function.name, deltas[0].type), ("look_up", "function"))
    holds(all(delta.id is None for delta in deltas[1:]), "one id")
    equal("".join(delta.function.arguments or "" for delta in deltas), whole.arguments)
    with client.chat.completions.stream(model=MODEL, messages=ASK, seed=7, **more) as stream:
        for _ in stream:
            pass
        arguments_fit(stream.get_final_completion().choices[0].message.tool_calls[0])


@check
def formats_are_kept(client, _):
    made = ask(client, response_format={"type": "json_object"}, max_completion_tokens=300)
    if made.choices[0].finish_reason == "stop":
        holds(isinstance(json.loads(made.choices[0].message.content), dict), made)
    for seed in range(3):
        parsed = client.chat.completions.parse(
            model=MODEL, messages=ASK, response_format=Answer, max_completion_tokens=200, seed=seed)
        holds(isinstance(parsed.choices[0].message.parsed, Answer), parsed)


@check
def images_are_refused(client, _):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "see"}, image]}, *ASK]
    error = raises(openai.BadRequestError, lambda: ask(client, messages=messages))
    equal(error.param, "messages[0].content[1].type")


@check
def errors_are_the_packages_own(client, args):
    error = raises(openai.BadRequestError, lambda: ask(client, temperature=99))
    equal((error.param, error.code), ("temperature", "invalid_value"))
    error = raises(openai.BadRequestError,
                   lambda: ask(client, messages=[{"role": "user", "content": "word " * 40000}]))
    equal(error.code, "context_length_exceeded")
    raises(openai.NotFoundError, lambda: client.embeddings.create(model=MODEL, input="x"))


@check
def text_is_continued(client, _):
    more = {"model": MODEL, "prompt": "One and one is", "max_tokens": 8, "seed": 3}
    whole = client.completions.create(**more)
    text = "".join(choice.text for chunk in client.completions.create(stream=True, **more)
                   for choice in chunk.choices)
    equal(text, whole.choices[0].text)
    echo = client.completions.create(echo=True, logprobs=2, **more)
    equal(echo.choices[0].text, "One and one is" + whole.choices[0].text)
    equal(len(echo.choices[0].logprobs.tokens), echo.usage.total_tokens)
    equal(echo.choices[0].logprobs.token_logprobs[0], None)
    several = client.completions.create(**more | {"prompt": ["One", "Two"], "n": 2})
    equal([choice.index for choice in several.choices], [0, 1, 2, 3])


@check
def many_streams_at_once(_, args):
    async def one(client, seed):
        stream = await client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, seed=seed, max_completion_tokens=24)
        return [choice.finish_reason async for chunk in stream for choice in chunk.choices][-1]

    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=f"{args.url}/v1", api_key=args.key,
                                      max_retries=0) as client:
            return await asyncio.gather(*(one(client, seed) for seed in range(8)))

    reasons = asyncio.run(all_of_them())
    holds(all(reason in ("stop", "length") for reason in reasons), reasons)


@check
def a_conversation_that_goes_on_is_cached(client, args):
    messages = [{"role": "system", "content": "Be brief. " * 40}, *ASK]
    first = ask(client, messages=messages)
    messages += [{"role": "assistant", "content": first.choices[0].message.content},
                 {"role": "user", "content": "Thanks."}]
    usage = ask(client, messages=messages).usage
    cached = usage.prompt_tokens_details.cached_tokens
    holds(0 <= cached < usage.prompt_tokens, usage)
    holds(cached > 0 or not args.expect_cache, "nothing was cached")


@check
def a_reply_can_be_rated(client, _):
    made = ask(client)
    verdict = {"response_id": made.id, "rating": "down", "text": "Say it in French."}
    taken = client.post("/feedback", body=verdict, cast_to=object)
    equal((taken["recorded"], taken["rating"]), (True, "down"))
    turn = client.get(f"/turns/{made.id}", cast_to=object)
    equal((turn["turn_id"], turn["status"]), (taken["turn_id"], "answered"))
    nobody = "0193e0f3-9c5a-7c3d-8e2f-0123456789ab"
    raises(openai.NotFoundError, lambda: client.get(f"/turns/{nobody}", cast_to=object))


@check
def a_command_is_answered_by_the_server(client, _):
    said = [*ASK, {"role": "assistant", "content": "7"}, {"role": "user", "content": "/good"}]
    made = ask(client, messages=said, n=2)
    holds(made.choices[0].message.content.startswith("Noted"), made)
    equal((len(made.choices), made.choices[0].finish_reason), (1, "stop"))
    equal(made.usage.total_tokens, 0)
    chunks = list(ask(client, messages=said, stream=True))
    told = [choice for chunk in chunks for choice in chunk.choices]
    equal("".join(choice.delta.content or "" for choice in told), made.choices[0].message.content)
    equal(told[-1].finish_reason, "stop")


@check
def a_request_of_which_nothing_is_kept_is_answered(client, _):
    made = ask(client, extra_headers={"X-No-Train": "1"})
    holds(isinstance(made.choices[0].message.content, str), made)
    turn = client.get(f"/turns/{made.id}", cast_to=object)
    equal((turn["status"], turn["reason"]), ("do_not_train", "do_not_train"))
    verdict = {"response_id": made.id, "rating": "up"}
    raises(openai.ConflictError, lambda: client.post("/feedback", body=verdict, cast_to=object))


def make_client(args):
    """No retries: a request that fails must be seen to fail."""
    return openai.OpenAI(base_url=f"{args.url}/v1", api_key=args.key, max_retries=0, timeout=300)


if __name__ == "__main__":
    sys.exit(run("openai (Python) " + openai.__version__, make_client))
