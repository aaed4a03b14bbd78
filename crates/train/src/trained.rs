//! Which weights a run changes, by name: all of a model's, or some of them.

use puna_model::names::{Naming, Part};
use puna_model::{Config, Model};
use puna_tensor::{ParamId, Weight};

/// What a weight is to an optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A matrix inside a layer.
    Matrix,
    /// The embedding or the output matrix: a row for each token.
    Table,
    /// A norm's gain, a bias, a gate.
    Vector,
}

/// A weight that is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, in Meta's words.
    pub name: String,
    /// Its place among the model's parameters.
    pub id: ParamId,
    /// What it is.
    pub kind: Kind,
}

/// The weights that a run changes, in the order of the model's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trained(pub Vec<Parameter>);

impl Trained {
    /// All of a model's.
    pub fn all(config: &Config) -> Trained {
        Trained::only(config, |_| true)
    }

    /// Those for which `wants`; the others stay as they are stored, and cost no gradient.
    pub fn only(config: &Config, wants: impl Fn(Part) -> bool) -> Trained {
        let parts = config.parts().into_iter().enumerate().filter(|(_, part)| wants(*part));
        Trained(
            parts
                .map(|(i, part)| Parameter {
                    name: part.name(Naming::Meta),
                    id: ParamId(i),
                    kind: kind_of(part, config.shape(part)[0]),
                })
                .collect(),
        )
    }

    /// The weights themselves, to read.
    pub fn weights<'m>(&self, model: &'m Model) -> Vec<&'m Weight> {
        let all = model.weights.all();
        self.0.iter().map(|parameter| all[parameter.id.0]).collect()
    }

    /// The weights themselves, to change.
    pub fn weights_mut<'m>(&self, model: &'m mut Model) -> Vec<&'m mut Weight> {
        let mut wanted = self.0.iter().map(|parameter| parameter.id).peekable();
        let all = model.weights.all_mut().into_iter();
        all.filter(|weight| wanted.next_if_eq(&weight.id()).is_some()).collect()
    }
}

fn kind_of(part: Part, n_rows: usize) -> Kind {
    match part {
        Part::TokEmbeddings | Part::Output => Kind::Table,
        _ if n_rows < 2 => Kind::Vector,
        _ => Kind::Matrix,
    }
}
