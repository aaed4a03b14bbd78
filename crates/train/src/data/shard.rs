//! Files of tokens: some samples as ids, which of them are trained, and where each sample came from.
//!
//! A file is written at once and mapped when it is read. All numbers are little-endian:
//!
//! ```text
//! "PUNATOKS"  version u32  id bytes u32  n_samples u64  n_tokens u64  sign bytes u32  head bytes u32
//! head        JSON: what it is a part of, what was counted so far
//! samples     n_samples × 6 u32: end, file, line, kind, and two numbers of the kind
//! tokens      n_tokens × 2 or 4 bytes
//! trained     a bit for each token
//! signs       n_samples × sign bytes: by what later samples are compared with it
//! checksum    CRC-32 of all before it
//! ```
//!
//! Whoever opens one checks the checksum and all numbers, so that reading samples later needs no checks.

use std::ops::Range;
use std::path::Path;

use puna_formats::{FormatError, MappedFile, write_file};
use puna_tensor::Bytes;
use serde::{Deserialize, Serialize};

use super::labels::{Labelled, Shape};
use super::report::Counts;

const MAGIC: &[u8; 8] = b"PUNATOKS";
const VERSION: u32 = 1;
const FIXED_BYTES: usize = 40;
const SAMPLE_BYTES: usize = 24;

/// What a file of tokens is a part of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The hash of all that its tokens depend on.
    pub key: String,
    /// Its number.
    pub index: u64,
    /// The file of the source that the next one goes on with, and the samples of it that are done.
    pub next: (u64, u64),
    /// Whether the source ends here.
    pub is_last: bool,
    /// What was counted from the beginning of the source.
    pub counts: Counts,
}

/// Where a sample comes from, and which side it is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The number of the file in its source.
    pub file: u32,
    /// The line, from 1.
    pub line: u32,
    /// Whether it is kept back for validation.
    pub is_valid: bool,
}

/// What is known of a sample without its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub tokens: Range<usize>,
    pub origin: Origin,
    pub shape: Shape,
}

/// A file of tokens that is being made, in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardBuilder {
    ids: Vec<u32>,
    trained: Vec<u8>,
    samples: Vec<u8>,
    signs: Vec<u8>,
    n_samples: u64,
}

/// A whole file of tokens.
#[derive(Clone)]
pub(crate) struct Shard {
    bytes: Bytes,
    file: Option<MappedFile>,
    pub head: Head,
    id_bytes: usize,
    n_samples: usize,
    sign_bytes: usize,
    samples_at: usize,
    tokens_at: usize,
    trained_at: usize,
    signs_at: usize,
}

impl ShardBuilder {
    /// Tokens so far.
    pub fn n_tokens(&self) -> usize {
        self.ids.len()
    }

    /// Appends a sample; `sign` has as many bytes as every other's.
    pub fn push(&mut self, labelled: &Labelled, origin: Origin, sign: &[u8]) {
        self.trained.resize((self.ids.len() + labelled.ids.len()).div_ceil(8), 0);
        for (i, is_trained) in labelled.trained.iter().enumerate() {
            let at = self.ids.len() + i;
            self.trained[at / 8] |= u8::from(*is_trained) << (at % 8);
        }
        self.ids.extend_from_slice(&labelled.ids);
        let (kind, a, b) = match labelled.shape {
            Shape::One => (0, 0, 0),
            Shape::Pair { chosen, rejected } => (1, chosen, rejected),
            Shape::Judged { answer, is_good } => (2, answer, u32::from(is_good)),
        };
        let kind = kind | u32::from(origin.is_valid) << 8;
        for number in [self.ids.len() as u32, origin.file, origin.line, kind, a, b] {
            self.samples.extend_from_slice(&number.to_le_bytes());
        }
        self.signs.extend_from_slice(sign);
        self.n_samples += 1;
    }

    /// The bytes of the file. Ids below 65536 take two bytes each.
    pub fn to_bytes(&self, head: &Head) -> Vec<u8> {
        let head = serde_json::to_vec(head).expect("numbers and texts are JSON");
        let id_bytes: usize = if self.ids.iter().all(|id| *id <= 0xffff) { 2 } else { 4 };
        let sign_bytes = self.signs.len() / self.n_samples.max(1) as usize;
        let mut out = Vec::with_capacity(
            FIXED_BYTES
                + head.len()
                + self.samples.len()
                + self.ids.len() * (id_bytes + 1)
                + self.signs.len(),
        );
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(id_bytes as u32).to_le_bytes());
        out.extend_from_slice(&self.n_samples.to_le_bytes());
        out.extend_from_slice(&(self.ids.len() as u64).to_le_bytes());
        out.extend_from_slice(&(sign_bytes as u32).to_le_bytes());
        out.extend_from_slice(&(head.len() as u32).to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.samples);
        for id in &self.ids {
            out.extend_from_slice(&id.to_le_bytes()[..id_bytes]);
        }
        out.extend_from_slice(&self.trained);
        out.extend_from_slice(&self.signs);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// Writes the file, completely or not at all.
    pub fn write(&self, path: &Path, head: &Head) -> Result<(), FormatError> {
        write_file(path, &self.to_bytes(head))
    }

