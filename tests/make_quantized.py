#!/usr/bin/env python3
"""Makes `tests/quantized`: a layer in each form in which quantised checkpoints store it, the values it stands
for, and the logits of a tiny model that has it.

    python3 tests/make_quantized.py            writes the fixtures; needs numpy alone
    python3 tests/make_quantized.py --check    compares them with the libraries that write such checkpoints

All numbers are random ones of our own. The formulas are written out here, from the documentation and the files that
the libraries write; the second mode is how it is known that they are right (gptqmodel, autoawq, bitsandbytes,
compressed-tensors, mlx, hqq and torch, as far as they are installed).
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np

OUT = Path(__file__).parent / "quantized"
DIM, FFN, HEADS, KV_HEADS, VOCAB = 64, 32, 4, 1, 16
HEAD = DIM // HEADS
IDS = [1, 5, 9, 14, 3]
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": DIM, "intermediate_size": FFN,
    "num_hidden_layers": 1, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "vocab_size": VOCAB,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "tie_word_embeddings": False, "torch_dtype": "float16",
}
LAYER = "model.layers.0."
GATE = LAYER + "mlp.gate_proj"
DTYPES = {"float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
          "uint8": "U8", "uint32": "U32"}


class Raw:
    """Bytes of a type that numpy lacks."""

    def __init__(self, dtype, array):
        self.dtype, self.array = dtype, array


def bf16(x):
    """The nearest bfloat16, as bits."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return Raw("BF16", ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16))


def floats(t):
    """The values of a tensor of floats."""
    if isinstance(t, Raw) and t.dtype == "BF16":
        return (t.array.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(t).astype(np.float32)


def e4m3_values():
    code = np.arange(256)
    e, m, sign = code >> 3 & 15, code & 7, np.where(code > 127, -1.0, 1.0)
    values = np.where(e == 0, m * 2.0**-9, (1 + m / 8) * 2.0 ** (e - 7)) * sign
    values[[0x7F, 0xFF]] = np.nan
    return values.astype(np.float32)


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                0.7229568362236023, 1.0], np.float32)
FP4 = np.array([0, 0.0625, 8, 12, 4, 6, 2, 3, -0.0, -0.0625, -8, -12, -4, -6, -2, -3], np.float32) / np.float32(12)


