//! The tokens that a form allows next, one answer at a time.

use std::sync::Arc;

use llguidance::Matcher;
use puna_engine::Constraint;

use super::bounds::Bounds;
use super::token_set::TokenSet;
use super::vocabulary::Vocabulary;
use super::words::first_line;

/// Holds one answer to a form.
pub(crate) struct FormConstraint {
    vocabulary: Arc<Vocabulary>,
    matcher: Matcher,
    /// For JSON.
    bounds: Option<Bounds>,
    /// Whether the next token is the first of a text that stands alone.
    begins: bool,
    /// Whether a token ended the answer.
    is_over: bool,
    allowed: TokenSet,
    /// Whether `allowed` is of now.
    is_known: bool,
}

impl FormConstraint {
    /// One that has seen no token. Fails if there is none that it allows.
    pub fn new(
        vocabulary: Arc<Vocabulary>,
        matcher: Matcher,
        is_json: bool,
        begins: bool,
    ) -> Result<FormConstraint, String> {
        let mut constraint = FormConstraint {
            // Where no space is lost, the first token is like any other.
            begins: begins && !vocabulary.spaced.is_empty(),
            bounds: is_json.then(Bounds::default),
            vocabulary,
            matcher,
            is_over: false,
            allowed: TokenSet::default(),
            is_known: false,
        };
        constraint.find_allowed()?;
        Ok(constraint)
    }

    fn find_allowed(&mut self) -> Result<(), String> {
        if self.is_known {
            return Ok(());
        }
        let n = self.vocabulary.bytes.len();
        if self.is_over {
            self.allowed.clone_from(&self.vocabulary.stop);
        } else {
            let mask = self.matcher.compute_mask_or_eos().map_err(|error| first_line(&error.to_string()))?;
            self.allowed.copy(n, mask.as_slice());
        }
        if self.begins {
            self.allow_first_spaces();
        }
        if let Some(bounds) = &self.bounds {
            bounds.limit(&mut self.allowed, &self.vocabulary);
        }
        if self.allowed.is_empty() {
            return Err("no token of the vocabulary can come next".into());
        }
        self.is_known = true;
        Ok(())
    }

    /// A first token with a space is allowed where the same without it is; one that is nothing but the space always, since
    /// it leaves all as it is.
    fn allow_first_spaces(&mut self) {
        let may_come = |(spaced, bare): &(u32, Option<u32>)| match bare {
            Some(bare) => self.allowed.contains(*bare),
            None => self.vocabulary.bytes[*spaced as usize].len() == 1,
        };
        // All are looked at before one is changed: some are others without their space.
        let may_come: Vec<bool> = self.vocabulary.spaced.iter().map(may_come).collect();
        for ((spaced, _), may_come) in self.vocabulary.spaced.iter().zip(may_come) {
            if may_come { self.allowed.insert(*spaced) } else { self.allowed.remove(*spaced) }
        }
    }

    /// The token whose bytes this one writes; `None` if it writes none.
    fn written(&mut self, token: u32) -> Option<u32> {
        if !std::mem::take(&mut self.begins) {
            return Some(token);
        }
        let spaced = self.vocabulary.spaced.iter().find(|(spaced, _)| *spaced == token);
        spaced.map_or(Some(token), |(_, bare)| *bare)
    }
}

impl Constraint for FormConstraint {
    fn allowed(&mut self) -> Result<&[u32], String> {
        self.find_allowed()?;
        Ok(self.allowed.words())
    }

    fn accept(&mut self, token: u32) -> Result<(), String> {
        if self.is_over {
            return match self.vocabulary.stop.contains(token) {
                true => Ok(()),
                false => Err(format!("token {token} came after the end")),
            };
        }
        self.is_known = false;
        if self.vocabulary.stop.contains(token) {
            let may_end = self.matcher.is_stopped()
                || self.matcher.is_accepting().map_err(|error| first_line(&error.to_string()))?;
            self.is_over = true;
            return if may_end { Ok(()) } else { Err("the answer ends too early".into()) };
        }
        let Some(written) = self.written(token) else { return Ok(()) };
        self.matcher.consume_token(written).map_err(|error| first_line(&error.to_string()))?;
        if let (Some(bounds), Some(bytes)) = (&mut self.bounds, self.vocabulary.bytes.get(written as usize)) {
            bounds.push(bytes);
        }
        Ok(())
    }
}