    /// The same samples as a file in memory.
    pub fn into_shard(self) -> Shard {
        Shard::parse(Bytes::new(self.to_bytes(&Head::default()))).expect("what is written is read")
    }
}

impl Shard {
    /// Maps a file and checks all of it. The error says what is wrong with it.
    pub fn open(path: &Path) -> Result<Shard, String> {
        let file = MappedFile::open(path).map_err(|error| error.fact)?;
        let shard = Shard::parse(file.bytes())?;
        file.check().map_err(|error| error.fact)?;
        Ok(Shard { file: Some(file), ..shard })
    }

    /// Reads a file's bytes.
    pub fn parse(bytes: Bytes) -> Result<Shard, String> {
        let short = || "it is cut short".to_owned();
        let number = |at: usize| -> Result<u32, String> {
            let found = bytes.get(at..at + 4).and_then(|bytes| bytes.first_chunk());
            found.map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(short)
        };
        let long = |at: usize| Ok::<u64, String>(u64::from(number(at)?) | u64::from(number(at + 4)?) << 32);
        if bytes.get(..8) != Some(MAGIC) || number(8)? != VERSION {
            return Err("it is no file of tokens of this version".to_owned());
        }
        let id_bytes = number(12)? as usize;
        if id_bytes != 2 && id_bytes != 4 {
            return Err(format!("its ids have {id_bytes} bytes"));
        }
        let (n_samples, n_tokens) = (long(16)?, long(24)?);
        let (sign_bytes, head_bytes) = (number(32)? as usize, number(36)? as usize);
        let lens = [
            Some(head_bytes),
            usize::try_from(n_samples).ok().and_then(|n| n.checked_mul(SAMPLE_BYTES)),
            usize::try_from(n_tokens).ok().and_then(|n| n.checked_mul(id_bytes)),
            usize::try_from(n_tokens.div_ceil(8)).ok(),
            usize::try_from(n_samples).ok().and_then(|n| n.checked_mul(sign_bytes)),
            Some(4),
        ];
        let mut ends = [FIXED_BYTES; 7];
        for (i, len) in lens.into_iter().enumerate() {
            ends[i + 1] = len.and_then(|len| ends[i].checked_add(len)).ok_or_else(short)?;
        }
        let [_, samples_at, tokens_at, trained_at, signs_at, crc_at, end] = ends;
        if bytes.len() != end {
            return Err(format!("it has {} bytes where {end} belong", bytes.len()));
        }
        if crc32fast::hash(&bytes[..crc_at]) != number(crc_at)? {
            return Err("its checksum does not agree".to_owned());
        }
        let head = serde_json::from_slice(&bytes[FIXED_BYTES..samples_at])
            .map_err(|error| format!("its head is broken: {error}"))?;
        let n_samples = n_samples as usize;
        let shard = Shard {
            file: None,
            head,
            id_bytes,
            n_samples,
            sign_bytes,
            samples_at,
            tokens_at,
            trained_at,
            signs_at,
            bytes,
        };
        shard.check_samples(n_tokens as usize)?;
        Ok(shard)
    }

    /// Whether all samples lie in order within the tokens, and their parts within them.
    fn check_samples(&self, n_tokens: usize) -> Result<(), String> {
        let mut end = 0;
        for i in 0..self.n_samples {
            let Entry { tokens, shape, .. } = self.entry(i);
            let is_in_order = tokens.start == end && tokens.end >= end && tokens.end <= n_tokens;
            end = tokens.end;
            let len = tokens.len();
            let is_whole = match shape {
                Shape::One => true,
                Shape::Pair { chosen, rejected } => chosen <= rejected && rejected as usize <= len,
                Shape::Judged { answer, .. } => answer as usize <= len,
            };
            if !is_in_order || !is_whole || self.number(i, 3) & 0xff > 2 {
                return Err(format!("its sample {} does not lie where it could", i + 1));
            }
        }
        if end == n_tokens { Ok(()) } else { Err("it has tokens that belong to no sample".to_owned()) }
    }

    /// Samples.
    pub fn len(&self) -> usize {
        self.n_samples
    }

    fn number(&self, sample: usize, column: usize) -> u32 {
        let at = self.samples_at + sample * SAMPLE_BYTES + column * 4;
        u32::from_le_bytes(*self.bytes[at..].first_chunk().expect("checked when it was opened"))
    }

