#!/usr/bin/env python3
"""How long `puna list` takes where many models are.

    python3 benches/list_speed.py [--models N] [--rounds N] [--puna FILE]

So many models lie in folders of its own, as programs keep them: half of them GGUF files in Hugging Face's cache, a
quarter checkpoints there, a quarter in Ollama's store. What the GGUF files say is as long as what Llama 3's say, and in
the order of llama.cpp's; told are milliseconds of the whole process.
"""
import argparse
import json
import os
import statistics
import struct
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)


def write_gguf(path):
    """A file without tensors that has the keys of a model with 128,256 tokens."""

    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    strings = [("general.architecture", "llama"), ("general.type", "model"), ("general.name", "Model")]
    tokens = b"".join(text(f"token{i}") for i in range(128_256))
    with open(path, "wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, 0, len(strings) + 1))
        for key, value in strings:
            file.write(text(key) + struct.pack("<I", 8) + text(value))
        file.write(text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 128_256) + tokens)


def put(folder, i, head):
    """Model `i`, where programs keep such ones."""
    hub = os.path.join(folder, "hub", f"models--owner{i % 50}--model{i}")
    snapshot = os.path.join(hub, "snapshots", f"{i:040x}")
    if i % 4 == 3:
        blob = os.path.join(folder, "ollama", "blobs", f"sha256-{i:064x}")
        os.makedirs(os.path.dirname(blob), exist_ok=True)
        os.link(head, blob)
        layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{i:064x}"}
        manifest = os.path.join(folder, "ollama", "manifests", "registry.ollama.ai", "library", f"model{i}", "latest")
        return write(manifest, json.dumps({"layers": [layer]}))
    write(os.path.join(hub, "refs", "main"), f"{i:040x}")
    os.makedirs(snapshot)
    if i % 4 == 1:
        write(os.path.join(snapshot, "config.json"), json.dumps({"model_type": "llama", "hidden_size": 2048}))
        return write(os.path.join(snapshot, "model.safetensors"), "weights")
    blob = os.path.join(hub, "blobs", f"{i:064x}")
    os.makedirs(os.path.dirname(blob))
    os.link(head, blob)
    return os.symlink(blob, os.path.join(snapshot, f"model{i}-Q4_K_M.gguf"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--puna", default=os.path.join(ROOT, "target", "release", "puna"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        head = os.path.join(folder, "head")
        write_gguf(head)
        for i in range(options.models):
            put(folder, i, head)
        places = {"HF_HUB_CACHE": "hub", "OLLAMA_MODELS": "ollama", "PUNA_MODELS": "puna", "HOME": "home"}
        env = dict(os.environ, **{name: os.path.join(folder, place) for name, place in places.items()})
        times = []
        for _ in range(options.rounds):
            start = time.perf_counter()
            done = subprocess.run([options.puna, "list"], env=env, stdout=subprocess.PIPE, check=True, text=True)
            times.append(1000 * (time.perf_counter() - start))
            assert done.stdout.count("\n") == options.models, done.stdout[-500:]
        median = statistics.median(times)
        print(f"{options.models} models in {median:.0f} ms ({min(times):.0f} to {max(times):.0f}, {len(times)} times)")


main()
