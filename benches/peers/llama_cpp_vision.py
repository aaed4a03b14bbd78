#!/usr/bin/env python3
"""Puna's vision encoder beside that of llama.cpp (libmtmd), measured in turn on this machine.

    python3 benches/peers/llama_cpp_vision.py                 # images of 1 and 5 tiles, five rounds
    python3 benches/peers/llama_cpp_vision.py --tiles 1,10 --threads 2,1 --rounds 3
    python3 benches/peers/llama_cpp_vision.py --flash-attn on

It needs what llama_cpp.py beside it needs, and uses the same virtual environment. Both programs load the same projector
file (mmproj) of Llama 4's shape with random weights in F16, which speed does not notice, and the same decoder of one layer,
which is not run. An image is tiles of 336 pixels, one of them the whole image where there are several; llama.cpp allows up
to ten. What is measured is the encoder: from pixels that are cut and normalised already to the vectors of the decoder's
width, of all tiles of an image. llama.cpp encodes one tile after the other, as its own programs do (mtmd_encode_chunk).

Each round measures both, in an order drawn by chance; what counts is the median of the rounds' ratios. A round during
which other processes took more than 5 % of the machine is measured again, at most three times, and said so.

llama.cpp computes GELU by its approximation (for the adapter; and in the layers, as clip.use_gelu asks for), Puna exactly,
which is a small part of the time.
"""
import argparse
import ctypes
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import llama_cpp as peers  # Not the package: the script beside this one.

TILE = 336


# ---- the other side ------------------------------------------------------------------------------------------------------


def child(settings):
    """A process that encodes images of as many tiles as a line says, with llama.cpp."""
    del sys.modules["llama_cpp"]
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != HERE]
    import llama_cpp
    from llama_cpp import mtmd_cpp as mtmd

    llama_cpp.llama_backend_init()
    model_params = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(os.fsencode(settings["text"]), model_params)
    if not model:
        peers.fail(f"llama.cpp cannot load `{settings['text']}`")
    params = mtmd.mtmd_context_params_default()
    params.n_threads = settings["threads"]
    params.use_gpu = False
    flash_attn = {
        "auto": llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO,
        "on": llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
        "off": llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED,
    }
    params.flash_attn_type = flash_attn[settings["flash_attn"]]
    context = mtmd.mtmd_init_from_file(os.fsencode(settings["mmproj"]), model, params)
    if not context:
        peers.fail(f"llama.cpp cannot load `{settings['mmproj']}`")

    def chunks_of(n_tiles):
        """An image of so many tiles, prepared."""
        rows, cols = grid(n_tiles)
        height, width = rows * TILE, cols * TILE
        pixels = bytes(i * 7 % 251 for i in range(3 * width * height))
        bitmap = mtmd.mtmd_bitmap_init(width, height, (ctypes.c_uint8 * len(pixels)).from_buffer_copy(pixels))
        prompt = mtmd.mtmd_default_marker()
        text = mtmd.mtmd_input_text()
        text.text, text.text_len, text.add_special, text.parse_special = prompt, len(prompt), False, True
        chunks = mtmd.mtmd_input_chunks_init()
        bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
        code = mtmd.mtmd_tokenize(context, chunks, ctypes.byref(text), bitmaps, 1)
        if code != 0:
            peers.fail(f"mtmd_tokenize of an image of {n_tiles} tiles returned {code}")
        all_chunks = [mtmd.mtmd_input_chunks_get(chunks, i) for i in range(mtmd.mtmd_input_chunks_size(chunks))]
        is_image = lambda chunk: mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE
        images = [chunk for chunk in all_chunks if is_image(chunk)]
        vectors = sum(mtmd.mtmd_input_chunk_get_n_tokens(chunk) for chunk in images)
        if (len(images), vectors) != (n_tiles, n_tiles * 144):
            peers.fail(f"llama.cpp makes {len(images)} tiles and {vectors} vectors of an image of {n_tiles} tiles")
        return images

    prepared = {n_tiles: chunks_of(n_tiles) for n_tiles in settings["tiles"]}

    def encode(n_tiles):
        start = time.perf_counter()
        for chunk in prepared[n_tiles]:
            code = mtmd.mtmd_encode_chunk(context, chunk)
            if code != 0:
                peers.fail(f"mtmd_encode_chunk returned {code}")
        seconds = time.perf_counter() - start
        assert math.isfinite(mtmd.mtmd_get_output_embd(context)[0])
        return seconds

    encode(settings["tiles"][0])
    peers.say({"ready": True, "system": peers.system_info(llama_cpp)})
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        peers.say({"seconds": encode(int(line))})


