"""Tokenizers of every composition, and what `tokenizers` and `sentencepiece` make of texts with them.

    python3 tests/make_tokenizers.py OUT.json [TEXTS]

Trains small models on the sentences below, puts every part that `tokenizer.json` knows around them, and writes the ids
and the decoded texts for TEXTS texts (24: the committed set, `crates/text/tests/tokenizers.json`; 300: a thorough one,
which `PUNA_TOKENIZERS=OUT.json cargo test -p puna-text --test tokenizers` reads). Everything is made from fixed seeds.

Made with Python 3.11, tokenizers 0.23.3, sentencepiece 0.2.3.
"""

import base64
import io
import json
import random
import sys
import tempfile
import unicodedata

import sentencepiece
import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

SENTENCES = """
The miller's daughter walked to the river, and the river walked with her. It wasn't far; she'd been there 12 times.
"Who counts 1234567 stones?" asked the heron. Nobody's counting, they're only looking, said the girl: I'll go.
We've seen 3 boats, 14 ducks and 159 gulls in 2026, don't you think that they'd have stayed? 26.5% of them did!
Für die Müller war es ein schöner Tag: die Sonne schien über die Brücke, und niemand fragte nach der Größe der Welt.
L'été passé, la rivière était très haute; l'eau montait jusqu'à la fenêtre où l'enfant rêvait déjà à Noël.
El niño soñó con una montaña pequeña. ¿Dónde está el río? ¡Aquí! Él contestó: mañana, quizás.
Река течёт медленно, и мельник смотрит на воду. Ёж спит под ёлкой, а дети считают звёзды: раз, два, три.
川はゆっくり流れ、少女は石を数えました。カモメが三羽、空を飛んでいます。東京タワーは高いですね。
河水慢慢地流，女孩数着石头。他们说：明天再来吧！一共有一百五十九只海鸥。
강은 천천히 흐르고 소녀는 돌을 세었습니다. 갈매기가 하늘을 날아갑니다.
नदी धीरे बहती है और लड़की पत्थर गिनती है। النهر يجري ببطء والفتاة تعد الحجارة.
def walk(river, times=3):\n    for n in range(times):\n        print(f"{river}: {n}")\n\treturn river[::-1] != "x_y"\r\n
HelloWorld helloWORLD XMLHttpRequest iPhone snake_case kebab-case a.b.c https://example.org/path?q=1&r=2#top
"""
CORPUS = [line for line in SENTENCES.strip().split("\n") if line] * 8
LATIN = [line for line in CORPUS if all(ord(c) < 0x400 for c in line)]

