#!/usr/bin/env python3
"""Real clients of OpenAI's, Ollama's and Anthropic's APIs against `puna serve`: what they return is compared.

    cargo build --release -p puna-cli
    python3 benches/peers/clients.py                      # all clients; the first time it installs them
    python3 benches/peers/clients.py --only openai,ollama # some of them; `node` is all of those for Node
    python3 benches/peers/clients.py --puna BIN --model PATH --verbose

It needs Python 3.10 or later with venv and, the first time, a network for pip and npm. The clients are the releases
pinned below, in virtual environments under target/peers: two, because some clients want older releases of others.
Those for Node need npm, and run on a Node of their own, which npm installs too.

Three servers run on free ports of the loopback: one wants a key, and one keeps models that clients create. The model is the one inside Puna with a small
chat template, so that answers are words at least, and with a context of 8192 positions, so that there is time to leave
a stream; --model serves another one. Every call is made as the client's documents say, at temperature 0, and what the
client returns is compared with the text, the counts and the reason of the end that /v1/completions gives for the same
prompt. Clients that learn of an error must show what the server said of it. Where the server has no constrained
decoding, forced tools and forms must be refused by name; where it has, what comes must have the form.

Each client runs in a process of its own, each call within a minute; clients are told to send nothing elsewhere. The
table says what went well; what failed is told below it, and the exit status is 1.
"""
import argparse
import asyncio
import base64
import hashlib
import http.server
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PEERS = os.path.join(ROOT, "target", "peers")
CALL_SECONDS = 60

# Environments, and what is in each.
PACKAGES = {
    "clients-new": """openai==3.57.0 ollama==0.6.3 anthropic==2.14.0 langchain-openai==1.7.4 langchain-ollama==1.1.0
        langchain-anthropic==1.7.10 litellm==1.110.2 pydantic-ai-slim[openai,anthropic]==2.68.0 openai-agents==0.24.0
        huggingface_hub==2.4.0 cohere==7.3.1 haystack-ai==3.4.1 smolagents==1.26.0 llm==0.36 dspy==3.4.1
        gguf==0.19.0""".split(),
    "clients-old": """openai==2.54.0 instructor==1.17.0 llama-index-llms-openai-like==0.8.1
        llama-index-llms-ollama==0.11.0 ollama==0.6.3""".split(),
}
NODE_PACKAGES = """node@24.21.0 openai@7.59.0 @anthropic-ai/sdk@1.14.0 ollama@0.6.4 ai@7.0.173 @ai-sdk/openai@4.0.118
    @ai-sdk/openai-compatible@3.0.92 @ai-sdk/anthropic@4.0.105 zod@4.6.7""".split()

# client -> (environment, the package whose version the table shows)
CLIENTS = {
    "openai": ("clients-new", "openai"),
    "ollama": ("clients-new", "ollama"),
    "anthropic": ("clients-new", "anthropic"),
    "langchain-openai": ("clients-new", "langchain-openai"),
    "langchain-ollama": ("clients-new", "langchain-ollama"),
    "langchain-anthropic": ("clients-new", "langchain-anthropic"),
    "litellm": ("clients-new", "litellm"),
    "pydantic-ai": ("clients-new", "pydantic-ai-slim"),
    "openai-agents": ("clients-new", "openai-agents"),
    "huggingface_hub": ("clients-new", "huggingface_hub"),
    "cohere": ("clients-new", "cohere"),
    "haystack": ("clients-new", "haystack-ai"),
    "smolagents": ("clients-new", "smolagents"),
    "llm": ("clients-new", "llm"),
    "dspy": ("clients-new", "dspy"),
    "instructor": ("clients-old", "instructor"),
    "llama-index-openai": ("clients-old", "llama-index-llms-openai-like"),
    "llama-index-ollama": ("clients-old", "llama-index-llms-ollama"),
    "openai-2": ("clients-old", "openai"),
    "node-openai": ("node", "openai"),
    "node-anthropic": ("node", "@anthropic-ai/sdk"),
    "node-ollama": ("node", "ollama"),
    "node-ai-openai": ("node", "@ai-sdk/openai"),
    "node-ai-compatible": ("node", "@ai-sdk/openai-compatible"),
    "node-ai-anthropic": ("node", "@ai-sdk/anthropic"),
}

# Nothing leaves the machine, and nothing of this machine's settings comes in.
QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False", "HAYSTACK_TELEMETRY_ENABLED": "False", "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "ANONYMIZED_TELEMETRY": "False",
    "AI_SDK_LOG_WARNINGS": "false", "NO_COLOR": "1", "no_proxy": "*", "NO_PROXY": "*", "TOKENIZERS_PARALLELISM": "false",
}
DROPPED = ("OPENAI_", "ANTHROPIC_", "OLLAMA_", "HF_", "COHERE_", "CO_API", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy",
           "https_proxy", "ALL_PROXY", "all_proxy", "PUNA_")

TEMPLATE = ("{{ bos_token }}{% if tools %}tools: {{ tools | tojson }}\n{% endif %}"
            "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:")
KEY = "only-for-these-tests"
N = 24  # Tokens of an answer; the model would go on.
N_ENDED = 200  # More than what the model says to ENDED.

# What is asked. Each client puts them into its own form.
HELLO = [{"role": "user", "content": "Once upon a time"}]
SEVERAL = [
    {"role": "system", "content": "Tell stories."},
    {"role": "user", "content": "One day"},
    {"role": "assistant", "content": "Lily saw a cat."},
    {"role": "user", "content": "The cat was"},
]
ENDED = [{"role": "user", "content": "And they all went home."}]
# One of two cities: the model would not end a string by itself.
TOOL = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Bern", "Rome"]}}, "required": ["city"],
        "additionalProperties": False}
ABOUT = "Says what the weather is"
PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
LONG = "the cat sat " * 6000


# ---- the calls ------------------------------------------------------------------------------------------------------

CALLS = {}  # client -> [(name, function)]


def call(clients, name):
    """Notes a call of one or of several clients."""
    def note(function):
        for client in clients.split():
            CALLS.setdefault(client, []).append((name, function))
        return function
    return note


class Wrong(Exception):
    """What a client returned is not what it should be."""


def same(found, want, what):
    if found != want:
        raise Wrong(f"{what} is {found!r}, and should be {want!r}")


def holds(truth, what):
    if not truth:
        raise Wrong(what)


class Server:
    """What the calls know of the servers."""

    def __init__(self, told):
        self.url, self.locked, self.model = told["url"], told["locked"], told["model"]
        self.keeping, self.file = told["keeping"], told["file"]
        self.pulling, self.digest = told["pulling"], told["digest"]
        self.v1, self.locked_v1 = self.url + "/v1", self.locked + "/v1"
        self.key = KEY
        self.forms = told["forms"]
        self.hello, self.several, self.ended = (Answer(answer) for answer in told["answers"])

    def post(self, path, body):
        return post(self.url + path, body)

    def metric(self, name, word=""):
        with urllib.request.urlopen(self.url + "/metrics") as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(name + r"[{ ]", line) and word in line)

    def left(self, leave):
        """Does what begins a long answer and leaves it, and sees that it ends then."""
        made = self.metric("vllm:generation_tokens_total")
        leave()
        since = time.monotonic()
        while self.metric("vllm:num_requests_running"):
            holds(time.monotonic() - since < 2.5, "the answer goes on although its client has left")
            time.sleep(0.02)
        made = self.metric("vllm:generation_tokens_total") - made
        holds(made < 7000, f"the answer was made to its end: {made} tokens")

    def formed(self, do, shows=str):
        """Does what needs constrained decoding: it has to work where there is any, and to be refused where not."""
        if self.forms:
            return do()
        try:
            do()
        except Exception as error:
            said = shows(error)
            holds("not supported" in said, f"the refusal says: {said}")
            return None
        raise Wrong("a form was asked for, and passed over in silence")


class Answer:
    """The answer to a prompt, as /v1/completions gives it, and the counts."""

    def __init__(self, told):
        self.text, self.n_prompt, self.n, self.finish = told["text"], told["n_prompt"], told["n"], told["finish"]
        # As a message: some clients take white space off its ends.
        self.bare = self.text.strip()


def post(url, body, headers=None):
    request = urllib.request.Request(url, json.dumps(body).encode(),
                                     {"content-type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=CALL_SECONDS) as response:
        return json.load(response)


def fails(do, kinds, *words):
    """Does what must fail, with an exception that shows the user these words."""
    try:
        found = do()
    except kinds as error:
        said = str(error)
        for word in words:
            holds(word in said, f"the error does not say {word!r}: {said}")
        return error
    raise Wrong(f"it does not fail, but gives {found!r}")


def cat():
    """A form; nothing can stand in it that the model would not end by itself."""
    from typing import Literal

    from pydantic import BaseModel, ConfigDict

    class Cat(BaseModel):
        model_config = ConfigDict(extra="forbid")
        is_black: bool
        legs: Literal[2, 4]
    return Cat


def begins_object(text):
    """An object of any kind the model need not end in time."""
    holds(text.lstrip().startswith("{"), f"it is no object: {text!r}")


def weather(city: str) -> str:
    """Says what the weather is.

    Args:
        city: a city
    """
    return "sunny in " + city


def openai_tool(strict=None):
    function = {"name": "weather", "description": ABOUT, "parameters": TOOL}
    return {"type": "function", "function": function if strict is None else {**function, "strict": strict}}


def image_message():
    return [{"role": "user", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PIXEL}}]}]


