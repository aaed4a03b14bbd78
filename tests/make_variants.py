#!/usr/bin/env python3
"""Makes `tests/variants`: tiny Llamas with random weights that use the keys which Meta's releases do not, and
what transformers computes with them.

    pip install torch transformers safetensors
    python3 tests/make_variants.py

Made with torch 2.15.0 and transformers 5.24.0. Each folder holds a checkpoint, and `logits.safetensors` with ids and
logits of two sequences, the second one longer than the original context of scaled rotations.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

SIZES = dict(vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, head_dim=8, max_position_embeddings=64, rms_norm_eps=1e-5)
LONG = dict(short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.5, 3.0, 7.0, 11.0])
VARIANTS = {
    "biases": dict(attention_bias=True, mlp_bias=True),
    "yarn": dict(rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0,
                                      original_max_position_embeddings=16)),
    "yarn-mscale": dict(rope_parameters=dict(rope_type="yarn", rope_theta=500.0, factor=4.0, truncate=False, mscale=0.7,
                                             mscale_all_dim=1.2, beta_fast=8.0, beta_slow=0.5,
                                             original_max_position_embeddings=16)),
    "longrope": dict(rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, factor=4.0,
                                          original_max_position_embeddings=16, **LONG)),
    "partial": dict(rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5)),
    "dynamic": dict(rope_parameters=dict(rope_type="dynamic", rope_theta=10000.0, factor=4.0),
                    max_position_embeddings=16),
    "experts": dict(num_local_experts=5, num_experts_per_tok=2, intermediate_size=16),
}


def randomise(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        scale = 0.3 if name.endswith("bias") or parameter.dim() > 1 else 0.1
        parameter.data = (noise * scale + (1.0 if "norm" in name else 0.0)).half().float()


def main() -> None:
    out = Path(__file__).parent / "variants"
    shutil.rmtree(out, ignore_errors=True)
    for seed, (name, keys) in enumerate(VARIANTS.items()):
        kind = (MixtralConfig, MixtralForCausalLM) if name == "experts" else (LlamaConfig, LlamaForCausalLM)
        model = kind[1](kind[0](**{**SIZES, **keys})).eval()
        randomise(model, seed)
        tensors = {}
        generator = torch.Generator().manual_seed(100 + seed)
        for i, length in enumerate([12, 40]):
            ids = torch.randint(0, SIZES["vocab_size"], (length,), generator=generator)
            with torch.no_grad():
                logits = model(ids[None], use_cache=False).logits[0]
            tensors |= {f"seq{i}.ids": ids, f"seq{i}.logits": logits.float().contiguous()}
        folder = out / name
        model.half().save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        save_file(tensors, folder / "logits.safetensors")
        print(name, json.loads((folder / "config.json").read_text()).get("rope_parameters"))
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"{out}: {size / 1e3:.0f} kB")


main()
