"""Writes data/ggml_blocks.json: what ggml decodes and encodes, as hashes.

    pip install numpy gguf==0.19.0 llama-cpp-python==0.3.36
    python3 crates/kernels/tests/make_ggml_blocks.py

Blocks are bytes of the SplitMix64 generator, which the test has too, so that only hashes need be kept: 64-bit
FNV-1a of the bits of all values, little-endian, where whatever is no number is 0x7fc00000. Each type is decoded
by the `gguf` package, where it knows the type, and by llama.cpp's library, and both must agree. What is encoded
are numbers of many sizes, by llama.cpp's reference.
"""

import ctypes
import json
import pathlib

import gguf
import llama_cpp
import numpy as np
from llama_cpp._ggml import libggml

OUT = pathlib.Path(__file__).parent / "data" / "ggml_blocks.json"
N_BLOCKS = 3000
N_ENCODED = 96
ENCODED = ["TQ1_0", "TQ2_0", "NVFP4", "Q1_0", "Q2_0", "MXFP4"]
TYPES = {
    "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12,
    "Q5_K": 13, "Q6_K": 14, "IQ2_XXS": 16, "IQ2_XS": 17, "IQ3_XXS": 18, "IQ1_S": 19, "IQ4_NL": 20, "IQ3_S": 21,
    "IQ2_S": 22, "IQ4_XS": 23, "IQ1_M": 29, "BF16": 30, "TQ1_0": 34, "TQ2_0": 35, "MXFP4": 39, "NVFP4": 40,
    "Q1_0": 41, "Q2_0": 42,
}  # fmt: skip

TO_FLOAT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


class Traits(ctypes.Structure):
    _fields_ = [
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", TO_FLOAT),
        ("from_float_ref", TO_FLOAT),
    ]


libggml.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
libggml.ggml_get_type_traits.argtypes = [ctypes.c_int]


def words(seed, n):
    """SplitMix64."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def bits(values):
    values = np.ascontiguousarray(values, dtype=np.float32)
    return np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32))


def main():
    llama_cpp.llama_backend_init()
    types = {}
    for name, number in TYPES.items():
        traits = libggml.ggml_get_type_traits(number).contents
        assert traits.type_name.decode().upper() == name.upper(), (traits.type_name, name)
        block_len, block_bytes = traits.blck_size, traits.type_size
        blocks = (words(number, N_BLOCKS * block_bytes) >> np.uint64(32)).astype(np.uint8)
        decoded = np.empty(N_BLOCKS * block_len, dtype=np.float32)
        traits.to_float(blocks.ctypes.data, decoded.ctypes.data, decoded.size)
        about = {"number": number, "block_len": block_len, "block_bytes": block_bytes}
        about["decoded"] = fnv(bits(decoded).astype("<u4").tobytes())
        try:
            rows = blocks.reshape(1, -1)
            other = gguf.dequantize(rows, gguf.GGMLQuantizationType(number)).reshape(-1)
            assert (bits(other) == bits(decoded)).all(), f"{name}: gguf differs from llama.cpp"
        except (NotImplementedError, ValueError) as e:
            print(f"{name}: the gguf package cannot decode it ({e})")
        if name in ENCODED:
            n = N_ENCODED * block_len
            x = (words(1000 + number, n) >> np.uint64(32)).astype(np.uint32).view(np.int32).astype(np.float32)
            # Of each block another size, and a block of zeros.
            size = np.repeat(np.exp2(np.arange(N_ENCODED) % 24 - 47).astype(np.float32), block_len)
            x = (x * size).astype(np.float32)
            x[:block_len] = 0
            out = np.zeros(N_ENCODED * block_bytes, dtype=np.uint8)
            traits.from_float_ref(x.ctypes.data, out.ctypes.data, n)
            about["encoded"] = fnv(out.tobytes())
        types[name] = about
        print(name, about)
    versions = {"gguf": "0.19.0", "llama_cpp_python": llama_cpp.__version__}
    about = {"made_with": versions, "n_blocks": N_BLOCKS, "n_encoded": N_ENCODED, "types": types}
    OUT.write_text(json.dumps(about, indent=1) + "\n")


main()
