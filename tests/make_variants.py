#!/usr/bin/env python3
"""Makes `tests/variants` and `tests/embedding`: tiny Llamas with random weights that use the keys which Meta's releases do not, and
what transformers computes with them.

    pip install torch transformers safetensors
    python3 tests/make_variants.py

Made with torch 2.15.0 and transformers 5.24.0. `tests/embedding` is a model whose tokens see later ones, with hidden
states, and vectors pooled by their mean. Each other folder holds a checkpoint, and `logits.safetensors` with ids and
logits of two sequences, the second one longer than the original context of scaled rotations.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (LlamaConfig, LlamaForCausalLM, LlamaModel, MistralConfig, MistralForCausalLM, MixtralConfig,
                          MixtralForCausalLM)

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
    "window": dict(sliding_window=6),
}
CLASSES = {"experts": (MixtralConfig, MixtralForCausalLM), "window": (MistralConfig, MistralForCausalLM)}


def randomise(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        scale = 0.3 if name.endswith("bias") or parameter.dim() > 1 else 0.1
        parameter.data = (noise * scale + (1.0 if "norm" in name else 0.0)).half().float()


def pruned() -> tuple[dict, dict[str, torch.Tensor]]:
    """A configuration of Nemotron-NAS, whose code is not in transformers, and weights for it."""
    def block(group: int | None, multiplier: float | None, linear: tuple[bool, bool] = (False, False)) -> dict:
        return {"attention": {"n_heads_in_group": group, "no_op": group is None and not linear[0],
                              "replace_with_linear": linear[0], "sparsify": None, "window_length": None},
                "ffn": {"ffn_mult": multiplier, "no_op": multiplier is None and not linear[1],
                        "replace_with_linear": linear[1], "sparsify": None}}

    blocks = [block(2, 24.0), block(None, 40.0), block(4, None), block(None, 1.0, (True, False)), block(1, None),
              block(2, None, (False, True)), block(None, None)]
    config = dict(architectures=["DeciLMForCausalLM"], model_type="nemotron-nas", block_configs=blocks, hidden_size=16,
                  num_hidden_layers=len(blocks), num_attention_heads=4, num_key_value_heads=None, intermediate_size=None,
                  vocab_size=40, rms_norm_eps=1e-5, rope_theta=10000.0, max_position_embeddings=64, hidden_act="silu",
                  attention_bias=False, mlp_bias=False, tie_word_embeddings=False)
    dim, heads, vocab = config["hidden_size"], config["num_attention_heads"], config["vocab_size"]
    shapes = {"model.embed_tokens.weight": (vocab, dim), "model.norm.weight": (dim,), "lm_head.weight": (vocab, dim)}
    for i, of in enumerate(blocks):
        layer = f"model.layers.{i}."
        attention, ffn = of["attention"], of["ffn"]
        if not attention["no_op"]:
            shapes[layer + "input_layernorm.weight"] = (dim,)
        if attention["replace_with_linear"]:
            shapes[layer + "self_attn.linear_attn.weight"] = (dim, dim)
        elif not attention["no_op"]:
            kv = dim // attention["n_heads_in_group"]
            for name, rows in [("q", dim), ("k", kv), ("v", kv), ("o", dim)]:
                shapes[f"{layer}self_attn.{name}_proj.weight"] = (rows, dim)
        if not ffn["no_op"]:
            shapes[layer + "post_attention_layernorm.weight"] = (dim,)
        if ffn["replace_with_linear"]:
            shapes[layer + "mlp.linear_mlp.weight"] = (dim, dim)
        elif not ffn["no_op"]:
            width = -(-int(2 * ffn["ffn_mult"] * dim / 3) // 256) * 256
            shapes |= {layer + "mlp.gate_proj.weight": (width, dim), layer + "mlp.up_proj.weight": (width, dim),
                       layer + "mlp.down_proj.weight": (dim, width)}
    generator = torch.Generator().manual_seed(50)
    weights = {name: torch.randn(shape, generator=generator) * 0.2 + ("norm" in name) for name, shape in shapes.items()}
    assert heads * 4 == dim
    return config, {name: value.half() for name, value in weights.items()}


def pruned_logits(config: dict, weights: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """What a pruned model computes, in f64: a block that is left is that of a Llama."""
    w = {name: value.double() for name, value in weights.items()}
    heads, length = config["num_attention_heads"], len(ids)
    dim = config["hidden_size"] // heads

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + config["rms_norm_eps"]) * w[name + ".weight"]

    angles = torch.outer(torch.arange(length).double(), config["rope_theta"] ** -(torch.arange(0, dim, 2).double() / dim))
    cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)

    def rotate(x: torch.Tensor) -> torch.Tensor:
        return x * cos + torch.cat([-x[..., dim // 2:], x[..., :dim // 2]], -1) * sin

    x = w["model.embed_tokens.weight"][ids]
    for i, of in enumerate(config["block_configs"]):
        layer = f"model.layers.{i}."
        if of["attention"]["replace_with_linear"]:
            x = x + norm(x, layer + "input_layernorm") @ w[layer + "self_attn.linear_attn.weight"].T
        elif not of["attention"]["no_op"]:
            h, group = norm(x, layer + "input_layernorm"), of["attention"]["n_heads_in_group"]
            q, k, v = ((h @ w[f"{layer}self_attn.{name}_proj.weight"].T).view(length, -1, dim).transpose(0, 1)
                       for name in "qkv")
            q, k, v = rotate(q), rotate(k).repeat_interleave(group, 0), v.repeat_interleave(group, 0)
            scores = (q @ k.transpose(1, 2) / dim ** 0.5).masked_fill(torch.ones(length, length).triu(1).bool(), -1e300)
            o = (scores.softmax(-1) @ v).transpose(0, 1).reshape(length, -1)
            x = x + o @ w[layer + "self_attn.o_proj.weight"].T
        if of["ffn"]["replace_with_linear"]:
            x = x + norm(x, layer + "post_attention_layernorm") @ w[layer + "mlp.linear_mlp.weight"].T
        elif not of["ffn"]["no_op"]:
            h = norm(x, layer + "post_attention_layernorm")
            gate, up = (h @ w[f"{layer}mlp.{name}_proj.weight"].T for name in ("gate", "up"))
            x = x + (torch.nn.functional.silu(gate) * up) @ w[layer + "mlp.down_proj.weight"].T
    return (norm(x, "model.norm") @ w["lm_head.weight"].T).float()


def write_pruned(folder: Path) -> None:
    config, weights = pruned()
    generator, tensors = torch.Generator().manual_seed(150), {}
    for i, length in enumerate([12, 40]):
        ids = torch.randint(0, config["vocab_size"], (length,), generator=generator)
        tensors |= {f"seq{i}.ids": ids, f"seq{i}.logits": pruned_logits(config, weights, ids).contiguous()}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    save_file(tensors, folder / "logits.safetensors")


def check_pruned() -> None:
    """The formula above is transformers' where nothing is pruned."""
    llama = LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    randomise(llama, 1)
    whole = {"attention": {"n_heads_in_group": 2, "no_op": False, "replace_with_linear": False},
             "ffn": {"no_op": False, "replace_with_linear": False}}
    config = dict(SIZES, block_configs=[whole] * SIZES["num_hidden_layers"], rope_theta=10000.0)
    ids = torch.arange(20)
    with torch.no_grad():
        want = llama(ids[None]).logits[0]
    assert (pruned_logits(config, llama.state_dict(), ids) - want).abs().max() < 1e-4