ADDED = [
    {"content": "<unk>", "special": True}, {"content": "<s>", "special": True}, {"content": "</s>", "special": True},
    {"content": "<|end|>", "special": True}, {"content": "[tool]", "special": False, "normalized": True},
    {"content": "Walked", "special": False, "normalized": True}, {"content": "<one>", "special": False, "normalized": False},
    {"content": "<left>", "special": False, "normalized": False, "lstrip": True},
    {"content": "<right>", "special": False, "normalized": False, "rstrip": True},
    {"content": "word", "special": False, "normalized": False, "single_word": True},
    {"content": "<one><two>", "special": False, "normalized": False},
]

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA4 = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
          r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = LLAMA4.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"""
             r"""\s*[\r\n]+|\s+(?!\S)|\s+""")
BAILING = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")


def seq(kind, *parts):
    return {"type": "Sequence", kind: list(parts)}


def regex_split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def string_split(text, behavior):
    return {"type": "Split", "pattern": {"String": text}, "behavior": behavior, "invert": False}


def byte_level(add_prefix_space=False, use_regex=True):
    return {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": use_regex}


def pre(*parts):
    return seq("pretokenizers", *parts)


def norm(*parts):
    return seq("normalizers", *parts)


def metaspace(scheme="always", split=True):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


def replace(old, new, kind="String"):
    return {"type": "Replace", "pattern": {kind: old}, "content": new}


def only(kind, **settings):
    return {"type": kind, **settings}


PREPEND = only("Prepend", prepend="▁")
MARKS = replace(" ", "▁")
BYTES = byte_level(use_regex=False)
BYTE_DECODER = byte_level(True)
SP_DECODER = seq("decoders", replace("▁", " "), only("ByteFallback"), only("Fuse"),
                 only("Strip", content=" ", start=1, stop=0))
NEVER_DECODER = seq("decoders", replace("▁", " "), only("ByteFallback"), only("Fuse"))
DIGITS = only("Digits", individual_digits=True)
SPACES = [r"\s{%d}(?!\S)" % n for n in (16, 8, 4)]
BERT = only("BertNormalizer", clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
WORDPIECE = only("WordPiece", prefix="##", cleanup=True)


def special(name):
    return {"SpecialToken": {"id": name, "type_id": 0}}


TEXT = {"Sequence": {"id": "A", "type_id": 0}}


def template(before, after, ids):
    used = {n: {"id": n, "ids": [ids[n]], "tokens": [n]} for n in [*before, *after]}
    single = [special(n) for n in before] + [TEXT] + [special(n) for n in after]
    return {"type": "TemplateProcessing", "single": single, "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": used}


def cases(ids, charsmap):
    """Name, model, normaliser, pre-tokeniser, decoder, and what else differs."""
    bos = template(["<s>"], [], ids)
    frame = template(["<s>", "<|end|>"], ["</s>"], ids)
    roberta = only("RobertaProcessing", sep=["</s>", ids["</s>"]], cls=["<s>", ids["<s>"]], trim_offsets=True, add_prefix_space=False)
    bert = only("BertProcessing", sep=["</s>", ids["</s>"]], cls=["<s>", ids["<s>"]])
    yield "gpt2", "bytes", None, byte_level(), BYTE_DECODER, {"post_processor": roberta}
    yield "llama3", "bytes", None, pre(regex_split(LLAMA3), BYTES), BYTE_DECODER, {"post_processor": seq("processors", byte_level(), bos)}
    yield "llama3 whole words", "bytes", None, pre(regex_split(LLAMA3), BYTES), BYTE_DECODER, {"model": {"ignore_merges": True}}
    yield "llama4", "bytes", None, pre(regex_split(LLAMA4), BYTES), BYTE_DECODER, {}
    yield "smollm", "bytes", None, pre(DIGITS, byte_level()), BYTE_DECODER, {}
    yield "qwen2", "bytes", only("NFC"), pre(regex_split(QWEN2), BYTES), BYTE_DECODER, {}
    yield "tekken", "bytes", None, pre(regex_split(TEKKEN), BYTES), BYTE_DECODER, {"model": {"ignore_merges": True}}
    yield "deepseek coder", "bytes", norm(), pre(regex_split("[\r\n]"), regex_split(r"\s?\p{L}+"), regex_split(r"\s?\p{P}+"), regex_split("[一-龥ࠀ-一가-퟿]+"), DIGITS, BYTES), BYTE_DECODER, {}
    yield "deepseek llm", "bytes", norm(), pre(regex_split("[\r\n]"), regex_split(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺА-я]+"), regex_split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"), regex_split(r"\s+$"), regex_split("[一-龥ࠀ-一가-퟿]+"), DIGITS, BYTES), BYTE_DECODER, {}
    yield "deepseek v3", "bytes", norm(), pre(regex_split(r"\p{N}{1,3}"), regex_split("[一-龥぀-ゟ゠-ヿ]+"), regex_split(DEEPSEEK3), BYTES), BYTE_DECODER, {}
    yield "falcon", "bytes", None, pre(only("Punctuation", behavior="Contiguous"), byte_level(), only("Digits", individual_digits=False), regex_split("[0-9][0-9][0-9]")), BYTE_DECODER, {}
    yield "possessive", "bytes", None, pre(regex_split(BAILING), BYTES), BYTE_DECODER, {}
    yield "cascading spaces", "bytes", None, pre(regex_split(LLAMA3.replace(r"\s+(?!\S)|\s+", "|".join(SPACES) + r"|\s{1,2}(?!\S)|\s{1}")), BYTES), BYTE_DECODER, {}
    yield "groups of three", "bytes", None, pre(regex_split(r"\p{N}+"), regex_split(r"(?=(\d{3})+(?!\d))"), BYTES), BYTE_DECODER, {}
    yield "prefixed bytes", "bytes", None, byte_level(True), BYTE_DECODER, {}
    yield "folded bytes", "bytes", norm(only("NFKC"), only("Lowercase")), byte_level(), BYTE_DECODER, {}
    yield "removed", "bytes", None, pre(regex_split(r"[\s,]+", "Removed"), BYTES), BYTE_DECODER, {}
    yield "kept", "bytes", None, pre(regex_split(r"\w+", "Removed", True), BYTES), BYTE_DECODER, {}
    yield "with the one before", "bytes", None, pre(string_split(" ", "MergedWithPrevious"), BYTES), BYTE_DECODER, {}
    yield "with the next one", "bytes", None, pre(string_split(" ", "MergedWithNext"), BYTES), BYTE_DECODER, {}
    yield "contiguous", "bytes", None, pre(regex_split(r"[\s.]", "Contiguous"), BYTES), BYTE_DECODER, {}
    yield "empty matches", "bytes", None, pre(regex_split(r"\d*", "Isolated"), BYTES), BYTE_DECODER, {}
    yield "bytes first", "bytes", only("ByteLevel"), regex_split("Ġ?[a-z]+"), BYTE_DECODER, {}
    yield "some bytes", "few bytes", None, byte_level(), BYTE_DECODER, {}
    yield "some bytes, unknown", "few bytes", None, byte_level(), BYTE_DECODER, {"model": {"unk_token": "<unk>", "fuse_unk": True}}
    yield "llama2", "chars", norm(PREPEND, MARKS), None, SP_DECODER, {"model": {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}, "post_processor": bos}
    yield "llama2, plain tokens", "chars", norm(PREPEND, MARKS), None, SP_DECODER, {"model": {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}, "raw_added": True}
    yield "metaspace first", "chars", None, metaspace("first", False), SP_DECODER, {"model": {"unk_token": "<unk>", "byte_fallback": True}}
    yield "metaspace always", "chars", None, metaspace(), SP_DECODER, {"model": {"unk_token": "<unk>", "byte_fallback": True}}
    yield "metaspace never", "chars", None, metaspace("never"), NEVER_DECODER, {"model": {"unk_token": "<unk>", "byte_fallback": True}, "post_processor": frame}
    yield "metaspace decoder", "chars", norm(), metaspace("always", False), metaspace("always", False), {"model": {"unk_token": "<unk>", "fuse_unk": True}}
    yield "whole texts", "chars", norm(PREPEND, MARKS), None, SP_DECODER, {"model": {"unk_token": "<unk>", "byte_fallback": True, "ignore_merges": True}}
    yield "unknown apart", "chars", norm(MARKS), None, NEVER_DECODER, {"model": {"unk_token": "<unk>"}}
    yield "unknown dropped", "chars", norm(MARKS), None, NEVER_DECODER, {}
    yield "spaces collapse", "chars", norm(only("Strip", strip_left=True, strip_right=False), replace(r" {2,}", " ", "Regex")), metaspace("first", False), SP_DECODER, {"model": {"unk_token": "<unk>", "byte_fallback": True}}
    yield "ends of words", "ends", only("Lowercase"), only("Whitespace"), only("BPEDecoder", suffix="</w>"), {"model": {"unk_token": "<unk>", "end_of_word_suffix": "</w>"}}
    yield "parts of words", "parts", None, only("WhitespaceSplit"), WORDPIECE, {"model": {"unk_token": "<unk>", "continuing_subword_prefix": "##"}}
    yield "scripts", "unigram", norm(MARKS), pre(only("UnicodeScripts"), string_split("▁", "MergedWithNext")), NEVER_DECODER, {}
    yield "lengths", "unigram", norm(MARKS), only("FixedLength", length=5), NEVER_DECODER, {"model": {"byte_fallback": True}}
    yield "delimiter", "unigram", None, pre(only("CharDelimiterSplit", delimiter="e"), metaspace("first")), SP_DECODER, {}
    yield "unigram", "unigram", None, metaspace(), metaspace(), {"post_processor": template([], ["</s>"], ids)}
    yield "unigram of bytes", "unigram", norm(only("Nmt"), only("NFKC"), replace(r" {2,}", " ", "Regex")), metaspace("always", False), SP_DECODER, {"model": {"byte_fallback": True}}
    yield "unigram of a table", "unigram", norm(only("Precompiled", precompiled_charsmap=charsmap), only("Strip", strip_left=False, strip_right=True)), pre(only("WhitespaceSplit"), metaspace()), metaspace(), {}
    yield "bert", "wordpiece", BERT, only("BertPreTokenizer"), WORDPIECE, {"post_processor": bert}
    yield "bert with accents", "wordpiece", only("BertNormalizer", clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False), only("BertPreTokenizer"), only("WordPiece", prefix="##", cleanup=False), {"model": {"max_input_chars_per_word": 6}}
    yield "without accents", "wordpiece", norm(only("NFD"), only("StripAccents"), only("NFKD")), pre(only("Whitespace"), only("Punctuation", behavior="MergedWithPrevious")), WORDPIECE, {}
    yield "words", "words", only("Strip", strip_left=True, strip_right=True), only("Whitespace"), None, {}
    yield "words and marks", "words", None, pre(only("Punctuation", behavior="Removed"), only("WhitespaceSplit")), only("CTC", pad_token="<unk>", word_delimiter_token="|", cleanup=True), {}


def trained(model, pre_tokenizer, trainer):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(CORPUS, trainer)
    return json.loads(tokenizer.to_str())["model"]


def base_models():
    names = ["<unk>", "<s>", "</s>"]
    bpe = dict(show_progress=False, min_frequency=2)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    mark = pre_tokenizers.Metaspace(prepend_scheme="always")
    return {
        "bytes": trained(models.BPE(), pre_tokenizers.ByteLevel(add_prefix_space=False), trainers.BpeTrainer(vocab_size=620, special_tokens=names, initial_alphabet=alphabet, **bpe)),
        "few bytes": trained(models.BPE(), pre_tokenizers.ByteLevel(add_prefix_space=False), trainers.BpeTrainer(vocab_size=200, special_tokens=names, limit_alphabet=60, **bpe)),
        "chars": with_bytes(trained(models.BPE(), mark, trainers.BpeTrainer(vocab_size=420, special_tokens=names, limit_alphabet=90, **bpe))),
        "ends": trained(models.BPE(end_of_word_suffix="</w>"), pre_tokenizers.Whitespace(), trainers.BpeTrainer(vocab_size=260, special_tokens=names, limit_alphabet=60, end_of_word_suffix="</w>", **bpe)),
        "parts": trained(models.BPE(continuing_subword_prefix="##"), pre_tokenizers.WhitespaceSplit(), trainers.BpeTrainer(vocab_size=260, special_tokens=names, limit_alphabet=60, continuing_subword_prefix="##", **bpe)),
        "unigram": with_bytes(trained(models.Unigram(), mark, trainers.UnigramTrainer(vocab_size=260, special_tokens=names, unk_token="<unk>", show_progress=False))),
        "wordpiece": trained(models.WordPiece(unk_token="<unk>"), pre_tokenizers.BertPreTokenizer(), trainers.WordPieceTrainer(vocab_size=300, special_tokens=names, limit_alphabet=80, show_progress=False)),
        "words": trained(models.WordLevel(unk_token="<unk>"), pre_tokenizers.Whitespace(), trainers.WordLevelTrainer(vocab_size=120, special_tokens=names, show_progress=False)),
    }


def with_bytes(model):
    """The model with a piece for each byte behind its own."""
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    if model["type"] == "Unigram":
        model["vocab"] += [[piece, -50.0] for piece in pieces]
    else:
        n = len(model["vocab"])
        model["vocab"].update({piece: n + at for at, piece in enumerate(pieces)})
    return model


def make_texts(n):
    """Fixed ones first, then random ones of the kinds that go wrong."""
    fixed = ["", " ", "  a", "The river walked, don't it?  It's 1234567 stones.\n\n\tx\r\n", "a<s>The<|end|> river</s> x", "a [tool]b[tool] c",
             "Walked walked  Walked", "sword word word-word wordy (word)", "x  <left>  y  <right>  z", "<one><two> <one> <one><one><two>",
             "naïve cafe\u0301 Ångström ﬁne ½ ㎏ Ⅷ", "東京タワー、カモメ。 한국어 नदी", "👨‍👩‍👧‍👦👍🏽 🇩🇪 ☕\ufe0f", "a\u0000b\u0001\u200b\ufeff\u00a0\u3000c\ufffd▁▁d ▁",
             "HELLO World iPhone XMLHttp I'LL we'VE ſ'ſ", "   \n \n\n   x   ", "<unk> <0x41> ## Ġa </w>", "١٢٣ ²³ 12345678901"]
    rng = random.Random(7)
    words = SENTENCES.split() + [added["content"] for added in ADDED]
    bits = [lambda: rng.choice(words), lambda: " " * rng.randint(1, 5), lambda: rng.choice([" ", " ", " ", "\n", "\t", "\r\n", "\u00a0", "\u3000"]),
            lambda: str(rng.randint(0, 10 ** rng.randint(1, 9))), lambda: rng.choice("aeiou") + rng.choice(["\u0301", "\u0308", "\u0327\u0301", "\u094d"]),
            lambda: rng.choice(["👍🏽", "👩‍💻", "🏳️‍🌈", "☕", "🇫🇷"]), lambda: chr(rng.choice([rng.randint(1, 0x2FF), rng.randint(0x300, 0x3000), rng.randint(0x3000, 0xD7FF), rng.randint(0xE000, 0xFFFF), rng.randint(0x10000, 0x1FFFF)])),
            lambda: rng.choice(".,;:!?'\"()[]{}<>|/\\-_=+*&^%$#@~`▁"), lambda: rng.choice(["\u0007", "\u001b", "\u0085", "\u200d", "\u2028"]),
            lambda: rng.choice(["'s", "'LL", "n't", " do not", "'re"])]
    while len(fixed) < n:
        text = "".join(rng.choice(bits)() for _ in range(rng.randint(1, 14)))
        # Tables of classes differ in how old they are, and a BOS that the text brings is not put in front again.
        if all(unicodedata.ucd_3_2_0.category(c) != "Cn" or c in "🏽🏳🌈👩💻👍☕🇫🇷\ufe0f" for c in text) and not text.startswith("<s>"):
            fixed.append(text)
    return fixed[:n]


def added_tokens(model, raw):
    vocab = model["vocab"]
    known = {t[0]: n for n, t in enumerate(vocab)} if isinstance(vocab, list) else vocab
    at, tokens = len(known), []
    for token in ADDED:
        full = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, **token}
        if raw:
            full["normalized"] = False
        if token["content"] in known:
            full["id"] = known[token["content"]]
        else:
            full["id"], at = at, at + 1
        tokens.append(full)
    return tokens


def sentencepiece_models():
    """Models by SentencePiece's own trainer; the rules of normalisation are few, so that the table is small."""
    table = tempfile.mkdtemp() + "/rules.tsv"
    with open(table, "w") as rules:
        for old, new in [("ﬁ", "fi"), ("½", "1/2"), ("\u212b", "\u00c5"), ("\u3000", " "), ("\t", " "), ("ä", "a\u0308"), ("é", "e")]:
            rules.write(" ".join(f"{ord(c):X}" for c in old) + "\t" + " ".join(f"{ord(c):X}" for c in new) + "\n")
    common = dict(minloglevel=2, hard_vocab_limit=False, character_coverage=0.98, num_threads=1)
    settings = {
        "bpe": dict(model_type="bpe", vocab_size=480, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False),
        "bpe with names": dict(model_type="bpe", vocab_size=480, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, user_defined_symbols=["<name>", "river", "▁▁"]),
        "bpe with rules": dict(model_type="bpe", vocab_size=240, normalization_rule_tsv=table),
        "unigram": dict(model_type="unigram", vocab_size=520, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False),
        "unigram with rules": dict(model_type="unigram", vocab_size=260, normalization_rule_tsv=table, user_defined_symbols=["<name>", "river"]),
        "unigram with suffixes": dict(model_type="unigram", vocab_size=260, treat_whitespace_as_suffix=True, normalization_rule_name="identity"),
        "unigram without prefix": dict(model_type="unigram", vocab_size=260, add_dummy_prefix=False, normalization_rule_name="identity"),
    }
    for name, more in settings.items():
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(LATIN), model_writer=out, **common, **more)
        yield name, out.getvalue()


