#!/usr/bin/env python3
"""Puna beside llama.cpp, measured in turn on this machine: speed, start, shared machine, quality.

    python3 benches/peers/llama_cpp.py                       # everything of the first kind; takes hours
    python3 benches/peers/llama_cpp.py --models 1b-q4_k_m --columns prefill,decode
    python3 benches/peers/llama_cpp.py --json results.jsonl  # may be interrupted and started again
    python3 benches/peers/llama_cpp.py --avx2                # both programs with AVX2 alone
    python3 benches/peers/llama_cpp.py --start
    python3 benches/peers/llama_cpp.py --contended
    python3 benches/peers/llama_cpp.py --quality --f32 F32.gguf --quantised A.gguf B.gguf --ids IDS.json

It needs Rust, Python 3.9 or later and, the first time, a C++ compiler and a network for pip: llama.cpp comes from the
PyPI package llama-cpp-python, built from source for this machine's instruction set into a virtual environment under
target/peers (--venv DIR uses or makes another). Puna and its examples are built by cargo. The model files have the
shapes of Llama 3.2 1B and Llama 3.1 8B and random weights; speed does not notice.

Both programs load the same file and wait for a line that says what to measure; only one of them works at a time. Each
round measures both, in an order drawn by chance; what counts is the median of the rounds' ratios. A round during which
other processes took more than 5 % of the machine is measured again (on Linux, which tells), for they do not slow both
alike; where rounds stayed disturbed, it is said. llama.cpp runs with its own defaults (flash attention chosen by
itself, n_batch 2048, n_ubatch 512), through its C functions. Both keep keys and values in f16 unless a column says
otherwise. The columns:

    prefill            a prompt of 512 tokens
    decode             32 tokens one by one, from an empty context
    decode-deep-f16    32 tokens one by one after 8192 others (--depth)
    decode-deep-q8_0   the same with keys and values in q8_0
    prefill-deep       512 tokens after 8192 others
    batch8             8 sequences decode 32 tokens each together; tokens/s of all of them

The share is that of the machine's ceiling: the time that the bytes which must be read need at the speed at which all
threads together read memory, or the time that the products need at the peak of int8 (f32 for f32, f16 and bf16
weights), whichever is longer, divided by the time taken. `cargo bench -p puna-kernels --bench ceiling` measures both.
"""
import argparse
import array
import datetime
import json
import math
import os
import platform
import random
import shlex
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import venv

VERSION = "0.3.36"  # Of llama-cpp-python: the one whose functions are called below.
NATIVE = "-DGGML_NATIVE=ON"
AVX2 = "-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON"
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MODELS = "1b-q4_0,1b-q4_k_m,1b-q5_k_m,1b-q6_k,1b-q8_0,1b-bf16,1b-f16,8b-q4_k_m"
N_PREFILL, N_DECODE = 512, 32

# column -> (part, whether deep, type of keys and values, sequences)
COLUMNS = {
    "prefill": ("prefill", False, "f16", 1),
    "decode": ("decode", False, "f16", 1),
    "decode-deep-f16": ("decode", True, "f16", 1),
    "decode-deep-q8_0": ("decode", True, "q8_0", 1),
    "prefill-deep": ("prefill", True, "f16", 1),
    "batch8": ("decode", False, "f16", 8),
}

# Between two turns. llama.cpp waits with OpenMP, whose threads were seen to use 6 to 8 ms of processor time after the
# last token and then to sleep (no more in two idle seconds); Puna's sleep sooner. So neither steals from the other's
# turn, and OMP_WAIT_POLICY, which would slow llama.cpp, stays as it is.
PAUSE_S = 0.05

# The part of the machine that others may take during a measurement. Clock ticks and this script's own work count too.
QUIET = 0.05


def fail(message):
    sys.exit(f"error: {message}")


# ---- the other side: llama.cpp in a process of its own ---------------------------------------------------------------


