//! Texts that are longer than the context, scored window by window.
//!
//! How a text is cut decides what its perplexity is, so there are two ways, each described exactly:
//!
//! - [`Windows::Strided`] predicts each token after the first once. The first window begins the text, and each
//!   further one goes `stride` tokens on and predicts only these, so that every token but the first window's
//!   has at least `window - stride` tokens before it. It is what the documentation of transformers describes,
//!   but that a text that begins with BOS has it at the beginning of each window, in the place of one token.
//! - [`Windows::LlamaCpp`] is what `llama-perplexity` computes: windows beside each other, whose first token
//!   is replaced by BOS where the model wants one, and of which the second half counts. What is left at the
//!   end is not read.

use std::ops::{ControlFlow, Range};

use crate::{Error, Llama, Score};

/// How a long text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// Overlapping windows; every token after the first is predicted once.
    Strided {
        /// Tokens in a window, BOS included.
        window: usize,
        /// Tokens from the beginning of a window to that of the next; fewer than those in a window.
        stride: usize,
    },
    /// The protocol of llama.cpp's perplexity.
    LlamaCpp {
        /// Tokens in a window, there `n_ctx`.
        window: usize,
    },
}

/// One window.
struct Window {
    /// Its tokens in the text.
    tokens: Range<usize>,
    /// What stands in front of them, or in the place of the first one.
    bos: Option<u32>,
    /// How many of its tokens after the first are not counted.
    n_uncounted: usize,
}

