#!/usr/bin/env python3
"""`puna pull` from object stores that run on this machine: moto for S3 and, in its form, Google Cloud; Azurite for Azure.

    python3 benches/peers/object_stores.py              # all of them
    python3 benches/peers/object_stores.py --only s3

It needs Rust, Python 3.9 or later, Node with npm (for Azurite), and the first time a network for pip and npm: moto,
boto3 and azure-storage-blob go into a virtual environment under target/peers, azurite beside it.
Puna is built with the feature `object-stores` unless --puna names a program.

Each store gets a bucket with a model in two forms: a folder of Hugging Face's, with files that no model needs, and GGUF files
in a folder of several. Then, for each:

    folder      what the folder's model needs comes, and nothing else; its bytes are those that were put there
    file        one GGUF file comes by its name
    again       nothing is fetched that is here already
    changed     an object that was replaced comes again
    nothing     a name that is not there is refused, by its name
    killed      a program that is killed on its way goes on where it was (S3 alone)

Speed of S3, hashed, beside boto3's own transfer: 1 GiB, both from the same server, which is a Python program.
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PEERS = os.path.join(ROOT, "target", "peers")
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # Azurite's, published.


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(port):
    for _ in range(300):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"nothing listens on port {port}")


def environment(folder):
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        venv.create(folder, with_pip=True)
    packages = ["moto[server]==5.1.*", "boto3", "azure-storage-blob"]
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python


def noise_of(n_bytes, seed):
    noise = random.Random(seed)
    return b"".join(noise.randbytes(1 << 20) for _ in range(n_bytes >> 20))


def contents():
    """The objects, by their names."""
    noise = random.Random(7)
    texts = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b"{}", "optimizer.pt": noise.randbytes(70_000)}
    objects = {f"hf/llama/{name}": text for name, text in texts.items()}
    objects["hf/llama/model.safetensors"] = noise.randbytes(30_000_000)
    objects["hf/llama/original/consolidated.00.pth"] = noise.randbytes(60_000)
    objects["gguf/m-Q4_K_M.gguf"] = noise.randbytes(9_000_000)
    objects["gguf/m-Q8_0.gguf"] = noise.randbytes(40_000)
    return objects


class S3:
    scheme, bucket = "s3", "models"

    def __init__(self, python, folder):
        self.port = free_port()
        server = os.path.join(os.path.dirname(python), "moto_server")
        self.process = subprocess.Popen([server, "-p", str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port)
        import boto3

        self.client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{self.port}", aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
        )
        self.client.create_bucket(Bucket=self.bucket, ACL="public-read")

    def put(self, name, data):
        self.client.put_object(Bucket=self.bucket, Key=name, Body=data)

    def variables(self):
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_REGION": "us-east-1",
        }


class Azure:
    scheme, bucket = "az", "models"

    def __init__(self, python, folder):
        self.port = free_port()
        npm = os.path.join(PEERS, "azurite")
        program = os.path.join(npm, "node_modules", ".bin", "azurite-blob")
        if not os.path.exists(program):
            os.makedirs(npm, exist_ok=True)
            subprocess.run(["npm", "install", "--prefix", npm, "azurite"], check=True, stdout=subprocess.DEVNULL)
        command = [program, "--blobPort", str(self.port), "--location", folder, "--silent", "--skipApiVersionCheck"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port)
        from azure.storage.blob import BlobServiceClient

        self.endpoint = f"http://127.0.0.1:{self.port}/devstoreaccount1"
        self.client = BlobServiceClient(self.endpoint, credential=KEY)
        self.client.create_container(self.bucket)

    def put(self, name, data):
        self.client.get_blob_client(self.bucket, name).upload_blob(data, overwrite=True)

    def variables(self):
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1", "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": self.endpoint,
        }


class Google(S3):
    """Google's store lists and gives objects in the form of S3; moto answers without a signature too."""

    scheme = "gs"

    def put(self, name, data):
        self.client.put_object(Bucket=self.bucket, Key=name, Body=data, ACL="public-read")

    def variables(self):
        return {"GOOGLE_BASE_URL": f"http://127.0.0.1:{self.port}", "GOOGLE_SKIP_SIGNATURE": "true"}


class Puna:
    def __init__(self, program, store, shelf):
        self.program, self.store, self.shelf = program, store, shelf
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AZURE_", "GOOGLE_"))}
        self.environment = {**clean, "PUNA_MODELS": shelf, **store.variables()}

    def command(self, name):
        return [self.program, "pull", f"{self.store.scheme}://{self.store.bucket}/{name}", "--accept-licence"]

    def pull(self, name):
        return subprocess.run(self.command(name), env=self.environment, capture_output=True, text=True)

    def files(self, path):
        found = {}
        for folder, _, names in os.walk(path):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    found[os.path.relpath(os.path.join(folder, name), path)] = file.read()
        found.pop(".puna.json", None)
        return found


def check(what, is_right, detail=""):
    print(f"  {what:8} {'as it should be' if is_right else 'WRONG'} {detail}".rstrip(), flush=True)
    return is_right