class LlamaCpp:
    """A model and a context of llama.cpp, by its C functions as the package declares them."""

    def __init__(self, settings):
        # This file has the package's name, and its folder is the first that Python would look in.
        sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != HERE]
        import llama_cpp

        self.api = api = llama_cpp
        self.n_sequences = settings["sequences"]
        api.llama_backend_init()
        self.started = time.perf_counter()
        path = os.fsencode(settings["model"])
        self.model = api.llama_model_load_from_file(path, api.llama_model_default_params())
        if not self.model:
            fail(f"llama.cpp cannot load `{settings['model']}`")
        types = {"f32": api.GGML_TYPE_F32, "f16": api.GGML_TYPE_F16, "q8_0": api.GGML_TYPE_Q8_0}
        flash_attn = {
            "auto": api.LLAMA_FLASH_ATTN_TYPE_AUTO,
            "on": api.LLAMA_FLASH_ATTN_TYPE_ENABLED,
            "off": api.LLAMA_FLASH_ATTN_TYPE_DISABLED,
        }
        params = api.llama_context_default_params()
        # A context is a whole number of 256 cells, and every sequence has its own part of it.
        params.n_ctx = self.n_sequences * -(-settings["n_ctx"] // 256) * 256
        params.n_batch, params.n_ubatch = 2048, 512  # The library's defaults, said so that the chunks below fit.
        params.n_seq_max = self.n_sequences
        params.n_threads = params.n_threads_batch = settings["threads"]
        params.flash_attn_type = flash_attn[settings["flash_attn"]]
        params.type_k = params.type_v = types[settings["kv"]]
        self.context = api.llama_init_from_model(self.model, params)
        if not self.context:
            fail(f"llama.cpp cannot make a context with keys and values in {settings['kv']}")
        self.memory = api.llama_get_memory(self.context)
        self.batch = api.llama_batch_init(params.n_batch, 0, 1)
        self.vocab_size = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))
        self.random = random.Random(1)

    def tokens(self, n):
        return [self.random.randrange(self.vocab_size) for _ in range(n)]

    def compute(self, rows):
        """One batch of (token, position, sequence, whether its logits are wanted)."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
        code = self.api.llama_decode(self.context, batch)
        if code != 0:
            fail(f"llama_decode of {len(rows)} tokens returned {code}")
        self.api.llama_synchronize(self.context)

    def read(self, tokens, first, sequence, all_logits=False, chunk=2048):
        """Reads tokens into a sequence; the logits of the last one are wanted, or all of them."""
        for start in range(0, len(tokens), chunk):
            part = tokens[start : start + chunk]
            at = range(first + start, first + start + len(part))
            wanted = [int(all_logits or start + i + 1 == len(tokens)) for i in range(len(part))]
            self.compute(list(zip(part, at, [sequence] * len(part), wanted)))

    def forget_from(self, position):
        for sequence in range(self.n_sequences):
            if not self.api.llama_memory_seq_rm(self.memory, sequence, position, -1):
                fail(f"llama.cpp cannot remove the tokens from {position} on")


def child_measure(settings):
    """The same little protocol as `puna bench --paced`."""
    llama = LlamaCpp(settings)
    load_s = time.perf_counter() - llama.started
    depth, n_sequences = settings["depth"], settings["sequences"]
    for sequence in range(n_sequences if depth else 0):
        llama.read(llama.tokens(depth), 0, sequence)
    counts = {part: settings[part] for part in ("prefill", "decode") if settings[part]}

    def measure(part):
        n = counts[part]
        if part == "prefill":
            tokens = llama.tokens(n)
            start = time.perf_counter()
            llama.read(tokens, depth, 0)
        else:
            n *= n_sequences
            steps = [llama.tokens(n_sequences) for _ in range(counts[part])]
            start = time.perf_counter()
            for i, step in enumerate(steps):
                llama.compute([(token, depth + i, sequence, 1) for sequence, token in enumerate(step)])
        seconds = time.perf_counter() - start
        llama.forget_from(depth)
        return {"part": part, "tokens": n, "tokens_per_s": n / seconds}

    for part in counts:
        measure(part)
    say({"ready": True, "load_s": load_s, "parts": list(counts), "system": system_info(llama.api)})
    for line in sys.stdin:
        line = line.strip()
        if line == "quit":
            break
        say(measure(line))


def child_start(settings):
    """Loads, computes two tokens and tells how long that took."""
    llama = LlamaCpp(settings)
    llama.read([1, 2], 0, 0)
    assert math.isfinite(llama.api.llama_get_logits_ith(llama.context, -1)[0])
    say({"seconds": time.perf_counter() - llama.started})


def child_logits(settings):
    """Writes the logits of every position of every window to a file of f32."""
    llama = LlamaCpp(settings)
    with open(settings["out"], "wb") as out:
        for window in settings["windows"]:
            llama.read(window, 0, 0, all_logits=True)
            # The rows of a batch are stored together, in its order.
            rows = llama.api.llama_get_logits(llama.context)
            out.write(array.array("f", rows[0 : len(window) * llama.vocab_size]).tobytes())
            llama.forget_from(0)
    say({"vocab_size": llama.vocab_size})


def system_info(api):
    parts = api.llama_print_system_info().decode().split("|")
    return " ".join(part.split("=")[0].strip().replace("CPU : ", "") for part in parts if part.strip())


def say(value):
    print(json.dumps(value), flush=True)


# ---- programs that are measured --------------------------------------------------------------------------------------


def busy_s():
    """Processor seconds that all processes together have used, or the host has kept; 0 where nothing tells."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    except OSError:
        return 0.0
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Program:
    """A process that measures when a line tells it to."""

    def __init__(self, name, command, env):
        self.name = name
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=env
        )
        self.ready = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            tail = self.errors.read().decode(errors="replace").strip().splitlines()[-5:]
            fail("\n  ".join([f"{self.name} ended with code {self.process.returncode} instead of measuring", *tail]))
        return json.loads(line)

    def measure(self, part):
        """The answer, to which the part of the machine that other processes took meanwhile is added."""
        before = self.others_s(), time.perf_counter()
        self.process.stdin.write(part + "\n")
        self.process.stdin.flush()
        answer = self.answer()
        seconds = time.perf_counter() - before[1]
        answer["others"] = (self.others_s() - before[0]) / seconds / os.cpu_count()
        time.sleep(PAUSE_S)
        return answer

    def others_s(self):
        try:
            with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
                own = sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
        except OSError:
            return 0.0
        return busy_s() - own / os.sysconf("SC_CLK_TCK")

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait()
        self.errors.close()


