//! Meta's models, as they stood on 2026-11-29: what each is called, how large it is, and what it needs.

use crate::licence::Licence;

/// The day on which the table was made.
pub const DATE: &str = "2026-11-29";

/// A model of Meta's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its repository on Hugging Face's hub.
    pub hub: &'static str,
    /// As Ollama's users type it; empty where Ollama has none.
    pub ollama: &'static str,
    /// Its parameters.
    pub n_parameters: u64,
    /// Those that work for one token: fewer with experts.
    pub n_active: u64,
    /// Bytes of keys and values for one token, in 16 bits.
    pub kv_bytes: u64,
    /// The context that it was made for.
    pub max_seq_len: u64,
    /// Its licence.
    pub licence: Licence,
    /// Whether it sees pictures.
    pub sees: bool,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Continues text.
    Base,
    /// Answers.
    Chat,
    /// Writes code.
    Code,
    /// Judges what is said.
    Guard,
}

impl Purpose {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Base => "base",
            Purpose::Chat => "chat",
            Purpose::Code => "code",
            Purpose::Guard => "guard",
        }
    }
}

impl Known {
    /// Whether a name is that of its repository, without the owner.
    pub(crate) fn is_hubs(&self, name: &str) -> bool {
        self.hub.rsplit('/').next().is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    /// Bytes of its weights with so many bits for each.
    pub fn bytes(&self, bits: f64) -> u64 {
        (self.n_parameters as f64 * bits / 8.0) as u64
    }

    /// Bytes that one token reads of them.
    pub fn active_bytes(&self, bits: f64) -> u64 {
        (self.n_active as f64 * bits / 8.0) as u64
    }
}

const B7: u64 = 6_738_415_616;
const B13: u64 = 13_015_864_320;
const B70_OF_2: u64 = 68_976_648_192;
const B8: u64 = 8_030_261_248;
const B70: u64 = 70_553_706_496;
const B405: u64 = 405_853_388_800;
const B1: u64 = 1_235_814_400;
const B3: u64 = 3_212_749_824;

macro_rules! known {
    ($($hub:literal $ollama:literal $n:expr, $active:expr, $kv:literal $ctx:literal $licence:ident $sees:literal $purpose:ident;)*) => {
        /// All of them, the newest first.
        pub const KNOWN: &[Known] = &[$(Known {
            hub: $hub,
            ollama: $ollama,
            n_parameters: $n,
            n_active: $active,
            kv_bytes: $kv,
            max_seq_len: $ctx,
            licence: Licence::$licence,
            sees: $sees,
            purpose: Purpose::$purpose,
        },)*];
    };
}

known! {
    "meta-llama/Llama-4-Scout-17B-16E-Instruct" "llama4:16x17b" 108_641_793_536, 17_170_000_000, 196_608 10_485_760 Llama4 true Chat;
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct" "llama4:128x17b" 401_583_781_376, 17_180_000_000, 196_608 1_048_576 Llama4 true Chat;
    "meta-llama/Llama-4-Scout-17B-16E" "" 108_641_793_536, 17_170_000_000, 196_608 262_144 Llama4 true Base;
    "meta-llama/Llama-4-Maverick-17B-128E" "" 401_583_781_376, 17_180_000_000, 196_608 262_144 Llama4 true Base;
    "meta-llama/Llama-Guard-4-12B" "" 12_001_097_216, 12_001_097_216, 196_608 163_840 Llama4 true Guard;
    "meta-llama/Llama-3.3-70B-Instruct" "llama3.3:70b" B70, B70, 327_680 131_072 Llama3_3 false Chat;
    "meta-llama/Llama-3.2-1B-Instruct" "llama3.2:1b" B1, B1, 32_768 131_072 Llama3_2 false Chat;
    "meta-llama/Llama-3.2-3B-Instruct" "llama3.2:3b" B3, B3, 114_688 131_072 Llama3_2 false Chat;
    "meta-llama/Llama-3.2-11B-Vision-Instruct" "llama3.2-vision:11b" 10_670_220_835, 10_670_220_835, 131_072 131_072 Llama3_2 true Chat;
    "meta-llama/Llama-3.2-90B-Vision-Instruct" "llama3.2-vision:90b" 88_593_355_323, 88_593_355_323, 327_680 131_072 Llama3_2 true Chat;
    "meta-llama/Llama-3.2-1B" "llama3.2:1b-text-fp16" B1, B1, 32_768 131_072 Llama3_2 false Base;
    "meta-llama/Llama-3.2-3B" "llama3.2:3b-text-fp16" B3, B3, 114_688 131_072 Llama3_2 false Base;
    "meta-llama/Llama-3.2-11B-Vision" "" 10_642_941_475, 10_642_941_475, 131_072 131_072 Llama3_2 true Base;
    "meta-llama/Llama-3.2-90B-Vision" "" 88_593_355_323, 88_593_355_323, 327_680 131_072 Llama3_2 true Base;
    "meta-llama/Llama-Guard-3-1B" "llama-guard3:1b" B1, B1, 32_768 131_072 Llama3_2 false Guard;
    "meta-llama/Llama-Guard-3-11B-Vision" "" 10_670_220_835, 10_670_220_835, 131_072 131_072 Llama3_2 true Guard;
    "meta-llama/Llama-3.1-8B-Instruct" "llama3.1:8b" B8, B8, 131_072 131_072 Llama3_1 false Chat;
    "meta-llama/Llama-3.1-70B-Instruct" "llama3.1:70b" B70, B70, 327_680 131_072 Llama3_1 false Chat;
    "meta-llama/Llama-3.1-405B-Instruct" "llama3.1:405b" B405, B405, 516_096 131_072 Llama3_1 false Chat;
    "meta-llama/Llama-3.1-8B" "llama3.1:8b-text-q4_K_M" B8, B8, 131_072 131_072 Llama3_1 false Base;
    "meta-llama/Llama-3.1-70B" "llama3.1:70b-text-q4_0" B70, B70, 327_680 131_072 Llama3_1 false Base;
    "meta-llama/Llama-3.1-405B" "" B405, B405, 516_096 131_072 Llama3_1 false Base;
    "meta-llama/Llama-Guard-3-8B" "llama-guard3:8b" B8, B8, 131_072 131_072 Llama3_1 false Guard;
    "meta-llama/Meta-Llama-3-8B-Instruct" "llama3:8b" B8, B8, 131_072 8_192 Llama3 false Chat;
    "meta-llama/Meta-Llama-3-70B-Instruct" "llama3:70b" B70, B70, 327_680 8_192 Llama3 false Chat;
    "meta-llama/Meta-Llama-3-8B" "llama3:8b-text" B8, B8, 131_072 8_192 Llama3 false Base;
    "meta-llama/Meta-Llama-3-70B" "llama3:70b-text" B70, B70, 327_680 8_192 Llama3 false Base;
    "meta-llama/Meta-Llama-Guard-2-8B" "" B8, B8, 131_072 8_192 Llama3 false Guard;
    "meta-llama/CodeLlama-7b-Instruct-hf" "codellama:7b" 6_738_546_688, 6_738_546_688, 524_288 16_384 Llama2 false Code;
    "meta-llama/CodeLlama-13b-Instruct-hf" "codellama:13b" 13_016_028_160, 13_016_028_160, 819_200 16_384 Llama2 false Code;
    "meta-llama/CodeLlama-34b-Instruct-hf" "codellama:34b" 33_743_970_304, 33_743_970_304, 196_608 16_384 Llama2 false Code;
    "meta-llama/CodeLlama-70b-Instruct-hf" "codellama:70b" 68_976_910_336, 68_976_910_336, 327_680 4_096 Llama2 false Code;
    "meta-llama/Llama-2-7b-chat-hf" "llama2:7b" B7, B7, 524_288 4_096 Llama2 false Chat;
    "meta-llama/Llama-2-13b-chat-hf" "llama2:13b" B13, B13, 819_200 4_096 Llama2 false Chat;
    "meta-llama/Llama-2-70b-chat-hf" "llama2:70b" B70_OF_2, B70_OF_2, 327_680 4_096 Llama2 false Chat;
    "meta-llama/Llama-2-7b-hf" "llama2:7b-text" B7, B7, 524_288 4_096 Llama2 false Base;
    "meta-llama/Llama-2-13b-hf" "llama2:13b-text" B13, B13, 819_200 4_096 Llama2 false Base;
    "meta-llama/Llama-2-70b-hf" "llama2:70b-text" B70_OF_2, B70_OF_2, 327_680 4_096 Llama2 false Base;
    "meta-llama/LlamaGuard-7b" "" B7, B7, 524_288 4_096 Llama2 false Guard;
}

/// What Ollama's names without a size stand for.
const DEFAULTS: [(&str, &str); 9] = [
    ("llama4", "llama4:16x17b"),
    ("llama3.3", "llama3.3:70b"),
    ("llama3.2", "llama3.2:3b"),
    ("llama3.2-vision", "llama3.2-vision:11b"),
    ("llama3.1", "llama3.1:8b"),
    ("llama3", "llama3:8b"),
    ("llama2", "llama2:7b"),
    ("codellama", "codellama:7b"),
    ("llama-guard3", "llama-guard3:8b"),
];

/// The model that a name means: the hub's, with or without its owner, or Ollama's, with or without a tag.
pub fn named(name: &str) -> Option<&'static Known> {
    let name = name.trim().to_lowercase();
    let name = name.strip_prefix("ollama:").unwrap_or(&name);
    let name = name.strip_suffix(":latest").unwrap_or(name);
    let name = DEFAULTS.iter().find(|(short, _)| *short == name).map_or(name, |(_, whole)| whole);
    KNOWN.iter().find(|known| {
        let hub = known.hub.to_lowercase();
        hub == name
            || hub.rsplit('/').next() == Some(name)
            || (!known.ollama.is_empty() && known.ollama.eq_ignore_ascii_case(name))
    })
}