def run(program, store):
    objects = contents()
    for name, data in objects.items():
        store.put(name, data)
    wanted = {name: objects[f"hf/llama/{name}"] for name in ["config.json", "tokenizer.json", "model.safetensors"]}
    all_right = True
    with tempfile.TemporaryDirectory() as shelf:
        puna = Puna(program, store, shelf)
        done = puna.pull("hf/llama")
        path = done.stdout.strip()
        all_right &= check("folder", done.returncode == 0 and puna.files(path) == wanted, done.stderr if done.returncode else "")
        done = puna.pull("gguf/m-Q8_0.gguf")
        with open(done.stdout.strip() or os.devnull, "rb") as file:
            all_right &= check("file", file.read() == objects["gguf/m-Q8_0.gguf"], done.stderr if done.returncode else "")
        before = os.stat(os.path.join(path, "model.safetensors")).st_ino
        done = puna.pull("hf/llama")
        same = os.stat(os.path.join(path, "model.safetensors")).st_ino == before
        all_right &= check("again", "is here already" in done.stderr and same, done.stderr)
        store.put("hf/llama/tokenizer.json", b'{"version": "2"}')
        done = puna.pull("hf/llama")
        found = puna.files(path)
        same = os.stat(os.path.join(path, "model.safetensors")).st_ino == before
        all_right &= check("changed", found == {**wanted, "tokenizer.json": b'{"version": "2"}'} and same)
        done = puna.pull("hf/nothing")
        said = done.stderr
        all_right &= check("nothing", done.returncode != 0 and "hf/nothing" in said and "there is nothing of that name" in said, said)
    return all_right


def killed(program, store):
    """A large object, and a program that is killed five times."""
    data = noise_of(1 << 28, 9)
    store.put("large/m-Q4_0.gguf", data)
    with tempfile.TemporaryDirectory() as shelf:
        puna = Puna(program, store, shelf)
        n_kept = []
        for _ in range(5):
            process = subprocess.Popen(puna.command("large/m-Q4_0.gguf"), env=puna.environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            time.sleep(random.uniform(0.3, 0.9))
            process.send_signal(signal.SIGKILL)
            process.wait()
            states = [os.path.join(folder, name) for folder, _, names in os.walk(shelf) for name in names if name.endswith(".part.json")]
            for state in states:
                with open(state) as file:
                    n_kept.append(sum(end - start for start, end in json.load(file)["done"]))
        done = puna.pull("large/m-Q4_0.gguf")
        with open(done.stdout.strip() or os.devnull, "rb") as file:
            is_right = file.read() == data
    return check("killed", is_right and n_kept == sorted(n_kept), f"kept {[n >> 20 for n in n_kept]} MiB, then all of 256")


def speed(program, store):
    """The same GiB by Puna and by boto3, three times in turn."""
    data = noise_of(1 << 30, 5)
    store.put("speed/m-Q4_0.gguf", data)
    digest = hashlib.sha256(data).hexdigest()
    times = {"puna": [], "boto3": []}
    for _ in range(3):
        with tempfile.TemporaryDirectory() as shelf:
            start = time.perf_counter()
            done = Puna(program, store, shelf).pull("speed/m-Q4_0.gguf")
            times["puna"].append(time.perf_counter() - start)
            assert digest in done.stderr, done.stderr
            start = time.perf_counter()
            store.client.download_file(store.bucket, "speed/m-Q4_0.gguf", os.path.join(shelf, "boto"))
            with open(os.path.join(shelf, "boto"), "rb") as file:
                assert hashlib.file_digest(file, "sha256").hexdigest() == digest
            times["boto3"].append(time.perf_counter() - start)
    rates = {name: [len(data) / 1e6 / t for t in of] for name, of in times.items()}
    ratios = sorted(a / b for a, b in zip(rates["puna"], rates["boto3"]))
    middle = {name: sorted(of)[1] for name, of in rates.items()}
    print(f"  speed    puna {middle['puna']:.0f} MB/s, boto3 and hashing {middle['boto3']:.0f} MB/s: {ratios[1]:.2f} times ({ratios[0]:.2f} to {ratios[2]:.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--puna", metavar="FILE")
    parser.add_argument("--only", metavar="STORES", default="s3,az,gs", help="by commas [s3,az,gs]")
    parser.add_argument("--venv", metavar="DIR", default=os.path.join(PEERS, "object-stores"))
    options = parser.parse_args()
    python = environment(options.venv)
    if os.path.realpath(sys.prefix) != os.path.realpath(options.venv):
        os.execv(python, [python, os.path.abspath(__file__), *sys.argv[1:]])
    program = options.puna
    if program is None:
        subprocess.run(["cargo", "build", "--release", "-p", "puna-cli", "--features", "object-stores"], cwd=ROOT, check=True)
        program = os.path.join(ROOT, "target", "release", "puna")
    all_right = True
    for kind in [S3, Azure, Google]:
        if kind.scheme not in options.only.split(","):
            continue
        folder = tempfile.mkdtemp()
        store = kind(python, folder)
        try:
            print(f"{kind.scheme}://", flush=True)
            all_right &= run(program, store)
            if kind is S3:
                all_right &= killed(program, store)
                speed(program, store)
        finally:
            store.process.terminate()
            store.process.wait()
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if all_right else 1)


if __name__ == "__main__":
    main()