def write(path, tensors):
    head, data = {}, b""
    for name, t in tensors.items():
        dtype, array = (t.dtype, t.array) if isinstance(t, Raw) else (DTYPES[str(t.dtype)], t)
        raw = np.ascontiguousarray(array).tobytes()
        head[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def plain():
    """The tensors of the model."""
    r = np.random.default_rng(1)
    shapes = {"self_attn.q_proj": (DIM, DIM), "self_attn.k_proj": (HEAD, DIM), "self_attn.v_proj": (HEAD, DIM),
              "self_attn.o_proj": (DIM, DIM), "mlp.gate_proj": (FFN, DIM), "mlp.up_proj": (FFN, DIM),
              "mlp.down_proj": (DIM, FFN)}
    t = {"model.embed_tokens.weight": r.standard_normal((VOCAB, DIM)) * 0.5}
    t.update({f"{LAYER}{name}.weight": r.standard_normal(shape) * 0.2 for name, shape in shapes.items()})
    for norm in (f"{LAYER}input_layernorm", f"{LAYER}post_attention_layernorm", "model.norm"):
        t[norm + ".weight"] = 1 + 0.1 * r.standard_normal(DIM)
    t["lm_head.weight"] = r.standard_normal((VOCAB, DIM)) * 0.3
    return {name: x.astype(np.float16) for name, x in t.items()}


def logits(weights):
    """The forward pass, in float64."""
    w = {name: floats(x).astype(np.float64) for name, x in weights.items()}

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + CONFIG["rms_norm_eps"]) * w[name + ".weight"]

    def heads(x, n):
        x = x.reshape(len(IDS), n, HEAD).transpose(1, 0, 2)
        return x

    def rope(x):
        angle = np.arange(len(IDS))[:, None] * 10000.0 ** (-np.arange(HEAD // 2) * 2 / HEAD)
        a, b = x[..., : HEAD // 2], x[..., HEAD // 2 :]
        return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)

    x = w["model.embed_tokens.weight"][IDS]
    h = norm(x, LAYER + "input_layernorm")
    q, k, v = (h @ w[f"{LAYER}self_attn.{n}_proj.weight"].T for n in "qkv")
    q, k, v = rope(heads(q, HEADS)), rope(heads(k, KV_HEADS)), heads(v, KV_HEADS)
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(HEAD) + np.triu(np.full((len(IDS),) * 2, -np.inf), 1)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    o = (p / p.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(IDS), DIM)
    x = x + o @ w[LAYER + "self_attn.o_proj.weight"].T
    h = norm(x, LAYER + "post_attention_layernorm")
    gate, up = (h @ w[f"{LAYER}mlp.{n}_proj.weight"].T for n in ("gate", "up"))
    x = x + (gate / (1 + np.exp(-gate)) * up) @ w[LAYER + "mlp.down_proj.weight"].T
    return (norm(x, "model.norm") @ w["lm_head.weight"].T).astype(np.float32)


def dense(codes, bits):
    """Codes of each row as a stream of bits, in words."""
    rows, n = codes.shape
    stream = (codes[..., None].astype(np.uint32) >> np.arange(bits, dtype=np.uint32) & 1).astype(np.uint8)
    stream = stream.reshape(rows, n * bits)
    stream = np.pad(stream, ((0, 0), (0, -stream.shape[1] % 32)))
    return np.packbits(stream, axis=1, bitorder="little").view(np.uint32)


def sparse(words, bits, n):
    """The codes that `dense` packed."""
    stream = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")[:, : n * bits]
    return (stream.reshape(len(words), n, bits).astype(np.int64) << np.arange(bits)).sum(-1)


def apart(codes, bits):
    """Codes of each row in words, as many as are whole in each."""
    rows, n = codes.shape
    per_word = 32 // bits
    codes = np.pad(codes, ((0, 0), (0, -n % per_word))).reshape(rows, -1, per_word).astype(np.uint32)
    return (codes << (np.arange(per_word, dtype=np.uint32) * bits)).sum(-1).astype(np.uint32)


FORMS = {}


def form(name, **about):
    """Registers a function of a random generator that returns the tensors of the layer and its values."""

    def register(make):
        FORMS[name] = (make, about)
        return make

    return register


def said(method, **rest):
    return {"quantization_config": {"quant_method": method, **rest}}


# GPTQ: w[i, o] = scale[g, o] (q[i, o] - zero[g, o]).

def gptq(r, bits, low, groups=2, act_order=False, sym=False, scale_dtype=np.float16):
    q = r.integers(0, 1 << bits, (FFN, DIM))
    index = np.arange(DIM) // (DIM // groups)
    if act_order:
        r.shuffle(index)
    zeros = np.full((groups, FFN), 1 << (bits - 1)) if sym else r.integers(1, 1 << bits, (groups, FFN))
    scales = (r.random((groups, FFN)) * 0.05 + 0.01).astype(scale_dtype)
    tensors = {
        GATE + ".qweight": dense(q, bits).T.view(np.int32),
        GATE + ".qzeros": dense(zeros - low, bits).view(np.int32),
        GATE + ".scales": scales,
        GATE + ".g_idx": index.astype(np.int32),
    }
    return tensors, {GATE: (q - zeros.T[:, index]) * floats(scales).T[:, index]}


for _bits in (2, 3, 4, 8):
    form(f"gptq-{_bits}bit", config=said("gptq", bits=_bits, group_size=32, desc_act=True))(
        lambda r, b=_bits: gptq(r, b, 1, act_order=True))
    form(f"gptq-{_bits}bit-sym-v2", config=said("gptq", bits=_bits, group_size=-1, checkpoint_format="gptq_v2"))(
        lambda r, b=_bits: gptq(r, b, 0, groups=1, sym=True))


@form("gptq-2023", beside={"quantize_config.json": {"bits": 4, "group_size": 32, "desc_act": False}})
def gptq_2023(r):
    tensors, values = gptq(r, 4, 1)
    del tensors[GATE + ".g_idx"]
    tensors[GATE + ".bias"] = np.zeros(FFN, np.float16)
    return tensors, values


form("auto-round-sym", config=said("auto-round", bits=4, group_size=32, sym=True, packing_format="auto_round:auto_gptq"))(
    lambda r: gptq(r, 4, 1, sym=True))
form("auto-round", config=said("auto-round", bits=4, group_size=32, sym=False, packing_format="auto_round"))(
    lambda r: gptq(r, 4, 0))


# AWQ: the same formula; words of outputs that are interleaved, of inputs, or of four outputs and 64 inputs.

def awq_parts(r, groups):
    q, zeros = r.integers(0, 16, (FFN, DIM)), r.integers(0, 16, (FFN, groups))
    scales = (r.random((FFN, groups)) * 0.05 + 0.01).astype(np.float16)
    each = DIM // groups
    return q, zeros, scales, (q - zeros.repeat(each, 1)) * scales.astype(np.float32).repeat(each, 1)


@form("awq-gemm", config=said("awq", bits=4, group_size=32, version="gemm", zero_point=True))
def awq_gemm(r):
    q, zeros, scales, values = awq_parts(r, 2)

    def pack(x):
        return dense(x.reshape(len(x), -1, 8)[..., [0, 2, 4, 6, 1, 3, 5, 7]].reshape(len(x), -1), 4).view(np.int32)

    return {GATE + ".qweight": pack(q.T), GATE + ".qzeros": pack(zeros.T), GATE + ".scales": scales.T}, {GATE: values}


@form("awq-gemv", config=said("awq", bits=4, group_size=32, version="gemv", zero_point=True))
def awq_gemv(r):
    q, zeros, scales, values = awq_parts(r, 2)
    width = 4  # of words, a multiple of 4 where groups have 32 inputs
    zeros = np.pad(zeros, ((0, 0), (0, 8 * width - zeros.shape[1])))
    scales = np.pad(scales, ((0, 0), (0, 8 * width - scales.shape[1])))
    tensors = {GATE + ".qweight": dense(q, 4).view(np.int32), GATE + ".qzeros": dense(zeros, 4).view(np.int32),
               GATE + ".scales": scales}
    return tensors, {GATE: values}


@form("awq-gemv-fast", config=said("awq", bits=4, group_size=64, version="gemv_fast", zero_point=True))
def awq_gemv_fast(r):
    q, zeros, scales, _ = awq_parts(r, 1)
    minima = (-(scales.astype(np.float32) * zeros)).astype(np.float16)
    p = q.reshape(FFN, DIM // 32, 4, 4, 2).transpose(0, 1, 3, 2, 4).reshape(FFN, DIM // 8, 4, 2)
    p = p.transpose(0, 1, 3, 2).reshape(FFN // 4, 4, DIM // 64, 64).transpose(0, 2, 1, 3)
    p = p.reshape(FFN // 4, DIM // 64, 64, 4).astype(np.uint16)
    words = (p << (4 * np.arange(4, dtype=np.uint16))).sum(-1).astype(np.uint16).reshape(FFN // 4, DIM)
    pad = ((0, 7), (0, 0))
    tensors = {GATE + ".qweight": words.view(np.int16), GATE + ".scales": np.pad(scales.T, pad),
               GATE + ".qzeros": np.pad(minima.T, pad)}
    return tensors, {GATE: q * scales.astype(np.float32) + minima.astype(np.float32)}


# bitsandbytes: blocks of the flattened matrix.

def bnb4(r, kind, table, block, nested):
    n = FFN * DIM
    q = r.integers(0, 16, n)
    tensors = {
        GATE + ".weight": (q[::2] << 4 | q[1::2]).astype(np.uint8)[:, None],
        GATE + ".weight.quant_map": table,
    }
    state = {"quant_type": kind, "blocksize": block, "dtype": "float16", "shape": [FFN, DIM]}
    if nested:
        n_blocks, nested_block = n // block, 16
        codes = r.integers(0, 256, n_blocks).astype(np.uint8)
        tensors[GATE + ".weight.nested_quant_map"] = np.sort(r.random(256) * 2 - 1).astype(np.float32)
        tensors[GATE + ".weight.nested_absmax"] = (r.random(-(-n_blocks // nested_block)) * 0.1).astype(np.float32)
        tensors[GATE + ".weight.absmax"] = codes
        state.update(nested_blocksize=nested_block, nested_dtype="float32", nested_offset=0.2345678955)
        own = tensors[GATE + ".weight.nested_absmax"][np.arange(n_blocks) // nested_block]
        absmax = tensors[GATE + ".weight.nested_quant_map"][codes] * own + np.float32(state["nested_offset"])
    else:
        absmax = (r.random(n // block) * 0.4 + 0.1).astype(np.float32)
        tensors[GATE + ".weight.absmax"] = absmax
    text = np.frombuffer(json.dumps(state).encode(), np.uint8)
    tensors[f"{GATE}.weight.quant_state.bitsandbytes__{kind}"] = text
    return tensors, {GATE: (table[q] * absmax.repeat(block)).reshape(FFN, DIM)}


BNB = said("bitsandbytes", load_in_4bit=True)
form("bnb-nf4", config=BNB)(lambda r: bnb4(r, "nf4", NF4, 64, False))
form("bnb-nf4-nested", config=BNB)(lambda r: bnb4(r, "nf4", NF4, 64, True))
form("bnb-fp4", config=BNB)(lambda r: bnb4(r, "fp4", FP4, 128, False))
form("bnb-fp4-nested", config=BNB)(lambda r: bnb4(r, "fp4", FP4, 32, True))


@form("bnb-int8", config=said("bitsandbytes", load_in_8bit=True))
def bnb_int8(r):
    q = r.integers(-127, 128, (FFN, DIM)).astype(np.int8)
    scb = (r.random(FFN) + 0.1).astype(np.float32)
    tensors = {GATE + ".weight": q, GATE + ".SCB": scb, GATE + ".weight_format": np.zeros((), np.uint8)}
    return tensors, {GATE: q * (scb / np.float32(127))[:, None]}


# compressed-tensors: w = scale (q - zero), both offset by half the range where they are packed.

def compressed(bits, strategy, symmetric, format="pack-quantized", **weights):
    weights = {"num_bits": bits, "type": "int", "strategy": strategy, "symmetric": symmetric, **weights}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return said("compressed-tensors", format=format, config_groups=groups)


def ct_scales(r, shape, dtype):
    scales = (r.random(shape) * 0.05 + 0.001) * 2.0 ** r.integers(-8, 1, shape)
    return bf16(scales) if dtype == "BF16" else scales.astype(dtype)


def ct_packed(r, bits, groups, symmetric, dtype, pack=dense, index=None):
    q = r.integers(0, 1 << bits, (FFN, DIM))
    zeros = np.full((FFN, groups), 1 << (bits - 1)) if symmetric else r.integers(0, 1 << bits, (FFN, groups))
    scales = ct_scales(r, (FFN, groups), dtype)
    tensors = {GATE + ".weight_packed": pack(q, bits).view(np.int32), GATE + ".weight_scale": scales,
               GATE + ".weight_shape": np.array([FFN, DIM], np.int64)}
    if not symmetric:
        tensors[GATE + ".weight_zero_point"] = np.ascontiguousarray(pack(zeros.T, bits).T).view(np.int32)
    if index is None:
        index = np.arange(DIM) // (DIM // groups)
    else:
        tensors[GATE + ".weight_g_idx"] = index.astype(np.int32)
    return tensors, {GATE: (q - zeros[:, index]) * floats(scales)[:, index]}


for _bits in (3, 4, 8):
    form(f"ct-pack-{_bits}bit-group", config=compressed(_bits, "group", True, group_size=32))(
        lambda r, b=_bits: ct_packed(r, b, 2, True, "BF16"))
    form(f"ct-pack-{_bits}bit-group-asym", config=compressed(_bits, "group", False, group_size=32))(
        lambda r, b=_bits: ct_packed(r, b, 2, False, "BF16"))
form("ct-pack-4bit-channel", config=compressed(4, "channel", True))(
    lambda r: ct_packed(r, 4, 1, True, np.float32))
form("ct-pack-4bit-float-scales", config=compressed(4, "group", True, group_size=32))(
    lambda r: ct_packed(r, 4, 2, True, np.float32))
form("ct-pack-3bit-old", config=compressed(3, "group", False, group_size=32))(
    lambda r: ct_packed(r, 3, 2, False, "BF16", pack=apart))
form("ct-pack-4bit-actorder", config=compressed(4, "group", True, group_size=32, actorder="group"))(
    lambda r: ct_packed(r, 4, 2, True, np.float16, index=r.permutation(np.arange(DIM) // 32)))


def ct_int(r, groups, symmetric):
    q = r.integers(-128, 128, (FFN, DIM)).astype(np.int8)
    scales = ct_scales(r, (FFN, groups), "BF16")
    tensors = {GATE + ".weight": q, GATE + ".weight_scale": scales, GATE + ".input_scale": np.ones(1, np.float32)}
    zeros = np.zeros((FFN, groups), np.int8)
    if not symmetric:
        zeros = r.integers(-128, 128, (FFN, groups)).astype(np.int8)
        tensors[GATE + ".weight_zero_point"] = zeros
    each = DIM // groups
    return tensors, {GATE: (q.astype(np.float32) - zeros.repeat(each, 1)) * floats(scales).repeat(each, 1)}


form("ct-int8-channel", config=compressed(8, "channel", True, "int-quantized"))(lambda r: ct_int(r, 1, True))
form("ct-int8-group-asym", config=compressed(8, "group", False, "naive-quantized", group_size=32))(
    lambda r: ct_int(r, 2, False))


def nibbles(q):
    return (q[:, ::2] | q[:, 1::2] << 4).astype(np.uint8)


def mx_values(table, q, e):
    return table[q] * (2.0 ** (e.astype(np.float32) - 127)).astype(np.float32).repeat(32, 1)


@form("ct-mxfp4", config=compressed(4, "group", True, "mxfp4-pack-quantized", group_size=32, type="float"))
def ct_mxfp4(r):
    q, e = r.integers(0, 16, (FFN, DIM)), r.integers(118, 126, (FFN, DIM // 32)).astype(np.uint8)
    return {GATE + ".weight_packed": nibbles(q), GATE + ".weight_scale": e}, {GATE: mx_values(E2M1, q, e)}


@form("quark-mxfp4", config=said("quark", global_quant_config={
    "weight": {"dtype": "fp4", "qscheme": "per_group", "group_size": 32, "scale_format": "e8m0"}}))
def quark_mxfp4(r):
    q, e = r.integers(0, 16, (FFN, DIM)), r.integers(118, 126, (FFN, DIM // 32)).astype(np.uint8)
    return {GATE + ".weight": nibbles(q), GATE + ".weight_scale": e}, {GATE: mx_values(E2M1, q, e)}


def nvfp4(r, factor):
    """Codes, scales of 16 in E4M3, and the values, of which a float scales all."""
    q, d = r.integers(0, 16, (FFN, DIM)), r.integers(0, 0x7F, (FFN, DIM // 16)).astype(np.uint8)
    values = E2M1[q] * e4m3_values()[d].repeat(16, 1) * np.float32(factor)
    return nibbles(q), Raw("F8_E4M3", d), values


@form("ct-nvfp4", config=compressed(4, "tensor_group", True, "nvfp4-pack-quantized", group_size=16, type="float"))
def ct_nvfp4(r):
    whole = np.array([r.random() * 5000 + 2000], np.float32)
    q, d, values = nvfp4(r, np.float32(1) / whole[0])
    tensors = {GATE + ".weight_packed": q, GATE + ".weight_scale": d, GATE + ".weight_global_scale": whole,
               GATE + ".input_global_scale": np.ones(1, np.float32)}
    return tensors, {GATE: values}


@form("modelopt-nvfp4", config=said("modelopt", quant_algo="NVFP4"))
def modelopt_nvfp4(r):
    whole = np.array(r.random() * 0.0003 + 0.0001, np.float32)
    q, d, values = nvfp4(r, whole)
    return {GATE + ".weight": q, GATE + ".weight_scale": d, GATE + ".weight_scale_2": whole,
            GATE + ".input_scale": np.ones((), np.float32)}, {GATE: values}


# FP8.

def fp8(r):
    q = r.integers(0, 0x78, (FFN, DIM)) | r.integers(0, 2, (FFN, DIM)) << 7
    return Raw("F8_E4M3", q.astype(np.uint8)), e4m3_values()[q]


@form("fp8-blocks", config=said("fp8", weight_block_size=[12, 32], activation_scheme="dynamic"))
def fp8_blocks(r):
    q, values = fp8(r)
    scales = (r.random((3, 2)) * 0.001).astype(np.float32)
    tensors = {GATE + ".weight": q, GATE + ".weight_scale_inv": scales}
    return tensors, {GATE: values * scales.repeat(12, 0)[:FFN].repeat(32, 1)}


@form("ct-fp8-block", config=compressed(8, "block", True, "float-quantized", type="float", block_structure=[16, 32]))
def ct_fp8_block(r):
    q, values = fp8(r)
    scales = bf16(r.random((2, 2)) * 0.001)
    tensors = {GATE + ".weight": q, GATE + ".weight_scale": scales}
    return tensors, {GATE: values * floats(scales).repeat(16, 0).repeat(32, 1)}


@form("quark-fp8", config=said("quark", global_quant_config={
    "weight": {"dtype": "fp8_e4m3", "qscheme": "per_tensor"}, "input_tensors": {"dtype": "fp8_e4m3"}}))
def quark_fp8(r):
    q, values = fp8(r)
    scale = np.float32(r.random() * 0.001)
    tensors = {GATE + ".weight": q, GATE + ".weight_scale": np.asarray(scale), GATE + ".input_scale": np.ones((), np.float32),
               LAYER + "self_attn.k_proj.output_scale": np.ones((), np.float32)}
    return tensors, {GATE: values * scale}


@form("ct-mxfp8", config=compressed(8, "group", True, "mxfp8-quantized", type="float", group_size=32))
def ct_mxfp8(r):
    q, _ = fp8(r)
    e = r.integers(112, 120, (FFN, DIM // 32)).astype(np.uint8)
    values = mx_values(e4m3_values(), q.array, e)
    return {GATE + ".weight": q, GATE + ".weight_scale": e}, {GATE: values}


MODELOPT = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}}


@form("modelopt-fp8", beside={"hf_quant_config.json": MODELOPT})
def modelopt_fp8(r):
    q, values = fp8(r)
    scale = np.float32(r.random() * 0.001)
    tensors = {GATE + ".weight": q, GATE + ".weight_scale": scale, GATE + ".input_scale": np.float32(0.5),
               LAYER + "self_attn.k_proj.k_scale": np.float32(1), LAYER + "self_attn.v_proj.v_scale": np.float32(1)}
    return {name: t if isinstance(t, Raw) else np.asarray(t) for name, t in tensors.items()}, {GATE: values * scale}


# MLX: w = scale q + bias, in its newer modes 2^(e - 127) times a small float.

def mlx(r, bits, group, dtype, bases):
    tensors, values = {}, {}
    for base, rows in bases.items():
        q = r.integers(0, 1 << bits, (rows, DIM))
        scales = ct_scales(r, (rows, DIM // group), dtype)
        biases = -floats(scales) * r.integers(0, 1 << bits, scales.array.shape if dtype == "BF16" else scales.shape)
        biases = bf16(biases) if dtype == "BF16" else biases.astype(dtype)
        tensors.update({base + ".weight": dense(q, bits), base + ".scales": scales, base + ".biases": biases})
        values[base] = q * floats(scales).repeat(group, 1) + floats(biases).repeat(group, 1)
    return tensors, values


for _bits, _dtype in ((2, "BF16"), (3, np.float16), (4, np.float16), (5, "BF16"), (6, "BF16"), (8, np.float16)):
    form(f"mlx-{_bits}bit", config={"quantization": {"group_size": 32, "bits": _bits}})(
        lambda r, b=_bits, d=_dtype: mlx(r, b, 32, d, {GATE: FFN}))
form("mlx-embedding", config={"quantization": {"group_size": 64, "bits": 4, LAYER[:-1]: {"bits": 6, "group_size": 64}},
                              "quantization_config": {"group_size": 64, "bits": 4}})(
    lambda r: mlx(r, 4, 64, "BF16", {"model.embed_tokens": VOCAB, "lm_head": VOCAB, GATE: FFN}))


@form("mlx-mxfp4", config={"quantization": {"group_size": 32, "bits": 4, "mode": "mxfp4"}})
def mlx_mxfp4(r):
    q, e = r.integers(0, 16, (FFN, DIM)), r.integers(118, 126, (FFN, DIM // 32)).astype(np.uint8)
    return {GATE + ".weight": dense(q, 4), GATE + ".scales": e}, {GATE: mx_values(E2M1, q, e)}


@form("mlx-mxfp8", config={"quantization": {"group_size": 32, "bits": 8, "mode": "mxfp8"}})
def mlx_mxfp8(r):
    q, _ = fp8(r)
    e = r.integers(112, 120, (FFN, DIM // 32)).astype(np.uint8)
    values = mx_values(e4m3_values(), q.array, e)
    return {GATE + ".weight": dense(q.array, 8), GATE + ".scales": e}, {GATE: values}


# HQQ: w = scale (q - zero), groups one after the other; a byte has the codes of groups that are far apart.

def hqq(r, bits, group, dtype):
    n = FFN * DIM // group
    q = r.integers(0, 1 << bits, (n, group))
    scales, zeros = ct_scales(r, (n, 1), dtype), r.random((n, 1)) * ((1 << bits) - 1)
    zeros = bf16(zeros) if dtype == "BF16" else zeros.astype(dtype)
    per_unit, unit = (10, np.uint32) if bits == 3 else (8 // bits, np.uint8)
    padded = np.pad(q, ((0, -n % per_unit), (0, 0))).reshape(per_unit, -1, group).astype(unit)
    shifts = (np.arange(per_unit)[::-1] * bits).astype(unit)
    words = np.bitwise_or.reduce(padded << shifts[:, None, None], 0)
    tensors = {GATE + ".W_q": words.view(np.int32) if bits == 3 else words, GATE + ".scale": scales,
               GATE + ".zero": zeros}
    numbers = {"nbits": np.int32(bits), "group_size": np.int32(group), "axis": np.int32(1),
               "view_as_float": np.uint8(0), "quant_scale": np.uint8(0), "quant_zero": np.uint8(0),
               "offload_meta": np.uint8(0), "shape": np.array([FFN, DIM], np.int64),
               "packing": np.frombuffer(b"4bit_u8", np.uint8)}
    tensors.update({f"{GATE}.{name}": np.asarray(x) for name, x in numbers.items()})
    values = q.astype(np.float32) * floats(scales) - floats(zeros) * floats(scales)
    return tensors, {GATE: values.reshape(FFN, DIM)}


for _bits in (1, 2, 3, 4, 8):
    form(f"hqq-{_bits}bit", config=said("hqq", quant_config={"weight_quant_params": {"nbits": _bits}}))(
        lambda r, b=_bits: hqq(r, b, 64 if b < 4 else 32, "BF16" if b in (2, 4) else np.float16))


# Meta's quantised Llama 3.2: integers in bytes, scales in floats. SpinQuant multiplies the inputs of w2 with a Hadamard
# matrix at run time, QLoRA has adapters.

def meta_int(r, base, hf_base, shape, groups, bits):
    q = r.integers(-1 << (bits - 1), 1 << (bits - 1), shape).astype(np.int8)
    scales = (r.random((shape[0], groups)) * 0.03 + 0.005).astype(np.float32)
    values = q * scales.repeat(shape[1] // groups, 1)
    return {base + ".weight": q, base + ".scales": scales}, {hf_base: values}


def meta_layers(r):
    tensors, values = {}, {}
    for base, hf_base, shape, groups, bits in (
        ("tok_embeddings", "model.embed_tokens", (VOCAB, DIM), 1, 8),
        ("output", "lm_head", (VOCAB, DIM), 1, 8),
        ("layers.0.feed_forward.w1", GATE, (FFN, DIM), 2, 4),
        ("layers.0.feed_forward.w2", LAYER + "mlp.down_proj", (DIM, FFN), 1, 4),
    ):
        of_layer = meta_int(r, base, hf_base, shape, groups, bits)
        tensors.update(of_layer[0])
        values.update(of_layer[1])
    return tensors, values


def args(**rest):
    return {"params": {"quantization_args": {"scheme": "int4_weight_int8_dynamic_activation", "group_size": 32, **rest}}}


@form("meta-spinquant", **args(spinquant=True))
def meta_spinquant(r):
    tensors, values = meta_layers(r)
    i = np.arange(FFN)
    ones = np.vectorize(lambda x: bin(x).count("1"))(i[:, None] & i)
    hadamard = (-1.0) ** ones / np.sqrt(FFN)
    values[LAYER + "mlp.down_proj"] = values[LAYER + "mlp.down_proj"] @ hadamard
    return tensors, values


QLORA = args()
QLORA["params"]["lora_args"] = {"rank": 4, "scale": 2.0}


@form("meta-qlora", **QLORA)
def meta_qlora(r):
    tensors, values = meta_layers(r)
    a, b = bf16(r.standard_normal((4, DIM)) * 0.1), bf16(r.standard_normal((FFN, 4)) * 0.1)
    tensors["layers.0.feed_forward.w1.adaptor.A.weight"] = a
    tensors["layers.0.feed_forward.w1.adaptor.B.weight"] = b
    # Zeros of zero may be there.
    tensors["layers.0.feed_forward.w1.zeros"] = np.zeros((FFN, 2), np.float32)
    values[GATE] = values[GATE] + 2.0 * (floats(b) @ floats(a))
    return tensors, values


def generator(name):
    """Random numbers of a form, whatever others there are."""
    return np.random.default_rng(list(name.encode()))


def make():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        if old.is_file():
            old.unlink()
    base = plain()
    write(OUT / "base.safetensors", base)
    manifest = {"config": CONFIG, "ids": IDS, "forms": {}}
    for name, (of, about) in list(FORMS.items()):
        tensors, values = of(generator(name))
        values = {base: x.astype(np.float32) for base, x in values.items()}
        weights = {**base, **{base + ".weight": x for base, x in values.items()}}
        expected = {"expected." + base + ".weight": x for base, x in values.items()}
        write(OUT / f"{name}.safetensors", {**tensors, **expected, "logits": logits(weights)})
        manifest["forms"][name] = about
    (OUT / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    size = sum(f.stat().st_size for f in OUT.iterdir())
    print(f"{OUT}: {len(FORMS)} forms, {size / 1e3:.0f} kB")


# The libraries' own values of the same tensors.

def library_values(name, about, tensors):
    """The values of the gate, and the library that says them; None where it is not installed."""
    import torch

    def tensor(last, raw=False):
        t = tensors[f"{GATE}.{last}"]
        if isinstance(t, Raw):
            bits = torch.from_numpy(t.array.copy())
            return bits.view(torch.bfloat16 if t.dtype == "BF16" else torch.float8_e4m3fn)
        return torch.from_numpy(np.array(t).view({"uint32": np.int32}.get(str(t.dtype), t.dtype)))

    def has(last):
        return f"{GATE}.{last}" in tensors

    if name.startswith("bnb-int8"):
        from bitsandbytes.functional import int8_vectorwise_dequant
        return "bitsandbytes", int8_vectorwise_dequant(tensor("weight"), tensor("SCB"))
    if name.startswith("bnb"):
        import bitsandbytes.functional as F
        names = ["absmax", "quant_map", "nested_absmax", "nested_quant_map"]
        kind = "nf4" if "nf4" in name else "fp4"
        names.append(f"quant_state.bitsandbytes__{kind}")
        parts = {n: tensor("weight." + n) for n in names if has("weight." + n)}
        state = F.QuantState.from_dict(parts, device="cpu")
        state.dtype = torch.float32
        if state.blocksize > DIM:
            # 0.50.2's CPU kernel is wrong where a block goes on in the next row; its definition is not.
            from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
            args = tensor("weight").reshape(-1), state.absmax, state.code, state.blocksize, (FFN, DIM), torch.float32
            return "bitsandbytes", _dequantize_4bit_compute(*args)
        return "bitsandbytes", F.dequantize_4bit(tensor("weight"), state)
    if name.startswith("ct-"):
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationScheme
        said = about["config"]["quantization_config"]
        if name in ("ct-pack-3bit-old", "ct-pack-4bit-actorder"):
            return "compressed-tensors no longer reads it", None
        scheme = QuantizationScheme(**said["config_groups"]["group_0"])
        of = BaseCompressor.get_value_from_registry(said["format"])
        state = {n: tensor(n) for n in ("weight", "weight_packed", "weight_scale", "weight_zero_point", "weight_shape")
                 if has(n)}
        if has("weight_global_scale"):
            state["weight_global_scale"] = tensor("weight_global_scale")
        # In its scales' type it would round.
        state["weight_scale"] = state["weight_scale"].float() if "mxfp4" not in name else state["weight_scale"]
        return "compressed-tensors", of.decompress(state, scheme)["weight"]
    if name.startswith("mlx"):
        import mlx.core as mx

        def array(last):
            t = tensors[f"{GATE}.{last}"]
            if isinstance(t, Raw):
                return mx.array(floats(t))
            return mx.array(t.astype(np.float32) if t.dtype == np.float16 else t)

        said = about["config"]["quantization"]
        args = [array("weight"), array("scales")] + ([array("biases")] if has("biases") else [])
        mode = said.get("mode", "affine")
        values = mx.dequantize(*args, group_size=said["group_size"], bits=said["bits"], mode=mode)
        return "mlx", torch.from_numpy(np.array(values.astype(mx.float32)))
    if name.startswith("hqq"):
        from hqq.core.quantize import Quantizer
        bits = int(tensors[GATE + ".nbits"])
        packing = {1: "1bit_u8", 2: "2bit_u8", 3: "3bit_32", 4: "4bit_u8", 8: "8bit_u8"}[bits]
        meta = {"packing": packing, "view_as_float": False, "nbits": bits, "axis": 1, "compute_dtype": torch.float32,
                "group_size": int(tensors[GATE + ".group_size"]), "shape": (FFN, DIM),
                "zero": tensor("zero").float(), "scale": tensor("scale").float()}
        return "hqq", Quantizer.dequantize(tensor("W_q"), meta)
    if name.startswith(("gptq", "auto-round")):
        from gptqmodel.nn_modules.qlinear.torch import TorchLinear
        bits = tensors[GATE + ".qweight"].shape[0] * 32 // DIM
        scales, zeros = tensor("scales"), tensor("qzeros")
        groups = len(scales)
        if "v2" not in name and name != "auto-round":
            # At load it adds what the first convention took away.
            zeros = torch.from_numpy(dense(sparse(tensors[GATE + ".qzeros"], bits, FFN) + 1, bits).view(np.int32))
        own = TorchLinear(bits=bits, group_size=DIM // groups, sym=False, desc_act=True, in_features=DIM, out_features=FFN)
        own.qweight, own.qzeros, own.scales = tensor("qweight"), zeros, scales.float()
        own.g_idx = tensor("g_idx") if has("g_idx") else torch.arange(DIM) // (DIM // groups)
        return "gptqmodel", own.dequantize_weight().T
    if name == "awq-gemm":
        from awq.utils.packing_utils import dequantize_gemm
        values = dequantize_gemm(tensor("qweight"), tensor("qzeros"), tensor("scales").float(), 4, 32)
        return "autoawq", values.T
    if name == "awq-gemv":
        from awq.modules.linear.gemv import WQLinear_GEMV
        scales = tensor("scales")[:, :2].float()
        zeros = torch.stack([tensor("qzeros")[:, 0] & 15, tensor("qzeros")[:, 0] >> 4 & 15], 1)
        values = torch.from_numpy(FORMS[name][0](generator(name))[1][GATE]).float()
        linear = torch.nn.Linear(DIM, FFN, bias=False)
        linear.weight.data = values
        packed = WQLinear_GEMV.from_linear(linear, 4, 32, False, scales, zeros)
        assert all(torch.equal(getattr(packed, last), tensor(last)) for last in ("qweight", "qzeros", "scales"))
        return "autoawq", values
    if name == "awq-gemv-fast":
        from awq.modules.linear.gemv_fast import pack_intweight
        scales, minima = tensor("scales")[0].float(), tensor("qzeros")[0].float()
        q = torch.round((torch.from_numpy(FORMS[name][0](generator(name))[1][GATE]) - minima[:, None]) / scales[:, None]).int()
        assert torch.equal(pack_intweight(q, 4, 64), tensor("qweight"))
        return "autoawq", q * scales[:, None] + minima[:, None]
    if name == "modelopt-nvfp4":
        packed = tensor("weight")
        codes = torch.stack([packed & 15, packed >> 4], -1).flatten(1).long()
        scales = tensor("weight_scale").float().repeat_interleave(16, 1)
        return "torch", torch.from_numpy(E2M1)[codes] * scales * tensor("weight_scale_2")
    if name.startswith(("fp8", "modelopt", "quark-fp8")):
        q, last = tensor("weight").float(), "weight_scale_inv" if has("weight_scale_inv") else "weight_scale"
        scale = tensor(last).float()
        if scale.ndim == 2:
            rows, cols = about["config"]["quantization_config"]["weight_block_size"]
            scale = scale.repeat_interleave(rows, 0)[:FFN].repeat_interleave(cols, 1)
        return "torch", q * scale
    return None, None


def check():
    worst = 0.0
    for name, (of, about) in list(FORMS.items()):
        tensors, values = of(generator(name))
        if GATE not in values or "params" in about:
            print(f"{name}: no library")
            continue
        try:
            library, found = library_values(name, about, tensors)
        except ImportError as error:
            library, found = f"skipped: {error}", None
        if found is None:
            print(f"{name}: {library or 'no library'}")
            continue
        found, want = found.float().numpy(), values[GATE].astype(np.float32)
        gap = np.abs(found - want).max() / np.abs(want).max()
        # compressed-tensors makes bfloat16 of NVFP4.
        worst = max(worst, gap / 4096 if name == "ct-nvfp4" else gap)
        print(f"{name}: {library}, {gap:.2g}")
    assert worst < 1e-6, worst


if __name__ == "__main__":
    check() if "--check" in sys.argv else make()
