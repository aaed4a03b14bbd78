#!/usr/bin/env python3
"""Puna beside transformers with bitsandbytes on the CPU: a model in NF4, measured in turn on this machine.

    python3 benches/peers/bitsandbytes_nf4.py --venv DIR

The environment needs `torch`, `transformers`, `accelerate` and `bitsandbytes` of PyPI. The model has Llama 3.2 1B's
shape and random weights, quantised by bitsandbytes and saved by transformers under target/peers (or --model DIR); both
programs read that folder. transformers computes in bfloat16 (--dtype: float32 is faster where the processor has no
products of bfloat16), with its own cache and attention by sdpa. Each round measures both, in an order drawn by chance:
a prompt of 512 tokens, and tokens one by one. Rounds that others disturb are measured again.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from llama_cpp import Program, built, disturbance, highest, measure_in_turn, say, timed, undisturbed

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
N_PREFILL, N_DECODE = 512, 16
SHAPE = {
    "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256, "max_position_embeddings": 4096,
    "rope_theta": 500000.0, "tie_word_embeddings": True,
}


def child_make(settings):
    """Quantises a model of random weights, layer by layer, and saves it."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    plain = settings["folder"] + ".plain"
    LlamaForCausalLM(LlamaConfig(**SHAPE, dtype="bfloat16")).to(torch.bfloat16).save_pretrained(plain)
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
    )
    model = AutoModelForCausalLM.from_pretrained(plain, quantization_config=config, device_map="cpu")
    model.save_pretrained(settings["folder"])
    for name in os.listdir(plain):
        os.remove(os.path.join(plain, name))
    os.rmdir(plain)


def child_measure(settings):
    """The same little protocol as `puna bench --paced`."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(settings["threads"])
    dtype = getattr(torch, settings["dtype"])
    model = AutoModelForCausalLM.from_pretrained(settings["folder"], device_map="cpu", dtype=dtype).eval()
    for module in model.modules():
        if hasattr(module, "compute_dtype"):
            module.compute_dtype = dtype  # The saved one otherwise.

    @torch.inference_mode()
    def measure(part):
        if part == "prefill":
            tokens = torch.randint(SHAPE["vocab_size"], (1, N_PREFILL))
            start = time.perf_counter()
            model(tokens, logits_to_keep=1)
            n = N_PREFILL
        else:
            out = model(torch.randint(SHAPE["vocab_size"], (1, 1)), use_cache=True)
            start = time.perf_counter()
            for _ in range(N_DECODE):
                token = torch.randint(SHAPE["vocab_size"], (1, 1))
                out = model(token, past_key_values=out.past_key_values, use_cache=True)
            n = N_DECODE
        return {"part": part, "tokens": n, "tokens_per_s": n / (time.perf_counter() - start)}

    for part in ("prefill", "decode"):
        measure(part)
    say({"ready": True})
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        say(measure(line.strip()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", metavar="DIR", help="the environment with transformers and bitsandbytes")
    parser.add_argument("--model", metavar="DIR", help="the model's folder [target/peers/models/1b-nf4]")
    parser.add_argument("--dtype", default="bfloat16", help="what transformers computes in [bfloat16]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--puna-args", default="", help="further arguments of puna's bench")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        # This folder has files with the names of packages.
        sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != HERE]
        return {"make": child_make, "measure": child_measure}[options.child[0]](json.loads(options.child[1]))
    if not options.venv:
        parser.error("--venv is needed")
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    folder = options.model or os.path.join(target, "peers", "models", "1b-nf4")
    child = lambda mode, settings: [
        os.path.join(options.venv, "bin", "python"), os.path.abspath(__file__), "--child", mode, json.dumps(settings)
    ]
    if not os.path.exists(os.path.join(folder, "config.json")):
        print(f"making {folder}", file=sys.stderr)
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        subprocess.run(child("make", {"folder": folder}), check=True)
    puna, bench = built("puna-cli", "--bin", "puna"), built("puna-kernels", "--bench", "ceiling")

    def limit():
        _, _, out, others = timed([bench, str(options.threads)], os.environ)
        return {"ceiling": {**json.loads(out), "others": others}}

    ceilings, _ = undisturbed(limit, 3)
    ceiling = highest([answers["ceiling"] for answers in ceilings])
    command = [puna, "bench", "--paced", "-m", folder, "-p", str(N_PREFILL), "-n", str(N_DECODE), "--kv", "f16"]
    command += ["--threads", str(options.threads), *options.puna_args.split()]
    settings = {"folder": folder, "threads": options.threads, "dtype": options.dtype}
    programs = [Program("puna", command, os.environ), Program("bitsandbytes", child("measure", settings), os.environ)]
    print(f"{ceiling}")
    for part in ("prefill", "decode"):
        speeds, answer, n_disturbed = measure_in_turn(programs, part, options.rounds)
        ours, theirs = (statistics.median(speeds[program.name]) for program in programs)
        ratios = [a / b for a, b in zip(speeds["puna"], speeds["bitsandbytes"])]
        read, worked = (answer[name] / answer["tokens_per_s"] * ours for name in ("gb_per_s", "gflop_per_s"))
        print(
            f"{part:8} puna {ours:.2f}, bitsandbytes {theirs:.2f} tokens/s, ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f}..{max(ratios):.2f}); puna reads {read / ceiling['gb_per_s']:.0%} of the bandwidth, does "
            f"{worked / ceiling['f32_gop_per_s']:.0%} of the f32 and {worked / (ceiling['int8_gop_per_s'] or worked):.0%} of "
            f"the int8 peak{disturbance(n_disturbed)}",
            flush=True,
        )
    for program in programs:
        program.close()


if __name__ == "__main__":
    main()