def charsmap_of(model):
    """The table in the `normalizer_spec` of a SentencePiece model."""
    def fields(data):
        at = 0
        def varint():
            nonlocal at
            value, shift = 0, 0
            while True:
                byte = data[at]
                at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
                if byte < 128:
                    return value
        while at < len(data):
            key = varint()
            if key & 7 == 0:
                yield key >> 3, varint()
            elif key & 7 == 2:
                length = varint()
                yield key >> 3, data[at:at + length]
                at += length
            else:
                size = {1: 8, 5: 4}[key & 7]
                at += size
    spec = next(value for number, value in fields(model) if number == 3)
    return next(value for number, value in fields(spec) if number == 2)


def main():
    path, n_texts = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 24
    texts = make_texts(n_texts)
    spm = dict(sentencepiece_models())
    models_ = base_models()
    charsmap = base64.b64encode(charsmap_of(spm["bpe with rules"])).decode()
    out = {"versions": {"tokenizers": tokenizers.__version__, "sentencepiece": sentencepiece.__version__},
           "texts": texts, "models": models_, "added": {}, "cases": [], "sentencepiece": []}
    for name, model in models_.items():
        out["added"][name] = added_tokens(model, False)
    # The ids that templates name differ from model to model.
    order = [case[:2] for case in cases({"<s>": 0, "</s>": 0, "<|end|>": 0}, charsmap)]
    for at, (_, base) in enumerate(order):
        ids = {token["content"]: token["id"] for token in out["added"][base]}
        name, base, normalizer, pre_tokenizer, decoder, more = list(cases(ids, charsmap))[at]
        parts = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "decoder": decoder, "post_processor": more.get("post_processor")}
        raw = more.get("raw_added", False)
        model = {**models_[base], **more.get("model", {})}
        file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added_tokens(models_[base], raw), **parts, "model": model}
        tokenizer = Tokenizer.from_str(json.dumps(file))
        rows = []
        for text in texts:
            ids = tokenizer.encode(text).ids
            decoded = tokenizer.decode(ids) if ids else ""
            rows.append([ids, None if decoded == text else decoded])
        out["cases"].append({"name": name, "model": base, "settings": more.get("model", {}), "raw_added": raw, "parts": parts, "rows": rows})
    for name, model in spm.items():
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        rows = []
        for text in texts:
            ids = processor.encode(text)
            decoded = processor.decode(ids)
            rows.append([ids, None if decoded == text else decoded])
        out["sentencepiece"].append({"name": name, "model": base64.b64encode(model).decode(), "rows": rows})
    with open(path, "w", encoding="utf-8") as file:
        json.dump(out, file, ensure_ascii=False, separators=(",", ":"))
    print(f"{len(out['cases'])} + {len(spm)} tokenizers, {len(texts)} texts")


main()
