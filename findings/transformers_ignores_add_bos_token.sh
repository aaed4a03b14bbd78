#!/usr/bin/env bash
# transformers 5.24.0: `add_bos_token` and `add_eos_token` in tokenizer_config.json do nothing beside a tokenizer.json.
#
# While a folder is loaded, both keys are taken out of the configuration as soon as there is a tokenizer.json; what its
# post-processor says is what happens. A fine-tune published with `"add_bos_token": false`, so that chat templates
# which write BOS themselves do not get it twice, is encoded with BOS all the same, and `"add_eos_token": true` adds
# nothing. LlamaTokenizerFast of version 4 heeded them, so the same folder gives other ids there.
# Seen: ids [0, 1] (BOS and the word) with no key, with false, and with both keys true.
#
# Fails if that changes. Needs Python 3.10; works in a temporary folder.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install -q transformers==5.24.0 tokenizers==0.23.3
env/bin/python - <<'PY' 2>/dev/null
import json, os
from tokenizers import Tokenizer, models, processors
from transformers import AutoTokenizer

def ids(n, **keys):
    folder = f"model{n}"
    os.mkdir(folder)
    words = Tokenizer(models.WordLevel({"<s>": 0, "a": 1, "<unk>": 2}, unk_token="<unk>"))
    words.add_special_tokens(["<s>"])
    words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    words.save(folder + "/tokenizer.json")
    config = {"bos_token": "<s>", "eos_token": "<s>", "tokenizer_class": "LlamaTokenizerFast", **keys}
    with open(folder + "/tokenizer_config.json", "w") as file:
        json.dump(config, file)
    return AutoTokenizer.from_pretrained(folder)("a")["input_ids"]

seen = [ids(0), ids(1, add_bos_token=False), ids(2, add_bos_token=True, add_eos_token=True)]
print("ids without the keys, with false, with both true:", *seen)
assert seen == [[0, 1]] * 3
PY