def built(crate, kind, name):
    """The program that cargo builds from an example, a bench or a binary of a crate."""
    command = ["cargo", "build", "--release", "--quiet", "--message-format", "json-render-diagnostics"]
    lines = subprocess.run([*command, "-p", crate, kind, name], check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout
    messages = map(json.loads, lines.splitlines())
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == name)


class Peers:
    """Where both programs are and how they are started."""

    def __init__(self, options):
        self.options = options
        target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
        self.build = "avx2" if options.avx2 else "native"
        self.env = dict(os.environ)
        for name in ("PUNA_MODEL", "PUNA_THREADS", "PUNA_ISA"):
            self.env.pop(name, None)
        if options.avx2:
            self.env["PUNA_ISA"] = "avx2"
        self.puna = options.puna or os.path.join(target, "release", "puna")
        self.models_dir = options.models_dir or os.path.join(target, "peers", "models")
        self.python = self.environment(options.venv or os.path.join(target, "peers", self.build))

    def environment(self, folder):
        """The Python of a virtual environment that has llama.cpp, made if it is not there."""
        python = os.path.join(folder, "bin", "python")
        if not os.path.exists(python):
            print(f"building llama-cpp-python {VERSION} ({self.build}) in {folder}", file=sys.stderr)
            venv.create(folder, with_pip=True)
            env = dict(os.environ, CMAKE_ARGS=AVX2 if self.options.avx2 else NATIVE)
            # No cache: it could hold a build with other flags.
            package = ["--no-cache-dir", "--no-binary", "llama-cpp-python", f"llama-cpp-python=={VERSION}"]
            subprocess.run([python, "-m", "pip", "install", "--quiet", *package], check=True, env=env)
        show = "import llama_cpp; print(llama_cpp.__version__, llama_cpp.llama_print_system_info().decode())"
        shown = subprocess.run([python, "-c", show], capture_output=True, text=True, cwd="/")
        if shown.returncode != 0:
            hint = "remove that folder, or name another with --venv"
            fail(f"there is no llama_cpp in `{folder}`\n  {hint}\n{shown.stderr}")
        self.version, _, info = shown.stdout.strip().partition(" ")
        if self.options.avx2 and "AVX512" in info:
            what = f"llama.cpp in `{folder}` was built with AVX-512, but --avx2 was asked for"
            fail(f"{what}\n  name another with --venv")
        return python

    def build_puna(self):
        if not self.options.puna:
            built("puna-cli", "--bin", "puna")

    def model(self, name):
        """The file of a model, which is made if it is not there. A name may be the path of a GGUF file as well."""
        if name.endswith(".gguf"):
            return name
        path = os.path.join(self.models_dir, f"{name}.gguf")
        if not os.path.exists(path):
            os.makedirs(self.models_dir, exist_ok=True)
            print(f"making {path}", file=sys.stderr)
            shape, _, recipe = name.partition("-")
            subprocess.run([built("puna-model", "--example", "random_gguf"), shape, recipe, path], check=True)
        return path

    def ceiling(self, threads):
        """The best of several tries, since others can only lower it, and how many of them others disturbed."""
        command = [built("puna-kernels", "--bench", "ceiling"), str(threads), *(["avx2"] if self.options.avx2 else [])]

        def once():
            _, _, out, others = timed(command, self.env)
            return {"ceiling": {**json.loads(out), "others": others}}

        tries, n_disturbed = undisturbed(once, 3)
        return highest([answers["ceiling"] for answers in tries]), n_disturbed

    def puna_command(self, *arguments):
        return [self.puna, *arguments, *shlex.split(self.options.puna_args)]

    def child(self, mode, settings):
        return [self.python, os.path.abspath(__file__), "--child", mode, json.dumps(settings)]

    def settings(self, model, **others):
        usual = {"kv": "f16", "sequences": 1, "threads": 2, "flash_attn": self.options.flash_attn}
        return {"model": model, **usual, **others}

    def programs(self, model, threads, parts, depth=0, kv="f16", sequences=1):
        """Both, ready to measure `parts`."""
        prefill = N_PREFILL if "prefill" in parts else 0
        decode = N_DECODE if "decode" in parts else 0
        command = self.puna_command("bench", "--paced", "-m", model, "-p", str(prefill), "-n", str(decode))
        command += ["-d", str(depth), "--kv", kv, "--sequences", str(sequences), "--threads", str(threads)]
        settings = self.settings(model, threads=threads, kv=kv, sequences=sequences, depth=depth)
        settings.update(prefill=prefill, decode=decode, n_ctx=depth + max(prefill, decode))
        return Program("puna", command, self.env), Program("llama.cpp", self.child("measure", settings), self.env)


