//! Reading little-endian numbers from a byte slice, one after another, never past its end.

use crate::error::Problem;

/// A position in a byte slice. Every read says what it reads, for the message when the bytes end too early.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether lengths have 32 bits.
    short_lengths: bool,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0, short_lengths: false }
    }

    /// The position, in bytes from the start of the slice.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// From here on, lengths have 32 bits, not 64.
    pub fn shorten_lengths(&mut self) {
        self.short_lengths = true;
    }

    /// Bytes of a length.
    pub fn length_bytes(&self) -> u64 {
        if self.short_lengths { 4 } else { 8 }
    }

    /// A length or count.
    pub fn length(&mut self, what: &str) -> Result<u64, Problem> {
        match self.short_lengths {
            true => self.u32(what).map(u64::from),
            false => self.u64(what),
        }
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: u64, what: &str) -> Result<&'a [u8], Problem> {
        let left = self.remaining();
        let len = usize::try_from(len).ok().filter(|&len| len <= left).ok_or_else(|| {
            let at = self.at;
            Problem::malformed(format!(
                "{what} at byte {at} needs {len} bytes, but the file has only {left} more"
            ))
            .hint("the file is cut short or damaged; compare its size with the original")
        })?;
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Problem> {
        let bytes = self.take(N as u64, what)?;
        Ok(bytes.try_into().expect("take returns as many bytes as were asked for"))
    }

    pub fn u8(&mut self, what: &str) -> Result<u8, Problem> {
        self.array(what).map(u8::from_le_bytes)
    }

    pub fn u16(&mut self, what: &str) -> Result<u16, Problem> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub fn u32(&mut self, what: &str) -> Result<u32, Problem> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &str) -> Result<u64, Problem> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub fn i64(&mut self, what: &str) -> Result<i64, Problem> {
        self.array(what).map(i64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stop_at_the_end() {
        let mut cursor = Cursor::new(&[1, 0, 2, 0, 0, 0, 9]);
        assert_eq!(cursor.u16("a").unwrap(), 1);
        assert_eq!(cursor.u32("b").unwrap(), 2);
        assert!(cursor.u16("the length").unwrap_err().fact.starts_with("the length at byte 6 needs 2 bytes"));
        assert_eq!(cursor.take(u64::MAX, "c").unwrap_err().kind, crate::ErrorKind::Malformed);
        assert_eq!(cursor.u8("d").unwrap(), 9);
        assert_eq!(cursor.remaining(), 0);
        let mut cursor = Cursor::new(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!((cursor.length("e").unwrap(), cursor.length_bytes()), (1, 8));
        cursor.shorten_lengths();
        assert_eq!((cursor.length("f").unwrap(), cursor.length_bytes()), (2, 4));
        assert!(cursor.length("g").is_err());
    }
}
