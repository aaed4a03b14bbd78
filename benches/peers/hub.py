#!/usr/bin/env python3
"""`puna pull` beside huggingface_hub: a model from a hub on this machine, in turn.

    pip install huggingface_hub
    python3 benches/peers/hub.py [--bytes N] [--rounds N] [--python FILE]

The hub is an example of `puna-store`; both programs speak to it as to any hub, over plain connections. Each round both
fetch the same files into an empty folder, in an order drawn by chance, and check them (huggingface_hub compares lengths
alone); and as many bytes are written there and brought to the disk, which is what the disk allows. Told are MB/s, the
most memory that each took, and whether the files are the same. `--folder /dev/shm` leaves the disk out.
"""
import argparse
import hashlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FETCH = "from huggingface_hub import snapshot_download; print(snapshot_download('o/llama'))"


def timed(command, env):
    """Seconds, MB of memory at most, and what was printed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status", encoding="utf-8") as status:
                peak = max([peak, *(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))])
        except OSError:
            pass
        time.sleep(0.005)
    seconds = time.perf_counter() - start
    out, errors = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed: {errors}")
    return seconds, peak / 1000, out.strip()


def written(folder, n_bytes):
    """MB/s of writing so many bytes to a file, and to its disk."""
    block = os.urandom(4 << 20)
    start = time.perf_counter()
    with open(os.path.join(folder, "written"), "wb", buffering=0) as file:
        for _ in range(n_bytes // len(block)):
            file.write(block)
        os.fsync(file.fileno())
    return n_bytes / (time.perf_counter() - start) / 1e6


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=2 << 30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", default=sys.executable, help="one that has huggingface_hub")
    parser.add_argument("--puna", default=os.path.join(ROOT, "target", "release", "puna"))
    parser.add_argument("--folder", help="where the models come to, instead of the usual place for what is temporary")
    options = parser.parse_args()
    build = ["cargo", "build", "--release", "-q", "-p", "puna-store", "--example", "serve_hub"]
    subprocess.run(build, cwd=ROOT, check=True)
    example = os.path.join(ROOT, "target", "release", "examples", "serve_hub")
    hub = subprocess.Popen([example, str(options.bytes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    url = hub.stdout.readline().strip()
    speeds = {"puna": [], "huggingface_hub": []}
    peaks = {name: 0 for name in speeds}
    disk = []
    for _ in range(options.rounds):
        found = {}
        for name in random.sample(list(speeds), 2):
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                env = dict(os.environ, HF_ENDPOINT=url, HF_HOME=folder, PUNA_MODELS=folder, HF_HUB_DISABLE_XET="1")
                command = [options.python, "-c", FETCH] if name != "puna" else [options.puna, "pull", "o/llama"]
                seconds, peak, path = timed(command, env)
                speeds[name].append(options.bytes / seconds / 1e6)
                peaks[name] = max(peaks[name], peak)
                found[name] = {file: digest(os.path.join(path, file)) for file in ("config.json", "model.safetensors")}
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            disk.append(written(folder, options.bytes))
        assert found["puna"] == found["huggingface_hub"], found
    hub.stdin.close()
    for name, all_of_it in speeds.items():
        low, high = min(all_of_it), max(all_of_it)
        print(f"{name:16} {statistics.median(all_of_it):6.0f} MB/s ({low:.0f} to {high:.0f}), {peaks[name]:.0f} MB of memory")
    print(f"written alone    {statistics.median(disk):6.0f} MB/s ({min(disk):.0f} to {max(disk):.0f})")
    ratios = [ours / theirs for ours, theirs in zip(*speeds.values())]
    print(f"ratio            {statistics.median(ratios):6.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


main()
