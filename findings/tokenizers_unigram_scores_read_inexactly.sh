#!/usr/bin/env bash
# tokenizers 0.23.3: a Unigram model that was saved and loaded encodes otherwise than before, for its scores are read
# inexactly.
#
# `tokenizer.json` has every score with as many digits as tell it from its neighbours, but reading it back gives, for one
# in eight, the number beside it. Ways to cut a text whose sums of scores tie (pieces in another order) are decided by the
# last bit, so that a tokenizer just trained and the one loaded from its file give different ids. Whoever compares ids must
# load both from the file, and whoever reads the file exactly gets ids that `tokenizers` does not give.
#
# Fails if that changes. Needs Python 3.9; works in a temporary folder.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install -q tokenizers==0.23.3
cat >reload.py <<'PY'
import json

from tokenizers import Tokenizer, models

vocab = [("<unk>", 0.0), ("aa", -15.275492379532281), ("aaa", -5.101380514788434), ("a", -200.0)]
made = Tokenizer(models.Unigram(vocab, 0))
loaded = Tokenizer.from_str(made.to_str())
for tokenizer in (made, loaded):
    print(json.loads(tokenizer.to_str())["model"]["vocab"][1][1], tokenizer.encode("a" * 11).tokens)
PY
out=$(env/bin/python reload.py)
echo "$out"
test "$out" = "-15.275492379532281 ['aaa', 'aaa', 'aaa', 'aa']
-15.27549237953228 ['aa', 'aaa', 'aaa', 'aaa']"
