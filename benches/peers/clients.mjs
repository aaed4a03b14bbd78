// The clients for Node that `clients.py` runs: `node clients.mjs CLIENT TOLD`, where TOLD is what it tells of the
// servers. Prints how each call went as a line of JSON, as the other clients do.

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

const client = process.argv[2];
const told = JSON.parse(process.argv[3]);
const [hello, several, ended] = told.answers.map((answer) => ({ ...answer, nPrompt: answer.n_prompt }));
const s = { url: told.url, v1: told.url + "/v1", locked: told.locked, pulling: told.pulling, model: told.model, key: told.key, n: told.n };
const HELLO = [{ role: "user", content: "Once upon a time" }];
const SEVERAL = [
  { role: "system", content: "Tell stories." },
  { role: "user", content: "One day" },
  { role: "assistant", content: "Lily saw a cat." },
  { role: "user", content: "The cat was" },
];
const ENDED = [{ role: "user", content: "And they all went home." }];
const TOOL = {
  type: "object",
  properties: { city: { type: "string", enum: ["Bern", "Rome"] } },
  required: ["city"],
  additionalProperties: false,
};
const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const LONG = "the cat sat ".repeat(6000);
const CALL_MS = 60_000;

function same(found, want, what) {
  if (!isDeepStrictEqual(found, want)) {
    throw new Error(`${what} is ${JSON.stringify(found)}, and should be ${JSON.stringify(want)}`);
  }
}

function holds(truth, what) {
  if (!truth) throw new Error(what);
}

/** Does what must fail with these words. */
async function fails(make, ...words) {
  let found;
  try {
    found = await make();
  } catch (error) {
    const said = `${error.name}: ${error.message} ${error.responseBody ?? ""} ${error.error ?? ""}`;
    for (const word of words) holds(said.includes(word), `the error does not say "${word}": ${said}`);
    return error;
  }
  throw new Error(`it does not fail, but gives ${JSON.stringify(found)}`);
}

/** Does what needs constrained decoding, which has to be refused where there is none. */
async function formed(make) {
  if (told.forms) return await make();
  await fails(make, "not supported");
}

