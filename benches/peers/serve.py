#!/usr/bin/env python3
"""Puna's server beside llama-server on this machine: tokens a second, times to the first token and between tokens.

    python3 benches/peers/serve.py --llama-server DIR/llama-server      # the table: about an hour
    python3 benches/peers/serve.py --llama-server … --chats 4 --rounds 3
    python3 benches/peers/serve.py --puna-only                           # Puna alone

It needs Rust and Python 3.9 or later. llama-server is built by hand from llama.cpp's sources, natively for the machine
(`cmake -B build -DGGML_NATIVE=ON && cmake --build build --target llama-server`). The model files have the shape of Llama
3.2 1B, random weights and a vocabulary of numbers, which both programs read; speed does not notice.

Both servers run one after the other on the same file with the same number of threads; each round measures both, in an
order drawn by chance. A chat is a prompt of --prompt tokens that nobody else has and --answer tokens of an answer that
does not end before; N chats are asked at once, over N connections, streamed, at temperature 0. Of all chats together:
tokens/s from the first request to the last token, and the medians and 99th percentiles of the time to the first token and
between tokens. llama-server has as many slots as there are chats, unified keys and values, and its own defaults else.

    same         a prompt whose first --shared tokens were computed just before: its time to the first token as a share
                 of the first one's
    copy         one chat whose answer repeats its prompt (temperature 0 on random weights soon does): with guesses and
                 without
    overhead     processor time of the server for each streamed token, beyond that of a token of `puna bench`; of
                 the built-in model, whose tokens take little time themselves
    idle         memory of the server for 2,000 streams that wait, beyond that before they came
    forms        one chat whose answer has a form and one without: what the form costs
"""
import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KINDS = "chats,same,copy,overhead,idle,forms"
VOCABULARY = range(1000, 120_000)


