#!/usr/bin/env bash
# transformers 5.24.0: a Llama's partial_rotary_factor is read, kept, saved again, and not heeded.
#
# LlamaConfig takes `partial_rotary_factor`, moves it into `rope_parameters` and writes it back. With plain rotation
# LlamaForCausalLM turns the whole of each head nevertheless: its logits equal those without the key. With YaRN the
# frequencies are made for the part, and the forward pass fails on shapes that do not fit. So a checkpoint whose
# configuration says that half of each head rotates (as GGUF's rope.dimension_count can) is run as another model.
# Seen: largest difference of logits 0.0 with factor 0.5 against 1.0; RuntimeError with YaRN.
#
# Fails if that changes. Needs Python 3.10 and room for torch; works in a temporary folder.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install -q transformers==5.24.0 torch==2.15.0
env/bin/python - <<'PY' 2>/dev/null
import torch
from transformers import LlamaConfig, LlamaForCausalLM

def logits(**rope):
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=4, max_position_embeddings=64,
                         rope_parameters={"rope_theta": 10000.0, **rope})
    assert config.to_dict()["rope_parameters"].get("partial_rotary_factor") == rope.get("partial_rotary_factor")
    with torch.no_grad():
        return LlamaForCausalLM(config).eval()(torch.arange(20)[None]).logits

whole, half = logits(rope_type="default"), logits(rope_type="default", partial_rotary_factor=0.5)
print("largest difference of logits:", float((whole - half).abs().max()))
assert torch.equal(whole, half)
try:
    logits(rope_type="yarn", factor=2.0, original_max_position_embeddings=32, partial_rotary_factor=0.5)
    raise SystemExit("YaRN runs now")
except RuntimeError as error:
    print("with YaRN:", str(error)[:80])
PY
