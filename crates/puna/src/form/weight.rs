//! How much a schema grows when its parts are combined.
//!
//! llguidance multiplies out: two `anyOf` of a hundred branches that both must hold become ten thousand schemas, each with a
//! copy of two branches. A schema of a few kilobytes could so ask for more memory than there is. What combining costs is
//! therefore counted before it is done, from above.

/// The most schemas that combining may copy.
pub(super) const MAX_WEIGHT: usize = 2_000_000;

/// What a schema weighs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weight {
    /// Branches of which one holds, at the top.
    n_options: usize,
    /// Branches anywhere in it.
    n_branches: usize,
    /// Schemas in it.
    n_schemas: usize,
    /// Schemas that were copied to combine it.
    pub cost: usize,
}

impl Weight {
    pub const NONE: Weight = Weight { n_options: 0, n_branches: 0, n_schemas: 0, cost: 0 };
    pub const ONE: Weight = Weight::options(1, 1);

    /// One with so many branches of `n_schemas` in all.
    pub const fn options(n_options: usize, n_schemas: usize) -> Weight {
        Weight { n_options, n_branches: n_options, n_schemas, cost: 0 }
    }

    /// With another branch.
    pub fn or(self, other: Weight) -> Weight {
        Weight { n_options: self.n_options.saturating_add(other.n_options), ..self.with(other) }
    }

    /// With a schema inside.
    pub fn with(self, other: Weight) -> Weight {
        Weight {
            n_options: self.n_options,
            n_branches: self.n_branches.saturating_add(other.n_branches),
            n_schemas: self.n_schemas.saturating_add(other.n_schemas),
            cost: self.cost.max(other.cost),
        }
    }

    /// Both at once.
    pub fn and(self, other: Weight) -> Weight {
        let product = |a: usize, b: usize| a.saturating_mul(b);
        let n_options = product(self.n_options, other.n_options);
        let copies = product(self.n_branches, other.n_schemas)
            .saturating_add(product(other.n_branches, self.n_schemas));
        Weight {
            n_options,
            n_branches: self.n_branches.saturating_add(other.n_branches).saturating_add(n_options),
            n_schemas: product(self.n_options, other.n_schemas)
                .saturating_add(product(other.n_options, self.n_schemas)),
            cost: self.cost.max(other.cost).saturating_add(copies),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubling_is_seen() {
        let mut weight = Weight::options(2, 2);
        for _ in 0..3 {
            weight = weight.and(weight);
        }
        assert!(weight.cost < MAX_WEIGHT, "{weight:?}");
        for _ in 0..3 {
            weight = weight.and(weight);
        }
        assert!(weight.cost > MAX_WEIGHT, "{weight:?}");
        // An enum of a type.
        assert!(Weight::ONE.and(Weight::options(10_000, 10_000)).cost < MAX_WEIGHT);
    }
}