def highest(ceilings):
    best = dict(ceilings[0])
    for name in ("gb_per_s", "f32_gop_per_s", "int8_gop_per_s"):
        best[name] = max((ceiling[name] for ceiling in ceilings if ceiling[name]), default=None)
    return best


# ---- speed -----------------------------------------------------------------------------------------------------------


def undisturbed(once, n_rounds, retries=4):
    """The answers of rounds, each measured again while others disturb it and `retries` last, and how many stayed so."""
    rounds, n_disturbed = [], 0
    for _ in range(n_rounds):
        for _ in range(1 + retries):
            answers = once()
            disturbed = max(answer["others"] for answer in answers.values()) > QUIET
            if not disturbed:
                break
        rounds.append(answers)
        n_disturbed += disturbed
    return rounds, n_disturbed


def measure_in_turn(programs, part, n_rounds, retries=4):
    """Tokens/s of each program in each round, Puna's last answer, which knows bytes and operations, and how many of the
    rounds others disturbed."""
    once = lambda: {program.name: program.measure(part) for program in random.sample(programs, len(programs))}
    rounds, n_disturbed = undisturbed(once, n_rounds, retries)
    speeds = {program.name: [answers[program.name]["tokens_per_s"] for answers in rounds] for program in programs}
    return speeds, rounds[-1]["puna"], n_disturbed