def write_embedding(folder: Path) -> None:
    model = LlamaModel(LlamaConfig(**SIZES, is_causal=False)).eval()
    randomise(model, 70)
    generator, tensors = torch.Generator().manual_seed(170), {}
    for i, length in enumerate([12, 40]):
        ids = torch.randint(0, SIZES["vocab_size"], (length,), generator=generator)
        with torch.no_grad():
            hidden = model(ids[None], use_cache=False).last_hidden_state[0]
            begun = model(ids[None, :3], use_cache=False).last_hidden_state[0]
        assert (hidden[:3] - begun).abs().max() > 0.1, "tokens see later ones"
        vector = torch.nn.functional.normalize(hidden.mean(0), dim=0)
        tensors |= {f"seq{i}.ids": ids, f"seq{i}.hidden": hidden.contiguous(), f"seq{i}.vector": vector}
    shutil.rmtree(folder, ignore_errors=True)
    model.half().save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [dict(idx=i, name=str(i), path=f"{i}_{kind}" if i else "", type=f"sentence_transformers.models.{kind}")
               for i, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n")
    modes = {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in ["cls_token", "mean_tokens", "lasttoken"]}
    pooling = dict(word_embedding_dimension=SIZES["hidden_size"], **modes, include_prompt=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling, indent=2) + "\n")
    save_file(tensors, folder / "golden.safetensors")


def main() -> None:
    out = Path(__file__).parent / "variants"
    shutil.rmtree(out, ignore_errors=True)
    for seed, (name, keys) in enumerate(VARIANTS.items()):
        config, causal = CLASSES.get(name, (LlamaConfig, LlamaForCausalLM))
        model = causal(config(**{**SIZES, **keys})).eval()
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
    check_pruned()
    write_pruned(out / "pruned")
    write_embedding(out.parent / "embedding")
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"{out}: {size / 1e3:.0f} kB")


main()
