#!/usr/bin/env python3
"""Puna's training step beside PyTorch's, measured in turn on this machine: tokens per second and peak memory.

    python3 benches/peers/torch_train.py                            # 7m, 15m and 110m, all forms of PyTorch
    python3 benches/peers/torch_train.py --shapes 15m --rounds 9
    python3 benches/peers/torch_train.py --shapes 110m --forms eager-f32,compiled-f32 --batch 1

It needs Rust, Python 3.10 or later, a C++ compiler for torch.compile, and PyTorch with transformers: `pip install torch
transformers` into the Python that runs this, or into the one that --python names.

The shapes (Puna's bench `train_speed` has the same) have 32,000 tokens and tied embeddings: 7m is 128 wide with 6
layers, 15m 288 wide with 6, both on sequences of 256; 110m is 768 wide with 12 layers, on sequences of 1024. A step is
whole: forward, cross-entropy, backward, clipping of the gradient's norm to 1, AdamW. PyTorch's model is transformers'
LlamaForCausalLM with its scaled-dot-product attention, eager and compiled, in f32 and with all weights and moments in
bf16; its AdamW is the fused one. Puna computes in f32.

Every program is a process of its own that waits for a line before each step, so that one works at a time. A round has
one step of each, in an order drawn by chance; rounds before the first that counts warm up. What is printed are medians
of the rounds, with the smallest and the largest, the median of the rounds' ratios to Puna, and the most resident memory
each process ever had.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# width, layers, heads, feed-forward width, sequence; sequences of a batch
SHAPES = {
    "7m": ((128, 6, 4, 384, 256), 8),
    "15m": ((288, 6, 6, 768, 256), 8),
    "110m": ((768, 12, 12, 2048, 1024), 2),
}
FORMS = "eager-f32,compiled-f32,eager-bf16,compiled-bf16"
VOCAB_SIZE = 32_000


def work(shape, batch, form, threads):
    """A process that trains with PyTorch, a step for each line."""
    import time

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    (dim, layers, heads, ffn_dim, length), _ = SHAPES[shape]
    config = LlamaConfig(
        hidden_size=dim,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=ffn_dim,
        vocab_size=VOCAB_SIZE,
        max_position_embeddings=length,
        tie_word_embeddings=True,
        use_cache=False,
        attn_implementation="sdpa",
    )
    how, dtype = form.split("-")
    model = LlamaForCausalLM(config)
    if dtype == "bf16":
        model = model.to(torch.bfloat16)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def loss_of(tokens):
        return model(input_ids=tokens, labels=tokens).loss

    if how == "compiled":
        loss_of = torch.compile(loss_of)
    for _ in sys.stdin:
        tokens = torch.randint(0, VOCAB_SIZE, (batch, length))
        start = time.perf_counter()
        loss = loss_of(tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "loss": value}), flush=True)


class Program:
    """One that is measured."""

    def __init__(self, command, env):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, env={**os.environ, **env}, cwd=ROOT, **pipes)
        self.seconds = []

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[0]} ended: exit status {self.process.wait()}")
        return json.loads(line)["seconds"]

    def peak_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024

    def end(self):
        self.process.kill()
        self.process.wait()


def puna_program():
    """Builds Puna's bench; its path."""
    command = ["cargo", "bench", "-p", "puna-train", "--bench", "train_speed", "--no-run", "--message-format", "json"]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    made = (json.loads(line) for line in out.splitlines() if line.startswith("{"))
    return next(m["executable"] for m in made if m.get("target", {}).get("name") == "train_speed" and m.get("executable"))


def measure(shape, args):
    batch = args.batch or SHAPES[shape][1]
    n_tokens = batch * SHAPES[shape][0][4]
    worker = [args.python, os.path.abspath(__file__), "--work", shape, str(batch)]
    steps = str(args.rounds + args.warm + 1)
    programs = {"puna": Program([args.puna, shape, str(batch), steps, str(args.threads)], {"PUNA_BENCH_IN_TURN": "1"})}
    for form in args.forms.split(","):
        programs[form] = Program(worker + [form, str(args.threads)], {})
    try:
        for program in programs.values():
            for _ in range(args.warm):
                program.step()
        for _ in range(args.rounds):
            for program in random.sample(list(programs.values()), len(programs)):
                program.seconds.append(program.step())
        print(f"\n{shape}: {batch} sequences, {n_tokens} tokens a step, {args.threads} threads, {args.rounds} rounds")
        print(f"{'':14}  tokens/s   (slowest to fastest)   Puna is   peak MiB   Puna has")
        puna = programs["puna"]
        for name, program in programs.items():
            speeds = sorted(n_tokens / seconds for seconds in program.seconds)
            ratio = statistics.median(b / a for a, b in zip(puna.seconds, program.seconds))
            peak = program.peak_mib()
            print(
                f"{name:14}  {statistics.median(speeds):8.0f}   ({speeds[0]:8.0f} to {speeds[-1]:8.0f})"
                f"   {ratio:5.2f} x   {peak:8.0f}   {puna.peak_mib() / peak:5.2f} x",
                flush=True,
            )
    finally:
        for program in programs.values():
            program.end()


def main():
    if sys.argv[1:2] == ["--work"]:
        shape, batch, form, threads = sys.argv[2:]
        return work(shape, int(batch), form, int(threads))
    parser = argparse.ArgumentParser(description="Puna's training step beside PyTorch's")
    parser.add_argument("--shapes", default="7m,15m,110m")
    parser.add_argument("--forms", default=FORMS, help="PyTorch's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm", type=int, default=1, help="rounds before those that count")
    parser.add_argument("--batch", type=int, help="sequences of a step")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--python", default=sys.executable, help="a Python that has torch and transformers")
    parser.add_argument("--puna", help="the built bench `train_speed`; built by cargo if not given")
    args = parser.parse_args()
    args.puna = args.puna or puna_program()
    for shape in args.shapes.split(","):
        measure(shape, args)


if __name__ == "__main__":
    main()