def speed(peers, options):
    cells = read_cells(options.json)
    ceilings = {}
    for threads in options.threads:
        # What an earlier run saw on a quieter machine counts.
        known = [cell["ceiling"] for cell in cells if cell["key"][2:4] == [threads, peers.build]]
        measured, n_disturbed = peers.ceiling(threads)
        ceiling = ceilings[threads] = highest([measured, *known])
        print(
            f"{threads} threads ({ceiling['isa']}) can read {ceiling['gb_per_s']} GB/s and do "
            f"{ceiling['f32_gop_per_s']} f32 or {ceiling['int8_gop_per_s']} int8 operations per ns"
            f"{disturbance(n_disturbed)}",
            flush=True,
        )
    for model in options.models:
        path = peers.model(model)
        for threads in options.threads:
            # Columns of equal context are measured by the same two processes, whose depth is then filled once.
            groups = {}
            for column in options.columns:
                part, deep, kv, sequences = COLUMNS[column]
                depth = options.depth if deep else 0
                key = [model, column, threads, peers.build, options.flash_attn, depth]
                if not any(cell["key"] == key for cell in cells):
                    groups.setdefault((depth, kv, sequences), []).append((column, part, key))
            for (depth, kv, sequences), columns in groups.items():
                parts = [part for _, part, _ in columns]
                programs = peers.programs(path, threads, parts, depth, kv, sequences)
                for column, part, key in columns:
                    speeds, answer, n_disturbed = measure_in_turn(programs, part, options.rounds)
                    cell = {
                        "key": key,
                        "puna": speeds["puna"],
                        "llama.cpp": speeds["llama.cpp"],
                        "disturbed": n_disturbed,
                        "gb_per_token": answer["gb_per_s"] / answer["tokens_per_s"],
                        "gop_per_token": answer["gflop_per_s"] / answer["tokens_per_s"],
                        "ceiling": ceilings[threads],
                        "versions": versions(peers),
                        "time": datetime.datetime.now().isoformat(timespec="seconds"),
                    }
                    cells.append(cell)
                    if options.json:
                        with open(options.json, "a", encoding="utf-8") as file:
                            file.write(json.dumps(cell) + "\n")
                    print(line_of(cell), flush=True)
                for program in programs:
                    program.close()
    print_tables(cells, options, peers)


def versions(peers):
    describe = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return {"puna": peers.options.puna or describe.stdout.strip(), "llama-cpp-python": peers.version}


def read_cells(path):
    if not path or not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def ratios(cell):
    return [ours / theirs for ours, theirs in zip(cell["puna"], cell["llama.cpp"])]


def share(cell, name):
    """The part of the machine's ceiling that a program reaches, at its median."""
    model, ceiling = cell["key"][0], cell["ceiling"]
    whole = any(model.removesuffix(".gguf").lower().endswith(kind) for kind in ("f32", "f16"))
    peak = ceiling["f32_gop_per_s" if whole else "int8_gop_per_s"]
    needed_s = cell["gb_per_token"] / ceiling["gb_per_s"]
    if peak:
        needed_s = max(needed_s, cell["gop_per_token"] / peak)
    return needed_s * statistics.median(cell[name])


def line_of(cell):
    model, column, threads, *_ = cell["key"]
    all_ratios = ratios(cell)
    return (
        f"{os.path.basename(model):12} {column:17} {threads} threads: "
        f"puna {statistics.median(cell['puna']):8.2f} ({share(cell, 'puna'):4.0%})   "
        f"llama.cpp {statistics.median(cell['llama.cpp']):8.2f} ({share(cell, 'llama.cpp'):4.0%})   "
        f"ratio {statistics.median(all_ratios):.3f} ({min(all_ratios):.3f}..{max(all_ratios):.3f}) "
        f"of {len(all_ratios)} rounds{disturbance(cell['disturbed'])}"
    )


def disturbance(n_rounds):
    return f", {n_rounds} rounds disturbed by other processes" if n_rounds else ""


def print_tables(cells, options, peers):
    """A table per number of threads: a row for each model, a column for each column."""
    for threads in options.threads:
        same = [cell for cell in cells if cell["key"][2:4] == [threads, peers.build]]
        for cell in same:
            cell["ceiling"] = highest([other["ceiling"] for other in same])
        title = "puna / llama.cpp tokens/s = ratio (min..max), shares of the ceiling"
        print(f"\n{threads} threads, {peers.build}: {title}\n")
        print(f"| model | {' | '.join(options.columns)} |")
        print("|---|" + "---|" * len(options.columns))
        for model in options.models:
            row = []
            for column in options.columns:
                depth = options.depth if COLUMNS[column][1] else 0
                key = [model, column, threads, peers.build, options.flash_attn, depth]
                cell = next((cell for cell in cells if cell["key"] == key), None)
                row.append(short(cell) if cell else "")
            print(f"| {os.path.basename(model)} | {' | '.join(row)} |")
    measured = {json.dumps(cell["versions"]) for cell in cells}
    print("\nmeasured with " + " and ".join(sorted(measured)))
    if len(measured) > 1:
        print("the cells are of different versions: remove the old lines from the file to measure them again")