NO_PICTURES = "picture"


# openai: two releases of it, the same calls.

def oai(s, **more):
    from openai import OpenAI
    return OpenAI(base_url=s.v1, api_key="any", max_retries=0, timeout=CALL_SECONDS, **more)


OPENAI = "openai openai-2"


@call(OPENAI, "models: pull and delete")
def _(s):
    import openai
    client = openai.OpenAI(base_url=s.pulling + "/v1", api_key="any", max_retries=0)
    same(client.post("/models:pull", cast_to=object, body={"model": "far:1", "stream": False}), {"status": "success"}, "pull")
    holds("far:1" in [model.id for model in client.models.list()], "it is listed")
    copy = client.post("/models:copy", cast_to=openai.types.Model, body={"source": "far:1", "destination": "farther"})
    same(sorted(model.id for model in client.models.list() if "far" in model.id), sorted(["far:1", copy.id]), "models")
    for name in "far:1", copy.id:
        gone = client.models.delete(name)
        same((gone.id, gone.deleted), (name, True), "what is gone")
    same(fails(lambda: client.models.delete("far:1"), openai.NotFoundError, "far:1").status_code, 404, "status")


@call(OPENAI, "models")
def _(s):
    client = oai(s)
    names = [model.id for model in client.models.list()]
    same(names, [s.model], "models")
    same(client.models.retrieve(s.model).id, s.model, "the model")


@call(OPENAI, "chat")
def _(s):
    for messages, want in (HELLO, s.hello), (SEVERAL, s.several):
        told = oai(s).chat.completions.create(model=s.model, messages=messages, temperature=0, max_tokens=N)
        same(told.choices[0].message.content, want.text, "text")
        same(told.choices[0].finish_reason, want.finish, "finish_reason")
        same((told.usage.prompt_tokens, told.usage.completion_tokens, told.usage.total_tokens),
             (want.n_prompt, want.n, want.n_prompt + want.n), "usage")
        same((told.object, told.model, told.choices[0].message.role), ("chat.completion", s.model, "assistant"), "names")


