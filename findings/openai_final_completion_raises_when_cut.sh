#!/usr/bin/env bash
# openai 3.57.0: a chat streamed with `chat.completions.stream` cannot be read to its end if it is cut by its length.
#
# Local models are often asked for a few tokens. `get_final_completion()` then raises LengthFinishReasonError, also where no
# form of the answer was asked for and there is nothing to parse; `create(stream=True)` on the same server gives the text.
# Seen: LengthFinishReasonError, "Could not parse response content as the length limit was reached".
#
# Fails if that changes. Needs Python 3.10; works in a temporary folder.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install -q openai==3.57.0
env/bin/python - <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        def say(delta, finish=None):
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                     "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        say({"role": "assistant", "content": "Once upon"})
        say({}, "length")
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
from openai import OpenAI

client = OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="key", max_retries=0)
ask = dict(model="m", messages=[{"role": "user", "content": "hi"}], max_tokens=2)
plain = "".join(chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(stream=True, **ask))
try:
    with client.chat.completions.stream(**ask) as stream:
        final = stream.get_final_completion().choices[0].message.content
except Exception as error:
    final = f"{type(error).__name__}: {error}"
print("create(stream=True):", plain, "- stream().get_final_completion():", final[:110])
assert plain == "Once upon"
assert final.startswith("LengthFinishReasonError")
PY
