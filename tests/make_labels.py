#!/usr/bin/env python3
"""What transformers trains of conversations, and chat data as Parquet.

    python3 tests/make_labels.py crates/train/tests

Writes `labels.json`: a small byte-level tokenizer with Llama 3's special tokens and pattern, a template in the manner of
Llama 3 with and without `{% generation %}`, conversations (some with tools, some whose users write special tokens' names
are left out, since transformers takes them for the tokens), and for each the ids and the assistant mask that
`apply_chat_template(return_assistant_tokens_mask=True)` gives. Writes `chat.parquet` (and its compressions) with nested
messages, some levels as JSON text, as `datasets` writes them.

Made with Python 3.11, transformers 5.24.0, tokenizers 0.23.3, pyarrow (the Parquet files alone).
"""

import json
import sys
from pathlib import Path

SENTENCES = """
The miller's daughter walked to the river, and the river walked with her. It wasn't far; she'd been there 12 times.
"Who counts 1234567 stones?" asked the heron. Nobody's counting, they're only looking, said the girl: I'll go.
You are a kind assistant. What is the weather in Paris? It is sunny and 26.5 degrees. How are you? I am fine, thank you!
Für die Müller war es ein schöner Tag: die Sonne schien über die Brücke.
""" * 8

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"]

MARKED = (
    "{{- bos_token }}{% for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}"
    "{% if message.tool_calls %}{{ message.tool_calls[0].function.name + ' ' + (message.tool_calls[0].function.arguments | tojson) + '<|eom_id|>' }}"
    "{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}{% endgeneration %}"
    "{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"


def say(role: str, text: str) -> dict:
    return {"role": role, "content": text}


CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"type": "function", "function": {"name": "weather", "arguments": {"city": "Paris", "days": 2}}}]}

CHATS = [
    [say(USER, "How are you?"), say(ASSISTANT, "I am fine, thank you!")],
    [say(SYSTEM, "You are a kind assistant."), say(USER, "Who counts stones?"), say(ASSISTANT, "Nobody's counting."),
     say(USER, "And the heron?"), say(ASSISTANT, " It asked 12 times.\n\nThen it walked. ")],
    [say(USER, "\n\nDie Sonne?\n"), say(ASSISTANT, "\n\nSie schien über die Brücke … 🙂"), say(USER, "Schön")],
    [say(USER, "What is the weather in Paris?"), CALL, say("tool", "sunny, 26.5"), say(ASSISTANT, "It is sunny.")],
    [say(USER, "only asked")],
    [say(USER, "a"), say(ASSISTANT, "b"), say(USER, "c"), say(ASSISTANT, "d"), say(USER, "e"), say(ASSISTANT, "1234567")],
]


def labels(out: Path) -> None:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(ignore_merges=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(SENTENCES.strip().split("\n"), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token="<|eot_id|>")
    rows = []
    for chat in CHATS:
        given = fast.apply_chat_template(chat, chat_template=MARKED, tokenize=True, return_dict=True,
                                         return_assistant_tokens_mask=True)
        rows.append({"messages": chat, "ids": list(given["input_ids"]), "mask": list(given["assistant_masks"])})
    plain = MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    texts = ["How are you?", "Die Sonne schien 1234567 mal.\n\n  Und?", " "]
    encoded = [{"text": text, "ids": fast(text)["input_ids"]} for text in texts]
    value = {"tokenizer": json.loads(tokenizer.to_str()), "marked": MARKED, "plain": plain, "chats": rows, "texts": encoded}
    (out / "labels.json").write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


def parquet(out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct([("role", pa.string()), ("content", pa.string()), ("name", pa.string())])
    rows = [[{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": f"answer {i}"}] for i in range(40)]
    plain = pa.table({"messages": pa.array(rows, pa.list_(message)), "id": list(range(40))})
    pq.write_table(plain, out / "chat.parquet", compression="snappy", row_group_size=16)
    texts = pa.table({"text": [f"text number {i} " + "word " * (i % 7) for i in range(40)], "n": [i / 2 for i in range(40)]})
    pq.write_table(texts, out / "text-zstd.parquet", compression="zstd", row_group_size=30)
    pq.write_table(texts, out / "text-gzip.parquet", compression="gzip", use_dictionary=False, data_page_version="2.0")
    # Leaves of JSON: a text with its quotes, a list of parts, a whole message.
    json_type = pa.json_(pa.string())
    contents = ['"hi"', '[{"type": "text", "text": "look"}]']
    storage = lambda values: pa.ExtensionArray.from_storage(json_type, pa.array(values, pa.string()))
    message = pa.StructArray.from_arrays([pa.array(["user"] * 2), storage(contents)], names=["role", "content"])
    listed = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), message)
    whole = ['{"role": "assistant", "content": "a"}', '{"role": "assistant", "content": "b", "weight": 0}']
    answers = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), storage(whole))
    pq.write_table(pa.table({"prompt": listed, "completion": answers}), out / "json.parquet", store_schema=False)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for make in (labels, parquet):
        try:
            make(folder)
        except ImportError as error:
            print(f"{make.__name__} left out: {error}", file=sys.stderr)
