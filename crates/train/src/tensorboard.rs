//! Event files that TensorBoard opens: scalars and texts by step.
//!
//! A file is a row of records (TFRecord: length, its checksum, bytes, their checksum), each an `Event` message of
//! Protocol Buffers. Few fields of three messages are needed, so they are written by hand: `Event` (wall_time = 1,
//! step = 2, file_version = 3, summary = 5, session_log = 7, source_metadata = 10), `Summary.Value` (tag = 1,
//! simple_value = 2, tensor = 8, metadata = 9). Sources: tensorflow/core/util/event.proto and
//! framework/summary.proto; the checksum is CRC-32C, masked as tensorflow/core/lib/hash/crc32c.h says.
//!
//! Records are appended and flushed: a run that is killed leaves a whole record or one that readers leave out.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A file of events being written.
pub struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// Begins a file in the folder `dir`, which exists. What earlier files of the folder say of steps after
    /// `first_step` is no longer shown: that is where a run that was resumed goes on.
    pub fn create(dir: &Path, first_step: u64) -> std::io::Result<EventFile> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // TensorBoard reads files in the order of their names, so the time comes first; the process makes names differ.
        let name = format!("events.out.tfevents.{:010}.{}.puna", now.as_secs(), std::process::id());
        let mut n = 0;
        let (file, path) = loop {
            let path = dir.join(if n == 0 { name.clone() } else { format!("{name}.{n}") });
            match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => break (file, path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && n < 1000 => n += 1,
                Err(error) => return Err(error),
            }
        };
        let mut events = EventFile { file, path };
        let mut event = Message::default();
        event.text(3, "brain.Event:2");
        event.message(10, |source| source.text(1, "puna"));
        events.append(0, event)?;
        let mut event = Message::default();
        event.message(7, |session| session.number(1, 1)); // SessionLog.START
        events.append(first_step, event)?;
        Ok(events)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends scalars of a step.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> std::io::Result<()> {
        let mut event = Message::default();
        event.message(5, |summary| {
            for (tag, value) in values.iter().filter(|(_, value)| value.is_finite()) {
                summary.message(1, |entry| {
                    entry.text(1, tag);
                    entry.float(2, *value as f32);
                });
            }
        });
        self.append(step, event)
    }

    /// Appends a text of a step, which TensorBoard shows as Markdown.
    pub fn text(&mut self, step: u64, tag: &str, text: &str) -> std::io::Result<()> {
        let mut event = Message::default();
        event.message(5, |summary| {
            summary.message(1, |entry| {
                entry.text(1, tag);
                entry.message(8, |tensor| {
                    tensor.number(1, 7); // DT_STRING
                    tensor.message(2, |shape| shape.message(2, |dim| dim.number(1, 1)));
                    tensor.text(8, text);
                });
                entry.message(9, |metadata| metadata.message(1, |plugin| plugin.text(1, "text")));
            });
        });
        self.append(step, event)
    }

    fn append(&mut self, step: u64, fields: Message) -> std::io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut event = Message::default();
        event.double(1, now.as_secs_f64());
        event.number(2, step);
        event.0.extend(fields.0);
        self.file.write_all(&record(&event.0))
    }
}

/// A record: its length and content, each with its checksum.
fn record(content: &[u8]) -> Vec<u8> {
    let len = (content.len() as u64).to_le_bytes();
    let mut record = len.to_vec();
    record.extend(masked_crc(&len).to_le_bytes());
    record.extend(content);
    record.extend(masked_crc(content).to_le_bytes());
    record
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit over a table for a byte.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut crc, mut bit) = (i as u32, 0);
            while bit < 8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc: u32, byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

/// A message of Protocol Buffers.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4, and the check value of the catalogue of CRCs.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn records_are_framed() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(dir.path(), 3).unwrap();
        events.scalars(4, &[("loss", 1.5), ("not a number", f64::NAN)]).unwrap();
        events.text(4, "sample", "Once upon a time").unwrap();
        let another = EventFile::create(dir.path(), 3).unwrap();
        assert_ne!(another.path(), events.path());
        let bytes = std::fs::read(events.path()).unwrap();
        let (mut rest, mut contents) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let len = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked_crc(&rest[..8]).to_le_bytes());
            let content = &rest[12..12 + len];
            assert_eq!(rest[12 + len..16 + len], masked_crc(content).to_le_bytes());
            contents.push(content.to_vec());
            rest = &rest[16 + len..];
        }
        assert_eq!(contents.len(), 4);
        let has = |i: usize, text: &str| contents[i].windows(text.len()).any(|part| part == text.as_bytes());
        assert!(has(0, "brain.Event:2") && has(2, "loss") && !has(2, "not a number") && has(3, "Once upon"));
    }
}