/// The names that are nearest to one that nothing has.
pub fn nearest(name: &str) -> Vec<&'static str> {
    let name = name.to_lowercase();
    let words = KNOWN.iter().flat_map(|known| [known.ollama, known.hub]).filter(|word| !word.is_empty());
    let mut all: Vec<(usize, &str)> =
        words.map(|word| (strsim::levenshtein(&name, &word.to_lowercase()), word)).collect();
    all.sort();
    // A third of its letters may be others.
    all.into_iter()
        .filter(|(far, _)| 3 * far <= name.chars().count().max(3))
        .take(3)
        .map(|(_, word)| word)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_one_model() {
        for known in KNOWN {
            assert_eq!(named(known.hub), Some(known), "{}", known.hub);
            if !known.ollama.is_empty() {
                assert_eq!(named(known.ollama), Some(known), "{}", known.ollama);
            }
        }
        assert_eq!(named("llama3.2").unwrap().hub, "meta-llama/Llama-3.2-3B-Instruct");
        assert_eq!(named("ollama:llama3.1:latest").unwrap().ollama, "llama3.1:8b");
        assert_eq!(named("Llama-3.3-70B-Instruct").unwrap().licence, Licence::Llama3_3);
        assert!(DEFAULTS.iter().all(|(_, whole)| KNOWN.iter().any(|known| known.ollama == *whole)));
        assert!(named("mistral").is_none() && named("").is_none());
        assert_eq!(nearest("lama3.2:1b").first(), Some(&"llama3.2:1b"));
        assert_eq!(nearest("llama-3.2-1b-instruct").len(), 0);
        assert!(nearest("xyz").is_empty());
    }
}