@call(OPENAI, "stream")
def _(s):
    chunks = list(oai(s).chat.completions.create(model=s.model, messages=HELLO, temperature=0, max_tokens=N, stream=True,
                                                 stream_options={"include_usage": True}))
    same("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), s.hello.text, "text")
    same([c.choices[0].finish_reason for c in chunks if c.choices][-1], s.hello.finish, "finish_reason")
    same((chunks[-1].choices, chunks[-1].usage.completion_tokens), ([], s.hello.n), "the last chunk")
    same(len({c.id for c in chunks}), 1, "the number of ids")
    # The helper raises an error for every answer that was cut off.
    with oai(s).chat.completions.stream(model=s.model, messages=ENDED, temperature=0, max_tokens=N_ENDED) as stream:
        kinds = [event.type for event in stream]
        told = stream.get_final_completion().choices[0]
        same((told.message.content, told.finish_reason), (s.ended.text, "stop"), "the helper's answer")
    holds("content.delta" in kinds and "content.done" in kinds, f"the helper's events are {set(kinds)}")


@call(OPENAI, "n, logprobs, stop, bias")
def _(s):
    ask = dict(model=s.model, messages=HELLO, max_tokens=N)
    told = oai(s).chat.completions.create(**ask, n=3, seed=7, temperature=1.2)
    again = oai(s).chat.completions.create(**ask, n=3, seed=7, temperature=1.2)
    texts = [choice.message.content for choice in told.choices]
    same(len(set(texts)), 3, "the number of different answers")
    same([choice.message.content for choice in again.choices], texts, "the answers of the same seed")
    told = oai(s).chat.completions.create(**ask, temperature=0, logprobs=True, top_logprobs=3)
    tokens = told.choices[0].logprobs.content
    same(len(tokens), s.hello.n, "the number of tokens")
    same(b"".join(bytes(t.bytes) for t in tokens).decode(), s.hello.text, "the tokens' bytes")
    holds(all(t.top_logprobs[0].logprob == t.logprob for t in tokens), "the best token is not the first one")
    word = s.hello.text.split()[-3]
    told = oai(s).chat.completions.create(**ask, temperature=0, stop=[word])
    same(told.choices[0].message.content, s.hello.text[:s.hello.text.index(word)], "text before the stop string")
    same(told.choices[0].finish_reason, "stop", "finish_reason")


@call(OPENAI, "image refused")
def _(s):
    from openai import BadRequestError
    fails(lambda: oai(s).chat.completions.create(model=s.model, messages=image_message()), BadRequestError, NO_PICTURES)
    ask = [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64," + PIXEL}]}]
    fails(lambda: oai(s).responses.create(model=s.model, input=ask), BadRequestError, NO_PICTURES)


@call(OPENAI, "tools")
def _(s):
    ask = dict(model=s.model, messages=HELLO, temperature=0, max_tokens=N, tools=[openai_tool(True)])
    told = oai(s).chat.completions.create(**ask)
    holds(told.choices[0].message.content and not told.choices[0].message.tool_calls, "a text is expected")
    holds(told.usage.prompt_tokens > s.hello.n_prompt, "the tool is not in the prompt")
    # An answer to a call, and its whole history.
    history = HELLO + [
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Bern\"}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}]
    told = oai(s).chat.completions.create(**{**ask, "messages": history})
    same(told.choices[0].finish_reason in ("length", "stop"), True, "finish_reason")
    none = oai(s).chat.completions.create(**ask, tool_choice="none")
    same(none.choices[0].message.tool_calls, None, "tool_calls")


@call(OPENAI, "forced tool")
def _(s):
    for choice in "required", {"type": "function", "function": {"name": "weather"}}:
        for stream in False, True:
            def do():
                told = oai(s).chat.completions.create(model=s.model, messages=HELLO, temperature=0, max_tokens=200,
                                                      tools=[openai_tool(True)], tool_choice=choice, stream=stream)
                if stream:
                    parts = [c.choices[0].delta.tool_calls or [] for c in told if c.choices]
                    parts = [part for part in parts for part in part]
                    same(parts[0].function.name, "weather", "the function")
                    text = "".join(part.function.arguments or "" for part in parts)
                else:
                    same(told.choices[0].finish_reason, "tool_calls", "finish_reason")
                    text = told.choices[0].message.tool_calls[0].function.arguments
                holds(isinstance(json.loads(text)["city"], str), f"arguments are {text!r}")
            s.formed(do)


@call(OPENAI, "parse")
def _(s):
    Cat = cat()
    s.formed(lambda: holds(isinstance(
        oai(s).chat.completions.parse(model=s.model, messages=HELLO, temperature=0, response_format=Cat)
        .choices[0].message.parsed, Cat), "there is no cat"))
    s.formed(lambda: holds(isinstance(
        oai(s).responses.parse(model=s.model, input="A cat", temperature=0, text_format=Cat).output_parsed, Cat),
        "there is no cat"))


@call(OPENAI, "completions")
def _(s):
    want = s.post("/v1/completions", {"prompt": "The dog", "temperature": 0, "max_tokens": N})["choices"][0]["text"]
    ask = dict(model=s.model, prompt="The dog", temperature=0, max_tokens=N)
    told = oai(s).completions.create(**ask)
    same((told.choices[0].text, told.usage.completion_tokens, told.object), (want, N, "text_completion"), "the answer")
    chunks = oai(s).completions.create(**ask, stream=True)
    same("".join(c.choices[0].text for c in chunks if c.choices), want, "the stream")
    told = oai(s).completions.create(**ask, echo=True, logprobs=2)
    same(told.choices[0].text, "The dog" + want, "text after its prompt")
    two = oai(s).completions.create(**{**ask, "prompt": ["The dog", "A cat"]})
    same((len(two.choices), two.choices[0].text), (2, want), "two answers")


@call(OPENAI, "embeddings")
def _(s):
    client = oai(s)
    packed = client.embeddings.create(model=s.model, input=["A cat", "The dog"])
    plain = client.embeddings.create(model=s.model, input=["A cat", "The dog"], encoding_format="float")
    for a, b in zip(packed.data, plain.data):
        holds(all(abs(x - y) < 1e-6 for x, y in zip(a.embedding, b.embedding, strict=True)), "base64 has other numbers")
    holds(packed.data[0].embedding != packed.data[1].embedding, "both texts have one vector")
    holds(abs(sum(x * x for x in plain.data[0].embedding) - 1) < 1e-4, "its length is not 1")
    holds(packed.usage.prompt_tokens > 2, "usage")
    same(len(client.embeddings.create(model=s.model, input="A", dimensions=8).data[0].embedding), 8, "dimensions")


@call(OPENAI, "responses")
def _(s):
    client = oai(s)
    ask = dict(model=s.model, temperature=0, max_output_tokens=N)
    told = client.responses.create(**ask, input="Once upon a time")
    same((told.output_text, told.usage.input_tokens, told.usage.output_tokens),
         (s.hello.text, s.hello.n_prompt, s.hello.n), "the answer")
    same((told.status, told.incomplete_details.reason), ("incomplete", "max_output_tokens"), "status")
    told = client.responses.create(**ask, instructions=SEVERAL[0]["content"], input=SEVERAL[1:])
    same(told.output_text, s.several.text, "text after instructions")
    # The helper has no final response where an answer was cut off.
    with client.responses.stream(model=s.model, temperature=0, input=ENDED[0]["content"]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    same((final.output_text, final.status, final.usage.output_tokens), (s.ended.text, "completed", s.ended.n), "the stream")
    same((kinds[0], kinds[-1]), ("response.created", "response.completed"), "events")
    events = list(client.responses.create(**ask, input="Once upon a time", stream=True))
    same("".join(e.delta for e in events if e.type == "response.output_text.delta"), s.hello.text, "the plain stream")
    same(events[-1].type, "response.incomplete", "the last event")
    same([e.sequence_number for e in events], list(range(len(events))), "numbers of events")
    kept = client.responses.retrieve(told.id)
    same(kept.output_text, told.output_text, "the kept response")
    same(len(client.responses.input_items.list(told.id).data), 3, "its items")
    further = client.responses.create(**ask, previous_response_id=told.id, input="And then")
    holds(further.usage.input_tokens > told.usage.input_tokens, "the conversation does not grow")
    client.responses.delete(told.id)
    from openai import NotFoundError
    fails(lambda: client.responses.retrieve(told.id), NotFoundError, told.id)
    n = client.responses.input_tokens.count(model=s.model, input="Once upon a time").input_tokens
    same(n, s.hello.n_prompt, "input_tokens")


@call(OPENAI, "responses: tools")
def _(s):
    tool = {"type": "function", "name": "weather", "description": ABOUT, "parameters": TOOL, "strict": True}
    ask = dict(model=s.model, temperature=0, max_output_tokens=200, tools=[tool])
    history = [{"role": "user", "content": "Hi"},
               {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{\"city\": \"Bern\"}"},
               {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}]
    holds(oai(s).responses.create(**ask, input=history).output_text, "there is no text")

    def do():
        told = oai(s).responses.create(**ask, input="Hi", tool_choice="required")
        called = [item for item in told.output if item.type == "function_call"]
        holds(isinstance(json.loads(called[0].arguments)["city"], str), f"{called}")
    s.formed(do)


@call(OPENAI, "errors")
def _(s):
    import openai
    chat = oai(s).chat.completions.create
    ask = dict(model=s.model, messages=HELLO, max_tokens=N)
    error = fails(lambda: chat(**{**ask, "messages": [{"role": "user", "content": LONG}]}), openai.BadRequestError, "8192")
    same((error.code, error.status_code), ("context_length_exceeded", 400), "the error")
    error = fails(lambda: chat(**ask, temperature="hot"), openai.BadRequestError, "temperature", "hot")
    same((error.param, error.type), ("temperature", "invalid_request_error"), "the error")
    fails(lambda: chat(**{**ask, "messages": []}), openai.BadRequestError, "messages")
    error = fails(lambda: chat(**ask, extra_body={"mirostat": 2}), openai.BadRequestError, "mirostat", "not supported")
    same(error.code, "unsupported_parameter", "code")
    # Fields that nobody documents pass.
    holds(chat(**ask, extra_body={"no_such_field": 1}).choices, "an unknown field is refused")
    fails(lambda: oai(s).fine_tuning.jobs.list(), openai.NotFoundError, "/v1/fine_tuning/jobs")
    fails(lambda: oai(s).vector_stores.list(), openai.NotFoundError, "/v1/vector_stores")
    # An error before the first token is one of the request, also of a stream.
    fails(lambda: list(chat(**{**ask, "messages": [{"role": "user", "content": LONG}]}, stream=True)),
          openai.BadRequestError, "8192")
    error = fails(lambda: oai(s).responses.create(model=s.model, input=LONG), openai.BadRequestError, "8192")
    same(error.code, "context_length_exceeded", "code")
    holds(error.request_id, "there is no request id")


@call(OPENAI, "key")
def _(s):
    import openai
    wrong = openai.OpenAI(base_url=s.locked_v1, api_key="wrong", max_retries=0)
    fails(lambda: wrong.models.list(), openai.AuthenticationError, "key")
    fails(lambda: wrong.chat.completions.create(model=s.model, messages=HELLO, stream=True), openai.AuthenticationError)
    right = openai.OpenAI(base_url=s.locked_v1, api_key=s.key, max_retries=0)
    told = right.chat.completions.create(model=s.model, messages=HELLO, temperature=0, max_tokens=N)
    same(told.choices[0].message.content, s.hello.text, "text")


@call(OPENAI, "leave a stream")
def _(s):
    def leave():
        stream = oai(s).chat.completions.create(model=s.model, messages=HELLO, max_tokens=8000, stream=True,
                                                extra_body={"ignore_eos": True})
        for _, chunk in zip(range(5), stream):
            pass
        stream.close()
    s.left(leave)


@call(OPENAI, "many at once")
def _(s):
    from openai import AsyncOpenAI

    async def ask(client, stream):
        told = await client.chat.completions.create(model=s.model, messages=HELLO, temperature=0, max_tokens=N,
                                                    stream=stream)
        if not stream:
            return told.choices[0].message.content
        return "".join([c.choices[0].delta.content or "" async for c in told if c.choices])

    async def all_of_them():
        async with AsyncOpenAI(base_url=s.v1, api_key="any", max_retries=0) as client:
            return await asyncio.gather(*(ask(client, i % 2 == 0) for i in range(24)))
    same(set(asyncio.run(all_of_them())), {s.hello.text}, "texts")


# ollama

def oll(s):
    import ollama
    return ollama.Client(host=s.url, timeout=CALL_SECONDS)


GREEDY = {"temperature": 0, "num_predict": N}


@call("ollama", "list, show, ps, pull")
def _(s):
    client = oll(s)
    models = client.list().models
    same([model.model for model in models], [s.model + ":latest"], "models")
    holds(models[0].size > 0 and models[0].modified_at and models[0].digest, f"{models[0]}")
    shown = client.show(s.model)
    same(shown.modelinfo["llama.context_length"], 8192, "context")
    holds({"completion", "tools"} <= set(shown.capabilities), f"capabilities are {shown.capabilities}")
    client.generate(s.model, "x", options=GREEDY)
    same([model.model for model in client.ps().models], [s.model + ":latest"], "loaded models")
    same(client.pull(s.model).status, "success", "pull")
    same([part.status for part in client.pull(s.model, stream=True)][-1], "success", "the last line of pull")


@call("ollama", "chat")
def _(s):
    for messages, want in (HELLO, s.hello), (SEVERAL, s.several):
        told = oll(s).chat(s.model, messages, options=GREEDY)
        same((told.message.content, told.prompt_eval_count, told.eval_count, told.done_reason, told.done),
             (want.text, want.n_prompt, want.n, want.finish, True), "the answer")
        holds(told.total_duration >= told.eval_duration > 0 and told.prompt_eval_duration > 0, "times")


@call("ollama", "stream")
def _(s):
    parts = list(oll(s).chat(s.model, HELLO, options=GREEDY, stream=True))
    same("".join(part.message.content for part in parts), s.hello.text, "text")
    same((parts[-1].done, parts[-1].done_reason, parts[-1].eval_count), (True, s.hello.finish, s.hello.n), "the end")


@call("ollama", "generate")
def _(s):
    client = oll(s)
    want = s.post("/v1/completions", {"prompt": "The dog", "temperature": 0, "max_tokens": N})["choices"][0]["text"]
    same(client.generate(s.model, "The dog", raw=True, options=GREEDY).response, want, "the raw answer")
    told = client.generate(s.model, HELLO[0]["content"], options=GREEDY)
    same(told.response, s.hello.text, "the answer")
    same("".join(part.response for part in client.generate(s.model, HELLO[0]["content"], options=GREEDY, stream=True)),
         s.hello.text, "the stream")
    holds(len(told.context) >= s.hello.n_prompt + s.hello.n - 1, "the context is short")
    further = client.generate(s.model, "Then", context=told.context, options=GREEDY)
    holds(further.prompt_eval_count > told.prompt_eval_count, "the context is not heeded")
    same(client.generate(s.model, "").done_reason, "load", "done_reason")
    same(client.generate(s.model, "", keep_alive=0).done_reason, "unload", "done_reason")
    same(client.generate(s.model, HELLO[0]["content"], options=GREEDY).response, s.hello.text, "after unloading")


@call("ollama", "image refused")
def _(s):
    import ollama
    picture = base64.b64decode(PIXEL)
    message = [{"role": "user", "content": "What is this?", "images": [picture]}]
    fails(lambda: oll(s).chat(s.model, message), ollama.ResponseError, NO_PICTURES)
    fails(lambda: oll(s).generate(s.model, "What?", images=[picture]), ollama.ResponseError, NO_PICTURES)


@call("ollama", "tools")
def _(s):
    told = oll(s).chat(s.model, HELLO, tools=[weather], options=GREEDY)
    holds(told.message.content and told.prompt_eval_count > s.hello.n_prompt, "the tool is not in the prompt")
    history = HELLO + [
        {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Bern"}}}]},
        {"role": "tool", "tool_name": "weather", "content": "sunny"}]
    holds(oll(s).chat(s.model, history, tools=[weather], options=GREEDY).message.content, "there is no text")


@call("ollama", "format")
def _(s):
    ask = dict(options={"temperature": 0, "num_predict": 400})
    s.formed(lambda: holds("city" in json.loads(oll(s).chat(s.model, HELLO, format=TOOL, **ask).message.content), "no city"))
    s.formed(lambda: begins_object(oll(s).chat(s.model, HELLO, format="json", **ask).message.content))


@call("ollama", "embed")
def _(s):
    told = oll(s).embed(s.model, ["A cat", "The dog"])
    holds(len(told.embeddings) == 2 and told.embeddings[0] != told.embeddings[1] and told.prompt_eval_count, "vectors")
    one = oll(s).embed(s.model, "A cat").embeddings[0]
    holds(all(abs(a - b) < 1e-5 for a, b in zip(one, told.embeddings[0], strict=True)), "alone it is another vector")
    same(len(oll(s).embeddings(s.model, "A cat").embedding), len(one), "the old call's length")


@call("ollama", "errors")
def _(s):
    import ollama
    client = oll(s)
    long = [{"role": "user", "content": LONG}]
    error = fails(lambda: client.chat(s.model, long), ollama.ResponseError, "8192")
    same(error.status_code, 400, "status")
    fails(lambda: list(client.chat(s.model, long, stream=True)), ollama.ResponseError, "8192")
    fails(lambda: client.chat(s.model, HELLO, options={"temperature": -1}), ollama.ResponseError, "temperature")
    fails(lambda: client.chat(s.model, HELLO, options={"mirostat": 1}), ollama.ResponseError, "mirostat")
    holds(client.chat(s.model, HELLO, options={**GREEDY, "no_such_option": 1}).message.content, "unknown options pass")
    for do in (lambda: client.create(model="x", from_=s.model), lambda: client.copy(s.model, "x"),
               lambda: client.delete("x")):
        same(fails(do, ollama.ResponseError, "--models-dir").status_code, 400, "status")
    same(fails(lambda: client.push("x"), ollama.ResponseError).status_code, 404, "status")


@call("ollama", "create, copy, delete")
def _(s):
    import ollama
    client = ollama.Client(host=s.keeping)
    names = lambda: sorted(model.model for model in client.list().models)
    given = names()
    # Of a file of its own.
    digest = client.create_blob(s.file)
    same(client.create_blob(s.file), digest, "the digest, again")
    parts = [part.status for part in client.create(model="mine:1", files={"mine.gguf": digest}, stream=True)]
    same((parts[0], parts[-1]), ("reading model metadata", "success"), "the first and the last line")
    same(client.chat("mine:1", HELLO, options=GREEDY).message.content, s.hello.text, "the answer")
    # Of another model, with words and parameters of its own.
    own = dict(system="Be brief.", parameters={"temperature": 0, "num_predict": 3, "stop": ["<end>"]}, license="None.",
               messages=[ollama.Message(role="user", content="Hi"), ollama.Message(role="assistant", content="Ho")])
    same(client.create(model="brief", from_="mine:1", **own).status, "success", "status")
    shown = client.show("brief")
    same((shown.license, shown.details.parent_model), ("None.", "mine:1"), "what is shown")
    holds("SYSTEM Be brief." in shown.modelfile and "num_predict" in shown.parameters, shown.modelfile)
    told = client.chat("brief", HELLO)
    whole = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
             {"role": "assistant", "content": "Ho"}, *HELLO]
    same(told.message.content, client.chat("mine:1", whole, options={**GREEDY, "num_predict": 3}).message.content, "words")
    same(told.eval_count, 3, "tokens")
    same(client.copy("brief", "short").status, "success", "status")
    same(names(), sorted([*given, "brief:latest", "mine:1", "short:latest"]), "models")
    for name in "mine:1", "brief":
        same(client.delete(name).status, "success", "status")
    same(client.chat("short", HELLO).message.content, told.message.content, "the copy's answer")
    same(client.delete("short").status, "success", "status")
    same(names(), given, "models")
    same(fails(lambda: client.delete("short"), ollama.ResponseError, "not found").status_code, 404, "status")
    for more, word in (dict(from_=s.model, quantize="q4_K_M"), "quantize"), (dict(from_=s.model, template="{{ .Prompt }}"), "template"):
        fails(lambda: client.create(model="x", **more), ollama.ResponseError, word)


@call("ollama", "pull from a registry")
def _(s):
    import ollama
    client = ollama.Client(host=s.pulling)
    names = lambda: [model.model for model in client.list().models]
    parts = list(client.pull("far:1", stream=True))
    same((parts[0].status, parts[-1].status), ("pulling manifest", "success"), "the first and the last line")
    same({part.digest for part in parts if part.digest and part.total > 1e6 and part.completed == part.total}, {s.digest}, "digests")
    holds("far:1" in names(), f"{names()}")
    whole = [{"role": "system", "content": "Far away."}, *HELLO]
    want = oll(s).chat(s.model, whole, options=GREEDY).message.content
    same(client.chat("far:1", HELLO, options=GREEDY).message.content, want, "the answer")
    holds("Far away." in client.show("far:1").modelfile, "the system message")
    same(client.pull("far:1").status, "success", "again")
    same(client.copy("far:1", "farther").status, "success", "copy")
    same(client.delete("far:1").status, "success", "delete")
    holds("far:1" not in names() and "farther:latest" in names(), f"{names()}")
    same(client.delete("farther").status, "success", "delete")
    same(fails(lambda: client.pull("nowhere:1"), ollama.ResponseError, "nowhere").status_code, 404, "status")
    fails(lambda: list(client.pull("nowhere:1", stream=True)), ollama.ResponseError, "nowhere")
    same(fails(lambda: client.pull("elsewhere.org/a/b:1"), ollama.ResponseError, "elsewhere.org").status_code, 400, "status")


@call("ollama", "key")
def _(s):
    import ollama
    fails(lambda: ollama.Client(host=s.locked).list(), ollama.ResponseError, "key")
    right = ollama.Client(host=s.locked, headers={"Authorization": "Bearer " + s.key})
    same(right.chat(s.model, HELLO, options=GREEDY).message.content, s.hello.text, "text")


@call("ollama", "leave a stream")
def _(s):
    def leave():
        stream = oll(s).chat(s.model, HELLO, stream=True, options={"num_predict": 8000, "temperature": 2.0, "seed": 3})
        for _, part in zip(range(3), stream):
            pass
        stream.close()
    s.left(leave)


@call("ollama", "many at once")
def _(s):
    import ollama

    async def all_of_them():
        client = ollama.AsyncClient(host=s.url)
        told = await asyncio.gather(*(client.chat(s.model, HELLO, options=GREEDY) for _ in range(16)))
        return {answer.message.content for answer in told}
    same(asyncio.run(all_of_them()), {s.hello.text}, "texts")


# anthropic

def ant(s):
    from anthropic import Anthropic
    return Anthropic(base_url=s.url, api_key="any", max_retries=0, timeout=CALL_SECONDS)


STOPS = {"length": "max_tokens", "stop": "end_turn"}
def n_read(usage):
    """All tokens of a prompt; those that were known before are counted apart."""
    return usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)


COLD = {"extra_body": {"temperature": 0}}  # Its methods have no such argument.


@call("anthropic", "models")
def _(s):
    same([model.id for model in ant(s).models.list()], [s.model], "models")
    same(ant(s).models.retrieve(s.model).id, s.model, "the model")


@call("anthropic", "messages")
def _(s):
    several = dict(system=SEVERAL[0]["content"], messages=SEVERAL[1:])
    for ask, want in (dict(messages=HELLO), s.hello), (several, s.several):
        told = ant(s).messages.create(model=s.model, max_tokens=N, **ask, **COLD)
        same((told.content[0].text, told.stop_reason, n_read(told.usage), told.usage.output_tokens),
             (want.text, STOPS[want.finish], want.n_prompt, want.n), "the answer")
    told = ant(s).messages.create(model=s.model, max_tokens=N_ENDED, messages=ENDED, **COLD)
    same((told.content[0].text, told.stop_reason), (s.ended.text, "end_turn"), "the whole answer")
    word = s.hello.text.split()[-3]
    told = ant(s).messages.create(model=s.model, max_tokens=N, messages=HELLO, stop_sequences=[word], **COLD)
    same((told.stop_reason, told.stop_sequence), ("stop_sequence", word), "the stop")


@call("anthropic", "stream")
def _(s):
    with ant(s).messages.stream(model=s.model, max_tokens=N, messages=HELLO, **COLD) as stream:
        same("".join(stream.text_stream), s.hello.text, "text")
        final = stream.get_final_message()
    same((final.stop_reason, n_read(final.usage), final.usage.output_tokens),
         (STOPS[s.hello.finish], s.hello.n_prompt, s.hello.n), "the end")
    kinds = [event.type for event in ant(s).messages.create(model=s.model, max_tokens=N, messages=HELLO, stream=True)]
    same((kinds[0], kinds[-2:]), ("message_start", ["message_delta", "message_stop"]), "events")


@call("anthropic", "count tokens")
def _(s):
    same(ant(s).messages.count_tokens(model=s.model, messages=HELLO).input_tokens, s.hello.n_prompt, "tokens")


@call("anthropic", "image refused")
def _(s):
    from anthropic import BadRequestError
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    message = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    fails(lambda: ant(s).messages.create(model=s.model, max_tokens=N, messages=message), BadRequestError, NO_PICTURES)


@call("anthropic", "tools")
def _(s):
    ask = dict(model=s.model, max_tokens=200, tools=[{"name": "weather", "description": ABOUT, "input_schema": TOOL}])
    told = ant(s).messages.create(**ask, messages=HELLO, **COLD)
    holds(told.content[0].text and n_read(told.usage) > s.hello.n_prompt, "the tool is not in the prompt")
    history = HELLO + [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}]}]
    holds(ant(s).messages.create(**ask, messages=history, **COLD).content[0].text, "there is no text")
    for choice in {"type": "any"}, {"type": "tool", "name": "weather"}:
        def do():
            told = ant(s).messages.create(**ask, messages=HELLO, tool_choice=choice, **COLD)
            same(told.stop_reason, "tool_use", "stop_reason")
            used = [block for block in told.content if block.type == "tool_use"]
            holds(isinstance(used[0].input["city"], str), f"{used}")
        s.formed(do)


@call("anthropic", "parse")
def _(s):
    Cat = cat()
    s.formed(lambda: holds(isinstance(ant(s).messages.parse(
        model=s.model, max_tokens=200, messages=HELLO, output_format=Cat, **COLD).parsed_output, Cat), "there is no cat"))


@call("anthropic", "errors")
def _(s):
    import anthropic
    create = ant(s).messages.create
    long = [{"role": "user", "content": LONG}]
    error = fails(lambda: create(model=s.model, max_tokens=N, messages=long), anthropic.BadRequestError,
                  "prompt is too long", "8192")
    same(error.body["error"]["type"], "invalid_request_error", "type")
    fails(lambda: create(model=s.model, max_tokens=N, messages=[]), anthropic.BadRequestError, "messages")
    fails(lambda: create(model=s.model, max_tokens=N, messages=HELLO, extra_body={"temperature": "hot"}),
          anthropic.BadRequestError, "temperature")
    fails(lambda: create(model=s.model, max_tokens=-1, messages=HELLO), anthropic.BadRequestError, "max_tokens")
    fails(lambda: ant(s).messages.batches.list(), anthropic.NotFoundError, "/v1/messages/batches")
    holds(create(model=s.model, max_tokens=N, messages=HELLO, extra_body={"no_such_field": 1}).content, "it is refused")
    # More than the context has room for is a ceiling.
    holds(create(model=s.model, max_tokens=20_000, messages=HELLO, stop_sequences=["."]).content, "it is refused")


@call("anthropic", "key")
def _(s):
    import anthropic
    wrong = anthropic.Anthropic(base_url=s.locked, api_key="wrong", max_retries=0)
    fails(lambda: wrong.messages.create(model=s.model, max_tokens=N, messages=HELLO), anthropic.AuthenticationError, "key")
    for way in {"api_key": s.key}, {"auth_token": s.key}:
        right = anthropic.Anthropic(base_url=s.locked, max_retries=0, **way)
        told = right.messages.create(model=s.model, max_tokens=N, messages=HELLO, **COLD)
        same(told.content[0].text, s.hello.text, "text")


@call("anthropic", "leave a stream")
def _(s):
    def leave():
        with ant(s).messages.stream(model=s.model, max_tokens=8000, messages=HELLO,
                                    extra_body={"temperature": 1.0, "top_k": 0}) as stream:
            for _, text in zip(range(3), stream.text_stream):
                pass
    s.left(leave)


# LangChain

def structured(model, method):
    return model.with_structured_output(TOOL | {"title": "weather", "description": "x"}, method=method, include_raw=True)


@call("langchain-openai", "invoke, stream")
def _(s):
    from langchain_openai import ChatOpenAI
    for more in {}, {"use_responses_api": True}:
        model = ChatOpenAI(base_url=s.v1, api_key="any", model=s.model, temperature=0, max_tokens=N, max_retries=0, **more)
        told = model.invoke([(m["role"], m["content"]) for m in SEVERAL])
        same(told.text, s.several.text, "text")
        same((told.usage_metadata["input_tokens"], told.usage_metadata["output_tokens"]),
             (s.several.n_prompt, s.several.n), "usage")
        whole = None
        for chunk in model.stream("Once upon a time"):
            whole = chunk if whole is None else whole + chunk
        same(whole.text, s.hello.text, "the stream")
        same([told.text for told in model.batch(["Once upon a time"] * 4)], [s.hello.text] * 4, "a batch")


@call("langchain-openai", "tools, form")
def _(s):
    from langchain_openai import ChatOpenAI
    model = ChatOpenAI(base_url=s.v1, api_key="any", model=s.model, temperature=0, max_tokens=200, max_retries=0)
    holds(model.bind_tools([weather]).invoke("Hi").text, "there is no text")
    # Of json_mode it raises an error where the object did not end in time, as this model's do not.
    for method in ("function_calling", "json_schema") if s.forms else ("function_calling", "json_mode", "json_schema"):
        s.formed(lambda: holds("city" in structured(model, method).invoke("json")["parsed"], "there is no city"))


@call("langchain-openai", "completions, embeddings")
def _(s):
    from langchain_openai import OpenAI, OpenAIEmbeddings
    want = s.post("/v1/completions", {"prompt": "The dog", "temperature": 0, "max_tokens": N})["choices"][0]["text"]
    model = OpenAI(base_url=s.v1, api_key="any", model=s.model, temperature=0, max_tokens=N)
    same(model.invoke("The dog"), want, "text")
    same("".join(model.stream("The dog")), want, "the stream")
    maker = OpenAIEmbeddings(base_url=s.v1, api_key="any", model=s.model, check_embedding_ctx_length=False)
    same(len(maker.embed_documents(["A cat", "The dog"])), 2, "vectors")


@call("langchain-openai", "errors")
def _(s):
    import openai
    from langchain_core.exceptions import ContextOverflowError
    from langchain_openai import ChatOpenAI
    model = ChatOpenAI(base_url=s.v1, api_key="any", model=s.model, max_retries=0)
    # It has an error of its own for prompts that are too long, which is known by its words.
    fails(lambda: model.invoke(LONG), ContextOverflowError, "8192")
    locked = ChatOpenAI(base_url=s.locked_v1, api_key="wrong", model=s.model, max_retries=0)
    fails(lambda: locked.invoke("Hi"), openai.AuthenticationError, "key")
    image = [{"role": "user", "content": [{"type": "image", "base64": PIXEL, "mime_type": "image/png"}]}]
    fails(lambda: model.invoke(image), openai.BadRequestError, NO_PICTURES)


@call("langchain-ollama", "invoke, stream")
def _(s):
    from langchain_ollama import ChatOllama, OllamaLLM
    model = ChatOllama(base_url=s.url, model=s.model, temperature=0, num_predict=N, validate_model_on_init=True)
    told = model.invoke([(m["role"], m["content"]) for m in SEVERAL])
    same((told.text, told.usage_metadata["input_tokens"], told.usage_metadata["output_tokens"]),
         (s.several.text, s.several.n_prompt, s.several.n), "the answer")
    same("".join(chunk.text for chunk in model.stream("Once upon a time")), s.hello.text, "the stream")
    same(asyncio.run(model.ainvoke("Once upon a time")).text, s.hello.text, "asynchronous")
    plain = OllamaLLM(base_url=s.url, model=s.model, temperature=0, num_predict=N)
    same(plain.invoke("Once upon a time"), s.hello.text, "OllamaLLM's text")


@call("langchain-ollama", "tools, form")
def _(s):
    from langchain_ollama import ChatOllama
    model = ChatOllama(base_url=s.url, model=s.model, temperature=0, num_predict=200)
    holds(model.bind_tools([weather]).invoke("Hi").text, "there is no text")
    s.formed(lambda: begins_object(structured(model, "json_mode").invoke("json")["raw"].text))
    s.formed(lambda: holds("city" in structured(model, "json_schema").invoke("json")["parsed"], "there is no city"))


@call("langchain-ollama", "embeddings")
def _(s):
    from langchain_ollama import OllamaEmbeddings
    same(len(OllamaEmbeddings(base_url=s.url, model=s.model).embed_documents(["A cat", "The dog"])), 2, "vectors")


@call("langchain-ollama", "errors")
def _(s):
    import ollama
    from langchain_ollama import ChatOllama
    fails(lambda: ChatOllama(base_url=s.url, model=s.model).invoke(LONG), ollama.ResponseError, "8192")


def lc_ant(s, **more):
    from langchain_anthropic import ChatAnthropic
    return ChatAnthropic(base_url=s.url, api_key="any", model=s.model, max_retries=0,
                         **{"temperature": 0, "max_tokens": N, **more})


@call("langchain-anthropic", "invoke, stream")
def _(s):
    told = lc_ant(s).invoke([(m["role"], m["content"]) for m in SEVERAL])
    same((told.text, told.usage_metadata["input_tokens"], told.usage_metadata["output_tokens"]),
         (s.several.text, s.several.n_prompt, s.several.n), "the answer")
    same("".join(chunk.text for chunk in lc_ant(s).stream("Once upon a time")), s.hello.text, "the stream")


@call("langchain-anthropic", "count tokens")
def _(s):
    from langchain_core.messages import HumanMessage
    same(lc_ant(s).get_num_tokens_from_messages([HumanMessage("Once upon a time")]), s.hello.n_prompt, "tokens")


@call("langchain-anthropic", "tools, form")
def _(s):
    model = lc_ant(s, max_tokens=200)
    holds(model.bind_tools([weather]).invoke("Hi").text, "there is no text")
    s.formed(lambda: holds(isinstance(
        model.with_structured_output(TOOL | {"title": "weather", "description": "x"}).invoke("json"), dict), "no object"))


@call("langchain-anthropic", "errors")
def _(s):
    from langchain_core.exceptions import ContextOverflowError
    fails(lambda: lc_ant(s).invoke(LONG), ContextOverflowError, "too long")


# LlamaIndex

def li_openai(s, **more):
    from llama_index.llms.openai_like import OpenAILike
    return OpenAILike(api_base=s.v1, api_key="any", model=s.model, max_retries=0,
                      **{"temperature": 0, "max_tokens": N, "is_chat_model": True, **more})


def li_messages():
    from llama_index.core.llms import ChatMessage
    return [ChatMessage(role=m["role"], content=m["content"]) for m in SEVERAL]


@call("llama-index-openai", "chat, stream")
def _(s):
    same(li_openai(s).chat(li_messages()).message.content, s.several.text, "text")
    same("".join(part.delta for part in li_openai(s).stream_chat(li_messages())), s.several.text, "the stream")
    same(li_openai(s).complete("Once upon a time").text, s.hello.text, "complete")


@call("llama-index-openai", "completions")
def _(s):
    want = s.post("/v1/completions", {"prompt": "The dog", "temperature": 0, "max_tokens": N})["choices"][0]["text"]
    model = li_openai(s, is_chat_model=False)
    same(model.complete("The dog").text, want, "text")
    same([part.text for part in model.stream_complete("The dog")][-1], want, "the stream")


@call("llama-index-openai", "errors")
def _(s):
    import openai
    fails(lambda: li_openai(s).complete(LONG), openai.BadRequestError, "8192")


def li_ollama(s):
    from llama_index.llms.ollama import Ollama
    return Ollama(base_url=s.url, model=s.model, temperature=0, additional_kwargs={"num_predict": N},
                  request_timeout=CALL_SECONDS)


@call("llama-index-ollama", "chat, stream")
def _(s):
    same(li_ollama(s).chat(li_messages()).message.content, s.several.text, "text")
    same("".join(part.delta for part in li_ollama(s).stream_chat(li_messages())), s.several.text, "the stream")
    same(li_ollama(s).complete("Once upon a time").text, s.hello.text, "complete")
    same([part.text for part in li_ollama(s).stream_complete("Once upon a time")][-1], s.hello.text, "stream_complete")


@call("llama-index-ollama", "errors")
def _(s):
    import ollama
    fails(lambda: li_ollama(s).complete(LONG), ollama.ResponseError, "8192")


# LiteLLM

WAYS = ["openai/", "hosted_vllm/", "ollama_chat/", "ollama/", "anthropic/"]


def lite(s, way, **more):
    import litellm
    litellm.suppress_debug_info = True
    base = s.v1 if way in ("openai/", "hosted_vllm/") else s.url
    return litellm.completion(**{"model": way + s.model, "api_base": base, "api_key": "any", "messages": HELLO,
                                 "temperature": 0, "max_tokens": N, "num_retries": 0, "max_retries": 0, **more})


@call("litellm", "chat")
def _(s):
    for way in WAYS:
        told = lite(s, way)
        # ollama/ makes a text of the conversation itself.
        if way != "ollama/":
            same((told.choices[0].message.content, told.choices[0].finish_reason), (s.hello.text, s.hello.finish),
                 way + " answer")
            same((told.usage.prompt_tokens, told.usage.completion_tokens), (s.hello.n_prompt, s.hello.n), way + " usage")
        holds(told.choices[0].message.content, way + " has no text")


@call("litellm", "stream")
def _(s):
    for way in WAYS:
        chunks = list(lite(s, way, stream=True))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        if way != "ollama/":
            same(text, s.hello.text, way + " stream")
        same([c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason],
             [s.hello.finish if way not in ("ollama/", "ollama_chat/") else chunks[-1].choices[0].finish_reason], way)


@call("litellm", "responses, text, embeddings")
def _(s):
    import litellm
    base = dict(api_base=s.v1, api_key="any")
    told = litellm.responses(model="openai/" + s.model, input="Once upon a time", temperature=0, max_output_tokens=N, **base)
    same(told.output[0].content[0].text, s.hello.text, "text")
    told = litellm.text_completion(model="text-completion-openai/" + s.model, prompt="The dog", max_tokens=N, temperature=0,
                                   **base)
    holds(told.choices[0].text, "there is no text")
    for way, url in ("openai/", s.v1), ("ollama/", s.url):
        told = litellm.embedding(model=way + s.model, input=["A cat", "The dog"], api_base=url, api_key="any")
        same(len(told.data), 2, way + " vectors")


@call("litellm", "tools, form")
def _(s):
    for way in WAYS[:3] + WAYS[4:]:
        holds(lite(s, way, tools=[openai_tool()]).choices[0].message.content, way + " has no text")
        # To Anthropic's API it says nothing of objects without a schema.
        if way != "anthropic/":
            s.formed(lambda: begins_object(
                lite(s, way, response_format={"type": "json_object"}).choices[0].message.content))
        form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": TOOL, "strict": True}}
        s.formed(lambda: holds("city" in json.loads(
            lite(s, way, max_tokens=200, response_format=form).choices[0].message.content), way + " has no city"))


@call("litellm", "errors")
def _(s):
    import litellm
    long = [{"role": "user", "content": LONG}]
    for way in WAYS:
        # Of Ollama's it knows no words for that.
        kinds = Exception if way.startswith("ollama") else litellm.ContextWindowExceededError
        fails(lambda: lite(s, way, messages=long), kinds, "8192")
    fails(lambda: lite(s, "openai/", api_base=s.locked_v1, api_key="wrong"), litellm.AuthenticationError, "key")
    fails(lambda: lite(s, "anthropic/", api_base=s.locked, api_key="wrong"), litellm.AuthenticationError, "key")


# instructor: forms only.

@call("instructor", "forms")
def _(s):
    import instructor
    from openai import OpenAI
    Cat = cat()
    plain = OpenAI(base_url=s.v1, api_key="any", max_retries=0)
    # Its mode JSON says the schema in words, which are beyond this model.
    for mode in instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA:
        client = instructor.from_openai(plain, mode=mode)
        s.formed(lambda: holds(isinstance(client.chat.completions.create(
            model=s.model, messages=HELLO, response_model=Cat, max_retries=1, temperature=0, max_tokens=400), Cat),
            "there is no cat"))


# pydantic-ai

def pai(s):
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider
    provider = OpenAIProvider(base_url=s.v1, api_key="any")
    return [OpenAIChatModel(s.model, provider=provider), OpenAIResponsesModel(s.model, provider=provider),
            AnthropicModel(s.model, provider=AnthropicProvider(base_url=s.url, api_key="any"))]


@call("pydantic-ai", "run, stream")
def _(s):
    from pydantic_ai import Agent

    async def streamed(agent):
        async with agent.run_stream("Once upon a time", model_settings=settings) as told:
            return await told.get_output()
    settings = {"temperature": 0, "max_tokens": N}
    for model in pai(s):
        name = type(model).__name__
        agent = Agent(model)
        told = agent.run_sync("Once upon a time", model_settings=settings)
        same(told.output, s.hello.text, name + " text")
        usage = told.usage() if callable(told.usage) else told.usage
        same((usage.input_tokens, usage.output_tokens), (s.hello.n_prompt, s.hello.n), name + " usage")
        same(asyncio.run(streamed(agent)), s.hello.text, name + " stream")


@call("pydantic-ai", "tools, form")
def _(s):
    from pydantic_ai import Agent, NativeOutput
    Cat = cat()
    settings = {"temperature": 0, "max_tokens": 400}
    for model in pai(s):
        agent = Agent(model, tools=[weather])
        holds(agent.run_sync("Hi", model_settings=settings).output, "there is no text")
        s.formed(lambda: Agent(model, output_type=Cat).run_sync("Hi", model_settings=settings))
        if "Anthropic" not in type(model).__name__:
            s.formed(lambda: Agent(model, output_type=NativeOutput(Cat)).run_sync("Hi", model_settings=settings))


@call("pydantic-ai", "errors")
def _(s):
    from pydantic_ai import Agent
    from pydantic_ai.exceptions import ModelHTTPError
    for model in pai(s):
        error = fails(lambda: Agent(model).run_sync(LONG), ModelHTTPError, "8192")
        same(error.status_code, 400, "status")


# OpenAI's agents

@call("openai-agents", "run, stream")
def _(s):
    from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
    from openai import AsyncOpenAI

    async def streamed(agent):
        run = Runner.run_streamed(agent, ENDED[0]["content"])
        text = ""
        async for event in run.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                text += event.data.delta
        return text

    async def both():
        client = AsyncOpenAI(base_url=s.v1, api_key="any", max_retries=0)
        for kind in OpenAIChatCompletionsModel, OpenAIResponsesModel:
            model = kind(model=s.model, openai_client=client)
            # It takes a response that was cut off for an error, so answers must end by themselves.
            settings = ModelSettings(temperature=0, max_tokens=N_ENDED)
            agent = Agent(name="x", model=model, model_settings=settings)
            told = await Runner.run(agent, ENDED[0]["content"])
            same(told.final_output, s.ended.text, kind.__name__ + " text")
            usage = told.context_wrapper.usage
            same((usage.input_tokens, usage.output_tokens), (s.ended.n_prompt, s.ended.n), kind.__name__ + " usage")
            same(await streamed(agent), s.ended.text, kind.__name__ + " stream")
        settings = ModelSettings(temperature=0, max_tokens=N)
        agent = Agent(name="x", model=OpenAIChatCompletionsModel(model=s.model, openai_client=client),
                      model_settings=settings, tools=[function_tool(weather)])
        holds((await Runner.run(agent, "Hi")).final_output, "there is no text")
    asyncio.run(both())


# Hugging Face

@call("huggingface_hub", "chat, stream")
def _(s):
    from huggingface_hub import InferenceClient
    for base in s.url, s.v1:
        client = InferenceClient(base_url=base, api_key="any", timeout=CALL_SECONDS)
        told = client.chat_completion(HELLO, max_tokens=N, temperature=0)
        same((told.choices[0].message.content, told.usage.completion_tokens), (s.hello.text, s.hello.n), "the answer")
        chunks = client.chat_completion(HELLO, max_tokens=N, temperature=0, stream=True)
        same("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), s.hello.text, "the stream")


@call("huggingface_hub", "text generation")
def _(s):
    from huggingface_hub import InferenceClient
    told = InferenceClient(s.url, timeout=CALL_SECONDS).text_generation("The dog", max_new_tokens=N)
    holds(isinstance(told, str) and told, f"{told}")


@call("huggingface_hub", "errors")
def _(s):
    from huggingface_hub import InferenceClient
    from huggingface_hub.errors import HfHubHTTPError
    client = InferenceClient(base_url=s.url, api_key="any")
    fails(lambda: client.chat_completion([{"role": "user", "content": LONG}]), HfHubHTTPError, "8192")
    locked = InferenceClient(base_url=s.locked, api_key="wrong")
    fails(lambda: locked.chat_completion(HELLO), HfHubHTTPError, "key")


@call("cohere", "rerank")
def _(s):
    import cohere
    from cohere.core.api_error import ApiError
    # No model that ranks: it says so.
    for make in cohere.Client, cohere.ClientV2:
        client = make(api_key="any", base_url=s.url)
        fails(lambda: client.rerank(model=s.model, query="cat", documents=["a", "b"]), ApiError, "rank")


# Haystack, smolagents, llm, dspy

@call("haystack", "chat, stream, embeddings")
def _(s):
    from haystack.components.embedders import OpenAITextEmbedder
    from haystack.components.generators.chat import OpenAIChatGenerator
    from haystack.dataclasses import ChatMessage
    from haystack.utils import Secret
    ask = dict(api_key=Secret.from_token("any"), api_base_url=s.v1, model=s.model,
               generation_kwargs={"temperature": 0, "max_tokens": N}, max_retries=0)
    told = OpenAIChatGenerator(**ask).run([ChatMessage.from_user("Once upon a time")])["replies"][0]
    same((told.text, told.meta["finish_reason"], told.meta["usage"]["completion_tokens"]),
         (s.hello.text, s.hello.finish, s.hello.n), "the answer")
    parts = []
    told = OpenAIChatGenerator(**ask, streaming_callback=lambda chunk: parts.append(chunk.content)).run(
        [ChatMessage.from_user("Once upon a time")])["replies"][0]
    same((told.text, "".join(parts)), (s.hello.text, s.hello.text), "the stream")
    maker = OpenAITextEmbedder(api_key=Secret.from_token("any"), api_base_url=s.v1, model=s.model)
    holds(len(maker.run("A cat")["embedding"]) > 8, "there is no vector")


@call("smolagents", "generate, stream")
def _(s):
    from smolagents import OpenAIServerModel
    model = OpenAIServerModel(s.model, api_base=s.v1, api_key="any", temperature=0, max_tokens=N)
    told = model.generate(HELLO)
    same((told.content, told.token_usage.input_tokens, told.token_usage.output_tokens),
         (s.hello.text, s.hello.n_prompt, s.hello.n), "the answer")
    same("".join(part.content or "" for part in model.generate_stream(HELLO)), s.hello.text, "the stream")
    word = s.hello.text.split()[-3]
    same(model.generate(HELLO, stop_sequences=[word]).content.rstrip(), s.hello.text.split(word)[0].rstrip(), "the stop")


@call("llm", "prompt, stream")
def _(s):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "extra-openai-models.yaml"), "w") as file:
            file.write(f"- model_id: ours\n  model_name: {s.model}\n  api_base: {s.v1}\n")
        env = {**os.environ, "LLM_USER_PATH": folder, "OPENAI_API_KEY": "any"}
        for more in [], ["--no-stream"]:
            told = subprocess.run([sys.executable, "-m", "llm", "-m", "ours", "-o", "temperature",
                                   "0", "-o", "max_tokens", str(N), *more, "Once upon a time"],
                                  env=env, capture_output=True, text=True, timeout=CALL_SECONDS)
            same((told.returncode, told.stdout.strip(), told.stderr), (0, s.hello.bare, ""), f"what it prints {more}")


