//! How the models that are served share the memory: planned before any of them is loaded.
//!
//! Each model has a claim: its weights, what its passes compute in, and its keys and values. Where all models fit side by
//! side, what is left goes to all their keys and values in equal parts. Where they do not, each is planned as if the
//! others might go: it has a part of what is left beside its own weights, and the models that wait are put to sleep or
//! unloaded when it comes. A claim is the same each time, and so is the context.

use std::sync::{Mutex, PoisonError};

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
/// its weights are read from the file as far as they find no room.
pub(crate) fn plans(total: usize, is_limit: bool, needs: &[Need]) -> Result<Vec<Plan>, String> {
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
        let kv_bytes = least - own + total.saturating_sub(taken) / needs.len();
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
pub(crate) struct Claims {
    /// `None` without a limit.
    total: Option<usize>,
    by_model: Mutex<Vec<usize>>,
}

impl Claims {
    /// Nobody has anything yet.
    pub fn new(total: Option<usize>) -> Claims {
        Claims { total, by_model: Mutex::default() }
    }

    /// The number of one more model, which has nothing.
    pub fn add(&self) -> usize {
        let mut by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        by_model.push(0);
        by_model.len() - 1
    }

    /// Gives the `i`-th model so many bytes in the place of what it had, if the others leave them; else says what they
    /// leave.
    pub fn claim(&self, i: usize, bytes: usize) -> Result<(), usize> {
        let mut by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        let others = by_model.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, bytes)| bytes).sum();
        let left = self.total.unwrap_or(usize::MAX).saturating_sub(others);
        if bytes > left {
            return Err(left);
        }
        by_model[i] = bytes;
        Ok(())
    }

    /// Models of other numbers are no more.
    pub fn keep_only(&self, known: &[usize]) {
        let mut by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = by_model.iter_mut().enumerate().filter(|(i, _)| !known.contains(i));
        gone.for_each(|(_, bytes)| *bytes = 0);
    }

    /// The `i`-th model has given back all but so many bytes.
    pub fn keep(&self, i: usize, bytes: usize) {
        self.by_model.lock().unwrap_or_else(PoisonError::into_inner)[i] = bytes;
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
        let plans = plans(100, true, &[need(19, 10), need(9, 20)]).unwrap();
        assert_eq!(plans, [Plan { bytes: 50, kv_bytes: 30 }, Plan { bytes: 50, kv_bytes: 40 }]);
    }

    #[test]
    fn models_that_do_not_are_planned_alone() {
        let plans = plans(100, true, &[need(59, 10), need(49, 10)]).unwrap();
        assert_eq!(plans, [Plan { bytes: 85, kv_bytes: 25 }, Plan { bytes: 80, kv_bytes: 30 }]);
    }

    #[test]
    fn one_has_all() {
        assert_eq!(plans(100, true, &[need(59, 10)]).unwrap(), [Plan { bytes: 100, kv_bytes: 40 }]);
        // Beyond the memory, without a limit that was given: it is read from the file.
        assert_eq!(plans(100, false, &[need(500, 10)]).unwrap(), [Plan { bytes: 100, kv_bytes: 10 }]);
        let error = plans(100_000_000, true, &[need(500_000_000, 10_000_000)]).unwrap_err();
        assert!(error.contains("m needs 0.5 GB") && error.contains("may have 0.1 GB"), "{error}");
    }

    #[test]
    fn claims_never_exceed_the_total() {
        let claims = Claims::new(Some(100));
        assert_eq!([claims.add(), claims.add()], [0, 1]);
        assert_eq!((claims.claim(0, 60), claims.claim(1, 50)), (Ok(()), Err(40)));
        claims.keep(0, 10);
        assert_eq!(
            (claims.claim(1, 50), claims.claim(0, 60), claims.claim(0, 50)),
            (Ok(()), Err(50), Ok(()))
        );
        let claims = Claims::new(None);
        assert_eq!(claims.claim(claims.add(), usize::MAX), Ok(()));
    }
}
