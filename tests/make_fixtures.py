#!/usr/bin/env python3
"""Makes the compact fixture set `tests/fixtures` from the full conformance set.

    python3 tests/make_fixtures.py ../shared/conformance

Only what was generated for the project is taken: checkpoints with seeded random weights and the reference's outputs
for them (logits, hidden states, continuations, gradients, optimizer steps; transformers in float32), rotary and
sampling vectors. Tokenizers, chat templates and real models belong to others and stay out. Needs Python 3 alone.
"""

import json
import shutil
import struct
import sys
from pathlib import Path

MODELS = ["llama1-mha-f32", "llama3.1-ropescale-sharded", "llama3.2-tied"]
META = {"llama3.1-ropescale-sharded": ["meta/llama3.1-ropescale-sharded-mp2"]}
# The longest sequence's logits are the largest tensors and are left out, but for one model.
DROPPED = {"llama1-mha-f32": [], "llama3.1-ropescale-sharded": ["seq2."], "llama3.2-tied": ["seq2."]}
WEIGHTS = (".safetensors", ".safetensors.index.json")
CONFIGS = ("config.json", "config.v5.json", "generation_config.json")


def copy_golden(source: Path, target: Path, dropped: list[str]) -> None:
    """Copies a safetensors file without the tensors whose names begin with one of `dropped`."""
    data = source.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    kept, parts, offset = {}, [], 0
    entries = {k: v for k, v in header.items() if k != "__metadata__"}
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        if any(name.startswith(prefix) for prefix in dropped):
            continue
        begin, end = (8 + length + x for x in entry["data_offsets"])
        parts.append(data[begin:end])
        kept[name] = {**entry, "data_offsets": [offset, offset + end - begin]}
        offset += end - begin
    text = json.dumps(kept).encode()
    text += b" " * (-len(text) % 8)
    target.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def main() -> None:
    full = Path(sys.argv[1])
    out = Path(__file__).parent / "fixtures"
    shutil.rmtree(out, ignore_errors=True)
    (out / "golden").mkdir(parents=True)
    manifest = json.loads((full / "golden/manifest.text.json").read_text())
    for name in MODELS:
        target = out / "models" / name
        target.mkdir(parents=True)
        for file in sorted((full / "models" / name).iterdir()):
            if file.name in CONFIGS or file.name.endswith(WEIGHTS):
                shutil.copy(file, target)
        golden = f"golden/{name}.safetensors"
        copy_golden(full / golden, out / golden, DROPPED[name])
    kept = {name: manifest[name] for name in MODELS}
    (out / "golden/manifest.text.json").write_text(json.dumps(kept, indent=1) + "\n")
    meta = json.loads((full / "meta/manifest.json").read_text())
    meta["models"] = {name: {**meta["models"][name], "dirs": dirs} for name, dirs in META.items()}
    for dirs in META.values():
        for folder in dirs:
            target = out / folder
            target.mkdir(parents=True)
            for file in sorted((full / folder).iterdir()):
                if file.name == "params.json" or file.suffix == ".pth":
                    shutil.copy(file, target)
    (out / "meta/manifest.json").write_text(json.dumps(meta, indent=1) + "\n")
    for file in ["rope/vectors.json", "sampling/vectors.json"]:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(full / file, out / file)
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"{out}: {size / 1e6:.1f} MB")


main()