    /// What is known of a sample.
    pub fn entry(&self, sample: usize) -> Entry {
        let begin = if sample == 0 { 0 } else { self.number(sample - 1, 0) as usize };
        let kind = self.number(sample, 3);
        let (a, b) = (self.number(sample, 4), self.number(sample, 5));
        Entry {
            tokens: begin..self.number(sample, 0) as usize,
            origin: Origin {
                file: self.number(sample, 1),
                line: self.number(sample, 2),
                is_valid: kind >> 8 & 1 == 1,
            },
            shape: match kind & 0xff {
                1 => Shape::Pair { chosen: a, rejected: b },
                2 => Shape::Judged { answer: a, is_good: b == 1 },
                _ => Shape::One,
            },
        }
    }

    /// Appends the ids of some tokens.
    pub fn read_ids(&self, tokens: Range<usize>, ids: &mut Vec<u32>) {
        let begin = self.tokens_at + tokens.start * self.id_bytes;
        let bytes = &self.bytes[begin..begin + tokens.len() * self.id_bytes];
        if self.id_bytes == 2 {
            ids.extend(bytes.as_chunks().0.iter().map(|bytes| u32::from(u16::from_le_bytes(*bytes))));
        } else {
            ids.extend(bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)));
        }
    }

    /// The id of a token.
    pub fn id(&self, token: usize) -> u32 {
        let begin = self.tokens_at + token * self.id_bytes;
        let mut bytes = [0; 4];
        bytes[..self.id_bytes].copy_from_slice(&self.bytes[begin..begin + self.id_bytes]);
        u32::from_le_bytes(bytes)
    }

    /// Whether a token is trained.
    pub fn is_trained(&self, token: usize) -> bool {
        self.bytes[self.trained_at + token / 8] >> (token % 8) & 1 == 1
    }

    /// By what later samples are compared with this one.
    pub fn sign(&self, sample: usize) -> &[u8] {
        let begin = self.signs_at + sample * self.sign_bytes;
        &self.bytes[begin..begin + self.sign_bytes]
    }

    /// An error if the file has lost bytes since it was opened.
    pub fn check(&self) -> Result<(), FormatError> {
        self.file.as_ref().map_or(Ok(()), MappedFile::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(ids: [u32; 3]) -> ShardBuilder {
        let mut builder = ShardBuilder::default();
        let labelled = Labelled { ids: ids.to_vec(), trained: vec![false, true, true], ..Default::default() };
        let origin = Origin { file: 3, line: 7, is_valid: false };
        builder.push(&labelled, origin, &[1, 2]);
        let shape = Shape::Pair { chosen: 1, rejected: 4 };
        let labelled = Labelled { ids: vec![5; 7], trained: vec![true; 7], shape, n_open_turns: 0 };
        builder.push(&labelled, Origin { is_valid: true, ..origin }, &[3, 4]);
        builder
    }

    #[test]
    fn what_is_written_is_read() {
        for (big, id_bytes) in [(65535, 2), (65536, 4), (u32::MAX, 4)] {
            let head =
                Head { key: "k".into(), index: 4, next: (1, 2), is_last: true, counts: Counts::default() };
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("t");
            builder([1, big, 2]).write(&path, &head).unwrap();
            let shard = Shard::open(&path).unwrap();
            assert_eq!((shard.len(), shard.id_bytes, &shard.head), (2, id_bytes, &head));
            let entry = shard.entry(0);
            assert_eq!((entry.tokens.clone(), entry.origin.line, entry.shape), (0..3, 7, Shape::One));
            let entry = shard.entry(1);
            assert!(entry.origin.is_valid);
            assert_eq!((entry.tokens, entry.shape), (3..10, Shape::Pair { chosen: 1, rejected: 4 }));
            let mut ids = Vec::new();
            shard.read_ids(0..4, &mut ids);
            assert_eq!((ids, shard.id(1)), (vec![1, big, 2, 5], big));
            let trained: Vec<bool> = (0..4).map(|token| shard.is_trained(token)).collect();
            assert_eq!(trained, [false, true, true, true]);
            assert_eq!((shard.sign(0), shard.sign(1)), (&[1, 2][..], &[3, 4][..]));
        }
    }

    #[test]
    fn every_changed_byte_is_found() {
        let good = builder([1, 2, 3]).to_bytes(&Head::default());
        let fact = |bytes: Vec<u8>| Shard::parse(Bytes::new(bytes)).err().unwrap_or_default();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(!fact(bad).is_empty(), "byte {at}");
            assert!(!fact(good[..at].to_vec()).is_empty(), "cut at {at}");
        }
        assert!(!fact([&good[..], &[0]].concat()).is_empty());
        // Numbers that are wrong although the checksum is right.
        let head_bytes = serde_json::to_vec(&Head::default()).unwrap().len();
        for (column, value) in [(0, 200u32), (3, 9), (4, 9), (5, 200)] {
            let mut bad = good.clone();
            let at = FIXED_BYTES + head_bytes + SAMPLE_BYTES + column * 4;
            bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let end = bad.len() - 4;
            let sum = crc32fast::hash(&bad[..end]);
            bad[end..].copy_from_slice(&sum.to_le_bytes());
            assert!(fact(bad).contains("sample 2"), "column {column}");
        }
    }
}
