#!/usr/bin/env python3
"""Writes `muon.json` beside this file: what torch.optim.Muon makes of random matrices, for `tests/kernels/muon.rs`.

    pip install torch==2.15.0 && python3 crates/kernels/tests/make_muon.py

Three steps with weight decay and either adjustment of the learning rate. Matrices and gradients are those of `random`
in `tests/kernels/test_data.rs`. PyTorch rounds to bf16 inside; each case is computed so (`bf16`), and once more with
f32 in place of it (`f32`), which is what Puna computes.
"""
import json
import pathlib

import torch

SHAPES = [(12, 20), (20, 12), (16, 16), (1, 5)]


def random(n, seed):
    mask = (1 << 64) - 1
    state = ((seed * 0x9E3779B97F4A7C15) & mask) ^ 0x123456789ABCDEF1
    out = []
    for _ in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) & mask
        out.append((state >> 40) / (1 << 23) - 1.0)
    return torch.tensor(out, dtype=torch.float32)


def steps(rows, cols, adjust):
    w = torch.nn.Parameter(random(rows * cols, 1).reshape(rows, cols))
    optimizer = torch.optim.Muon([w], lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn=adjust)
    for step in range(3):
        w.grad = random(rows * cols, 2 + step).reshape(rows, cols)
        optimizer.step()
    return [float(x) for x in w.detach().flatten()]


cases = []
bf16 = torch.bfloat16
for rows, cols in SHAPES:
    for adjust in ["original", "match_rms_adamw"]:
        case = {"rows": rows, "cols": cols, "adjust": adjust, "bf16": steps(rows, cols, adjust)}
        torch.bfloat16 = torch.float32
        case["f32"] = steps(rows, cols, adjust)
        torch.bfloat16 = bf16
        cases.append(case)
out = {"torch": torch.__version__, "cases": cases}
pathlib.Path(__file__).with_name("muon.json").write_text(json.dumps(out) + "\n")
