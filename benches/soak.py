#!/usr/bin/env python3
"""Puna's server under mixed traffic, abuse and faults: does everybody who behaves get the right answer, and does nothing leak?

    python3 benches/soak.py                   # two minutes of traffic, then the faults
    python3 benches/soak.py --minutes 60
    python3 benches/soak.py --model FILE.gguf --minutes 10

It needs Linux, Rust and Python 3.9 or later. The server has the built-in model unless --model names another, small limits
(8 answers at once, 16 waiting), a folder for its cache and one for files. Answers at temperature 0 and with seeds are asked for
one by one at first; during the traffic each must come back the same, streamed or not, over all three APIs, or be refused
with 429 or 503 and `Retry-After`. Meanwhile others leave in the middle, read slowly, send slowly, say nothing, send what is
no HTTP, no JSON, no UTF-8 or too large; every half minute ten times as many come at once as there are places, and in the last
twelfth of the time so many ask without a pause.

Every second the resident memory, open files and threads are looked at, and /health must answer. Afterwards nothing may be running
or waiting, files are as many as at first, and memory in the last quarter is that of the second (judged from ten minutes on). Then
the faults: the end by SIGKILL amid streams and a new start on the same folders; a model file that is deleted, replaced, or cut
short; as little memory as the model can have; and the orderly end amid a stream.
"""
import argparse
import asyncio
import collections
import json
import math
import os
import random
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUNNING, WAITING = 8, 16
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class Wrong(Exception):
    """What must not happen."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    all = []

    def __init__(self, options, folder, model=None, *more):
        self.port = free_port()
        self.log = os.path.join(folder, "log.txt")
        command = [options.puna, "serve", "--port", str(self.port), "--threads", str(options.threads), "--quiet"]
        command += ["--max-running", str(RUNNING), "--max-waiting", str(WAITING), "--max-connections", "400"]
        command += ["--max-body-bytes", str(1 << 20), "--max-seconds", "120"]
        command += ["--cache-dir", os.path.join(folder, "cache"), "--files-dir", os.path.join(folder, "files")]
        command += ["-m", model] if model else []
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen([*command, *more], stdout=log, stderr=log)
        Server.all.append(self.process)
        for _ in range(600):
            if self.is_healthy():
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise Wrong(f"the server does not start: {self.tail()}")

    def tail(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()[-2000:]

    def is_healthy(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=20) as answer:
                return answer.status == 200
        except OSError:
            return False

    def look(self):
        """Resident bytes, open files, threads."""
        if self.process.poll() is not None:
            raise Wrong(f"the server ended with {self.process.returncode}: {self.tail()}")
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as status:
            fields = dict(line.split(":", 1) for line in status)
        n_files = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        # What of a model's file is mapped belongs to the system's cache.
        return int(fields["RssAnon"].split()[0]) << 10, n_files, int(fields["Threads"])

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Wrong("the server does not end") from None


# ---- requests --------------------------------------------------------------------------------------------------------


class Asked:
    """A question with one right answer."""

    def __init__(self, path, body, text_of):
        self.path, self.body, self.text_of = path, body, text_of
        self.expected = None


def chat_text(whole):
    return whole["choices"][0]["message"]["content"]


def questions(n):
    """Of all APIs; the same ones each time."""
    rng = random.Random(1)
    words = "the dog ran to a big red house and saw little birds who sang about rain while she was happy".split()
    asked = []
    for i in range(n):
        prompt = " ".join(rng.choice(words) for _ in range(rng.choice([3, 20, 60])))
        messages = [{"role": "user", "content": prompt}]
        usual = {"model": "m", "temperature": 0 if i % 2 else 0.8, "seed": i}
        length = rng.choice([8, 40, 90])
        asked.append(
            [
                Asked("/v1/completions", {**usual, "prompt": prompt, "max_tokens": length}, lambda w: w["choices"][0]["text"]),
                Asked("/v1/chat/completions", {**usual, "messages": messages, "max_tokens": length}, chat_text),
                Asked(
                    "/v1/messages",
                    {"model": "m", "temperature": 0, "messages": messages, "max_tokens": length},
                    lambda w: w["content"][0]["text"],
                ),
                Asked(
                    "/api/chat",
                    {"model": "m", "messages": messages, "stream": False,
                     "options": {"temperature": 0, "seed": i, "num_predict": length}},
                    lambda w: w["message"]["content"],
                ),
                Asked(
                    "/v1/chat/completions",
                    {**usual, "messages": messages, "max_tokens": 90,
                     "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}},
                    chat_text,
                ),
                Asked("/v1/embeddings", {"model": "m", "input": prompt}, lambda w: w["data"][0]["embedding"]),
            ][i % 6]
        )
    return asked


def packed(path, body, method="POST"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(data)}\r\n\r\n".encode() + data


async def answer_of(port, data, limit_s=300):
    """Status, headers and body of an answer."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), limit_s)
    try:
        writer.write(data)
        await writer.drain()
        whole = await asyncio.wait_for(reader.read(), limit_s)
    finally:
        writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    if not head:
        raise ConnectionResetError("no answer")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if headers.get("transfer-encoding") == "chunked":
        body = unchunked(body)
    return int(lines[0].split()[1]), headers, body


