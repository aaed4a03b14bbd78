#!/usr/bin/env python3
"""Tokenizer speed beside Python's tiktoken, tokenizers and sentencepiece, on one thread.

    pip install tiktoken tokenizers sentencepiece
    python3 benches/peers/tokenizer_speed.py --text FILE MODEL...
    python3 benches/peers/tokenizer_speed.py --text FILE --general

MODEL is a Llama `tokenizer.model` (SentencePiece or tiktoken form; Llama 3 by default, Llama 4 by its
200,000 tokens). All implementations encode the same documents (the text cut at blank lines into about
64 KiB) without special tokens; the best of five rounds counts. The ids are compared as well: a number
that is fast and wrong is marked.

With --general the tokenizers are compositions of normalisers, pre-tokenizers and models as Llama-like models have
them beside Llama's own, with vocabularies that `tokenizers` trains on the text.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

from llama_cpp import built  # Not the package: the script beside this one.

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROUNDS = 5
LETTERS3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
LETTERS4 = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
)
PATTERN3 = LETTERS3 + r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERN4 = LETTERS4 + r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def documents(text, size=65536):
    """Cuts at the first blank line after every `size` bytes, as the Rust program does."""
    data, cut = text.encode(), []
    while data:
        at = data.find(b"\n\n", size)
        end = len(data) if at < 0 else at + 2
        cut.append(data[:end].decode())
        data = data[end:]
    return cut


def best(encode, docs):
    """The best time of all rounds and the ids of the last."""
    times, ids = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        ids = [encode(doc) for doc in docs]
        times.append(time.perf_counter() - started)
    return min(times), [i for doc in ids for i in doc]


def all_splits(rank_of):
    """Every pair of tokens that joins to a token, in order of the joined token's rank."""
    pairs = []
    for token, rank in rank_of.items():
        for at in range(1, len(token)):
            left, right = token[:at], token[at:]
            if left in rank_of and right in rank_of:
                pairs.append((rank, rank_of[left], rank_of[right], left, right))
    return [(left, right) for _, _, _, left, right in sorted(pairs, key=lambda pair: pair[:3])]


def byte_alphabet():
    """GPT-2's printable character for every byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + n) for n, byte in enumerate(moved)}


def hf_byte_level(ranks, pattern):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    alphabet = byte_alphabet()
    spell = lambda token: "".join(alphabet[byte] for byte in token)
    vocab = {spell(token): rank for token, rank in ranks.items()}
    merges = [(spell(left), spell(right)) for left, right in all_splits(ranks)]
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=True))
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    return tokenizer


def hf_sentencepiece(processor):
    from tokenizers import Tokenizer, models, normalizers

    size = processor.get_piece_size()
    vocab = {processor.id_to_piece(i): i for i in range(size)}
    mergeable = {
        processor.id_to_piece(i): i
        for i in range(size)
        if not (processor.is_byte(i) or processor.is_control(i) or processor.is_unknown(i))
    }
    score = {piece: processor.get_score(i) for piece, i in mergeable.items()}
    merges = sorted(all_splits(mergeable), key=lambda pair: -score[pair[0] + pair[1]])
    tokenizer = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


def peers(model):
    """The Python implementations for a model file: name -> encode, and tokenizer.json texts by name."""
    with open(model, "rb") as file:
        is_tiktoken = file.read(2000).split(b"\n")[0].split(b" ")[-1].isdigit()
    if is_tiktoken:
        import tiktoken
        from tiktoken.load import load_tiktoken_bpe

        ranks = load_tiktoken_bpe(model)
        pattern = PATTERN4 if len(ranks) == 200_000 else PATTERN3
        encoding = tiktoken.Encoding("llama", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        hf = hf_byte_level(ranks, pattern)
        found = {"tiktoken": encoding.encode_ordinary}
    else:
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_file=model)
        hf = hf_sentencepiece(processor)
        found = {"sentencepiece": processor.encode}
    encode_fast = getattr(hf, "encode_fast", hf.encode)
    found["tokenizers"] = lambda text: encode_fast(text, add_special_tokens=False).ids
    return found, hf


def general():
    """Compositions beside Llama's own: name -> an untrained tokenizer and its trainer."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    split = lambda pattern, behaviour="isolated": pre_tokenizers.Split(Regex(pattern), behaviour)
    byte_level = lambda **options: pre_tokenizers.ByteLevel(add_prefix_space=False, **options)
    bytes_only = byte_level(use_regex=False)
    found = {}

    def bpe(name, parts, normalizer=None, **options):
        tokenizer = Tokenizer(models.BPE(**options))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
        tokenizer.decoder = decoders.ByteLevel()
        if normalizer:
            tokenizer.normalizer = normalizer
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        found[name] = tokenizer, trainers.BpeTrainer(vocab_size=16000, initial_alphabet=alphabet, show_progress=False)

    def unigram(name, parts, normalizer):
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizers.Sequence(parts)
        found[name] = tokenizer, trainers.UnigramTrainer(
            vocab_size=8000, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
        )

    bpe("smollm: digits", [pre_tokenizers.Digits(individual_digits=True), byte_level(use_regex=True)])
    bpe(
        "deepseek: splits",
        [
            split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(r"[一-龥ࠀ-一가-퟿]+"),
            pre_tokenizers.Digits(individual_digits=True), bytes_only,
        ],
    )
    bpe(
        "falcon3: punctuation",
        [
            pre_tokenizers.Punctuation("contiguous"), byte_level(use_regex=True),
            pre_tokenizers.Digits(individual_digits=False), split(r"[0-9][0-9][0-9]"),
        ],
    )
    bpe("llama 3 with NFC", [split(PATTERN3), bytes_only], normalizers.NFC(), ignore_merges=True)
    bpe("llama 3 with NFKC", [split(PATTERN3), bytes_only], normalizers.NFKC())
    bpe(
        "qwen-like, lower case, accents stripped", [split(PATTERN3), bytes_only],
        normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]),
    )
    bpe("look-ahead and possessive", [split(r"\p{L}++(?=\s|$)|\p{L}+|\p{N}{1,3}|[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"), bytes_only])
    spaces = normalizers.Replace(Regex(r" {2,}"), " ")
    unigram("unigram, NFKC, metaspace", [pre_tokenizers.Metaspace()], normalizers.Sequence([normalizers.NFKC(), spaces]))
    unigram("unigram, words", [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()], normalizers.NFKC())
    return found


