//! How the models that are served share the memory: planned before any of them is loaded.
//!
//! Each model has a claim: its weights, what its passes compute in, and its keys and values. Where all models fit side by
//! side, what is left goes to all their keys and values in equal parts. Where they do not, each is planned as if the
//! others might go: it has a part of what is left beside its own weights, and the models that wait are put to sleep or
//! unloaded when it comes. A claim is the same each time, and so is the context.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a model takes of memory, in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Need {
    pub name: String,
    /// Its own weights, and those of the model that guesses for it.
    pub weights: usize,
    /// What passes compute in.
    pub passes: usize,
    /// The least keys and values that are worth it: those of its context where that was asked for, of a short one else.
    pub least_kv: usize,
    /// How many tokens these are of.
    pub least_context: usize,
}

/// What a model may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Altogether.
    pub bytes: usize,
    /// Of it, keys and values.
    pub kv_bytes: usize,
}

/// Shares `total` bytes among models. Where it is a limit that somebody gave, a model that can never fit is an error; else
/// its weights are read from the file as far as they find no room. Beside them there is a part for `n_more` that may come.
pub(crate) fn plans(
    total: usize,
    is_limit: bool,
    needs: &[Need],
    n_more: usize,
) -> Result<Vec<Plan>, String> {
    let mut own = Vec::with_capacity(needs.len());
    for need in needs {
        let bytes = need.weights.saturating_add(need.passes);
        if is_limit && bytes.saturating_add(need.least_kv) > total {
            return Err(never_fits(total, need));
        }
        own.push(bytes.min(total.saturating_sub(need.least_kv)));
    }
    let least = own.iter().zip(needs).map(|(own, need)| own.saturating_add(need.least_kv));
    let beside = least.clone().fold(0, usize::saturating_add);
    let plan = |(own, least): (&usize, usize)| {
        let taken = if beside <= total { beside } else { least };
        let kv_bytes = least - own + total.saturating_sub(taken) / (needs.len() + n_more);
        Plan { bytes: (own + kv_bytes).min(total), kv_bytes }
    };
    Ok(own.iter().zip(least).map(plan).collect())
}

fn never_fits(total: usize, need: &Need) -> String {
    let Need { name, weights, passes, least_kv, least_context } = need;
    let all = size(weights.saturating_add(*passes).saturating_add(*least_kv));
    format!(
        "{name} needs {all} of memory, and all models together may have {}\n  its weights take {}, what passes compute \
         in {}, keys and values of {least_context} tokens {}\n  give more with --memory, or take fewer tokens with --ctx or \
         smaller keys and values with --kv",
        size(total),
        size(*weights),
        size(*passes),
        size(*least_kv),
    )
}

/// Bytes as people read them.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        0..100_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Who has how much of the memory now.
#[derive(Default)]
pub(crate) struct Claims {
    /// `None` without a limit.
    total: Option<usize>,
    by_claim: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    bytes: HashMap<u64, usize>,
    n_made: u64,
}

/// A part of the memory, given back when it is dropped: whatever becomes of the model that has it.
pub(crate) struct Claim {
    claims: Arc<Claims>,
    number: u64,
}

impl Claims {
    /// Nobody has anything yet.
    pub fn new(total: Option<usize>) -> Arc<Claims> {
        Arc::new(Claims { total, ..Claims::default() })
    }

    /// A part of no bytes.
    pub fn nothing(self: &Arc<Claims>) -> Claim {
        let mut held = self.held();
        held.n_made += 1;
        Claim { claims: self.clone(), number: held.n_made }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.by_claim.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Makes it so many bytes, if the others leave them; else says what they leave.
    pub fn make(&self, bytes: usize) -> Result<(), usize> {
        let mut held = self.claims.held();
        let others = held.bytes.iter().filter(|(number, _)| **number != self.number);
        let others = others.map(|(_, bytes)| *bytes).fold(0, usize::saturating_add);
        let left = self.claims.total.unwrap_or(usize::MAX).saturating_sub(others);
        if bytes > left {
            return Err(left);
        }
        held.bytes.insert(self.number, bytes);
        Ok(())
    }

    /// Gives back all but so many bytes.
    pub fn keep(&self, bytes: usize) {
        self.claims.held().bytes.insert(self.number, bytes);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.held().bytes.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(weights: usize, least_kv: usize) -> Need {
        Need { name: "m".into(), weights, passes: 1, least_kv, least_context: 64 }
    }

    #[test]
    fn models_that_fit_side_by_side_share_what_is_left() {
        let plans = plans(100, true, &[need(19, 10), need(9, 20)], 0).unwrap();
        assert_eq!(plans, [Plan { bytes: 50, kv_bytes: 30 }, Plan { bytes: 50, kv_bytes: 40 }]);
    }

    #[test]
    fn there_is_a_part_for_those_that_may_come() {
        let plans = plans(100, true, &[need(19, 20)], 2).unwrap();
        assert_eq!(plans, [Plan { bytes: 60, kv_bytes: 40 }]);
    }

    #[test]
    fn models_that_do_not_are_planned_alone() {
        let plans = plans(100, true, &[need(59, 10), need(49, 10)], 0).unwrap();
        assert_eq!(plans, [Plan { bytes: 85, kv_bytes: 25 }, Plan { bytes: 80, kv_bytes: 30 }]);
    }

    #[test]
    fn one_has_all() {
        assert_eq!(plans(100, true, &[need(59, 10)], 0).unwrap(), [Plan { bytes: 100, kv_bytes: 40 }]);
        // Beyond the memory, without a limit that was given: it is read from the file.
        assert_eq!(plans(100, false, &[need(500, 10)], 0).unwrap(), [Plan { bytes: 100, kv_bytes: 10 }]);
        let error = plans(100_000_000, true, &[need(500_000_000, 10_000_000)], 0).unwrap_err();
        assert!(error.contains("m needs 0.5 GB") && error.contains("may have 0.1 GB"), "{error}");
    }

    #[test]
    fn claims_never_exceed_the_total() {
        let claims = Claims::new(Some(100));
        let [a, b] = [claims.nothing(), claims.nothing()];
        assert_eq!((a.make(60), b.make(50)), (Ok(()), Err(40)));
        a.keep(10);
        assert_eq!((b.make(50), a.make(60), a.make(50)), (Ok(()), Err(50), Ok(())));
        drop(a);
        assert_eq!((b.make(101), b.make(100)), (Err(100), Ok(())));
        assert_eq!(Claims::new(None).nothing().make(usize::MAX), Ok(()));
    }
}
