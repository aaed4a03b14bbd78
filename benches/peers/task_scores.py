#!/usr/bin/env python3
"""lm-eval's scores of a model through `puna serve`, beside those of its own backend for transformers.

    cargo build --release -p puna-cli
    python3 benches/peers/task_scores.py MODEL [--puna BIN]

MODEL is a small Llama in a folder that transformers can load, such as `stories260K/hf` of the conformance material. It
needs Python 3.10 or later and, the first time, a network for pip: lm-eval, transformers and torch come into a virtual
environment under target/peers. Nothing else is fetched: the task is a handful of sentences made here.

Three kinds of requests are compared, one by one: log-likelihoods of endings with whether each is the greedy one, those of
whole texts that need several windows, and greedy continuations. lm-eval takes two tokens off the context of an API, so
its own backend gets a context that is as much shorter, for the windows to be the same. It decodes what its own backend
made without what went before, which loses a space at the beginning with some tokenizers: that space is not compared.
The exit status is 1 where a log-likelihood differs by more than 0.001, or where anything else differs.
"""
import argparse
import glob
import json
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import clients  # noqa: E402  The server, and where things are.

PACKAGES = ["lm-eval[api]==0.4.13", "transformers==5.24.0", "torch==2.15.0", "accelerate==1.15.0"]
CONTEXT = 512
TOLERANCE = 1e-3

TASKS = {
    "choice": """output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: gold
target_delimiter: ""
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "perplexity": """output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}]
""",
    "continuation": """output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "x"
generation_kwargs: {until: ["."], max_gen_toks: 24, do_sample: false, temperature: 0.0}
metric_list: [{metric: exact_match}]
""",
}


def write_tasks(folder):
    chance = random.Random(1)
    names, things = ["Tom", "Lily", "Ben", "Sue"], ["ball", "cat", "dog", "car", "book", "tree"]
    with open(os.path.join(folder, "data.jsonl"), "w") as file:
        for i in range(40):
            name, four = chance.choice(names), chance.sample(things, 4)
            begin = f"Once upon a time, {name} had a {four[0]}."
            file.write(json.dumps({
                "question": f"{begin} {name} was very happy with the", "choices": [f" {thing}." for thing in four],
                "gold": 0, "text": begin + " They played with it all day long and were happy." * (i % 9 * 4)}) + "\n")
    for name, text in TASKS.items():
        with open(os.path.join(folder, name + ".yaml"), "w") as file:
            file.write(f"task: {name}\ndataset_path: json\ntest_split: test\nnum_fewshot: 0\ndataset_kwargs:\n"
                       f"  data_files:\n    test: {folder}/data.jsonl\n{text}")


def answers(folder, name, model, *more):
    """What lm-eval was answered: task -> document -> answers."""
    python = os.path.join(clients.PEERS, "lm-eval", "bin", "python")
    out = os.path.join(folder, name)
    env = {key: value for key, value in os.environ.items() if not key.startswith(clients.DROPPED)}
    env.update(clients.QUIET, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=folder, OPENAI_API_KEY="any")
    subprocess.run([python, "-m", "lm_eval", "run", *model, *more, "--tasks", ",".join(TASKS), "--include_path", folder,
                    "--log_samples", "--output_path", out], env=env, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    told = {}
    for task in TASKS:
        (path,) = glob.glob(os.path.join(out, "*", f"samples_{task}_*.jsonl"))
        with open(path) as file:
            lines = [json.loads(line) for line in file]
        told[task] = {line["doc_id"]: [answer[0] for answer in line["resps"]] for line in lines}
    return told


def compare(task, ours, theirs):
    """The largest difference of numbers, and how many others differ."""
    worst = n_others = 0
    for doc, own in ours.items():
        for a, b in zip(own, theirs[doc], strict=True):
            if task == "continuation":
                n_others += a.lstrip() != b.lstrip()
                continue
            a, b = ([x] if isinstance(x, str) else x for x in (a, b))
            worst = max(worst, abs(float(a[0]) - float(b[0])))
            n_others += a[1:] != b[1:]
    return worst, n_others


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a folder that transformers can load")
    parser.add_argument("--puna", default=os.path.join(clients.ROOT, "target", "release", "puna"), help="the program")
    arguments = parser.parse_args()
    model = os.path.abspath(arguments.model)
    clients.PACKAGES["lm-eval"] = PACKAGES
    clients.install("lm-eval")
    with tempfile.TemporaryDirectory() as folder:
        write_tasks(folder)
        server = clients.Serving(arguments.puna, model, more=["--activations", "f32", "--ctx", str(CONTEXT)])
        try:
            ours = answers(folder, "ours", ["--model", "local-completions", "--model_args"],
                           f"model=x,base_url={server.url}/v1/completions,tokenizer={model},max_length={CONTEXT}")
        finally:
            server.stop()
        theirs = answers(folder, "theirs", ["--model", "hf", "--device", "cpu", "--model_args"],
                         f"pretrained={model},dtype=float32,max_length={CONTEXT - 2}")
    failed = False
    for task in TASKS:
        worst, n_others = compare(task, ours[task], theirs[task])
        n = sum(len(own) for own in ours[task].values())
        print(f"{task:13} {n:4} answers, log-likelihoods differ by at most {worst:.1e}, {n_others} others differ")
        failed |= worst > TOLERANCE or n_others > 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
