#!/usr/bin/env python3
"""Opens the events of a run with TensorBoard itself and compares them with its metrics.jsonl.

    pip install tensorboard==2.21.0
    puna train stories.txt
    python3 crates/train/tests/check_tensorboard.py stories-model

Fails where TensorBoard reads anything else than what the run says of itself: each scalar of each step once (a run that
was resumed included), and each sample as a text.
"""

import json
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

run = pathlib.Path(sys.argv[1])
lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]

files = sorted((run / "events").iterdir())
for path in files:
    first = Event.FromString(next(iter(RawEventFileLoader(str(path)).Load())))
    assert first.file_version == "brain.Event:2", first
    assert first.source_metadata.writer == "puna", first

events = EventAccumulator(str(run / "events"), size_guidance={"scalars": 0, "tensors": 0})
events.Reload()

n = 0
for tag, key in [
    ("train/loss", "loss"),
    ("train/grad_norm", "grad_norm"),
    ("train/lr", "lr"),
    ("train/bits_per_byte", "bits_per_byte"),
    ("valid/loss", "valid_loss"),
    ("valid/bits_per_byte", "valid_bits_per_byte"),
]:
    said = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
    read = [(event.step, event.value) for event in events.Scalars(tag)]
    assert [step for step, _ in said] == [step for step, _ in read], (tag, said, read)
    for (step, want), (_, got) in zip(said, read):
        assert abs(want - got) <= 1e-6 * max(1, abs(want)), (tag, step, want, got)
    n += len(read)

# TensorBoard purges scalars of steps that a resumed run made again, and shows the last of such texts.
bold = lambda prompt: f"**{prompt}**" if prompt else ""
texts = [(line["step"], bold(line["prompt"]) + line["text"]) for line in lines if "text" in line]
read = [(event.step, event.tensor_proto.string_val[0].decode()) for event in events.Tensors("sample")] if texts else []
assert dict(texts) == dict(read), (texts, read)

print(f"{len(files)} event files, {n} scalars, {len(texts)} texts: TensorBoard reads what the run says")