async function metric(which) {
  const text = await (await fetch(s.url + "/metrics")).text();
  const lines = text.split("\n").filter((line) => line.startsWith(which + "{") || line.startsWith(which + " "));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

/** Leaves a long answer, and sees that it ends then. */
async function left(leave) {
  const before = await metric("vllm:generation_tokens_total");
  await leave();
  const since = Date.now();
  while ((await metric("vllm:num_requests_running")) > 0) {
    holds(Date.now() - since < 2500, "the answer goes on although its client has left");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const made = (await metric("vllm:generation_tokens_total")) - before;
  holds(made < 7000, `the answer was made to its end: ${made} tokens`);
}

async function joined(parts, text) {
  let all = "";
  for await (const part of parts) all += text(part) ?? "";
  return all;
}

async function post(path, body) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(s.url + path, { method: "POST", headers, body: JSON.stringify(body) });
  return await response.json();
}

const image = { type: "image_url", image_url: { url: `data:image/png;base64,${PIXEL}` } };

const CLIENTS = {
  "node-openai": async () => {
    const { default: OpenAI } = await import("openai");
    const { zodResponseFormat } = await import("openai/helpers/zod");
    const { z } = await import("zod");
    const own = new OpenAI({ baseURL: s.v1, apiKey: "any", maxRetries: 0 });
    const ask = { model: s.model, messages: HELLO, temperature: 0, max_tokens: s.n };
    const tools = [{ type: "function", function: { name: "weather", parameters: TOOL, strict: true } }];
    return {
      models: async () => {
        const all = await own.models.list();
        same(all.data.map((model) => model.id), [s.model], "models");
        same((await own.models.retrieve(s.model)).id, s.model, "the model");
      },
      chat: async () => {
        for (const [messages, want] of [[HELLO, hello], [SEVERAL, several]]) {
          const answer = await own.chat.completions.create({ ...ask, messages });
          same(answer.choices[0].message.content, want.text, "text");
          same(answer.choices[0].finish_reason, want.finish, "finish_reason");
          same([answer.usage.prompt_tokens, answer.usage.completion_tokens], [want.nPrompt, want.n], "usage");
        }
      },
      stream: async () => {
        const stream = await own.chat.completions.create({ ...ask, stream: true });
        same(await joined(stream, (chunk) => chunk.choices[0]?.delta.content), hello.text, "text");
        const helper = own.chat.completions.stream({ ...ask, messages: ENDED, max_tokens: 200 });
        const final = await helper.finalChatCompletion();
        same([final.choices[0].message.content, final.choices[0].finish_reason], [ended.text, "stop"], "the helper");
      },
      "image refused": () =>
        fails(() => own.chat.completions.create({ ...ask, messages: [{ role: "user", content: [image] }] }),
          "400", "picture"),
      tools: async () => {
        const answer = await own.chat.completions.create({ ...ask, tools });
        holds(answer.choices[0].message.content && answer.usage.prompt_tokens > hello.nPrompt, "no tool in the prompt");
      },
      "forced tool": () =>
        formed(async () => {
          const answer = await own.chat.completions.create({ ...ask, max_tokens: 300, tools, tool_choice: "required" });
          const call = answer.choices[0].message.tool_calls?.[0].function;
          same(typeof JSON.parse(call?.arguments ?? "{}").city, "string", "the city's type");
        }),
      parse: () =>
        formed(async () => {
          const format = zodResponseFormat(z.object({ is_black: z.boolean(), legs: z.number().int() }), "cat");
          const answer = await own.chat.completions.parse({ ...ask, max_tokens: 300, response_format: format });
          same(typeof answer.choices[0].message.parsed.is_black, "boolean", "a type");
        }),
      embeddings: async () => {
        const input = ["A cat", "The dog"];
        const packed = await own.embeddings.create({ model: s.model, input });
        const plain = await own.embeddings.create({ model: s.model, input, encoding_format: "float" });
        const off = packed.data[1].embedding.map((x, i) => Math.abs(x - plain.data[1].embedding[i]));
        holds(Math.max(...off) < 1e-6 && packed.data.length === 2, "base64 has other numbers");
      },
      responses: async () => {
        const more = { model: s.model, temperature: 0, max_output_tokens: s.n };
        const answer = await own.responses.create({ ...more, input: "Once upon a time" });
        same([answer.output_text, answer.usage.output_tokens], [hello.text, hello.n], "the answer");
        const stream = await own.responses.create({ ...more, input: "Once upon a time", stream: true });
        const text = (event) => (event.type === "response.output_text.delta" ? event.delta : "");
        same(await joined(stream, text), hello.text, "the stream");
        const helper = own.responses.stream({ model: s.model, temperature: 0, input: ENDED[0].content });
        same((await helper.finalResponse()).output_text, ended.text, "the helper");
        same((await own.responses.retrieve(answer.id)).output_text, hello.text, "the kept response");
      },
      errors: async () => {
        const long = [{ role: "user", content: LONG }];
        const error = await fails(() => own.chat.completions.create({ ...ask, messages: long }), "8192");
        same([error.status, error.code], [400, "context_length_exceeded"], "the error");
        await fails(() => own.chat.completions.create({ ...ask, temperature: "hot" }), "temperature");
        await fails(() => own.fineTuning.jobs.list(), "404", "/v1/fine_tuning/jobs");
      },
      key: async () => {
        const wrong = new OpenAI({ baseURL: s.locked + "/v1", apiKey: "wrong", maxRetries: 0 });
        same((await fails(() => wrong.models.list(), "key")).status, 401, "status");
        const right = new OpenAI({ baseURL: s.locked + "/v1", apiKey: s.key, maxRetries: 0 });
        same((await right.chat.completions.create(ask)).choices[0].message.content, hello.text, "text");
      },
      "leave a stream": () =>
        left(async () => {
          const stream = await own.chat.completions.create({ ...ask, max_tokens: 8000, ignore_eos: true, stream: true });
          let n = 0;
          for await (const _ of stream) if (++n === 3) break;
        }),
    };
  },

  "node-anthropic": async () => {
    const { default: Anthropic } = await import("@anthropic-ai/sdk");
    const own = new Anthropic({ baseURL: s.url, apiKey: "any", maxRetries: 0 });
    const ask = { model: s.model, messages: HELLO, temperature: 0, max_tokens: s.n };
    const read = (usage) => usage.input_tokens + (usage.cache_read_input_tokens ?? 0);
    return {
      models: async () => {
        const names = [];
        for await (const model of own.models.list()) names.push(model.id);
        same(names, [s.model], "models");
      },
      messages: async () => {
        const { content: system } = SEVERAL[0];
        for (const [more, want] of [[{}, hello], [{ system, messages: SEVERAL.slice(1) }, several]]) {
          const answer = await own.messages.create({ ...ask, ...more });
          same([answer.content[0].text, answer.stop_reason], [want.text, "max_tokens"], "the answer");
          same([read(answer.usage), answer.usage.output_tokens], [want.nPrompt, want.n], "usage");
        }
      },
      stream: async () => {
        const helper = own.messages.stream({ ...ask, messages: ENDED, max_tokens: 200 });
        const final = await helper.finalMessage();
        same([final.content[0].text, final.stop_reason], [ended.text, "end_turn"], "the helper");
        const stream = await own.messages.create({ ...ask, stream: true });
        same(await joined(stream, (event) => event.delta?.text), hello.text, "the stream");
      },
      "count tokens": async () => {
        const { input_tokens: n } = await own.messages.countTokens({ model: s.model, messages: HELLO });
        same(n, hello.nPrompt, "tokens");
      },
      "image refused": () => {
        const source = { type: "base64", media_type: "image/png", data: PIXEL };
        const messages = [{ role: "user", content: [{ type: "image", source }] }];
        return fails(() => own.messages.create({ ...ask, messages }), "400", "picture");
      },
      tools: async () => {
        const tools = [{ name: "weather", input_schema: TOOL }];
        holds((await own.messages.create({ ...ask, tools })).content[0].text, "there is no text");
        await formed(async () => {
          const more = { tools, tool_choice: { type: "any" }, max_tokens: 300 };
          const answer = await own.messages.create({ ...ask, ...more });
          same([answer.stop_reason, typeof answer.content.at(-1).input?.city], ["tool_use", "string"], "the call");
        });
      },
      errors: async () => {
        const long = [{ role: "user", content: LONG }];
        await fails(() => own.messages.create({ ...ask, messages: long }), "400", "prompt is too long");
        await fails(() => own.messages.create({ ...ask, messages: long, stream: true }), "400", "prompt is too long");
      },
      key: async () => {
        const wrong = new Anthropic({ baseURL: s.locked, apiKey: "wrong", maxRetries: 0 });
        same((await fails(() => wrong.messages.create(ask), "key")).status, 401, "status");
        const right = new Anthropic({ baseURL: s.locked, apiKey: s.key, maxRetries: 0 });
        same((await right.messages.create(ask)).content[0].text, hello.text, "text");
      },
      "leave a stream": () =>
        left(async () => {
          const stream = own.messages.stream({ ...ask, max_tokens: 8000, temperature: 1, top_k: 0 });
          let n = 0;
          for await (const _ of stream) if (++n === 4) break;
          stream.abort();
        }),
    };
  },

  "node-ollama": async () => {
    const { Ollama } = await import("ollama");
    const own = new Ollama({ host: s.url });
    const options = { temperature: 0, num_predict: s.n };
    const ask = { model: s.model, messages: HELLO, options };
    return {
      "list, show, ps, pull": async () => {
        same((await own.list()).models.map((model) => model.name), [s.model + ":latest"], "models");
        same((await own.show({ model: s.model })).model_info["llama.context_length"], 8192, "context");
        await own.chat(ask);
        same((await own.ps()).models.length, 1, "loaded models");
        same((await own.pull({ model: s.model })).status, "success", "pull");
        let last;
        for await (const part of await own.pull({ model: s.model, stream: true })) last = part.status;
        same(last, "success", "the last line of pull");
      },
      "pull from a registry": async () => {
        const puller = new Ollama({ host: s.pulling });
        const names = async () => (await puller.list()).models.map((model) => model.name);
        const parts = [];
        for await (const part of await puller.pull({ model: "far:1", stream: true })) parts.push(part);
        same([parts[0].status, parts.at(-1).status], ["pulling manifest", "success"], "the first and the last line");
        if (!parts.some((part) => part.digest && part.completed === part.total && part.total > 1e6)) throw new Error("no progress");
        same((await names()).includes("far:1"), true, "that it is listed");
        const answer = await puller.chat({ ...ask, model: "far:1" });
        const whole = await own.chat({ ...ask, messages: [{ role: "system", content: "Far away." }, ...HELLO] });
        same(answer.message.content, whole.message.content, "the answer");
        await puller.copy({ source: "far:1", destination: "farther" });
        await puller.delete({ model: "far:1" });
        same([(await names()).includes("far:1"), (await names()).includes("farther:latest")], [false, true], "names");
        await puller.delete({ model: "farther" });
        await fails(() => puller.pull({ model: "nowhere:1" }), "nowhere");
      },
      chat: async () => {
        for (const [messages, want] of [[HELLO, hello], [SEVERAL, several]]) {
          const answer = await own.chat({ ...ask, messages });
          same([answer.message.content, answer.done_reason], [want.text, want.finish], "the answer");
          same([answer.prompt_eval_count, answer.eval_count], [want.nPrompt, want.n], "counts");
        }
      },
      stream: async () => {
        const stream = await own.chat({ ...ask, stream: true });
        same(await joined(stream, (part) => part.message.content), hello.text, "text");
      },
      generate: async () => {
        const answer = await own.generate({ model: s.model, prompt: HELLO[0].content, options });
        same(answer.response, hello.text, "text");
      },
      "image refused": () =>
        fails(() => own.chat({ ...ask, messages: [{ role: "user", content: "x", images: [PIXEL] }] }), "picture"),
      format: () =>
        formed(async () => {
          const more = { format: TOOL, options: { temperature: 0, num_predict: 300 } };
          const answer = await own.chat({ ...ask, ...more });
          same(typeof JSON.parse(answer.message.content).city, "string", "the city's type");
        }),
      embed: async () => {
        same((await own.embed({ model: s.model, input: ["A cat", "The dog"] })).embeddings.length, 2, "vectors");
      },
      errors: async () => {
        await fails(() => own.chat({ ...ask, messages: [{ role: "user", content: LONG }] }), "8192");
        await fails(async () => joined(await own.chat({ ...ask, messages: [{ role: "user", content: LONG }], stream: true }),
          (part) => part.message.content), "8192");
      },
      key: async () => {
        await fails(() => new Ollama({ host: s.locked }).list(), "key");
        const headers = { authorization: "Bearer " + s.key };
        same((await new Ollama({ host: s.locked, headers }).chat(ask)).message.content, hello.text, "text");
      },
      "leave a stream": () =>
        left(async () => {
          const more = { stream: true, options: { num_predict: 8000, temperature: 2, seed: 3 } };
          const stream = await own.chat({ ...ask, ...more });
          let n = 0;
          try {
            for await (const _ of stream) if (++n === 3) stream.abort();
          } catch (error) {
            same(error.name, "AbortError", "the error");
          }
        }),
    };
  },

  "node-ai-openai": async () => {
    const { createOpenAI } = await import("@ai-sdk/openai");
    const provider = createOpenAI({ baseURL: s.v1, apiKey: "any" });
    const locked = createOpenAI({ baseURL: s.locked + "/v1", apiKey: "wrong" });
    return {
      ...(await ai("responses: ", provider(s.model), locked(s.model))),
      ...(await ai("chat: ", provider.chat(s.model), locked.chat(s.model))),
      ...(await vectors(provider.textEmbeddingModel ? provider.textEmbeddingModel(s.model) : provider.embedding(s.model))),
    };
  },

  "node-ai-compatible": async () => {
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
    const more = { name: "puna", includeUsage: true, supportsStructuredOutputs: true };
    const provider = createOpenAICompatible({ ...more, baseURL: s.v1, apiKey: "any" });
    const locked = createOpenAICompatible({ ...more, baseURL: s.locked + "/v1", apiKey: "wrong" });
    return {
      ...(await ai("", provider(s.model), locked(s.model))),
      ...(await vectors(provider.textEmbeddingModel(s.model))),
    };
  },

  "node-ai-anthropic": async () => {
    const { createAnthropic } = await import("@ai-sdk/anthropic");
    const provider = createAnthropic({ baseURL: s.v1, apiKey: "any" });
    const locked = createAnthropic({ baseURL: s.locked + "/v1", apiKey: "wrong" });
    return await ai("", provider(s.model), locked(s.model));
  },
};

/** The calls of the AI SDK, which are the same for every provider. */
async function ai(prefix, model, locked) {
  const { generateText, streamText, generateObject, tool, jsonSchema } = await import("ai");
  const { z } = await import("zod");
  const ask = { model, temperature: 0, maxOutputTokens: s.n, maxRetries: 0 };
  const calls = {
    text: async () => {
      const system = { system: SEVERAL[0].content, messages: SEVERAL.slice(1) };
      for (const [more, want] of [[{ prompt: HELLO[0].content }, hello], [system, several]]) {
        const answer = await generateText({ ...ask, ...more });
        same([answer.text, answer.finishReason], [want.text, "length"], "the answer");
        same([answer.usage.inputTokens, answer.usage.outputTokens], [want.nPrompt, want.n], "usage");
      }
    },
    stream: async () => {
      const answer = streamText({ ...ask, prompt: ENDED[0].content, maxOutputTokens: 200 });
      same(await joined(answer.textStream, (text) => text), ended.text, "text");
      same(await answer.finishReason, "stop", "finishReason");
      same((await answer.usage).outputTokens, ended.n, "usage");
    },
    tools: async () => {
      const tools = { weather: tool({ description: "x", inputSchema: jsonSchema(TOOL), execute: async () => "sunny" }) };
      holds((await generateText({ ...ask, prompt: "Hi", tools })).text, "there is no text");
    },
    object: () =>
      formed(async () => {
        const schema = z.object({ is_black: z.boolean(), legs: z.number().int() });
        const { object } = await generateObject({ ...ask, maxOutputTokens: 400, prompt: "A cat", schema });
        same(typeof object.is_black, "boolean", "a type");
      }),
    errors: async () => {
      await fails(() => generateText({ ...ask, prompt: LONG }), "8192");
      const message = { role: "user", content: [{ type: "image", image: Buffer.from(PIXEL, "base64") }] };
      await fails(() => generateText({ ...ask, messages: [message] }), "picture");
      same((await fails(() => generateText({ ...ask, model: locked, prompt: "Hi" }), "key")).statusCode, 401, "status");
    },
    "leave a stream": () =>
      left(async () => {
        const stop = new AbortController();
        const more = { maxOutputTokens: 8000, temperature: 1.5, abortSignal: stop.signal };
        const answer = streamText({ ...ask, ...more, prompt: "Hi", onError: () => {} });
        let n = 0;
        for await (const _ of answer.textStream) if (++n === 3) stop.abort();
      }),
  };
  return Object.fromEntries(Object.entries(calls).map(([key, make]) => [prefix + key, make]));
}

async function vectors(model) {
  const { embedMany } = await import("ai");
  return {
    embeddings: async () => {
      const { embeddings } = await embedMany({ model, values: ["A cat", "The dog"], maxRetries: 0 });
      const want = await post("/v1/embeddings", { input: ["A cat", "The dog"] });
      same(embeddings, want.data.map((one) => one.embedding), "vectors");
    },
  };
}

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const packages = {
  "node-openai": "openai",
  "node-anthropic": "@anthropic-ai/sdk",
  "node-ollama": "ollama",
  "node-ai-openai": "@ai-sdk/openai",
  "node-ai-compatible": "@ai-sdk/openai-compatible",
  "node-ai-anthropic": "@ai-sdk/anthropic",
};
const about = new URL(`node_modules/${packages[client]}/package.json`, import.meta.url);
say({ version: JSON.parse(readFileSync(about)).version });
for (const [call, make] of Object.entries(await CLIENTS[client]())) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it takes more than ${CALL_MS / 1000} s`)), CALL_MS);
  });
  let fault = null;
  try {
    await Promise.race([make(), late]);
  } catch (error) {
    fault = `${error.stack ?? error}${error.responseBody ? "\n" + error.responseBody : ""}`;
  }
  clearTimeout(timer);
  say({ call, fault });
}
process.exit(0);
