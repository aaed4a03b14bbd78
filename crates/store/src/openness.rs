//! How open a model is, measured by the Open Source AI Definition 1.0 (opensource.org/ai): whether anybody may use, study,
//! change and share it for any purpose, and has what that takes: parameters, code, and information on data.
//!
//! Of Meta's models it is known; of others a licence alone tells what may be done, and their cards the rest.

use crate::licence::Licence;

/// Whether something meets the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meets {
    /// It does.
    Yes,
    /// A part of it does.
    Partly,
    /// It does not.
    No,
    /// Nothing here tells.
    Unknown,
}

impl Meets {
    /// A word for it.
    pub fn word(self) -> &'static str {
        match self {
            Meets::Yes => "yes",
            Meets::Partly => "partly",
            Meets::No => "no",
            Meets::Unknown => "not known",
        }
    }
}

/// A part of the card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// `licence`, `weights`, `code`, `data` or `recipe`.
    pub what: &'static str,
    /// Whether it meets the definition.
    pub meets: Meets,
    /// Why.
    pub reason: String,
}

/// Licences, by the hub's names, that the Open Source Initiative or the definition's own list counts as free for any purpose.
const FREE: [&str; 12] = [
    "apache-2.0",
    "mit",
    "bsd-3-clause",
    "bsd-2-clause",
    "isc",
    "cc0-1.0",
    "unlicense",
    "gpl-3.0",
    "agpl-3.0",
    "lgpl-3.0",
    "mpl-2.0",
    "cc-by-4.0",
];

/// The card of a model that has one of Meta's licences, or one of this name.
pub fn card(known: Option<Licence>, name: Option<&str>) -> Vec<Item> {
    let item = |what, meets, reason: &str| Item { what, meets, reason: reason.to_owned() };
    let Some(licence) = known else {
        let (meets, reason) = match name {
            Some(name) if FREE.iter().any(|free| name.eq_ignore_ascii_case(free)) => {
                (Meets::Yes, format!("{name} lets anybody use, study, change and share it for any purpose"))
            }
            Some(name) => (Meets::Unknown, format!("{name} is not among the licences that are known here")),
            None => (Meets::Unknown, "no licence is named: nothing is granted that is not said".to_owned()),
        };
        let card = "the files do not say; a model card may";
        return vec![
            Item { what: "licence", meets, reason },
            item("weights", meets, "they are here; what may be done with them is the licence's to say"),
            item("code", Meets::Unknown, card),
            item("data", Meets::Unknown, card),
            item("recipe", Meets::Unknown, card),
        ];
    };
    let mut limits = Vec::new();
    if licence == Licence::Llama1 {
        limits.push("it is for research that is not commercial, by those who applied");
    } else {
        limits.push("not for those with more than 700 million users");
        limits.push("not for purposes that its acceptable use policy excludes");
        if licence.keeps_sight_from_eu() {
            limits.push("with pictures not for people and companies in the European Union");
        }
        if licence < Licence::Llama3_1 {
            limits.push("not to improve other language models");
        }
    }
    let published = match licence {
        Licence::Llama1 => "inference code is published under the GPL; training code is not",
        _ => "inference code is published under the same licence; training code is not",
    };
    let (data, reason) = match licence {
        Licence::Llama1 => {
            (Meets::Partly, "the paper names the sources, all public, and their shares; not the data itself")
        }
        _ => (
            Meets::No,
            "it is described as publicly available and licensed text; sources and shares are not named",
        ),
    };
    let recipe = match licence {
        Licence::Llama4 => {
            (Meets::No, "a model card and an article name the stages; hyperparameters are not published")
        }
        Licence::Llama3_3 | Licence::Llama3_2 => (
            Meets::Partly,
            "the paper on Llama 3 has the method; what was different for this version is only sketched",
        ),
        _ => (
            Meets::Partly,
            "a paper has the method and main hyperparameters; it cannot be repeated without data and code",
        ),
    };
    vec![
        Item { what: "licence", meets: Meets::No, reason: limits.join("; ") },
        item("weights", Meets::Partly, "they can be had and changed, within the licence"),
        item("code", Meets::Partly, published),
        item("data", data, reason),
        item("recipe", recipe.0, recipe.1),
    ]
}

/// Whether the definition is met as a whole.
pub fn is_open(card: &[Item]) -> Meets {
    match card {
        card if card.iter().any(|item| item.meets == Meets::No) => Meets::No,
        card if card.iter().all(|item| item.meets == Meets::Yes) => Meets::Yes,
        _ => Meets::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metas_models_are_not_open_and_others_are_not_guessed_at() {
        for licence in Licence::ALL {
            let card = card(Some(licence), None);
            assert_eq!(
                card.iter().map(|item| item.what).collect::<Vec<_>>(),
                ["licence", "weights", "code", "data", "recipe"]
            );
            assert_eq!(is_open(&card), Meets::No, "{licence:?}");
            assert!(card.iter().all(|item| !item.reason.is_empty() && item.meets != Meets::Unknown));
            assert_eq!(card[0].reason.contains("European Union"), licence.keeps_sight_from_eu());
        }
        for (name, licence) in
            [(Some("Apache-2.0"), Meets::Yes), (Some("mine"), Meets::Unknown), (None, Meets::Unknown)]
        {
            let card = card(None, name);
            assert_eq!((card[0].meets, is_open(&card)), (licence, Meets::Unknown), "{name:?}");
        }
    }
}
