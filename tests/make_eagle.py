#!/usr/bin/env python3
"""Makes `tests/eagle`: a tiny Llama with random weights, two EAGLE-3 heads for it, and what the heads' formula gives.

    pip install torch transformers safetensors
    python3 tests/make_eagle.py

Made with torch 2.15.0 and transformers 5.24.0. `target` is the Llama. `published` is a head in the form of its authors
(SafeAILab/EAGLE, `eagle/model/cnets.py`): `pytorch_model.bin`, the target's embedding, the layers that they take.
`speculators` is one in the form of speculators: its own width, embedding, layers and rotation, and the residual after the
norm. Beside each is a file with `ids`, the head's `logits` of each row, and those of a chain of guesses after the last
(`chain.logits`), with its tokens (`chain.ids`), all computed in f64 from the hidden states of transformers.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

VOCAB, DIM, LAYERS = 40, 16, 7
TARGET = dict(vocab_size=VOCAB, hidden_size=DIM, intermediate_size=24, num_hidden_layers=LAYERS, num_attention_heads=2,
              num_key_value_heads=1, head_dim=8, max_position_embeddings=64, rms_norm_eps=1e-5,
              rope_parameters=dict(rope_type="default", rope_theta=500000.0))
PUBLISHED = dict(
    architectures=["LlamaForCausalLMEagle3"], model_type="llama", hidden_act="silu", hidden_size=DIM, intermediate_size=24,
    max_position_embeddings=8, num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=1, rms_norm_eps=1e-5,
    tie_word_embeddings=False, torch_dtype="float16", vocab_size=VOCAB, draft_vocab_size=24)
SPECULATORS = dict(
    architectures=["Eagle3Speculator"], speculators_model_type="eagle3", draft_vocab_size=30, target_hidden_size=DIM,
    norm_before_residual=True, eagle_aux_hidden_state_layer_ids=[0, 4, 6],
    transformer_layer_config=dict(
        model_type="llama", hidden_act="silu", hidden_size=24, intermediate_size=20, max_position_embeddings=64,
        num_attention_heads=3, num_key_value_heads=3, head_dim=6, num_hidden_layers=1, rms_norm_eps=1e-6, rope_theta=100.0,
        vocab_size=VOCAB, attention_bias=False, mlp_bias=False))


def head_weights(dim: int, layer: dict, n_draft: int, prefix: str, has_embedding: bool, dtype: torch.dtype, seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    head_dim = layer.get("head_dim", dim // layer["num_attention_heads"])
    q, kv = layer["num_attention_heads"] * head_dim, layer["num_key_value_heads"] * head_dim
    shapes = {"fc": (dim, 3 * DIM), "norm": (dim,), "lm_head": (n_draft, dim)}
    of_layer = {"self_attn.q_proj": (q, 2 * dim), "self_attn.k_proj": (kv, 2 * dim), "self_attn.v_proj": (kv, 2 * dim),
                "self_attn.o_proj": (dim, q), "mlp.gate_proj": (layer["intermediate_size"], dim),
                "mlp.up_proj": (layer["intermediate_size"], dim), "mlp.down_proj": (dim, layer["intermediate_size"]),
                "input_layernorm": (dim,), "hidden_norm": (dim,), "post_attention_layernorm": (dim,)}
    shapes |= {f"{prefix}.{name}": shape for name, shape in of_layer.items()}
    if has_embedding:
        shapes["embed_tokens"] = (VOCAB, dim)
    weights = {f"{name}.weight": (torch.randn(shape, generator=generator) * 0.3 + ("norm" in name)).to(dtype)
               for name, shape in shapes.items()}
    ids = torch.randperm(VOCAB, generator=generator)[:n_draft].sort().values
    weights["d2t"] = ids - torch.arange(n_draft)
    weights["t2d"] = torch.isin(torch.arange(VOCAB), ids)
    return weights


class Head:
    """A head's formula in f64."""

    def __init__(self, config: dict, weights: dict[str, torch.Tensor], prefix: str, embedding: torch.Tensor) -> None:
        self.layer, self.before = config.get("transformer_layer_config", config), config.get("norm_before_residual", False)
        self.w = {name: value.double() for name, value in weights.items()}
        self.d2t, self.prefix, self.embedding = weights["d2t"], prefix, embedding.double()

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.layer["rms_norm_eps"]) * self.w[name + ".weight"]

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ self.w[f"{self.prefix}.{name}.weight"].T

    def rows(self, hidden: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the layer makes of rows from the first one on, and their logits."""
        n, n_heads, n_kv = len(ids), self.layer["num_attention_heads"], self.layer["num_key_value_heads"]
        size = self.layer.get("head_dim", self.layer["hidden_size"] // n_heads)
        theta = self.layer.get("rope_theta", 10000.0)
        angles = torch.outer(torch.arange(n).double(), theta ** -(torch.arange(0, size, 2).double() / size))
        cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
        rotate = lambda x: x * cos + torch.cat([-x[..., size // 2:], x[..., :size // 2]], -1) * sin
        h = self.norm(hidden, self.prefix + ".hidden_norm")
        x = h if self.before else hidden
        h = torch.cat([self.norm(self.embedding[ids], self.prefix + ".input_layernorm"), h], -1)
        q, k, v = (self.linear(h, f"self_attn.{name}_proj").view(n, -1, size).transpose(0, 1) for name in "qkv")
        q, k = rotate(q), rotate(k).repeat_interleave(n_heads // n_kv, 0)
        scores = (q @ k.transpose(1, 2) / size ** 0.5).masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
        o = scores.softmax(-1) @ v.repeat_interleave(n_heads // n_kv, 0)
        x = x + self.linear(o.transpose(0, 1).reshape(n, -1), "self_attn.o_proj")
        h = self.norm(x, self.prefix + ".post_attention_layernorm")
        gated = torch.nn.functional.silu(self.linear(h, "mlp.gate_proj")) * self.linear(h, "mlp.up_proj")
        x = x + self.linear(gated, "mlp.down_proj")
        return x, self.norm(x, "norm") @ self.w["lm_head.weight"].T


def golden(head: Head, features: torch.Tensor, ids: torch.Tensor, n_chain: int) -> dict[str, torch.Tensor]:
    """Row i reads the features of position i and the token after it. In the chain, what the layer made of the row before
    stands for features."""
    hidden = (features.double() @ head.w["fc.weight"].T)[:-1]
    tokens, chain = ids[1:], []
    _, logits = head.rows(hidden, tokens)
    for _ in range(n_chain):
        made, row = (values[-1:] for values in head.rows(hidden, tokens))
        chain.append(row[0])
        best = row[0].argmax()
        tokens = torch.cat([tokens, (best + head.d2t[best])[None]])
        hidden = torch.cat([hidden, made])
    return {"ids": ids, "logits": logits.float().contiguous(), "chain.logits": torch.stack(chain).float(),
            "chain.ids": tokens[-n_chain:].contiguous()}


def main() -> None:
    out = Path(__file__).parent / "eagle"
    shutil.rmtree(out, ignore_errors=True)
    target = LlamaForCausalLM(LlamaConfig(**TARGET)).eval()
    generator = torch.Generator().manual_seed(60)
    for name, parameter in target.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = (noise * (0.3 if parameter.dim() > 1 else 0.1) + ("norm" in name)).half().float()
    ids = torch.randint(0, VOCAB, (30,), generator=generator)
    with torch.no_grad():
        # Entry i is what enters layer i.
        states = target(ids[None], use_cache=False, output_hidden_states=True).hidden_states
    embedding = target.model.embed_tokens.weight.detach()
    for name, config, dtype, prefix, seed in [("published", PUBLISHED, torch.float16, "midlayer", 61),
                                              ("speculators", SPECULATORS, torch.bfloat16, "layers.0", 62)]:
        layer = config.get("transformer_layer_config", config)
        has_embedding = layer["hidden_size"] != DIM
        weights = head_weights(layer["hidden_size"], layer, config["draft_vocab_size"], prefix, has_embedding, dtype, seed)
        layers = config.get("eagle_aux_hidden_state_layer_ids", [2, LAYERS // 2, LAYERS - 3])
        features = torch.cat([states[i][0] for i in layers], -1)
        head = Head(config, weights, prefix, weights["embed_tokens.weight"] if has_embedding else embedding)
        folder = out / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        if name == "published":
            torch.save(weights, folder / "pytorch_model.bin")
        else:
            save_file(weights, folder / "model.safetensors", {"format": "pt"})
        save_file(golden(head, features, ids, 6), out / f"{name}.safetensors")
    target.half().save_pretrained(out / "target")
    (out / "target" / "generation_config.json").unlink(missing_ok=True)
    print(f"{out}: {sum(f.stat().st_size for f in out.rglob('*') if f.is_file()) / 1e3:.0f} kB")


main()
