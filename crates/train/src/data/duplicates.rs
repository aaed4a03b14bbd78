//! Samples that occurred before: word for word, or nearly.
//!
//! Near duplicates are found by MinHash (Broder 1997): of all runs of five words the smallest under each of 128
//! hash functions. The share of equal minima estimates the Jaccard similarity of two samples. Minima are compared
//! only where a band of them is equal (Leskovec, Rajaraman and Ullman, chapter 3): bands are so wide that one that
//! should be found is missed at most once in a hundred times. Of each band the first sample that had it is
//! remembered; of each sample a digest, its bands, and one byte of each minimum: some 600 bytes, whatever its length.
//!
//! What is kept depends on the samples before alone, so the same files give the same samples.

use std::collections::{HashMap, HashSet};

use super::config::Cleaning;
use super::words::{digest, mixed, runs};

/// Words in a run.
const RUN: usize = 5;

/// Hash functions.
const N_MINIMA: usize = 128;

/// Bytes of a digest.
const DIGEST_BYTES: usize = 16;

/// How samples are compared.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    is_exact: bool,
    near: Option<Near>,
}

#[derive(Clone, Debug)]
struct Near {
    threshold: f64,
    /// Minima in a band.
    band: usize,
    factors: Box<[[u32; 2]; N_MINIMA]>,
}

/// Why a sample is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Exactly,
    Nearly,
}

/// All samples before.
#[derive(Default)]
pub(crate) struct SeenBefore {
    digests: HashSet<[u8; DIGEST_BYTES]>,
    bands: HashMap<u64, u32>,
    minima: Vec<[u8; N_MINIMA]>,
}

impl Comparison {
    /// The comparison that the settings ask for; `None` where they ask for none.
    pub fn of(cleaning: &Cleaning) -> Option<Comparison> {
        let near = cleaning.minhash.map(|threshold| {
            let mut seed = 0;
            let mut random = || {
                seed += 0x9e37_79b9_7f4a_7c15u64;
                mixed(seed)
            };
            let mut factors = Box::new([[0; 2]; N_MINIMA]);
            for factor in factors.iter_mut() {
                // Odd numbers, so that no bit of a hash is lost.
                let bits = random() | 1 << 32 | 1;
                *factor = [bits as u32, (bits >> 32) as u32];
            }
            Near { threshold, band: band_for(threshold), factors }
        });
        (cleaning.exact || near.is_some()).then_some(Comparison { is_exact: cleaning.exact, near })
    }

    /// By what a sample of these words is compared: always as many bytes.
    pub fn sign(&self, words: &[u64]) -> Vec<u8> {
        let mut sign = digest(words).to_vec();
        if let Some(near) = &self.near {
            let minima = near.minima(words);
            for band in minima.chunks_exact(near.band) {
                let hash = band.iter().fold(0, |hash, min| mixed(hash ^ u64::from(*min)));
                sign.extend_from_slice(&hash.to_le_bytes());
            }
            sign.extend(minima.iter().map(|min| *min as u8));
        }
        sign
    }

    /// Whether a sample with this sign is like one before.
    pub fn is_seen(&self, before: &SeenBefore, sign: &[u8]) -> Option<Seen> {
        let parts = Parts::of(sign)?;
        if self.is_exact && before.digests.contains(parts.digest) {
            return Some(Seen::Exactly);
        }
        let near = self.near.as_ref()?;
        let like = |band: &[u8; 8]| {
            // Bands of different places do not meet.
            let sample = *before.bands.get(&u64::from_le_bytes(*band))?;
            let (a, b) = (&before.minima[sample as usize], parts.minima?);
            let n_equal = a.iter().zip(b).filter(|(a, b)| a == b).count();
            (similarity(n_equal) >= near.threshold).then_some(Seen::Nearly)
        };
        parts.placed_bands().find_map(|band| like(&band))
    }

    /// Remembers a sample that is kept.
    pub fn remember(&self, before: &mut SeenBefore, sign: &[u8]) {
        let Some(parts) = Parts::of(sign) else { return };
        if self.is_exact {
            before.digests.insert(*parts.digest);
        }
        if let Some(minima) = parts.minima {
            let sample = before.minima.len() as u32;
            before.minima.push(*minima);
            for band in parts.placed_bands() {
                before.bands.entry(u64::from_le_bytes(band)).or_insert(sample);
            }
        }
    }
}

