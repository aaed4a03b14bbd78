#!/usr/bin/env python3
"""Compares what chat templates print in Puna with what Jinja2 makes of them as transformers calls it.

    pip install jinja2==3.1.6
    python3 benches/peers/chat_templates.py FOLDER [PUNA]

FOLDER holds templates, one in each `*.jinja` file (collections of them are in llama.cpp's `models/templates`, vLLM's
`examples`, trl, axolotl and others; none is part of this project). Each is rendered over the conversations below. A
difference is shown with both texts, unless what Jinja2 prints makes no sense: it fails, leaves out what was said,
prints `None` for something absent, a dictionary as Python or JSON writes it in the place of a text, a tool's arguments
letter by letter, or quotes as HTML writes them. There Puna says the same in other words, which is counted apart.
"""

import json
import re
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather \"there\" & now",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "A <city>"},
                                                        "days": {"type": "integer", "enum": [1, 2]}},
                       "required": ["city"]}}}
ASK, ANSWER = {"role": "user", "content": " Hi there \n"}, {"role": "assistant", "content": " Hello!\n"}
SYSTEM = {"role": "system", "content": "Be brief.\n"}


def call(arguments, content=None):
    function = {"name": "weather", "arguments": arguments}
    return {"role": "assistant", "content": content,
            "tool_calls": [{"id": "call00001", "type": "function", "function": function}]}


PARTS = [{"type": "text", "text": "One, "}, {"type": "text", "text": "two."}]
RESULT = {"role": "tool", "tool_call_id": "call00001", "name": "weather", "content": "{\"sky\": \"clear\"}"}
CASES = {
    "user": ([ASK], None, True),
    "system": ([SYSTEM, ASK], None, True),
    "turns": ([SYSTEM, ASK, ANSWER, ASK], None, True),
    "ended": ([ASK, ANSWER], None, False),
    "thought": ([ASK, {**ANSWER, "content": "<think>\nhm\n</think>\n\nYes"}, ASK], None, True),
    "reasoning": ([ASK, {**ANSWER, "reasoning_content": "hm"}, ASK], None, True),
    "tools": ([SYSTEM, ASK], [TOOL, TOOL], True),
    "call": ([ASK, call({"city": "Bern", "days": 2}, "Let me see.")], [TOOL], False),
    "result": ([ASK, call({"city": "Bern <é>"}, ""), RESULT], [TOOL], True),
    "null": ([ASK, call({"city": "Bern"}), RESULT, ANSWER, ASK], [TOOL], True),
    "text": ([ASK, call("{\"city\": \"Bern\"}", "x"), RESULT], [TOOL], True),
    "parts": ([{"role": "user", "content": PARTS}], None, True),
    "empty": ([{"role": "user", "content": ""}], None, True),
    "unicode": ([{"role": "user", "content": "日本語 🦙 \u00a0é'\"<&>"}], None, True),
    "role": ([ASK, {"role": "critic", "content": "no"}], None, True),
    "assistant first": ([ANSWER, ASK], None, True),
    "two users": ([ASK, ASK], None, True),
    "nobody": ([SYSTEM], None, True),
}
NOW = "12 Mar 2031"


class Generation(Extension):
    """`{% generation %}`, which marks the assistant's words and prints its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def reference(source, messages, tools, answers):
    """What transformers prints, or an exception."""

    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    extensions = [Generation, loopcontrols]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(source).render(messages=messages, tools=tools, documents=None,
                                                  add_generation_prompt=answers, bos_token="<s>", eos_token="</s>",
                                                  date_string=NOW)


def texts_of(message):
    """The words that a message says and a prompt should have."""
    content = message.get("content") or ""
    parts = [content] if isinstance(content, str) else [part["text"] for part in content]
    cities = ["Bern"] if "tool_calls" in message else []
    return [re.sub(r"(?s)<think>.*</think>", "", part).strip() for part in parts] + cities


def is_odd(text, messages):
    """Whether a prompt that Jinja2 made, or an error, cannot be what anybody meant."""
    if isinstance(text, Exception):
        return True
    leaves_out = any(said not in text for message in messages for said in texts_of(message))
    return leaves_out or re.search(r"None|\{'(city|type)'|\[\{\"type\": \"text\"|\{\\\"city|&#34;", text) is not None


def write_tokenizer(folder):
    known = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in known]
    names = {**{byte: chr(byte) for byte in known}, **{byte: chr(256 + i) for i, byte in enumerate(rest)}}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": 256 + i, "content": name, **flags} for i, name in enumerate(["<s>", "</s>"])]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {"version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": byte_level,
                 "post_processor": None, "decoder": byte_level,
                 "model": {"type": "BPE", "vocab": {names[byte]: byte for byte in range(256)}, "merges": []}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))


def main():
    templates, puna = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "target/release/puna"
    counts = dict.fromkeys(["equal", "both refuse", "said in other words", "different"], 0)
    paths = sorted(templates.glob("**/*.jinja*"))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_tokenizer(folder)
        for path in paths:
            source = path.read_bytes().decode()
            (folder / "chat_template.jinja").write_bytes(path.read_bytes())
            for name, (messages, tools, answers) in CASES.items():
                try:
                    want = reference(source, messages, tools, answers)
                except Exception as error:
                    want = error
                command = [puna, "prompt", "-m", folder, "--messages", "-", "--json", "--date", NOW]
                command += [] if answers else ["--no-generation-prompt"]
                body = json.dumps({"messages": messages, **({"tools": tools} if tools else {})})
                done = subprocess.run(command, input=body.encode(), capture_output=True)
                got = json.loads(done.stdout)["text"] if done.returncode == 0 else None
                if got == want:
                    counts["equal"] += 1
                elif got is None and isinstance(want, Exception):
                    counts["both refuse"] += 1
                elif got is not None and is_odd(want, messages):
                    counts["said in other words"] += 1
                else:
                    counts["different"] += 1
                    got = done.stderr.decode() if got is None else repr(got)
                    print(f"{path.name}, {name}\n  wanted {want!r}\n  got    {got}")
    told = ", ".join(f"{n} {what}" for what, n in counts.items())
    print(f"{len(paths)} templates, {len(CASES)} conversations: {told}")
    sys.exit(counts["different"] > 0)


main()
