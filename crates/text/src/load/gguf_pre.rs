//! The splits that a GGUF header names in `tokenizer.ggml.pre`.
//!
//! The names are llama.cpp's, and so are the expressions, which are those of the models' own `tokenizer.json` where
//! llama.cpp's engine can match them; where it cannot (case-insensitive groups, classes of case) the original is here.
//! Each expression cuts what the one before it left. Names of splits that are no expressions (`kimi-k2`, `afmoe`,
//! `gemma4`), that belong to other architectures, or that stand for what a converter did not know (`default`) are not
//! known here.

use crate::error::TokenizerError;
use crate::pattern::Pattern;
use crate::pre_tokenize::{Behavior, Delimiter, PreTokenizer};
use crate::split::Splitter;

const FORM: &str = "GGUF tokenizer";

/// One cut: by hand, at digits, or at what matches an expression.
enum Cut {
    By(Splitter),
    Digits,
    At(&'static str),
}

use Cut::{At, By, Digits};

/// Latin, Greek, Cyrillic and other letters that have case, as DeepSeek's first models list them.
const CASED_LETTERS: &str = concat!(
    r"\s?[A-Za-z\x{00B5}\x{00C0}-\x{00D6}\x{00D8}-\x{00F6}\x{00F8}-\x{01BA}\x{01BC}-\x{01BF}",
    r"\x{01C4}-\x{0293}\x{0295}-\x{02AF}\x{0370}-\x{0373}\x{0376}\x{0377}\x{037B}-\x{037D}\x{037F}",
    r"\x{0386}\x{0388}-\x{038A}\x{038C}\x{038E}-\x{03A1}\x{03A3}-\x{03F5}\x{03F7}-\x{0481}",
    r"\x{048A}-\x{052F}\x{0531}-\x{0556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}",
    r"\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}",
    r"\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}",
    r"\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}",
    r"\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}",
    r"\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}",
    r"\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}",
    r"\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}",
    r"\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}",
    r"\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}",
    r"\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}",
    r"\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+"
);
const EAST_ASIAN: &str = "[一-龥ࠀ-一가-퟿]+";
const CHINESE_JAPANESE: &str = "[一-龥぀-ゟ゠-ヿ]+";
const DEEPSEEK3_WORDS: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"##,
    r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const QWEN35: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|",
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const JAIS2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|",
    r"\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|",
    r"\s{1,2}(?!\S)|\s{1}"
);
const BAILING: &str = concat!(
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|",
    r"\s+(?!\S)|\s+"
);
const SEED_CODER: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|",
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
);
const EXAONE_MOE: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
);
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