@call("dspy", "language model")
def _(s):
    import dspy
    for kind in "chat", "responses":
        model = dspy.LM("openai/" + s.model, api_base=s.v1, api_key="any", temperature=0, max_tokens=N, cache=False,
                        model_type=kind, num_retries=0)
        told = model("Once upon a time")[0]
        same(told if isinstance(told, str) else told["text"], s.hello.text, kind + " text")


# ---- running them ---------------------------------------------------------------------------------------------------


def run_client(client, told):
    """Makes a client's calls, and prints how each went as a line of JSON."""
    s = Server(told)
    package = CLIENTS[client][1]
    print(json.dumps({"version": importlib.metadata.version(package)}), flush=True)

    def late(*_):
        raise TimeoutError(f"it takes more than {CALL_SECONDS} s")
    signal.signal(signal.SIGALRM, late)
    for name, function in CALLS[client]:
        signal.alarm(CALL_SECONDS)
        try:
            function(s)
            fault = None
        except Wrong as error:
            line = traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in line if frame.filename == __file__ and frame.name not in ("same", "holds", "fails")]
            fault = f"line {ours[-1].lineno}: {error}"
        except BaseException as error:
            fault = f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-4)}"
        signal.alarm(0)
        print(json.dumps({"call": name, "fault": fault}), flush=True)