def ids(seed, n):
    rng = random.Random(seed)
    return [128_000] + [rng.choice(VOCABULARY) for _ in range(n - 1)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server that runs until the block is over."""

    def __init__(self, name, command, port):
        self.name, self.command, self.port = name, command, port

    def __enter__(self):
        log = open(os.path.join(ROOT, "target", "peers", f"{self.name}.log"), "w")
        self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1) as answer:
                    if answer.status == 200:
                        return self
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"error: {self.name} ended: {log.name}")
            time.sleep(0.1)
        sys.exit(f"error: {self.name} does not answer: {log.name}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


async def chat(port, body):
    """One stream: when each piece came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"
    start = time.perf_counter()
    writer.write(head.encode() + f"content-length: {len(data)}\r\n\r\n".encode() + data)
    await writer.drain()
    times, text, n_tokens = [], "", None
    while line := await reader.readline():
        if not line.startswith(b"data: "):
            if b"HTTP/1.1" in line and b"200" not in line:
                raise RuntimeError((line + await reader.read()).decode()[:500])
            continue
        if line.startswith(b"data: [DONE]"):
            break
        event = json.loads(line[6:])
        piece = "".join(choice.get("text") or "" for choice in event.get("choices", []))
        if piece:
            times.append(time.perf_counter())
            text += piece
        if event.get("usage"):
            n_tokens = event["usage"]["completion_tokens"]
    writer.close()
    return {"start": start, "times": times, "n": n_tokens or len(times), "text": text}


def body_of(prompt, n_answer):
    return {"model": "m", "prompt": prompt, "max_tokens": n_answer, "temperature": 0, "stream": True, "ignore_eos": True,
            "stream_options": {"include_usage": True}, "cache_prompt": True}


def run_chats(port, n, options, seed):
    async def all_chats():
        bodies = [body_of(ids(f"{seed}-{i}", options.prompt), options.answer) for i in range(n)]
        return await asyncio.gather(*(chat(port, body) for body in bodies))

    chats = asyncio.run(all_chats())
    start, end = min(c["start"] for c in chats), max(c["times"][-1] for c in chats)
    first = [c["times"][0] - c["start"] for c in chats]
    # A piece may have several tokens: they came together.
    between = [gap for c in chats for gap in ([b - a for a, b in zip(c["times"], c["times"][1:])])]
    return {"tokens_s": sum(c["n"] for c in chats) / (end - start), "first": first, "between": between}


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def busy_s():
    """Seconds that all processors worked so far."""
    with open("/proc/stat") as stat:
        fields = [int(x) for x in stat.readline().split()[1:]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def servers(options, model, n, longest=0):
    port = free_port()
    yield Server("puna", [options.puna, "serve", "-m", model, "--port", str(port), "--threads", str(options.threads),
                          "--quiet", *options.puna_args.split()], port)
    if not options.puna_only:
        port = free_port()
        context = n * max(longest, options.prompt + options.answer + 64)
        yield Server("llama-server", [options.llama_server, "-m", model, "--port", str(port), "--threads",
                                      str(options.threads), "--parallel", str(n), "--ctx-size", str(context), "--no-ui",
                                      "--kv-unified", *options.llama_args.split()], port)


def measure(options, model, n):
    results = {}
    for round_ in range(options.rounds):
        both = list(servers(options, model, n))
        random.shuffle(both)
        for server in both:
            with server:
                run_chats(server.port, min(n, 2), options, f"warm-{round_}")  # Weights are copied after a few tokens.
                run_chats(server.port, 1, options, f"warmer-{round_}")
                before, start = busy_s(), time.time()
                result = run_chats(server.port, n, options, f"{round_}")
                result["busy"] = (busy_s() - before) / (time.time() - start)
                results.setdefault(server.name, []).append(result)
    return results


def report(model, n, results):
    name = os.path.basename(model)
    for program, rounds in results.items():
        speeds = [r["tokens_s"] for r in rounds]
        first = [t for r in rounds for t in r["first"]]
        between = [t for r in rounds for t in r["between"]]
        print(f"{name} {n:3} chats {program:13} {statistics.median(speeds):8.1f} tokens/s ({min(speeds):.1f} to "
              f"{max(speeds):.1f}); first token {percentile(first, .5):.2f} / {percentile(first, .99):.2f} s; between "
              f"{percentile(between, .5) * 1e3:.0f} / {percentile(between, .99) * 1e3:.0f} ms; cores busy "
              f"{statistics.median(r['busy'] for r in rounds):.1f}", flush=True)
    if len(results) == 2:
        a, b = results["puna"], results["llama-server"]
        ratios = [x["tokens_s"] / y["tokens_s"] for x, y in zip(a, b)]

        def share(key, at):
            return percentile([t for r in a for t in r[key]], at) / percentile([t for r in b for t in r[key]], at)

        print(f"{name} {n:3} chats ratio         {statistics.median(ratios):8.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
              f"first token {share('first', .5):.2f} / {share('first', .99):.2f}; between {share('between', .5):.2f} / "
              f"{share('between', .99):.2f}", flush=True)


def same(options, model):
    """A beginning that was computed just before."""
    for server in servers(options, model, 1, 2 * options.shared):
        shares = []
        with server:
            run_chats(server.port, 1, options, "warm")
            for round_ in range(options.rounds):
                shared = ids(f"shared-{round_}", options.shared)
                firsts = []
                for i in range(2):
                    made = asyncio.run(chat(server.port, body_of(shared + ids(f"{round_}-{i}", 9)[1:], 4)))
                    firsts.append(made["times"][0] - made["start"])
                shares.append(firsts[1] / firsts[0])
        print(f"{os.path.basename(model)} same beginning of {options.shared}: {server.name} {statistics.median(shares):.3f} "
              f"({min(shares):.3f} to {max(shares):.3f})", flush=True)


def copy(options, model):
    """An answer that repeats what was said."""
    times = {}
    for round_ in range(options.rounds):
        for name, argument in (("guessing", ""), ("without", "--no-guesses")):
            own = argparse.Namespace(**{**vars(options), "puna_only": True, "puna_args": argument})
            for server in servers(own, model, 1):
                with server:
                    run_chats(server.port, 1, options, "warm")
                    made = asyncio.run(chat(server.port, body_of(ids("copy", 32) * 4, 256)))
                    n = made["n"]
                    times.setdefault(name, []).append((n - 1) / (made["times"][-1] - made["times"][0]))
    ratio = [a / b for a, b in zip(times["guessing"], times["without"])]
    print(f"{os.path.basename(model)} repeating: {statistics.median(times['guessing']):.1f} tokens/s guessing, "
          f"{statistics.median(times['without']):.1f} without; {statistics.median(ratio):.2f} ({min(ratio):.2f} to "
          f"{max(ratio):.2f})", flush=True)


def processor_s(pid):
    """Processor seconds that a process used so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    """Bytes of its own that a process has in memory."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))


def overhead(options):
    """What a streamed token takes beside its computation."""
    n, each = 20, 400
    # The context beforehand is as long as the answer's is in the mean.
    command = [options.puna, "bench", "--paced", "-p", "0", "-n", str(each // 2), "-d", str(each // 4), "--threads", "1"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, input="decode\n" * options.rounds).stdout
    lone = [1 / answer["tokens_per_s"] for answer in map(json.loads, lines.splitlines()) if "tokens_per_s" in answer]
    served = []
    port = free_port()
    with Server("puna", [options.puna, "serve", "--port", str(port), "--threads", "1", "--quiet", "--no-guesses"], port) as server:
        for _ in range(options.rounds + 1):
            before = processor_s(server.process.pid)
            for _ in range(n):
                body = {**body_of("Once upon a time", each), "model": "m"}
                made = asyncio.run(chat(port, body))
                assert made["n"] == each, made["n"]
            served.append((processor_s(server.process.pid) - before) / (n * each))
    a, b = statistics.median(served[1:]), statistics.median(lone)
    print(f"a streamed token takes {a * 1e6:.1f} µs of processor time, of `puna bench` {b * 1e6:.1f}: {(a - b) * 1e6:.1f} µs more "
          f"({min(served[1:]) * 1e6:.1f} to {max(served[1:]) * 1e6:.1f}; {min(lone) * 1e6:.1f} to {max(lone) * 1e6:.1f})", flush=True)


def idle(options):
    """What waiting streams take."""
    n, port = 2000, free_port()

    async def wait():
        body = {"model": "m", "messages": [{"role": "user", "content": "Once"}], "stream": True, "max_tokens": 10**6,
                "ignore_eos": True}
        data = json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(data)}\r\n\r\n"
        streams = []
        for i in range(n):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode() + data)
            streams.append((reader, writer))
            if i == 0:
                assert b"200" in await reader.readline()
                before = resident(server.process.pid)
        await asyncio.sleep(5)
        took = resident(server.process.pid) - before
        for _, writer in streams:
            writer.close()
        return took

    command = [options.puna, "serve", "--port", str(port), "--threads", "1", "--quiet", "--max-running", "1", "--max-waiting", "3000"]
    with Server("puna", command, port) as server:
        took = asyncio.run(wait())
    print(f"{n} streams that wait take {took / 1e6:.1f} MB, {took / n / 1e3:.1f} kB each", flush=True)


def forms(options, model):
    """What a form costs."""
    schema = {"type": "object", "additionalProperties": False, "required": ["items"], "properties": {
        "items": {"type": "array", "minItems": 60, "items": {"type": "object", "additionalProperties": False,
                  "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}, "required": ["name", "n"]}}}}
    forms_of = {"with": {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}}, "without": {}}
    port, times = free_port(), {"with": [], "without": []}
    command = [options.puna, "serve", "-m", model, "--port", str(port), "--threads", str(options.threads), "--quiet", "--no-guesses"]
    with Server("puna", command, port):
        for round_ in range(options.rounds + 1):
            for name in random.sample(list(times), 2):
                body = {"model": "m", "prompt": ids(f"forms-{round_}", 32), "max_tokens": 96, "temperature": 0, "stream": True,
                        "ignore_eos": True, "stream_options": {"include_usage": True}, **forms_of[name]}
                made = asyncio.run(chat(port, body))
                if round_ > 0:
                    times[name].append((made["times"][-1] - made["times"][0]) / (made["n"] - 1))
    ratio = [a / b for a, b in zip(times["with"], times["without"])]
    print(f"{os.path.basename(model)} with a form: {statistics.median(times['with']) * 1e3:.1f} ms a token, without "
          f"{statistics.median(times['without']) * 1e3:.1f}; {statistics.median(ratio):.3f} ({min(ratio):.3f} to {max(ratio):.3f})",
          flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-server", metavar="FILE", help="llama.cpp's server")
    parser.add_argument("--puna-only", action="store_true")
    parser.add_argument("--puna", metavar="FILE", default=os.path.join(ROOT, "target", "release", "puna"))
    parser.add_argument("--models", default="q4_k_m,q8_0", help="recipes, by commas, or GGUF files [q4_k_m,q8_0]")
    parser.add_argument("--chats", default="1,4,16,64", help="chats at once, by commas [1,4,16,64]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=128, help="tokens of a prompt [128]")
    parser.add_argument("--answer", type=int, default=64, help="tokens of an answer [64]")
    parser.add_argument("--shared", type=int, default=1000, help="tokens of a shared beginning [1000]")
    parser.add_argument("--puna-args", default="", help="further arguments of puna serve")
    parser.add_argument("--llama-args", default="", help="further arguments of llama-server")
    parser.add_argument("--only", default=KINDS, help=f"what to measure, by commas [{KINDS}]")
    options = parser.parse_args()
    if not (options.puna_only or options.llama_server):
        parser.error("--llama-server names llama.cpp's server; --puna-only does without")
    return options


def main():
    options = arguments()
    os.makedirs(os.path.join(ROOT, "target", "peers", "models"), exist_ok=True)
    if not os.path.exists(options.puna):
        subprocess.run(["cargo", "build", "--release", "-p", "puna-cli"], cwd=ROOT, check=True)
    kinds = options.only.split(",")
    if "overhead" in kinds:
        overhead(options)
    if "idle" in kinds:
        idle(options)
    for recipe in options.models.split(","):
        model = recipe if recipe.endswith(".gguf") else os.path.join(ROOT, f"target/peers/models/1b-text-{recipe}.gguf")
        if not os.path.exists(model):
            subprocess.run(["cargo", "run", "--release", "-q", "-p", "puna-model", "--example", "random_gguf", "--",
                            "1b-text", recipe, model], cwd=ROOT, check=True)
        for n in (int(n) for n in options.chats.split(",") if "chats" in kinds):
            report(model, n, measure(options, model, n))
        if "same" in kinds:
            same(options, model)
        if "copy" in kinds:
            copy(options, model)
        if "forms" in kinds:
            forms(options, model)


main()