def unchunked(body):
    out = bytearray()
    while body:
        size, _, rest = body.partition(b"\r\n")
        n = int(size, 16)
        if n == 0:
            return bytes(out)
        out += rest[:n]
        body = rest[n + 2 :]
    raise Wrong("a stream has no end")


def streamed_text(path, body):
    """The text of a stream of events or lines."""
    text, ended = "", False
    for line in body.decode().splitlines():
        line = line[6:] if line.startswith("data: ") else line
        if not line or line[0] in ":e":
            continue
        if line == "[DONE]":
            ended = True
            continue
        event = json.loads(line)
        if "error" in event:
            raise Wrong(f"{path}: {event}")
        if path == "/v1/messages":
            text += event.get("delta", {}).get("text", "")
            ended = ended or event["type"] == "message_stop"
        elif path == "/api/chat":
            text += event["message"]["content"]
            ended = ended or event["done"]
        else:
            for choice in event["choices"]:
                text += choice.get("text") or choice.get("delta", {}).get("content") or ""
    if not ended:
        raise Wrong(f"{path}: the stream was cut")
    return text


async def ask(port, asked, streamed=False):
    """The answer's text, or `None` if the server is too busy."""
    body = {**asked.body, "stream": True} if streamed else asked.body
    status, headers, answer = await answer_of(port, packed(asked.path, body))
    if status in (429, 503):
        if not 1 <= int(headers["retry-after"]) <= 60:
            raise Wrong(f"Retry-After: {headers['retry-after']}")
        return None
    if status != 200:
        raise Wrong(f"{asked.path}: {status}: {answer[:300]}")
    return streamed_text(asked.path, answer) if streamed else asked.text_of(json.loads(answer))


# ---- those who come --------------------------------------------------------------------------------------------------