def install(folder):
    """Makes what is not there yet."""
    if folder == "node":
        path, wanted = os.path.join(PEERS, "node"), NODE_PACKAGES
        mark = os.path.join(path, "installed")
        if read(mark) == "\n".join(wanted):
            return
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, "package.json"), "w") as file:
            file.write('{"private": true}\n')
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", *wanted], cwd=path, check=True)
    else:
        path, wanted = os.path.join(PEERS, folder), PACKAGES[folder]
        mark = os.path.join(path, "installed")
        if read(mark) == "\n".join(wanted):
            return
        subprocess.run([sys.executable, "-m", "venv", path], check=True)
        subprocess.run([os.path.join(path, "bin", "pip"), "install", "-q", *wanted], check=True)
    with open(mark, "w") as file:
        file.write("\n".join(wanted))


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def make_model(path):
    """The built-in model with a chat template and a longer context, as GGUF. Runs where the package `gguf` is."""
    import gguf
    reader = gguf.GGUFReader(os.path.join(ROOT, "crates", "puna", "assets", "stories.gguf"))
    writer = gguf.GGUFWriter(path, "llama")
    own = {"general.architecture", "tokenizer.chat_template", "llama.context_length"}
    for name, field in reader.fields.items():
        if name not in own and not name.startswith("GGUF."):
            kind, inner = field.types[0], field.types[-1]
            writer.add_key_value(name, field.contents(), kind, sub_type=inner if kind == gguf.GGUFValueType.ARRAY else None)
    writer.add_context_length(8192)
    writer.add_chat_template(TEMPLATE)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Registry:
    """What Ollama's registry has of a model: a manifest, and blobs by their digests."""

    def __init__(self, model):
        with open(model, "rb") as file:
            weights = file.read()
        kinds = {"image.model": weights, "image.system": b"Far away.", "image.params": b'{"num_ctx": 8192}'}
        digest = lambda data: "sha256:" + hashlib.sha256(data).hexdigest()
        layer = lambda kind, data: {"mediaType": "application/vnd.ollama." + kind, "digest": digest(data), "size": len(data)}
        layers = [layer(kind, data) for kind, data in kinds.items()]
        manifest = json.dumps({"schemaVersion": 2, "config": layer("config", b"{}"), "layers": layers}).encode()
        there = {"/v2/library/far/manifests/1": manifest}
        there.update({"/v2/library/far/blobs/" + digest(data): data for data in [*kinds.values(), b"{}"]})
        self.digest = digest(weights)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                data = there.get(self.path)
                start, end = 0, len(data or b"")
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
                if data and asked:
                    start, end = int(asked[1]), int(asked[2]) + 1
                self.send_response(404 if data is None else 206 if asked else 200)
                self.send_header("content-length", str(end - start))
                if data and asked:
                    self.send_header("content-range", f"bytes {start}-{end - 1}/{len(data)}")
                self.end_headers()
                self.wfile.write((data or b"")[start:end])

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