def short(cell):
    all_ratios = ratios(cell)
    ours, theirs = statistics.median(cell["puna"]), statistics.median(cell["llama.cpp"])
    spread = f"{min(all_ratios):.2f}..{max(all_ratios):.2f}"
    shares = f"{share(cell, 'puna'):.0%} / {share(cell, 'llama.cpp'):.0%}"
    mark = " (disturbed)" if cell["disturbed"] else ""
    return f"{ours:.1f} / {theirs:.1f} = **{statistics.median(all_ratios):.2f}** ({spread}), {shares}{mark}"


# ---- start and memory ------------------------------------------------------------------------------------------------


def timed(command, env, stdin=""):
    """How a program ran: seconds from start to end, the peak of resident memory in MB (VmHWM; a file mapped and touched
    counts), its output, and the part of the machine that other processes took meanwhile."""
    text = lambda: tempfile.TemporaryFile("w+", encoding="utf-8")
    with text() as source, text() as out, tempfile.TemporaryFile() as errors:
        source.write(stdin)
        source.seek(0)
        busy, start = busy_s(), time.perf_counter()
        process = subprocess.Popen(command, stdin=source, stdout=out, stderr=errors, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            fail(f"`{' '.join(command)}` failed\n" + errors.read().decode(errors="replace")[-2000:])
        out.seek(0)
        unit = 1 if platform.system() == "Darwin" else 1024
        others = busy_s() - busy - usage.ru_utime - usage.ru_stime if busy else 0.0
        return seconds, usage.ru_maxrss * unit / 1e6, out.read(), others / seconds / os.cpu_count()


def start(peers, options):
    """From nothing to the first token, with the file in the page cache.

    Puna's time is that of its whole process, which ends after the logits. llama.cpp's begins before the model is loaded
    and ends with the logits: the start of Python, which has nothing to do with it, is left out, and so is the end.
    """
    _, idle_mb, *_ = timed([peers.python, "-c", "import llama_cpp"], peers.env)
    print(f"from start to first token, and peak memory, of which Python's package alone takes {idle_mb:.0f} MB")
    for model in options.models:
        path = peers.model(model)
        for threads in options.threads:
            ours = peers.puna_command("score", "-m", path, "--ids", "-", "--json", "--kv", "f16")
            ours += ["--threads", str(threads)]
            theirs = peers.child("start", peers.settings(path, threads=threads, n_ctx=512))

            def once():
                runs = {}
                for name in random.sample(["puna", "llama.cpp"], 2):
                    taken, peak, out, others = timed(ours if name == "puna" else theirs, peers.env, "[1, 2]")
                    taken = taken if name == "puna" else json.loads(out)["seconds"]
                    runs[name] = {"seconds": taken, "peak_mb": peak, "others": others}
                return runs

            once()  # Uncounted: it brings the file into the page cache.
            rounds, n_disturbed = undisturbed(once, options.rounds)
            seconds = {name: [runs[name]["seconds"] for runs in rounds] for name in ("puna", "llama.cpp")}
            memory = {name: [runs[name]["peak_mb"] for runs in rounds] for name in ("puna", "llama.cpp")}
            a, b = (statistics.median(seconds[name]) for name in ("puna", "llama.cpp"))
            both = [x / y for x, y in zip(seconds["puna"], seconds["llama.cpp"])]
            p, q = (statistics.median(memory[name]) for name in ("puna", "llama.cpp"))
            print(
                f"{os.path.basename(model):12} {threads} threads: puna {a:.3f} s, llama.cpp {b:.3f} s, "
                f"ratio {statistics.median(both):.3f} ({min(both):.3f}..{max(both):.3f}); "
                f"peak puna {p:.0f} MB, llama.cpp {q:.0f} MB, ratio {p / q:.3f}{disturbance(n_disturbed)}",
                flush=True,
            )


# ---- a machine that others use ---------------------------------------------------------------------------------------


def contended(peers, options):
    """Decoding beside one busy loop per processor, which take half of it, against decoding alone."""
    n_hogs = os.cpu_count()
    print(f"decode beside {n_hogs} busy processes, against decode alone")
    for model in options.models:
        path = peers.model(model)
        for threads in options.threads:
            programs = peers.programs(path, threads, ["decode"])
            quiet = {program.name: [] for program in programs}
            busy = {program.name: [] for program in programs}
            n_disturbed = 0
            for _ in range(options.rounds):
                speeds, _, disturbed = measure_in_turn(programs, "decode", 1)
                n_disturbed += disturbed
                for name, values in speeds.items():
                    quiet[name] += values
                hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n_hogs)]
                try:
                    time.sleep(0.5)  # Until all of them run.
                    for name, values in measure_in_turn(programs, "decode", 1, retries=0)[0].items():
                        busy[name] += values
                finally:
                    for hog in hogs:
                        hog.kill()
                        hog.wait()
                time.sleep(0.2)
            for program in programs:
                program.close()
            for name in quiet:
                kept = [b / q for b, q in zip(busy[name], quiet[name])]
                print(
                    f"{os.path.basename(model):12} {threads} threads, {name:9}: "
                    f"{statistics.median(quiet[name]):7.2f} tokens/s alone, "
                    f"{statistics.median(busy[name]):7.2f} beside others, "
                    f"{statistics.median(kept):.2f} of it ({min(kept):.2f}..{max(kept):.2f})"
                    f"{disturbance(n_disturbed)}",
                    flush=True,
                )