class Traffic:
    def __init__(self, server, asked, seed):
        self.server, self.port, self.asked = server, server.port, asked
        self.rng = random.Random(seed)
        self.counts = collections.Counter()
        self.looks = []
        self.health_s = []
        self.wrong = []

    async def check(self, asked, kind):
        streamed = asked.path != "/v1/embeddings" and self.rng.random() < 0.6
        text = await ask(self.port, asked, streamed)
        if text is None:
            self.counts["refused"] += 1
            await asyncio.sleep(self.rng.random())
        elif text != asked.expected:
            raise Wrong(f"{asked.path} {asked.body}: {text!r} instead of {asked.expected!r}")
        else:
            self.counts[kind] += 1

    async def behaving(self):
        await self.check(self.rng.choice(self.asked), "right")

    async def leaving(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = {"prompt": "Once", "max_tokens": 100000, "stream": True, "ignore_eos": True}
        writer.write(packed("/v1/completions", body))
        await reader.read(self.rng.choice([1, 400, 4000]))
        if self.rng.random() < 0.5:  # Not with a farewell but a reset.
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()
        self.counts["left"] += 1

    async def reading_slowly(self):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", self.port))
        body = {"prompt": "Once", "max_tokens": 400, "stream": True, "ignore_eos": True}
        await loop.sock_sendall(sock, packed("/v1/completions", body))
        for _ in range(100):
            if not await asyncio.wait_for(loop.sock_recv(sock, 40), 120):
                break
            await asyncio.sleep(0.05)
        sock.close()
        self.counts["read slowly"] += 1

    async def sending_slowly(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        data = packed("/v1/completions", {"prompt": "x" * 200, "max_tokens": 2})
        try:
            for at in range(self.rng.choice([20, 120, len(data)])):
                writer.write(data[at : at + 1])
                await writer.drain()
                await asyncio.sleep(0.02)
            await asyncio.sleep(3)
        except OSError:
            pass
        writer.close()
        self.counts["sent slowly"] += 1

    async def saying_nothing(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.sleep(self.rng.choice([1, 20]))
        writer.close()
        self.counts["said nothing"] += 1

    async def talking_nonsense(self):
        rng = self.rng
        raw = bytes(rng.randrange(256) for _ in range(rng.choice([1, 30, 3000])))
        deep = b'{"messages":' + b"[" * 5000
        body = rng.choice(
            [raw, deep, b"", b"null", b"[]", b'{"prompt": 3e999}', b'{"prompt": "\xff\xfe"}', b'{"prompt": "\\ud800"}',
             json.dumps({"messages": [{"role": 5, "content": {}}]}).encode(), b'{"prompt":"a","n":1e9}',
             b'{"prompt":"a","max_tokens":-5}', b'{"model":"\\u0000"}', b"x" * (2 << 20)]
        )
        path = rng.choice(["/v1/completions", "/v1/chat/completions", "/api/chat", "/v1/messages", "/v1/responses", "/v1/embeddings"])
        requests = [
            raw + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20000 + b"\r\n",
            b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999\r\n\r\n",
            b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"GET /%ff%00/../../etc/passwd HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        ]
        data = packed(path, body) if rng.random() < 0.7 else rng.choice(requests)
        try:
            status, _, answer = await answer_of(self.port, data, 60)
            if status >= 500 and status != 503:
                raise Wrong(f"{data[:200]}: {status}: {answer[:300]}")
            self.counts[f"nonsense {status}"] += 1
        except OSError:
            self.counts["nonsense cut off"] += 1

    async def storming(self):
        """Ten times as many as there are places."""
        await asyncio.sleep(30)
        storm = [self.check(self.rng.choice(self.asked), "right in a storm") for _ in range(10 * (RUNNING + WAITING))]
        for result in await asyncio.gather(*storm, return_exceptions=True):
            if isinstance(result, OSError):
                self.counts["cut off in a storm"] += 1
            elif isinstance(result, BaseException):
                raise result

    async def crowded(self, start, end):
        await asyncio.sleep(start - time.monotonic())
        await self.again(self.behaving, end)

    async def looking(self):
        await asyncio.sleep(1)
        self.looks.append(self.server.look())
        start = time.perf_counter()
        status, *_ = await answer_of(self.port, packed("/health", b"", "GET"), 60)
        self.health_s.append(time.perf_counter() - start)
        if status != 200:
            raise Wrong(f"/health: {status}")

    async def again(self, actor, end):
        while time.monotonic() < end and not self.wrong:
            try:
                await actor()
            except OSError:
                # In a storm there is no place for a connection.
                self.counts["no connection"] += 1
                await asyncio.sleep(0.2)
            except (Wrong, ValueError, KeyError, TypeError, asyncio.TimeoutError) as error:
                self.wrong.append(f"{actor.__name__}: {type(error).__name__}: {error}")

    async def run(self, seconds):
        end = time.monotonic() + seconds
        actors = [self.behaving] * 6 + [self.leaving] * 2 + [self.reading_slowly] * 2 + [self.sending_slowly] * 2
        actors += [self.saying_nothing] * 4 + [self.talking_nonsense] * 2 + [self.storming, self.looking]
        telling = asyncio.create_task(self.tell(end))
        crowd = [self.crowded(end - seconds / 12, end) for _ in range(10 * (RUNNING + WAITING))]
        await asyncio.gather(*(self.again(actor, end) for actor in actors), *crowd)
        telling.cancel()

    async def tell(self, end):
        while True:
            await asyncio.sleep(30)
            rss, files, threads = self.looks[-1] if self.looks else (0, 0, 0)
            left = max(0, end - time.monotonic())
            print(f"  {left:5.0f} s to go: {rss / 1e6:.0f} MB, {files} files, {threads} threads, {dict(self.counts)}", flush=True)


async def expect(server, asked):
    for one in asked:
        one.expected = await ask(server.port, one)
        if one.expected is None:
            raise Wrong("refused when alone")


def calm(server, files_before):
    """Everything that was asked is over, and closed."""
    for _ in range(300):
        running = server.metric("vllm:num_requests_running") + server.metric("vllm:num_requests_waiting")
        if running == 0 and server.look()[1] <= files_before + 2:
            return
        time.sleep(0.1)
    raise Wrong(f"{running:.0f} answers go on, {server.look()[1]} files are open instead of {files_before}")


def soak(options, folder, asked):
    server = Server(options, folder, options.model)
    asyncio.run(expect(server, asked))
    files_before = server.look()[1]
    traffic = Traffic(server, asked, options.seed)
    print(f"{options.minutes:g} minutes of traffic", flush=True)
    asyncio.run(traffic.run(options.minutes * 60))
    if traffic.wrong:
        raise Wrong("; ".join(traffic.wrong[:5]) + f"\n{server.tail()}")
    calm(server, files_before)
    memory = [look[0] for look in traffic.looks]
    n = len(memory)
    early, late = statistics.median(memory[n // 4 : n // 2]), statistics.median(memory[-(n // 4) :])
    print(
        f"  memory at the median {early / 1e6:.1f} MB in the second quarter, {late / 1e6:.1f} in the last, {max(memory) / 1e6:.1f} at "
        f"most; files at most {max(look[1] for look in traffic.looks)}, {server.look()[1]} at the end; threads "
        f"{max(look[2] for look in traffic.looks)}; /health within {max(traffic.health_s):.2f} s\n  {dict(traffic.counts)}"
    )
    if options.minutes < 10:
        print("  (too short to tell whether memory grows)")
    elif late > 1.05 * early + 8e6:
        raise Wrong("memory grows")
    if server.end() != 0:
        raise Wrong(f"the end: {server.process.returncode}")


# ---- faults ----------------------------------------------------------------------------------------------------------


def killed(options, folder, asked):
    """SIGKILL amid streams and a batch; a new start on the same folders."""
    server = Server(options, folder, options.model)

    async def amid():
        streams = [asyncio.create_task(ask(server.port, one, one.path != "/v1/embeddings")) for one in asked[:6]]
        await asyncio.sleep(0.05)
        server.process.kill()
        await asyncio.gather(*streams, return_exceptions=True)

    for _ in range(5):
        asyncio.run(amid())
        server.process.wait()
        server = Server(options, folder, options.model)
        for one in asked[:12]:
            if asyncio.run(ask(server.port, one)) != one.expected:
                raise Wrong(f"after SIGKILL: another answer of {one.path}")
    server.end()


def file_lost(options, folder, asked):
    """A model file that is deleted, replaced by another or cut while it is served."""
    own = os.path.join(folder, "model.gguf")
    source = options.model or os.path.join(ROOT, "crates", "puna", "assets", "stories.gguf")
    for fault in ("deleted", "replaced", "cut"):
        shutil.copy(source, own)
        server = Server(options, folder, own, "--repack", "off")
        one = asked[0]
        if asyncio.run(ask(server.port, one)) != one.expected:
            raise Wrong("another answer of the same file")
        if fault == "deleted":
            os.remove(own)
        elif fault == "replaced":
            shutil.copy(source, own + ".new")
            os.replace(own + ".new", own)
        else:
            os.truncate(own, os.path.getsize(own) // 2)
        status, _, body = asyncio.run(answer_of(server.port, packed(one.path, one.body)))
        if fault == "cut":
            if status < 500 or "error" not in json.loads(body):
                raise Wrong(f"a file that was cut: {status}: {body[:300]}")
        elif status != 200 or one.text_of(json.loads(body)) != one.expected:
            raise Wrong(f"a file that was {fault}: {status}: {body[:300]}")
        if not server.is_healthy() and fault != "cut":
            raise Wrong("not healthy")
        if server.end() != 0:
            raise Wrong(f"{fault}: the end: {server.process.returncode}: {server.tail()}")


def short(options, folder, asked):
    """As little memory as the model can have, and a crowd: sequences wait and give up their memory, none gets a wrong answer."""
    command = [options.puna, "serve", "--port", "0", "--memory", "1"] + (["-m", options.model] if options.model else [])
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = re.search(r"needs ([0-9.]+) ([MG])B of memory", refused.stderr)
    if refused.returncode == 0 or not found:
        raise Wrong(f"too little memory: {refused.returncode}: {refused.stderr}")
    # Rounded up.
    least = math.ceil(1000 * float(found[1]) * 1.01) * (10**6 if found[2] == "G" else 10**3)
    server = Server(options, folder, options.model, "--memory", str(least), "--no-guesses")
    traffic = Traffic(server, asked, options.seed)

    async def crowd():
        end = time.monotonic() + 15
        await asyncio.gather(*(traffic.again(traffic.behaving, end) for _ in range(RUNNING + WAITING)))

    asyncio.run(crowd())
    if traffic.wrong or traffic.counts["right"] == 0:
        raise Wrong("; ".join(traffic.wrong[:5]) or "no answer")
    print(f"  {least / 1e6:.1f} MB: {dict(traffic.counts)}, {server.metric('vllm:num_preemptions'):.0f} preemptions")
    if server.end() != 0:
        raise Wrong(f"the end: {server.process.returncode}")


def ended(options, folder, asked):
    """SIGTERM amid an answer: it goes on to its end, and new ones are not let in."""
    server = Server(options, folder, options.model)
    one = max(asked, key=lambda one: len(str(one.expected)) if one.path == "/v1/completions" else 0)

    async def amid():
        stream = asyncio.create_task(ask(server.port, one, True))
        await asyncio.sleep(0.02)
        server.process.terminate()
        return await stream

    text = asyncio.run(amid())
    if text != one.expected:
        raise Wrong(f"the answer was cut by the end: {text!r}")
    if server.process.wait(30) != 0:
        raise Wrong(f"the end: {server.process.returncode}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2, help="of traffic [2]")
    parser.add_argument("--model", metavar="FILE", help="a GGUF file [the built-in model]")
    parser.add_argument("--puna", metavar="FILE", default=os.path.join(ROOT, "target", "release", "puna"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--questions", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not os.path.exists(options.puna):
        subprocess.run(["cargo", "build", "--release", "-p", "puna-cli"], cwd=ROOT, check=True)
    folder = tempfile.mkdtemp(prefix="puna-soak-")
    asked = questions(options.questions)
    try:
        for step in (soak, killed, file_lost, short, ended):
            print(step.__doc__ or "Mixed traffic", flush=True)
            step(options, folder, asked)
    except Wrong as wrong:
        sys.exit(f"error: {wrong}")
    finally:
        for process in Server.all:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)
    print("all as it should be")


if __name__ == "__main__":
    main()