def grid(n_tiles):
    """Rows and columns of tiles; that of the whole image is not among them."""
    if n_tiles == 1:
        return 1, 1
    for rows in (1, 2, 3):
        cols, rest = divmod(n_tiles - 1, rows)
        if rest == 0 and 1 <= cols <= 3 and rows * cols > 1:
            return rows, cols
    peers.fail(f"llama.cpp makes no image of {n_tiles} tiles: it allows grids up to 3 x 3, and the whole image")


# ---- both in turn --------------------------------------------------------------------------------------------------------


class Sides:
    """The files and how both programs are started."""

    def __init__(self, options):
        options.avx2, options.puna = False, None
        self.options = options
        self.peers = peers.Peers(options)
        self.speed = peers.built("puna-model", "--bench", "image_speed")
        self.text = self.model("llama4-text", "q4_0")
        self.mmproj = self.model("llama4-mmproj", "f16")

    def model(self, shape, recipe):
        path = os.path.join(self.peers.models_dir, f"{shape}-{recipe}.gguf")
        if not os.path.exists(path):
            os.makedirs(self.peers.models_dir, exist_ok=True)
            writer = peers.built("puna-model", "--example", "random_gguf")
            subprocess.run([writer, shape, recipe, path], check=True)
        return path

    def start(self, threads):
        settings = {
            "text": self.text,
            "mmproj": self.mmproj,
            "threads": threads,
            "tiles": self.options.tiles,
            "flash_attn": self.options.flash_attn,
        }
        ours = [self.speed, self.text, "--mmproj", self.mmproj, "--threads", str(threads), "--paced"]
        theirs = [self.peers.python, os.path.abspath(__file__), "--child", json.dumps(settings)]
        env = self.peers.env
        return [peers.Program("image_speed", ours, env), peers.Program("llama.cpp", theirs, env)]


def compare(programs, n_tiles, rounds):
    """The rounds' seconds of both, and the largest part of the machine that others took in one."""
    times, others = [[], []], 0.0
    for _ in range(rounds):
        for attempt in range(4):
            found = {}
            for i in random.sample([0, 1], 2):
                found[i] = programs[i].measure(str(n_tiles))
            worst = max(answer["others"] for answer in found.values())
            if worst <= peers.QUIET:
                break
        others = max(others, worst)
        for i in (0, 1):
            times[i].append(found[i]["seconds"])
    return times, others


def arguments():
    number_list = lambda text: [int(item) for item in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=number_list, default=[1, 5], help="tiles of an image, by commas [1,5]")
    parser.add_argument("--threads", type=number_list, default=[2], help="numbers of threads, by commas [2]")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each program [5]")
    parser.add_argument("--flash-attn", choices=["auto", "on", "off"], default="auto", help="of llama.cpp [auto]")
    parser.add_argument("--venv", metavar="DIR", help="the environment with llama.cpp; made there if it is not there")
    parser.add_argument("--models-dir", metavar="DIR", help="of the model files [target/peers/models]")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = arguments()
    if options.child:
        return child(json.loads(options.child))
    sides = Sides(options)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"llama-cpp-python {sides.peers.version}, load {load:.1f}, {options.rounds} rounds")
    for threads in options.threads:
        programs = sides.start(threads)
        for n_tiles in options.tiles:
            (ours, theirs), others = compare(programs, n_tiles, options.rounds)
            ratios = [theirs / ours for ours, theirs in zip(ours, theirs)]
            note = f"; others took up to {100 * others:.0f} % of the machine" if others > peers.QUIET else ""
            print(
                f"{threads} threads, {n_tiles:2} tiles: {statistics.median(ours):.3f} s, llama.cpp "
                f"{statistics.median(theirs):.3f} s; {statistics.median(ratios):.2f} times as fast "
                f"({min(ratios):.2f} to {max(ratios):.2f}){note}",
                flush=True,
            )
        for program in programs:
            program.close()


if __name__ == "__main__":
    main()