def ours(program, tokenizer, text):
    """Runs the Rust program on a tokenizer file."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as ids:
        command = [program, tokenizer, text, "--json", "--ids", ids.name]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return result, json.load(ids)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--text", required=True)
    parser.add_argument("--general", action="store_true", help="compositions beside Llama's own")
    arguments = parser.parse_args()
    if bool(arguments.models) == arguments.general:
        parser.error("name tokenizer models, or --general")
    program = built("puna-text", "--bench", "tokenizer_speed")
    with open(arguments.text, encoding="utf-8", newline="") as file:
        text = file.read()
    docs = documents(text)
    megabytes = len(text.encode()) / 1e6
    print(f"{arguments.text}: {megabytes:.1f} MB, {len(docs)} documents, one thread, best of {ROUNDS}\n")
    print(f"| {'tokenizer':28} | {'implementation':28} | MB/s   | tokens   | ids   |")
    print(f"|{'-' * 30}|{'-' * 30}|-------:|---------:|-------|")
    for name, (hf, trainer) in general().items() if arguments.general else ():
        hf.train_from_iterator(docs[::8], trainer)  # Unigram models take minutes for each megabyte.
        # What is loaded may differ: scores are read inexactly (findings/tokenizers_unigram_scores_read_inexactly.sh).
        hf = type(hf).from_str(hf.to_str())
        encode_fast = getattr(hf, "encode_fast", hf.encode)
        seconds, expected = best(lambda text: encode_fast(text, add_special_tokens=False).ids, docs)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(hf.to_str())
            file.flush()
            result, ids = ours(program, file.name, arguments.text)
        speed = megabytes / seconds
        ratio = f"{result['best_mb_s'] / speed:.1f} times"
        for who, speed, ids, same in [
            ("tokenizers (Python)", speed, expected, "same"),
            (f"puna, {ratio}", result["best_mb_s"], ids, "same" if ids == expected else "DIFFER"),
        ]:
            print(f"| {name:28} | {who:28} | {speed:6.1f} | {len(ids):8} | {same} |", flush=True)
    for model in arguments.models:
        found, hf = peers(model)
        expected = None
        row = lambda name, speed, ids, same: print(
            f"| {os.path.basename(model):28} | {name:28} | {speed:6.1f} | {len(ids):8} | {same} |", flush=True
        )
        for name, encode in found.items():
            seconds, ids = best(encode, docs)
            expected = expected or ids
            row(f"{name} (Python)", megabytes / seconds, ids, "same" if ids == expected else "DIFFER")
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(hf.to_str())
            file.flush()
            for name, path in [("puna", model), ("puna, from tokenizer.json", file.name)]:
                result, ids = ours(program, path, arguments.text)
                row(name, result["best_mb_s"], ids, "same" if ids == expected else "DIFFER")


if __name__ == "__main__":
    main()
