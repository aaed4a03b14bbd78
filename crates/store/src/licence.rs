//! The licences of Meta's models: which one a text or a name means, what it grants, and what it asks for in return.
//!
//! What is said here of a licence names the section that says it. It is a summary for people who run models, and no
//! legal advice: the text counts, and comes with the model.

mod permits;
mod text;

pub use permits::{Act, Answer, Permission, Reason};
pub use text::Found;

/// A licence of Meta's for a generation of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(non_camel_case_types)]
pub enum Licence {
    /// The research licence of Llama 1, given on application.
    Llama1,
    /// Llama 2, Code Llama and the first Llama Guard.
    Llama2,
    /// Llama 3 and Llama Guard 2.
    Llama3,
    /// Llama 3.1, Llama Guard 3 8B and Prompt Guard.
    Llama3_1,
    /// Llama 3.2, Llama Guard 3 1B and 11B.
    Llama3_2,
    /// Llama 3.3.
    Llama3_3,
    /// Llama 4, Llama Guard 4 and Prompt Guard 2.
    Llama4,
}

/// What is different from one licence to the next.
struct Facts {
    licence: Licence,
    /// As the hub calls it, and as `general.license` does.
    id: &'static str,
    /// As its notice calls it.
    title: &'static str,
    /// Its models' name in it.
    models: &'static str,
    /// The day from which it counts, and on which users of a product are counted.
    date: &'static str,
    /// The line for the `Notice` file, but for what comes after the licence's name.
    notice: Option<&'static str>,
    /// What a product must show.
    shown: Option<&'static str>,
    /// What the name of a model made with it must begin with.
    prefix: Option<&'static str>,
    /// Where the acceptable use policy is.
    policy: Option<&'static str>,
    /// Whether outputs may improve models of other families.
    outputs_may_teach: bool,
    /// Whether its policy keeps models that see pictures from the European Union.
    keeps_sight_from_eu: bool,
    /// SHA-256 of the agreement as published, normalised (`text.rs`).
    sha256: Option<&'static str>,
}

/// All of them, the oldest first.
const FACTS: [Facts; 7] = [
    Facts {
        licence: Licence::Llama1,
        id: "llama1",
        title: "LLaMA research licence",
        models: "LLaMA",
        date: "2023-02-24",
        notice: None,
        shown: None,
        prefix: None,
        policy: None,
        outputs_may_teach: false,
        keeps_sight_from_eu: false,
        sha256: None,
    },
    Facts {
        licence: Licence::Llama2,
        id: "llama2",
        title: "LLAMA 2 Community License",
        models: "Llama 2",
        date: "2023-07-18",
        notice: Some(
            "Llama 2 is licensed under the LLAMA 2 Community License, Copyright (c) Meta Platforms, Inc. All Rights \
             Reserved.",
        ),
        shown: None,
        prefix: None,
        policy: Some("https://ai.meta.com/llama/use-policy"),
        outputs_may_teach: false,
        keeps_sight_from_eu: false,
        sha256: Some("4e886bddc82f9f29f0d32ba40510e4c71200f0c0f6d6afc43df4761b2571660e"),
    },
    Facts {
        licence: Licence::Llama3,
        id: "llama3",
        title: "Meta Llama 3 Community License",
        models: "Meta Llama 3",
        date: "2024-04-18",
        notice: Some(
            "Meta Llama 3 is licensed under the Meta Llama 3 Community License, Copyright © Meta Platforms, Inc. All \
             Rights Reserved.",
        ),
        shown: Some("Built with Meta Llama 3"),
        prefix: Some("Llama 3"),
        policy: Some("https://llama.meta.com/llama3/use-policy"),
        outputs_may_teach: false,
        keeps_sight_from_eu: false,
        sha256: Some("dfea9c0f833140149dc5202d93ea0ec4e9dbc3398687d34fa23154b85baf7662"),
    },
    Facts {
        licence: Licence::Llama3_1,
        id: "llama3.1",
        title: "Llama 3.1 Community License",
        models: "Llama 3.1",
        date: "2024-07-23",
        notice: Some(
            "Llama 3.1 is licensed under the Llama 3.1 Community License, Copyright © Meta Platforms, Inc. All Rights \
             Reserved.",
        ),
        shown: Some("Built with Llama"),
        prefix: Some("Llama"),
        policy: Some("https://llama.meta.com/llama3_1/use-policy"),
        outputs_may_teach: true,
        keeps_sight_from_eu: false,
        sha256: Some("49fdea03a33f2a3812b34543257e072b3712e6b5feb63df6c79c2d9d0c608634"),
    },
    Facts {
        licence: Licence::Llama3_2,
        id: "llama3.2",
        title: "Llama 3.2 Community License",
        models: "Llama 3.2",
        date: "2024-09-25",
        notice: Some(
            "Llama 3.2 is licensed under the Llama 3.2 Community License, Copyright © Meta Platforms, Inc. All Rights \
             Reserved.",
        ),
        shown: Some("Built with Llama"),
        prefix: Some("Llama"),
        policy: Some("https://www.llama.com/llama3_2/use-policy"),
        outputs_may_teach: true,
        keeps_sight_from_eu: true,
        sha256: Some("a4bcc6bb6cf507d19bd36843932f0e997886a8e065f38f5af243faa512e181ba"),
    },
    Facts {
        licence: Licence::Llama3_3,
        id: "llama3.3",
        title: "Llama 3.3 Community License",
        models: "Llama 3.3",
        date: "2024-12-06",
        notice: Some(
            "Llama 3.3 is licensed under the Llama 3.3 Community License, Copyright © Meta Platforms, Inc. All Rights \
             Reserved.",
        ),
        shown: Some("Built with Llama"),
        prefix: Some("Llama"),
        policy: Some("https://www.llama.com/llama3_3/use-policy"),
        outputs_may_teach: true,
        keeps_sight_from_eu: true,
        sha256: Some("4ddb32ac71bf00e74b1f65af0b5db139645964dfe1721c1be20c4f7bf4dfb240"),
    },
    Facts {
        licence: Licence::Llama4,
        id: "llama4",
        title: "Llama 4 Community License",
        models: "Llama 4",
        date: "2025-04-05",
        notice: Some(
            "Llama 4 is licensed under the Llama 4 Community License, Copyright © Meta Platforms, Inc. All Rights \
             Reserved.",
        ),
        shown: Some("Built with Llama"),
        prefix: Some("Llama"),
        policy: Some("https://www.llama.com/llama4/use-policy"),
        outputs_may_teach: true,
        keeps_sight_from_eu: true,
        sha256: Some("f04374c6665b5bf7b1edb62a35b784930ab7b001d8e65064e6663095f614101d"),
    },
];

