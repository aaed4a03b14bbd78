//! What a licence permits: one answer for whoever runs, passes on, trains, merges or distils.

use super::Licence;

/// What somebody wants to do with a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act<'a> {
    /// Run it, or answer others with it.
    Use {
        /// Whether it sees pictures.
        sees_pictures: bool,
    },
    /// Give its weights to others, in whatever form: converted, quantised, pruned.
    PassOn,
    /// Make a model from its weights: fine-tune, merge, distil into a smaller one of its own.
    Derive {
        /// What the model will be called, where that is known.
        name: Option<&'a str>,
    },
    /// Train a model with what it says: distil, or make data for training.
    TeachWithOutputs {
        /// The licence of the model that is trained; `None` for one of another family, or from nothing.
        student: Option<Licence>,
        /// What that will be called, where that is known.
        name: Option<&'a str>,
    },
}

/// Whether something is permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// It is; what it asks for is kept.
    Yes,
    /// It is, if what is said is kept.
    If,
    /// It is not.
    No,
}

/// An answer with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The answer.
    pub answer: Answer,
    /// Why, and what has to be kept: those that forbid first.
    pub reasons: Vec<Reason>,
}

/// What a section says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The section, as `1.b.v`, or `policy` for the acceptable use policy.
    pub section: &'static str,
    /// What it makes of the act.
    pub answer: Answer,
    /// What it says, in a sentence without its end.
    pub says: String,
}

impl Licence {
    /// Whether an act is permitted, and what it asks for. What every use has to keep, such as the acceptable use policy
    /// and the limit of 700 million users, is in [`Act::Use`]'s reasons.
    pub fn permits(self, act: &Act) -> Permission {
        let mut reasons = Vec::new();
        let mut say = |section, answer, says: String| reasons.push(Reason { section, answer, says });
        if self == Licence::Llama1 {
            let says = "it was given for research that is not commercial, to those who applied; nobody may pass it on";
            let answer = if matches!(act, Act::PassOn) { Answer::No } else { Answer::If };
            say("the grant", answer, says.to_owned());
            return Permission::of(reasons);
        }
        match *act {
            Act::Use { sees_pictures } => {
                if sees_pictures && self.keeps_sight_from_eu() {
                    let says = "models that see pictures are not licensed to people who live in the European Union, or \
                                companies whose principal place is there; who uses a product with one is not concerned";
                    say("policy", Answer::If, says.to_owned());
                }
                let users = format!(
                    "who had more than 700 million users a month when {} appeared ({}) must ask Meta for a licence",
                    self.models(),
                    self.date()
                );
                say("2", Answer::If, users);
                let policy = self.policy().unwrap_or_default();
                say(
                    "1.b.iv",
                    Answer::If,
                    format!("laws and the acceptable use policy must be kept ({policy})"),
                );
                if let Some(shown) = self.shown() {
                    say("1.b.i", Answer::If, format!("a product that contains it must show “{shown}”"));
                }
            }
            Act::PassOn => self.say_copies(&mut say),
            Act::Derive { name } => {
                self.say_name(name, &mut say);
                self.say_copies(&mut say);
            }
            Act::TeachWithOutputs { student, name } => {
                if self.facts().outputs_may_teach {
                    self.say_name(name, &mut say);
                } else if student == Some(self) {
                    let says = format!("outputs may improve {} and what derives from it", self.models());
                    say("1.b.v", Answer::Yes, says);
                } else {
                    let says = format!(
                        "neither the model nor its outputs may improve any other large language model than {} and what \
                         derives from it",
                        self.models()
                    );
                    say("1.b.v", Answer::No, says);
                }
            }
        }
        Permission::of(reasons)
    }

    /// Whether its policy keeps models that see pictures from people and companies in the European Union.
    pub fn keeps_sight_from_eu(self) -> bool {
        self.facts().keeps_sight_from_eu
    }

