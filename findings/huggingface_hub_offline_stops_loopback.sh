#!/usr/bin/env bash
# huggingface_hub 2.4.0: HF_HUB_OFFLINE=1 also stops InferenceClient from asking a server on this machine.
#
# The variable is set so that nothing is fetched from the hub. InferenceClient with a base URL on the loopback needs nothing
# from there, but it refuses as well: who runs a model privately, and switches the hub off to be sure of that, cannot chat
# with it. Seen: OfflineModeIsEnabled before any connection is made; without the variable the same call answers.
#
# Fails if that changes. Needs Python 3.10; works in a temporary folder.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install -q huggingface_hub==2.4.0
cat >ask.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer

n_asked = 0

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        global n_asked
        n_asked += 1
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": "hello"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "system_fingerprint": "f",
                           "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
from huggingface_hub import InferenceClient

client = InferenceClient(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="key")
try:
    said = client.chat_completion(messages=[{"role": "user", "content": "hi"}], model="m").choices[0].message.content
except Exception as error:
    said = type(error).__name__
print(said, n_asked)
PY
online=$(env -u HF_HUB_OFFLINE env/bin/python ask.py 2>/dev/null)
offline=$(HF_HUB_OFFLINE=1 env/bin/python ask.py 2>/dev/null)
echo "without: $online - with HF_HUB_OFFLINE=1: $offline"
test "$online" = "hello 1"
test "$offline" = "OfflineModeIsEnabled 0"
