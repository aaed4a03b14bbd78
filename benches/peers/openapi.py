#!/usr/bin/env python3
"""Schemathesis against `puna serve`: what its /openapi.json says, tried out with requests made of it.

    cargo build --release -p puna-cli
    python3 benches/peers/openapi.py                     # a quarter of an hour; the first time it installs schemathesis
    python3 benches/peers/openapi.py --examples 20 --only /api/ --seed 7

It needs Python 3.10 or later with venv and, the first time, a network for pip. A server of the built-in model runs on a
free port of the loopback, with a key, with folders for files and models that are removed afterwards, with answers of at
most 4 tokens, and with room for all that one client asks at once, so that nothing is refused for want of it.

For every operation, schemathesis makes so many requests that keep to the schema and so many that break it, and chains of
operations by what answers say of each other. The checks are

    not_a_server_error            no answer has a status of 500 or more
    status_code_conformance       no answer has a status that the document does not name for the operation
    content_type_conformance      nor a type
    response_schema_conformance   nor a body outside its schema
    response_headers_conformance  nor lacks a header
    negative_data_rejection       what breaks the schema is refused
    unsupported_method            methods that an operation does not have are refused with 405
    allow_header_conformance      and the refusal names those that it has
    ignored_auth                  without the key, and with another one, requests are refused with 401
    use_after_free                what was deleted is gone
    ensure_resource_availability  what was created is there

positive_data_acceptance is left out: what keeps to the schema may be refused all the same, where the model cannot do it
(a context that is too long, a picture), or where fields contradict each other. So is missing_required_header: no header is
required but the key's.

What fails is told with a command that repeats it, and the exit status is 1.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import clients

ROOT, PEERS = clients.ROOT, clients.PEERS
VERSION = "schemathesis==4.32.5"
CHECKS = """not_a_server_error status_code_conformance content_type_conformance response_schema_conformance
    response_headers_conformance negative_data_rejection unsupported_method allow_header_conformance ignored_auth
    use_after_free ensure_resource_availability""".split()
KEY = "secret"


def install():
    path = os.path.join(PEERS, "openapi")
    mark = os.path.join(path, "installed")
    if clients.read(mark) != VERSION:
        subprocess.run([sys.executable, "-m", "venv", path], check=True)
        subprocess.run([os.path.join(path, "bin", "pip"), "install", "-q", VERSION], check=True)
        with open(mark, "w") as file:
            file.write(VERSION)
    return os.path.join(path, "bin", "schemathesis")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--puna", default=os.path.join(ROOT, "target", "release", "puna"), help="the program")
    parser.add_argument("--examples", type=int, default=50, help="requests of each kind for an operation")
    parser.add_argument("--seed", type=int, default=1, help="where random numbers begin")
    parser.add_argument("--only", help="an expression that paths have to match")
    parser.add_argument("--log", type=argparse.FileType("w"), help="where the server's log goes")
    parser.add_argument("more", nargs="*", help="further arguments of `schemathesis run`")
    arguments = parser.parse_args()
    schemathesis = install()
    with tempfile.TemporaryDirectory() as home:
        more = ["--files-dir", os.path.join(home, "files"), "--models-dir", os.path.join(home, "models"), "--max-tokens", "4",
                "--max-waiting", "1000000", "--max-models", "20"]
        server = clients.Serving(arguments.puna, None, KEY, arguments.log, more)
        command = [schemathesis, "run", server.url + "/openapi.json", "--header", "Authorization: Bearer " + KEY,
                   "--checks", ",".join(CHECKS), "--max-examples", str(arguments.examples), "--seed", str(arguments.seed),
                   "--mode", "all", "--workers", "1", "--continue-on-failure", "--request-timeout", "60", "--no-color"]
        if arguments.only:
            command += ["--include-path-regex", arguments.only]
        try:
            status = subprocess.run(command + arguments.more, cwd=home).returncode
        finally:
            end = server.stop()
    if end != 0:
        sys.exit(f"error: the server ended with {end}")
    sys.exit(status)


if __name__ == "__main__":
    main()