impl Licence {
    /// All of them, the oldest first.
    pub const ALL: [Licence; 7] = [
        Licence::Llama1,
        Licence::Llama2,
        Licence::Llama3,
        Licence::Llama3_1,
        Licence::Llama3_2,
        Licence::Llama3_3,
        Licence::Llama4,
    ];

    fn facts(self) -> &'static Facts {
        &FACTS[self as usize]
    }

    /// As the hub calls it, and `general.license` in GGUF: `llama3.1`.
    pub fn id(self) -> &'static str {
        self.facts().id
    }

    /// Its own name: "Llama 3.1 Community License".
    pub fn title(self) -> &'static str {
        self.facts().title
    }

    /// What it calls its models: "Llama 3.1".
    pub fn models(self) -> &'static str {
        self.facts().models
    }

    /// The day of its version's release, as `2024-07-23`.
    pub fn date(self) -> &'static str {
        self.facts().date
    }

    /// The attribution that a file `Notice` beside every copy must hold (section 1.b.iii).
    pub fn notice(self) -> Option<&'static str> {
        self.facts().notice
    }

    /// What a product, or a page about it, must show (section 1.b.i).
    pub fn shown(self) -> Option<&'static str> {
        self.facts().shown
    }

    /// What the name of a model that is passed on and was made with it must begin with (section 1.b.i).
    pub fn name_prefix(self) -> Option<&'static str> {
        self.facts().prefix
    }

    /// Where its acceptable use policy is (section 1.b.iv).
    pub fn policy(self) -> Option<&'static str> {
        self.facts().policy
    }

    /// Where Meta publishes its text.
    pub fn link(self) -> Option<String> {
        let folder = self.id().replace('.', "_");
        let link = || format!("https://github.com/meta-llama/llama-models/blob/main/models/{folder}/LICENSE");
        (self != Licence::Llama1).then(link)
    }

    /// The licence that a short name means, as model cards, GGUF files and people write it: `llama3.1`, `Llama 3.1
    /// Community License`, `meta-llama-3`, `llama-3.2`.
    pub fn of_name(name: &str) -> Option<Licence> {
        const WORDS: [&str; 8] =
            ["meta", "community", "license", "licence", "agreement", "the", "research", "cc"];
        let lower = name.to_lowercase().replace('_', ".");
        let mut version = None;
        for word in
            lower.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).filter(|word| !word.is_empty())
        {
            let number = match word.strip_prefix("llama") {
                Some("") => continue,
                Some(number) => number,
                None if WORDS.contains(&word) => continue,
                None => word,
            };
            if version.replace(number).is_some() {
                return None;
            }
        }
        if !lower.contains("llama") {
            return None;
        }
        let version = version?;
        FACTS.iter().find(|facts| facts.id.strip_prefix("llama") == Some(version)).map(|facts| facts.licence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_in_order() {
        for (licence, facts) in Licence::ALL.into_iter().zip(&FACTS) {
            assert_eq!((licence, licence as usize), (facts.licence, facts.licence as usize));
        }
    }

    #[test]
    fn short_names_are_understood() {
        use Licence::*;
        let names = [
            ("llama2", Llama2),
            ("llama3", Llama3),
            ("META LLAMA 3 COMMUNITY LICENSE AGREEMENT", Llama3),
            ("llama3.1", Llama3_1),
            ("Llama-3.1", Llama3_1),
            ("llama3_1", Llama3_1),
            ("Llama 3.2 Community License", Llama3_2),
            ("llama-3.3-community", Llama3_3),
            ("llama4", Llama4),
        ];
        for (name, licence) in names {
            assert_eq!(Licence::of_name(name), Some(licence), "{name}");
        }
        for name in ["", "llama", "apache-2.0", "mit", "llama 5", "3.1", "llama3.1 8b", "other"] {
            assert_eq!(Licence::of_name(name), None, "{name}");
        }
    }
}