# ---- quality ---------------------------------------------------------------------------------------------------------


def quality(peers, options):
    """Perplexity, and how far a quantised model's predictions are from the f32 model's, for both programs.

    The reference is Puna's logits of the f32 file, which are computed in f32 throughout. The row of the f32 file itself
    shows how far llama.cpp is from that without any quantisation.
    """
    ids = token_ids(peers, options)
    windows = [ids[i : i + options.window] for i in range(0, len(ids), options.window)]
    windows = [window for window in windows if len(window) > 1]
    exact = log_probabilities(puna_logits(peers, options.f32, windows, options), windows)
    print(f"{sum(map(len, windows))} tokens in {len(windows)} windows; keys and values in {options.kv}")
    print(f"\n| file | {'puna: perplexity':>18} | {'mean KL':>10} | {'llama.cpp: perplexity':>22} | {'mean KL':>10} |")
    print("|---|---:|---:|---:|---:|")
    for path in [options.f32, *options.quantised]:
        row = []
        for logits in (puna_logits, llama_cpp_logits):
            rows = log_probabilities(logits(peers, path, windows, options), windows)
            row += [f"{perplexity(rows, windows):.4f}", f"{mean_kl(exact, rows):.3e}"]
        print(f"| {os.path.basename(path)} | {' | '.join(row)} |", flush=True)


def token_ids(peers, options):
    if options.text:
        command = [peers.puna, "tokenize", "-m", options.f32, "--file", options.text]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    with open(options.ids, encoding="utf-8") as file:
        text = file.read()
    return json.loads(text) if text.lstrip().startswith("[") else [int(word) for word in text.split()]


def puna_logits(peers, path, windows, options):
    """The logits of every window, one after the other, and the size of the vocabulary."""
    logits, vocab_size = array.array("f"), 0
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "logits.safetensors")
        command = peers.puna_command("score", "-m", path, "--ids", "-", "--kv", options.kv, "--logits", out)
        for window in windows:
            timed(command, peers.env, json.dumps(window))
            with open(out, "rb") as file:
                (n_header,) = struct.unpack("<Q", file.read(8))
                vocab_size = json.loads(file.read(n_header))["logits"]["shape"][1]
                logits.frombytes(file.read())
    return logits, vocab_size


def llama_cpp_logits(peers, path, windows, options):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "logits")
        settings = peers.settings(path, kv=options.kv, n_ctx=options.window, out=out, windows=windows)
        settings_file = os.path.join(folder, "settings.json")
        with open(settings_file, "w", encoding="utf-8") as file:
            json.dump(settings, file)
        command = [peers.python, os.path.abspath(__file__), "--child", "logits", "@" + settings_file]
        vocab_size = json.loads(timed(command, peers.env)[2])["vocab_size"]
        logits = array.array("f")
        with open(out, "rb") as file:
            logits.frombytes(file.read())
        return logits, vocab_size


