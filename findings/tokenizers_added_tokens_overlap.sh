#!/usr/bin/env bash
# tokenizers 0.23.3: white space that an added token takes (rstrip) is given to the next added token a second time.
#
# Added tokens are found first, and white space is given to those that want it afterwards. Where one with `rstrip` stands in
# front of one that begins with white space, both tokens have the same characters: their offsets overlap, and the tokens'
# texts together are longer than the text. Whoever maps tokens back to characters, or counts on decoding to give back what
# was encoded, gets too much; whoever writes a tokenizer by the documented meaning of `rstrip` gets one token less.
#
# Fails if that changes. Needs Python 3.9; works in a temporary folder.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install -q tokenizers==0.23.3
cat >encode.py <<'PY'
from tokenizers import AddedToken, Tokenizer, models

tokenizer = Tokenizer(models.BPE(vocab={"b": 0, " ": 1}, merges=[]))
tokenizer.add_tokens([AddedToken("<m>", rstrip=True, normalized=False), AddedToken("  ", normalized=False)])
encoded = tokenizer.encode("<m>  b")
print(encoded.tokens, encoded.offsets)
PY
out=$(env/bin/python encode.py)
echo "$out"
test "$out" = "['<m>  ', '  ', 'b'] [(0, 5), (3, 5), (5, 6)]"