    /// What goes with each copy that is passed on.
    fn say_copies(self, say: &mut impl FnMut(&'static str, Answer, String)) {
        let section = "1.b.i";
        say(section, Answer::If, "a copy of the agreement must go with it".to_owned());
        if let Some(shown) = self.shown() {
            let says =
                format!("“{shown}” must be shown on a related website, interface, article or documentation");
            say(section, Answer::If, says);
        }
        if let Some(notice) = self.notice() {
            say("1.b.iii", Answer::If, format!("a file `Notice` with it must say: {notice}"));
        }
    }

    /// How a model that is made with it is called, if it is passed on.
    fn say_name(self, name: Option<&str>, say: &mut impl FnMut(&'static str, Answer, String)) {
        let Some(prefix) = self.name_prefix() else { return };
        let rule = format!("the name of a model that is passed on must begin with “{prefix}”");
        match name {
            Some(name) if name.starts_with(prefix) => {
                say("1.b.i", Answer::Yes, format!("{rule}, as this one does"))
            }
            Some(_) => say("1.b.i", Answer::If, format!("{rule}, and this one does not")),
            None => say("1.b.i", Answer::If, rule),
        }
    }
}

impl Permission {
    fn of(mut reasons: Vec<Reason>) -> Permission {
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.answer));
        let answer = reasons.first().map_or(Answer::Yes, |reason| reason.answer);
        Permission { answer, reasons }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(permission: &Permission) -> Vec<&str> {
        permission.reasons.iter().map(|reason| reason.section).collect()
    }

    #[test]
    fn outputs_teach_others_from_3_1_on() {
        for licence in [Licence::Llama2, Licence::Llama3] {
            for student in [None, Some(Licence::Llama4)] {
                let teaches = licence.permits(&Act::TeachWithOutputs { student, name: None });
                assert_eq!((teaches.answer, sections(&teaches)), (Answer::No, vec!["1.b.v"]));
            }
            let own = licence.permits(&Act::TeachWithOutputs { student: Some(licence), name: None });
            assert_eq!((own.answer, sections(&own)), (Answer::Yes, vec!["1.b.v"]));
        }
        for licence in [Licence::Llama3_1, Licence::Llama3_2, Licence::Llama3_3, Licence::Llama4] {
            let named = |name| licence.permits(&Act::TeachWithOutputs { student: None, name }).answer;
            let answers = [named(None), named(Some("Alpaca")), named(Some("Llama-Alpaca"))];
            assert_eq!(answers, [Answer::If, Answer::If, Answer::Yes]);
        }
    }

    #[test]
    fn names_begin_as_the_version_says() {
        let name_of = |licence: Licence, name| {
            let derives = licence.permits(&Act::Derive { name: Some(name) });
            derives
                .reasons
                .iter()
                .filter(|reason| reason.says.contains("begin with"))
                .map(|r| r.answer)
                .next()
        };
        assert_eq!(name_of(Licence::Llama2, "Alpaca"), None);
        assert_eq!(name_of(Licence::Llama3, "Llama-Alpaca"), Some(Answer::If));
        assert_eq!(name_of(Licence::Llama3, "Llama 3 Alpaca"), Some(Answer::Yes));
        assert_eq!(name_of(Licence::Llama4, "Llama-Alpaca"), Some(Answer::Yes));
    }

    #[test]
    fn copies_carry_the_agreement_and_the_notice() {
        for licence in Licence::ALL.into_iter().skip(1) {
            let passed = licence.permits(&Act::PassOn);
            let has = |words: &str| passed.reasons.iter().any(|reason| reason.says.contains(words));
            assert!(
                passed.answer == Answer::If && has("copy of the agreement") && has(licence.notice().unwrap())
            );
            assert_eq!(has("must be shown"), licence.shown().is_some());
        }
        assert_eq!(Licence::Llama1.permits(&Act::PassOn).answer, Answer::No);
    }

    #[test]
    fn uses_have_limits() {
        for licence in Licence::ALL.into_iter().skip(1) {
            let [blind, seeing] =
                [false, true].map(|sees_pictures| licence.permits(&Act::Use { sees_pictures }));
            assert!(sections(&blind).contains(&"2") && sections(&blind).contains(&"1.b.iv"));
            assert_eq!(sections(&seeing).contains(&"policy"), licence >= Licence::Llama3_2);
            assert!(!sections(&blind).contains(&"policy"));
        }
    }
}
