#!/usr/bin/env bash
# transformers 5.24.0: a named chat template in a file hides the default one in tokenizer_config.json.
#
# Named templates may lie in additional_chat_templates/NAME.jinja, the default one in chat_template.jinja or, as most
# published models have it, in tokenizer_config.json. If a folder has a named file and its default in
# tokenizer_config.json, the files replace the configuration's template instead of joining it: the default is gone, and
# every chat without a template's name fails. Adding one file breaks a folder that worked.
# Seen: chat_template is {'tool_use': ...}; apply_chat_template raises ValueError, "multiple chat templates with no
# default specified".
#
# Fails if that changes. Needs Python 3.10; works in a temporary folder.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install -q transformers==5.24.0 tokenizers==0.23.3 jinja2==3.1.6
env/bin/python - <<'PY' 2>/dev/null
import json, os
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer

os.makedirs("model/additional_chat_templates")
Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>")).save("model/tokenizer.json")
with open("model/tokenizer_config.json", "w") as file:
    json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": "{{ messages[0].content }}"}, file)
chat = [{"role": "user", "content": "a"}]

before = AutoTokenizer.from_pretrained("model").apply_chat_template(chat, tokenize=False)
with open("model/additional_chat_templates/tool_use.jinja", "w") as file:
    file.write("with tools: {{ messages[0].content }}")
tokenizer = AutoTokenizer.from_pretrained("model")
try:
    after = tokenizer.apply_chat_template(chat, tokenize=False)
except ValueError as error:
    after = str(error)
print("before:", before, "- templates after:", list(tokenizer.chat_template), "-", after[:70])
assert before == "a" and list(tokenizer.chat_template) == ["tool_use"]
assert "no default specified" in after
PY