impl Llama {
    /// Scores ids window by window. `on_progress` is told how many of all tokens are computed (those of
    /// overlapping windows more than once); `Break` ends the computation.
    pub fn score_windows<B>(
        &self,
        ids: &[u32],
        windows: Windows,
        mut on_progress: impl FnMut(usize, usize) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, Score>, Error> {
        let plan = self.plan(ids, windows)?;
        let n_total = plan.iter().map(|window| window.tokens.len()).sum();
        let (mut nlls, mut n_done) = (Vec::new(), 0);
        for window in &plan {
            let input = window.input(ids, windows);
            let score = match self.score_with(&input, |first, _| on_progress(n_done + first, n_total))? {
                ControlFlow::Continue(score) => score,
                ControlFlow::Break(reason) => return Ok(ControlFlow::Break(reason)),
            };
            nlls.extend_from_slice(&score.nlls[window.n_uncounted..]);
            n_done += window.tokens.len();
        }
        Ok(ControlFlow::Continue(Score { nlls, n_tokens: ids.len(), n_bytes: None, n_windows: plan.len() }))
    }

    fn plan(&self, ids: &[u32], windows: Windows) -> Result<Vec<Window>, Error> {
        let max_seq_len = self.engine().max_seq_len();
        let bos = self.text().tokenizer.as_ref().and_then(|tokenizer| tokenizer.bos_id());
        let wants_bos = self.text().tokenizer.as_ref().is_some_and(|tokenizer| tokenizer.adds_bos());
        let (Windows::Strided { window, .. } | Windows::LlamaCpp { window }) = windows;
        let refuse = |fact: String| Err(Error::Request(format!("cannot cut the text\n  {fact}")));
        if window > max_seq_len {
            return refuse(format!(
                "a window of {window} tokens is longer than the context of {max_seq_len}"
            ));
        }
        if window < 2 {
            return refuse(format!("a window of {window} tokens predicts nothing; it needs 2 or more"));
        }
        match windows {
            Windows::Strided { stride, .. } if stride == 0 || stride >= window => {
                refuse(format!("the stride is {stride}; it must be from 1 to {}", window.saturating_sub(1)))
            }
            Windows::Strided { stride, .. } => {
                Ok(strided(ids.len(), window, stride, bos.filter(|bos| ids.first() == Some(bos))))
            }
            Windows::LlamaCpp { .. } if window < 4 => {
                refuse(format!("a window of {window} tokens has no half to count; use 4 or more"))
            }
            Windows::LlamaCpp { .. } if ids.len() / 2 < window => refuse(format!(
                "it has {} tokens, and llama.cpp's protocol needs two windows of {window}\n  use a shorter \
                 window or a longer text",
                ids.len()
            )),
            Windows::LlamaCpp { .. } => Ok(beside_each_other(ids.len(), window, bos.filter(|_| wants_bos))),
        }
    }
}

fn strided(n_tokens: usize, window: usize, stride: usize, bos: Option<u32>) -> Vec<Window> {
    let mut plan = vec![Window { tokens: 0..window.min(n_tokens), bos: None, n_uncounted: 0 }];
    while let Some(last) = plan.last().filter(|last| last.tokens.end < n_tokens) {
        let end = last.tokens.end;
        // BOS takes a place, so the window's first token of the text is one later.
        let begin = end + stride - window + usize::from(bos.is_some());
        let tokens = begin..n_tokens.min(end.saturating_add(stride));
        plan.push(Window { tokens, bos, n_uncounted: window - stride - 1 });
    }
    plan
}

fn beside_each_other(n_tokens: usize, window: usize, bos: Option<u32>) -> Vec<Window> {
    let begins = (0..n_tokens / window).map(|i| i * window);
    begins.map(|begin| Window { tokens: begin..begin + window, bos, n_uncounted: window / 2 }).collect()
}

impl Window {
    fn input(&self, ids: &[u32], windows: Windows) -> Vec<u32> {
        let tokens = &ids[self.tokens.clone()];
        match (self.bos, windows) {
            (Some(bos), Windows::Strided { .. }) => [&[bos], tokens].concat(),
            (Some(bos), Windows::LlamaCpp { .. }) => [&[bos], &tokens[1..]].concat(),
            (None, _) => tokens.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn llama() -> Llama {
        let options = crate::Options { n_threads: Some(1), ..Default::default() };
        Llama::builtin_with(&options).unwrap()
    }

    fn score(llama: &Llama, ids: &[u32], windows: Windows) -> Result<Score, Error> {
        let go_on = |_, _| ControlFlow::<Infallible>::Continue(());
        llama.score_windows(ids, windows, go_on).map(|score| match score {
            ControlFlow::Continue(score) => score,
            ControlFlow::Break(never) => match never {},
        })
    }

    fn text(llama: &Llama) -> Vec<u32> {
        let text = "Once upon a time there was a cat. It lived in a small red house near the sea. ";
        llama.encode(&text.repeat(5)).unwrap()
    }

    /// llama.cpp's protocol by hand: each window alone, its logits read one by one.
    #[test]
    fn llama_cpps_protocol_is_what_it_computes() {
        let llama = llama();
        let (ids, window) = (text(&llama), 24);
        let bos = llama.tokenizer().unwrap().bos_id().unwrap();
        assert!(llama.tokenizer().unwrap().adds_bos() && !ids.len().is_multiple_of(window));
        let (mut sum, mut sum_of_squares, mut n) = (0.0, 0.0, 0);
        for chunk in 0..ids.len() / window {
            let mut input = ids[chunk * window..][..window].to_vec();
            input[0] = bos;
            let mut logits = Vec::new();
            let collect = |_: usize, rows: &[f32]| {
                logits.extend_from_slice(rows);
                ControlFlow::<()>::Continue(())
            };
            let done = llama.score_with(&input, collect).unwrap();
            assert!(done.is_continue());
            let vocab_size = logits.len() / window;
            for j in window / 2..window - 1 {
                let row = logits[j * vocab_size..][..vocab_size].iter().map(|z| f64::from(*z));
                let log_sum = row.clone().map(f64::exp).sum::<f64>().ln();
                let nll = log_sum - row.clone().nth(input[j + 1] as usize).unwrap();
                (sum, sum_of_squares, n) = (sum + nll, sum_of_squares + nll * nll, n + 1);
            }
        }
        let mean = sum / f64::from(n);
        let deviation = ((sum_of_squares / f64::from(n) - mean * mean) / f64::from(n - 1)).sqrt();
        let got = score(&llama, &ids, Windows::LlamaCpp { window }).unwrap();
        assert_eq!((got.nlls.len(), got.n_windows), (n as usize, ids.len() / window));
        assert!((got.perplexity() - mean.exp()).abs() < 1e-4 * mean.exp(), "{} {mean}", got.perplexity());
        let (got, want) = (got.perplexity_error().unwrap(), deviation * mean.exp());
        assert!((got - want).abs() < 1e-4 * want, "{got} {want}");
        let short = score(&llama, &ids[..2 * window - 1], Windows::LlamaCpp { window }).unwrap_err();
        assert!(short.to_string().contains("two windows of 24"), "{short}");
        assert!(score(&llama, &ids[..2 * window], Windows::LlamaCpp { window }).is_ok());
    }

    /// Each token's loss is that of the last token of a window that ends with it.
    #[test]
    fn strided_windows_predict_each_token_once() {
        let llama = llama();
        let with_bos = text(&llama);
        let bos = with_bos[0];
        for (ids, has_bos) in [(&with_bos[..], true), (&with_bos[1..], false)] {
            for (window, stride) in [(16, 8), (16, 15), (16, 1), (ids.len(), 3)] {
                let got = score(&llama, ids, Windows::Strided { window, stride }).unwrap();
                assert_eq!(got.nlls.len(), ids.len() - 1);
                for target in (1..ids.len()).step_by(7) {
                    // The window that predicts it, from the definition.
                    let k = if target < window { 0 } else { (target - window) / stride + 1 };
                    let mut input = ids[k * stride..=target].to_vec();
                    if k > 0 && has_bos {
                        input[0] = bos;
                    }
                    let want = *llama.score_ids(&input).unwrap().nlls.last().unwrap();
                    let found = got.nlls[target - 1];
                    assert!((found - want).abs() < 1e-5, "{window} {stride} {target}: {found} {want}");
                }
            }
        }
        // What fits one window is the whole text's score.
        let window = with_bos.len() + 1;
        let one = score(&llama, &with_bos, Windows::Strided { window, stride: 1 }).unwrap();
        assert_eq!(one, llama.score_ids(&with_bos).unwrap());
    }

    #[test]
    fn windows_that_cannot_be_are_refused() {
        let llama = llama();
        let ids = text(&llama);
        let max = llama.engine().max_seq_len();
        for (windows, fact) in [
            (Windows::Strided { window: 8, stride: 8 }, "from 1 to 7"),
            (Windows::Strided { window: 8, stride: 0 }, "from 1 to 7"),
            (Windows::Strided { window: max + 1, stride: 1 }, "longer than the context"),
            (Windows::LlamaCpp { window: max + 1 }, "longer than the context"),
            (Windows::LlamaCpp { window: 3 }, "4 or more"),
        ] {
            let error = score(&llama, &ids, windows).unwrap_err().to_string();
            assert!(error.contains(fact), "{windows:?}: {error}");
        }
        assert!(score(&llama, &[], Windows::Strided { window: 8, stride: 4 }).is_err());
    }
}
