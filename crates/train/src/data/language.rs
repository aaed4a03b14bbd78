//! Which language a text seems to be in: a light guess, by script and by frequent words.
//!
//! Languages with a script of their own are told by the share of their letters. Those that are written in Latin or
//! Cyrillic letters are told by a few of their most frequent words, which make up a quarter to a half of running
//! text: the language with the most of them wins, where they are at least a tenth of the words. That is enough to
//! sort paragraphs; lines, lists, names and code are often told wrongly or not at all.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A language that is told.
struct Language {
    code: &'static str,
    mark: Mark,
}

enum Mark {
    /// Words in small letters.
    Words(&'static str),
    /// Letters from and to here.
    Letters(&'static [(char, char)]),
}

const fn words(code: &'static str, words: &'static str) -> Language {
    Language { code, mark: Mark::Words(words) }
}

const fn letters(code: &'static str, ranges: &'static [(char, char)]) -> Language {
    Language { code, mark: Mark::Letters(ranges) }
}

const TOLD: [Language; 22] = [
    words(
        "en",
        "the of and to in a is that it was for on with he as his they be at by had not are but from have",
    ),
    words(
        "de",
        "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an er",
    ),
    words(
        "fr",
        "le la les de des du et en un une est que qui dans pour pas au il sur plus par je ne ce avec",
    ),
    words("es", "el la los las de y que en un una es se no por con su para como más al lo del pero sus le"),
    words("it", "il lo la gli di e che un una è per non in con si da del della sono ma come al dei più le"),
    words("pt", "o a os as de e que em um uma é para não com por se do da no na mais dos como mas ao"),
    words(
        "nl",
        "de het een en van in is dat op te zijn met voor niet aan er ook als maar om door hij naar bij",
    ),
    words("sv", "och i att det som en på är av för med den till inte har de om ett han men var jag från så"),
    words("da", "og i at det er en af til på de der for med ikke den har som et han var fra jeg men om"),
    words("pl", "w i na z się nie do to że jest o jak po co ale od za przez tym jego już dla oraz być"),
    words("cs", "a se v na je že to s z do i o ve jako za by ale pro si po jsem který od byl jeho"),
    words("tr", "ve bir bu da de için ile çok o ne gibi daha en kadar olarak var ama sonra ben olan her mi"),
    words(
        "id",
        "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga ke karena ada oleh saya mereka",
    ),
    words("ru", "и в не на что он с как это по но из к я у за его от все она так же мы был для"),
    words("uk", "і в не на що він з як це до та але я у за його від все вона так же ми був для є"),
    letters("el", &[('\u{370}', '\u{3ff}')]),
    letters("ar", &[('\u{600}', '\u{6ff}')]),
    letters("he", &[('\u{590}', '\u{5ff}')]),
    letters("hi", &[('\u{900}', '\u{97f}')]),
    letters("th", &[('\u{e00}', '\u{e7f}')]),
    letters("ko", &[('\u{ac00}', '\u{d7af}'), ('\u{1100}', '\u{11ff}')]),
    letters("zh", &[('\u{3400}', '\u{9fff}'), ('\u{f900}', '\u{faff}'), ('\u{20000}', '\u{323af}')]),
];

/// The places in [`TOLD`] of the languages that have a word among their frequent ones.
static KNOWN: LazyLock<HashMap<&str, Vec<usize>>> = LazyLock::new(|| {
    let mut known: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, language) in TOLD.iter().enumerate() {
        if let Mark::Words(words) = language.mark {
            words.split(' ').for_each(|word| known.entry(word).or_default().push(i));
        }
    }
    known
});

/// Japanese is Chinese characters among kana: told first.
const KANA: [(char, char); 1] = [('\u{3040}', '\u{30ff}')];

/// The languages that are told, by their codes of ISO 639.
pub const LANGUAGES: [&str; 23] = [
    "en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "pl", "cs", "tr", "id", "ru", "uk", "el", "ar",
    "he", "hi", "th", "ko", "zh", "ja",
];

/// The least share of a text's words that are frequent ones.
const LEAST_WORDS: f64 = 0.1;

/// The least share of a text's letters that are of the script.
const LEAST_LETTERS: f64 = 0.4;

/// Words of a text that are looked at: its beginning.
const N_WORDS: usize = 1000;

/// The language that a text seems to be in.
pub(crate) fn language_of(text: &str) -> Option<&'static str> {
    let end = text.char_indices().nth(8 * N_WORDS).map_or(text.len(), |(at, _)| at);
    let text = &text[..end];
    let n_letters = text.chars().filter(|c| c.is_alphabetic()).count().max(1) as f64;
    let share = |ranges: &[(char, char)]| {
        let is_of = |c: &char| ranges.iter().any(|(from, to)| (from..=to).contains(&c));
        text.chars().filter(is_of).count() as f64 / n_letters
    };
    if share(&KANA) > 0.1 {
        return Some("ja");
    }
    for language in &TOLD {
        if let Mark::Letters(ranges) = language.mark
            && share(ranges) >= LEAST_LETTERS
        {
            return Some(language.code);
        }
    }
    let mut n_words = 0;
    let mut n_found = [0; TOLD.len()];
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).take(N_WORDS) {
        let word = word.to_lowercase();
        n_words += 1;
        for i in KNOWN.get(&*word).into_iter().flatten() {
            n_found[*i] += 1;
        }
    }
    let (i, n) = n_found.into_iter().enumerate().rev().max_by_key(|(_, n)| *n)?;
    // One may be a name of something.
    (n as f64 >= LEAST_WORDS * f64::from(n_words) && n > 1).then_some(TOLD[i].code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first article of the Universal Declaration of Human Rights and its like, in public domain.
    #[test]
    fn languages_are_told() {
        for (code, text) in [
            (
                "en",
                "All human beings are born free and equal in dignity and rights. They are endowed with reason.",
            ),
            (
                "de",
                "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft begabt und sollen einander im Geist der Brüderlichkeit begegnen.",
            ),
            (
                "fr",
                "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience.",
            ),
            (
                "es",
                "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y conciencia, deben comportarse los unos con los otros.",
            ),
            (
                "it",
                "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione e di coscienza e devono agire gli uni verso gli altri.",
            ),
            (
                "nl",
                "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd met verstand en geweten, en behoren zich jegens elkander in een geest van broederschap te gedragen.",
            ),
            (
                "ru",
                "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и должны поступать в отношении друг друга в духе братства, как и все.",
            ),
            ("zh", "人人生而自由，在尊严和权利上一律平等。"),
            ("ja", "すべての人間は、生まれながらにして自由である。"),
            ("el", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι."),
            ("ko", "모든 인간은 태어날 때부터 자유로우며"),
        ] {
            assert_eq!(language_of(text), Some(code), "{text}");
        }
        assert_eq!(language_of("x = 5; y = foo(x)"), None);
        assert_eq!(language_of(""), None);
        let told: Vec<&str> = TOLD.iter().map(|language| language.code).chain(["ja"]).collect();
        assert_eq!(told, LANGUAGES);
    }
}
