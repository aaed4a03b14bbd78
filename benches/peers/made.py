#!/usr/bin/env python3
"""What goes with a model that Puna makes, as other programs see it.

    apt install minisign
    pip install "cyclonedx-python-lib[json-validation]"
    python3 benches/peers/made.py [--python FILE]

The model in the program is stored in eight bits and signed with a key of minisign's own. Its bill of materials has to be
right for the strict validator of CycloneDX, its signature for minisign, and both for `puna verify`; and wrong for all of
them that look at it once a byte is another.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1], encoding="utf-8").read())
sys.exit(error and str(error))
"""


def run(what, command, succeeds=True):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if (done.returncode == 0) != succeeds:
        sys.exit(f"{what}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    lines = (done.stdout + done.stderr).strip().splitlines()
    print(f"{what:52} {'yes' if succeeds else 'no'}   {lines[0] if lines else ''}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=sys.executable, help="one that has cyclonedx-python-lib")
    parser.add_argument("--puna", default=os.path.join(ROOT, "target", "release", "puna"))
    options = parser.parse_args()
    build = ["cargo", "build", "--release", "-q", "-p", "puna-model", "--example", "requantise"]
    subprocess.run(build, cwd=ROOT, check=True)
    requantise = os.path.join(ROOT, "target", "release", "examples", "requantise")
    stories = os.path.join(ROOT, "crates", "puna", "assets", "stories.gguf")
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: os.path.join(folder, name)
        secret, public, model, bill = path("key"), path("key.pub"), path("small.gguf"), path("small.cdx.json")
        run("minisign makes a key", ["minisign", "-G", "-W", "-p", public, "-s", secret])
        run("a model is made", [requantise, stories, "q8_0", model, secret])
        check_signature = ["minisign", "-V", "-p", public, "-m", bill]
        check_bill = [options.python, "-c", VALIDATE, bill]
        verify = [options.puna, "verify", model, "--key", public]
        run("its bill is right for cyclonedx-python-lib", check_bill)
        run("its signature is right for minisign", check_signature)
        run("both are right for puna", verify)
        text = open(bill, encoding="utf-8").read()
        with open(bill, "w", encoding="utf-8") as file:
            json.dump(json.loads(text), file)
        run("the bill in other bytes: for cyclonedx-python-lib", check_bill)
        run("its signature for minisign", check_signature, succeeds=False)
        run("both for puna", verify, succeeds=False)
        with open(bill, "w", encoding="utf-8") as file:
            file.write(text)
        with open(model, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            byte = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))
        run("another byte of the model: for puna", verify, succeeds=False)


main()