class Serving:
    """A server of ours on a port that was free."""

    def __init__(self, binary, model, key=None, log=None, more=(), variables=()):
        env = {name: value for name, value in os.environ.items() if not name.startswith("PUNA_")}
        env.update(variables)
        if key:
            env["PUNA_KEY"] = key
        models = ["-m", model] if model else []
        self.process = subprocess.Popen([binary, "serve", *models, "--port", "0", *more], env=env, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.url, lines = None, []
        for line in self.process.stdout:
            lines.append(line)
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found:
                self.url = found.group()
                break
        if not self.url:
            sys.exit("error: the server does not start\n" + "".join(lines))
        threading.Thread(target=self.drain, args=(log,), daemon=True).start()

    def drain(self, log):
        for line in self.process.stdout:
            if log:
                log.write(line)
                log.flush()

    def stop(self):
        """Ends it; what it says on its way out is wrong."""
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "it does not end"


def answer(url, messages, n):
    """What /v1/completions makes of a conversation's prompt."""
    prompt = post(url + "/apply-template", {"messages": messages})["prompt"]
    prompt = prompt.removeprefix("<|begin_of_text|>")  # Which every text begins with.
    told = post(url + "/v1/completions", {"prompt": prompt, "temperature": 0, "max_tokens": n})
    choice, usage = told["choices"][0], told["usage"]
    return {"text": choice["text"], "finish": choice["finish_reason"], "n_prompt": usage["prompt_tokens"],
            "n": usage["completion_tokens"]}


def has_forms(url):
    try:
        post(url + "/v1/chat/completions", {"messages": HELLO, "response_format": {"type": "json_object"}, "max_tokens": 9})
        return True
    except urllib.error.HTTPError as error:
        if error.code == 400:
            return False
        raise


def run(client, told, verbose):
    """A client's calls in a process of its own: version, and what each call's fault was."""
    folder = CLIENTS[client][0]
    env = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    env.update(QUIET)
    env["HOME"] = env["HF_HOME"] = told["home"]
    if folder == "node":
        modules = os.path.join(PEERS, "node")
        # Modules are looked for beside the file.
        script = shutil.copy(os.path.join(HERE, "clients.mjs"), os.path.join(modules, "clients.mjs"))
        command = [os.path.join(modules, "node_modules", ".bin", "node"), script, client, json.dumps(told)]
    else:
        command = [os.path.join(PEERS, folder, "bin", "python"), os.path.abspath(__file__), "--client", client, json.dumps(told)]
    process = subprocess.Popen(command, env=env, cwd=told["home"], text=True, stdout=subprocess.PIPE,
                               stderr=None if verbose else subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=12 * CALL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    version, calls = "?", []
    for line in out.splitlines():
        try:
            line = json.loads(line)
        except ValueError:
            continue  # A client's own words.
        if isinstance(line, dict) and "version" in line:
            version = line["version"]
        elif isinstance(line, dict) and "call" in line:
            calls.append((line["call"], line["fault"]))
    if process.returncode != 0 or not calls:
        calls.append(("to its end", f"status {process.returncode}\n{(err or '')[-3000:]}"))
    return version, calls


def main():
    if sys.argv[1:2] == ["--client"]:
        # This folder has files named like packages.
        sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != HERE]
        return run_client(sys.argv[2], json.loads(sys.argv[3]))
    if sys.argv[1:2] == ["--make-model"]:
        sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != HERE]
        return make_model(sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--puna", default=os.path.join(ROOT, "target", "release", "puna"), help="the program")
    parser.add_argument("--model", help="another model to serve: one that can chat")
    parser.add_argument("--only", default="", help="clients, or their beginnings, with commas between them")
    parser.add_argument("--verbose", action="store_true", help="show what clients write to stderr")
    parser.add_argument("--log", type=argparse.FileType("w"), help="where the servers' logs go")
    arguments = parser.parse_args()
    wanted = [word for word in arguments.only.split(",") if word]
    clients = [name for name in CLIENTS if not wanted or any(name == word or name.startswith(word + "-") for word in wanted)]
    if not clients:
        parser.error("--only names no client; there are " + ", ".join(CLIENTS))
    for folder in {CLIENTS[client][0] for client in clients} | ({"clients-new"} if not arguments.model else set()):
        install(folder)
    faults = []
    with tempfile.TemporaryDirectory() as home:
        model = arguments.model
        if not model:
            model = os.path.join(home, "talker.gguf")
            python = os.path.join(PEERS, "clients-new", "bin", "python")
            subprocess.run([python, os.path.abspath(__file__), "--make-model", model], check=True)
        servers = []
        try:
            servers.append(Serving(arguments.puna, model, log=arguments.log))
            servers.append(Serving(arguments.puna, model, KEY, arguments.log))
            more = ("--models-dir", os.path.join(home, "models"))
            servers.append(Serving(arguments.puna, model, log=arguments.log, more=more))
            registry = Registry(model)
            variables = {"PUNA_OLLAMA_REGISTRY": registry.url, "PUNA_MODELS": os.path.join(home, "pulled")}
            servers.append(Serving(arguments.puna, model, log=arguments.log, more=["--allow-pull"], variables=variables))
            url = servers[0].url
            with urllib.request.urlopen(url + "/v1/models") as response:
                name = json.load(response)["data"][0]["id"]
            told = {"url": url, "locked": servers[1].url, "keeping": servers[2].url, "pulling": servers[3].url, "digest": registry.digest,
                    "file": model, "model": name, "forms": has_forms(url), "home": home,
                    "key": KEY, "n": N, "answers": [answer(url, HELLO, N), answer(url, SEVERAL, N), answer(url, ENDED, N_ENDED)]}
            print("constrained decoding: " + ("yes" if told["forms"] else "no; it has to be refused"))
            for client in clients:
                version, calls = run(client, told, arguments.verbose)
                for call_name, fault in calls:
                    print(f"{client:20} {version:10} {call_name:30} {'ok' if fault is None else 'FAILED'}", flush=True)
                    if fault is not None:
                        faults.append((client, call_name, fault))
        finally:
            ends = [server.stop() for server in servers]
        for end in ends:
            if end != 0:
                faults.append(("puna", "end", f"the server ended with {end}"))
    for client, call_name, fault in faults:
        print(f"\n{client}, {call_name}:\n  " + fault.strip().replace("\n", "\n  "))
    print(f"\n{'all went well' if not faults else str(len(faults)) + ' failed'}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