/// The cuts of this name, and whether whole words that are tokens skip merging; `None` for a name we do not know.
pub(crate) fn cuts_called(name: &str) -> Result<Option<(Vec<PreTokenizer>, bool)>, TokenizerError> {
    let cuts: &[Cut] = match name {
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2"
        | "dbrx" | "smaug-bpe" | "chatglm-bpe" | "glm4" => &[By(Splitter::Llama3)],
        "llama4" | "gpt-4o" | "kanana2" | "talkie" | "minimax-m2" => &[By(Splitter::Llama4)],
        "gpt-2" | "phi-2" | "gigachat" | "a.x-4.0" | "mellum" | "exaone4" | "mpt" | "olmo" | "jais"
        | "trillion" | "granite-docling" => &[By(Splitter::Gpt2)],
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "megrez" | "stablelm2" | "hunyuan"
        | "solar-open" | "grok-2" => &[By(Splitter::Qwen2)],
        "starcoder" | "refact" | "command-r" | "smollm" | "codeshell" | "exaone" | "minerva-7b"
        | "mellum2" => &[Digits, By(Splitter::Gpt2)],
        "deepseek-llm" => &[
            At(r"[\r\n]"),
            At(CASED_LETTERS),
            At(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
            At(r"\s+$"),
            At(EAST_ASIAN),
            At(r"\p{N}+"),
        ],
        "deepseek-coder" => {
            &[At(r"[\r\n]"), At(r"\s?\p{L}+"), At(r"\s?\p{P}+"), At(EAST_ASIAN), At(r"\p{N}")]
        }
        "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => {
            &[At(r"\p{N}{1,3}"), At(CHINESE_JAPANESE), At(DEEPSEEK3_WORDS)]
        }
        "falcon" => &[At(r"[\p{P}\$\+<=>\^~\|`]+"), By(Splitter::Gpt2), At("[0-9][0-9][0-9]")],
        "tekken" => &[At(TEKKEN)],
        "qwen35" => &[At(QWEN35)],
        "jais-2" => &[At(JAIS2)],
        "bailingmoe" | "bailingmoe2" | "llada-moe" => &[At(BAILING)],
        "seed-coder" => &[At(SEED_CODER)],
        "exaone-moe" => &[At(EXAONE_MOE)],
        "poro-chat" | "bloom" | "gpt3-finnish" => &[At(BLOOM)],
        "viking" => &[At(BLOOM), At(r"\p{N}")],
        "superbpe" => &[At(r"\p{N}+"), At(r"(?=(\d{3})+(?!\d))")],
        "tiny_aya" | "cohere2moe" => &[At(r"\d{1,3}(?=(?:\d{3})*\b)"), By(Splitter::Llama4)],
        "laguna" => &[At(r"[^\n]+|[\n]+"), By(Splitter::Qwen2)],
        _ => return Ok(None),
    };
    let skips_merging = matches!(
        name,
        "llama3"
            | "llama-v3"
            | "llama-bpe"
            | "falcon3"
            | "falcon-h1"
            | "pixtral"
            | "midm-2.0"
            | "lfm2"
            | "tekken"
    );
    let cuts = cuts.iter().map(|cut| {
        let at = match cut {
            By(splitter) => return Ok(PreTokenizer::Words(*splitter)),
            Digits => Delimiter::Chars(char::is_numeric),
            At(expression) => Delimiter::Pattern(Pattern::expression(FORM, expression)?),
        };
        Ok(PreTokenizer::Split { at, behavior: Behavior::Isolated, inverted: false })
    });
    Ok(Some((cuts.collect::<Result<_, TokenizerError>>()?, skips_merging)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalize::Place;
    use crate::pre_tokenize::for_each_word;
    use crate::sentencepiece::Prefix;

    fn words(name: &str, text: &str) -> Vec<String> {
        let (cuts, _) = cuts_called(name).unwrap().unwrap();
        let place = Place { at_start: true, prefix: Prefix::Never };
        let mut words = Vec::new();
        for_each_word(&cuts, text, place, &mut |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn names_and_their_words() {
        for (name, text, expected) in [
            ("smollm", "a 12 b", vec!["a", " ", "1", "2", " b"]),
            ("deepseek-llm", "Hi, 语言 12\n x ", vec!["Hi", ",", " ", "语言", " ", "12", "\n", " x", " "]),
            ("deepseek-coder", "a_b 12", vec!["a", "_", "b", " ", "1", "2"]),
            ("deepseek-v3", "1234ab 日本x", vec!["123", "4", "ab", " ", "日本", "x"]),
            ("tekken", "HelloWorld 12", vec!["Hello", "World", " ", "1", "2"]),
            ("falcon", "a1234.b", vec!["a", "123", "4", ".", "b"]),
            ("qwen2", "a 12", vec!["a", " ", "1", "2"]),
            ("superbpe", "a 1234567", vec!["a ", "1", "234", "567"]),
            ("jais-2", "a   b", vec!["a", "  ", " b"]),
            ("bloom", "a (b)", vec!["a", " (", "b", ")"]),
        ] {
            assert_eq!(words(name, text), expected, "{name}");
        }
        assert!(cuts_called("kimi-k2").unwrap().is_none());
        assert!(cuts_called("tekken").unwrap().unwrap().1 && !cuts_called("smaug-bpe").unwrap().unwrap().1);
    }

    #[test]
    fn every_expression_compiles() {
        for name in
            ["qwen35", "bailingmoe", "seed-coder", "exaone-moe", "viking", "tiny_aya", "laguna", "llama4"]
        {
            assert_eq!(words(name, "ab 12,\n\n x").concat(), "ab 12,\n\n x", "{name}");
        }
    }
}
