// Every feature of the server that the openai package for JavaScript reaches, asked for through it,
// unmodified. Usage: node openai_features.mjs URL

import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { VERSION } from 'openai/version';

const url = process.argv[2].replace(/\/$/, '');
const apiKey = process.env.OPENCLAW_RL_API_KEY ?? 'none';
// No retries: a request that fails must be seen to fail.
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, timeout: 300_000 });
const model = 'openclaw';
const messages = [{ role: 'user', content: 'What is 3 + 4? Explain it in more detail.' }];
const tool = {
  type: 'function',
  function: {
    name: 'look_up',
    parameters: {
      type: 'object',
      additionalProperties: false,
      required: ['word'],
      properties: { word: { type: 'string', maxLength: 12 } },
    },
  },
};
const short = { model, messages, max_completion_tokens: 24, seed: 7 };
const ask = (more = {}) => client.chat.completions.create({ ...short, ...more });

const checks = {
  async models() {
    const names = [];
    for await (const card of client.models.list()) names.push(card.id);
    assert(names.includes(model), names.join());
  },
  async 'a whole reply'() {
    const made = await ask();
    assert.equal(made.choices[0].message.role, 'assistant');
    assert(['stop', 'length'].includes(made.choices[0].finish_reason));
    const { prompt_tokens, completion_tokens, total_tokens } = made.usage;
    assert.equal(total_tokens, prompt_tokens + completion_tokens);
  },
  async 'a stream says the same'() {
    const whole = await ask();
    let text = '';
    let usage;
    for await (const chunk of await ask({ stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.deepEqual(usage.completion_tokens, whole.usage.completion_tokens);
  },
  async 'the stream helper'() {
    const stream = client.chat.completions.stream(short);
    let text = '';
    stream.on('content', (delta) => (text += delta));
    const final = await stream.finalChatCompletion();
    assert.equal(final.choices[0].message.content, text);
  },
  async 'several choices'() {
    const made = await ask({ n: 2, temperature: 1 });
    assert.deepEqual(made.choices.map((choice) => choice.index), [0, 1]);
  },
  async 'log-probabilities'() {
    const made = await ask({ logprobs: true, top_logprobs: 2 });
    assert.equal(made.choices[0].logprobs.content.length, made.usage.completion_tokens);
    assert.equal(made.choices[0].logprobs.content[0].top_logprobs.length, 2);
  },
  async 'stops and limits'() {
    const text = (await ask()).choices[0].message.content;
    const stop = text.split(/\s+/)[1];
    const stopped = await ask({ stop: [stop] });
    assert.equal(stopped.choices[0].message.content, text.slice(0, text.indexOf(stop)));
    assert.equal((await ask({ max_completion_tokens: 2 })).choices[0].finish_reason, 'length');
  },
  async 'a call can be required, and streams in fragments'() {
    const more = {
      tools: [tool],
      tool_choice: { type: 'function', function: { name: 'look_up' } },
      parallel_tool_calls: false,
      max_completion_tokens: 200,
    };
    const [call] = (await ask(more)).choices[0].message.tool_calls;
    assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)), ['word']);
    const pieces = [];
    for await (const chunk of await ask({ ...more, stream: true })) {
      pieces.push(...(chunk.choices[0]?.delta.tool_calls ?? []));
    }
    assert(pieces.length > 2, `${pieces.length} pieces`);
    assert.equal(pieces[0].function.name, 'look_up');
    const joined = pieces.map((piece) => piece.function.arguments ?? '').join('');
    assert.equal(joined, call.function.arguments);
    const final = await client.chat.completions.stream({ ...short, ...more }).finalChatCompletion();
    assert.equal(final.choices[0].message.tool_calls[0].function.arguments, joined);
  },
  async 'a format is kept'() {
    const schema = {
      type: 'object',
      additionalProperties: false,
      required: ['sure'],
      properties: { sure: { type: 'boolean' } },
    };
    const format = { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } };
    const made = await ask({ response_format: format, max_completion_tokens: 100 });
    assert.equal(typeof JSON.parse(made.choices[0].message.content).sure, 'boolean');
  },
  async 'text is continued'() {
    const made = await client.completions.create({ model, prompt: 'One', max_tokens: 4, echo: true });
    assert(made.choices[0].text.startsWith('One'));
  },
  async 'errors are the package’s own'() {
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } };
    const refused = ask({ messages: [{ role: 'user', content: [image] }] });
    await assert.rejects(refused, (error) => {
      assert(error instanceof OpenAI.BadRequestError);
      assert.equal(error.param, 'messages[0].content[0].type');
      return true;
    });
    await assert.rejects(client.embeddings.create({ model, input: 'x' }), OpenAI.NotFoundError);
  },
  async 'a stream may be given up'() {
    const stream = await ask({ stream: true, max_completion_tokens: 500 });
    for await (const _ of stream) break;
    assert((await ask()).choices.length);
  },
};

const failed = [];
const began = Date.now();
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok    ${name}`);
  } catch (error) {
    failed.push(name);
    console.log(`FAIL  ${name}: ${error.constructor.name}: ${error.message}`);
  }
}
const seconds = (Date.now() - began) / 1000;
const count = Object.keys(checks).length;
console.log(JSON.stringify({ package: `openai (JavaScript) ${VERSION}`, checks: count, failed, seconds }));
process.exit(failed.length ? 1 : 0);