def log_probabilities(logits_and_size, windows):
    """A row of log-probabilities for each position of each window."""
    logits, size = logits_and_size
    n_rows = sum(map(len, windows))
    if len(logits) != n_rows * size:
        fail(f"{n_rows} rows of {size} logits were expected, but there are {len(logits)} numbers")
    rows = []
    for i in range(n_rows):
        row = logits[i * size : (i + 1) * size]
        top = max(row)
        log_sum = top + math.log(math.fsum(math.exp(x - top) for x in row))
        rows.append([x - log_sum for x in row])
    return rows


def perplexity(rows, windows):
    nll, first = [], 0
    for window in windows:
        nll += [-rows[first + i][token] for i, token in enumerate(window[1:])]
        first += len(window)
    return math.exp(math.fsum(nll) / len(nll))


def mean_kl(exact, rows):
    """The mean of KL(exact || rows), in nats, over all positions."""
    kl = lambda p, q: math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q))
    return math.fsum(kl(p, q) for p, q in zip(exact, rows)) / len(rows)


# ---- arguments -------------------------------------------------------------------------------------------------------


def listed(known=None):
    def parse(text):
        items = text.split(",")
        unknown = [item for item in items if known and item not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"`{unknown[0]}` is not one of {', '.join(known)}")
        return items

    return parse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--start", action="store_true", help="time to the first token, and peak memory")
    kinds.add_argument("--contended", action="store_true", help="decode while other processes use the machine")
    kinds.add_argument("--quality", action="store_true", help="perplexity and divergence from the f32 model")
    parser.add_argument("--models", type=listed(), help=f"SHAPE-RECIPE or GGUF files, by commas [{MODELS}]")
    parser.add_argument("--columns", type=listed(COLUMNS), default=list(COLUMNS), help="what to measure, by commas")
    parser.add_argument("--threads", type=listed(), default=["2", "1"], help="numbers of threads, by commas [2,1]")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each program [5]")
    parser.add_argument("--depth", type=int, default=8192, help="tokens in the context of the deep columns [8192]")
    parser.add_argument("--json", metavar="FILE", help="append each cell as a line; those that are there are skipped")
    parser.add_argument("--flash-attn", choices=["auto", "on", "off"], default="auto", help="of llama.cpp [auto]")
    parser.add_argument("--avx2", action="store_true", help="both programs with AVX2 alone")
    parser.add_argument("--venv", metavar="DIR", help="the environment with llama.cpp; made there if it is not there")
    parser.add_argument("--models-dir", metavar="DIR", help="of the model files [target/peers/models]")
    parser.add_argument("--puna", metavar="FILE", help="another puna, instead of the one built here")
    parser.add_argument("--puna-args", default="", metavar="ARGS", help="further arguments of puna's bench and score")
    parser.add_argument("--f32", metavar="FILE", help="quality: the model in f32")
    parser.add_argument("--quantised", nargs="+", default=[], metavar="FILE", help="quality: the same model, quantised")
    parser.add_argument("--ids", metavar="FILE", help="quality: token ids, a JSON array or separated by blanks")
    parser.add_argument("--text", metavar="FILE", help="quality: a text, for the f32 model's tokenizer")
    parser.add_argument("--window", type=int, default=512, help="quality: tokens computed from an empty context [512]")
    parser.add_argument("--kv", choices=["f32", "f16", "q8_0"], default="f32", help="quality: keys and values [f32]")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.threads = [int(n) for n in options.threads]
    if options.quality and not (options.f32 and (options.ids or options.text)):
        parser.error("--quality needs --f32 and --ids or --text")
    if options.models is None:
        options.models = ["1b-q4_k_m"] if options.contended else MODELS.split(",")
    return options


def main():
    options = arguments()
    if options.child:
        mode, settings = options.child
        if settings.startswith("@"):
            with open(settings[1:], encoding="utf-8") as file:
                settings = file.read()
        run = {"measure": child_measure, "start": child_start, "logits": child_logits}[mode]
        return run(json.loads(settings))
    peers = Peers(options)
    peers.build_puna()
    kind = start if options.start else contended if options.contended else quality if options.quality else speed
    return kind(peers, options)


if __name__ == "__main__":
    main()