impl Near {
    fn minima(&self, words: &[u64]) -> [u32; N_MINIMA] {
        let mut minima = [u32::MAX; N_MINIMA];
        for run in runs(words, RUN) {
            let (low, high) = (run as u32, (run >> 32) as u32);
            for (min, [a, b]) in minima.iter_mut().zip(self.factors.iter()) {
                let hash = low.wrapping_mul(*a).wrapping_add(high.wrapping_mul(*b));
                *min = (*min).min(hash);
            }
        }
        minima
    }
}

/// A sign taken apart.
struct Parts<'s> {
    digest: &'s [u8; DIGEST_BYTES],
    bands: &'s [u8],
    minima: Option<&'s [u8; N_MINIMA]>,
}

impl<'s> Parts<'s> {
    fn of(sign: &'s [u8]) -> Option<Parts<'s>> {
        let (digest, rest) = sign.split_first_chunk()?;
        match rest.split_last_chunk() {
            Some((bands, minima)) => Some(Parts { digest, bands, minima: Some(minima) }),
            None => Some(Parts { digest, bands: &[], minima: None }),
        }
    }

    fn placed_bands(&self) -> impl Iterator<Item = [u8; 8]> {
        let bands = self.bands.as_chunks::<8>().0.iter().enumerate();
        bands.map(|(i, band)| mixed(u64::from_le_bytes(*band) ^ i as u64).to_le_bytes())
    }
}

/// The widest band with which a sample just at the threshold is missed at most once in a hundred times: it is where
/// no band is equal, (1 - tʳ)^(n / r).
fn band_for(threshold: f64) -> usize {
    let misses = |r: usize| (1.0 - threshold.powi(r as i32)).powi((N_MINIMA / r) as i32);
    (1..=32).rev().find(|r| misses(*r) <= 0.01).unwrap_or(1)
}

/// The similarity of two samples of which so many minima have equal bytes: one in 256 is equal by chance.
fn similarity(n_equal: usize) -> f64 {
    let chance = 1.0 / 256.0;
    (n_equal as f64 / N_MINIMA as f64 - chance) / (1.0 - chance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    fn near(threshold: f64) -> Comparison {
        Comparison::of(&Cleaning { minhash: Some(threshold), ..Cleaning::default() }).unwrap()
    }

    fn n_equal(a: &[u8], b: &[u8]) -> usize {
        let (a, b) = (Parts::of(a).unwrap().minima.unwrap(), Parts::of(b).unwrap().minima.unwrap());
        a.iter().zip(b).filter(|(a, b)| a == b).count()
    }

    /// The estimate against the similarity itself, computed from all runs.
    #[test]
    fn minima_estimate_the_similarity() {
        let comparison = near(0.8);
        let mut rng = Rng::new(3);
        let mut worst: f64 = 0.0;
        let (mut n_found, mut n_like) = (0, 0);
        for i in 0..60 {
            let words: Vec<u64> = (0..400).map(|_| rng.next_u64() % 5000).collect();
            let mut other = words.clone();
            for _ in 0..i {
                let at = (rng.next_u64() % 400) as usize;
                other[at] = rng.next_u64();
            }
            let (a, b): (HashSet<u64>, HashSet<u64>) =
                (runs(&words, RUN).collect(), runs(&other, RUN).collect());
            let truth = a.intersection(&b).count() as f64 / a.union(&b).count() as f64;
            let (a, b) = (comparison.sign(&words), comparison.sign(&other));
            worst = worst.max((similarity(n_equal(&a, &b)) - truth).abs());
            let mut before = SeenBefore::default();
            comparison.remember(&mut before, &a);
            let is_seen = comparison.is_seen(&before, &b).is_some();
            n_like += usize::from(truth > 0.9);
            n_found += usize::from(truth > 0.9 && is_seen);
            assert!(!(truth < 0.65 && is_seen), "{truth}");
        }
        // Four standard deviations of 128 draws at a half.
        assert!(worst < 0.18, "{worst}");
        assert!(n_like > 0 && n_found == n_like, "{n_found} of {n_like}");
    }

    #[test]
    fn the_first_of_equals_is_kept() {
        let comparison = Comparison::of(&Cleaning { exact: true, ..Cleaning::default() }).unwrap();
        let mut before = SeenBefore::default();
        let sign = |text: &str| comparison.sign(&super::super::words::words(text));
        comparison.remember(&mut before, &sign("A cat sat."));
        assert_eq!(comparison.is_seen(&before, &sign("a CAT, sat")), Some(Seen::Exactly));
        assert_eq!(comparison.is_seen(&before, &sign("a cat sits")), None);
        assert!(Comparison::of(&Cleaning::default()).is_none());
        assert_eq!([0.5, 0.8, 0.95].map(band_for), [3, 6, 16]);
    }
}
