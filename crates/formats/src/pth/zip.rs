//! As much of ZIP as PyTorch uses: stored members, found through the central directory, with ZIP64 sizes.
//!
//! Members are views into the archive's bytes. A compressed or encrypted one is an error, since PyTorch
//! writes none. Checksums are not verified: that would read every weight at load, and some writers leave them
//! wrong on purpose.

use std::collections::BTreeMap;
use std::ops::Range;

use puna_tensor::Bytes;

use crate::cursor::Cursor;
use crate::error::Problem;
use crate::visible::quote;

const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
const DIRECTORY_ENTRY: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const END_64_LOCATOR: [u8; 4] = *b"PK\x06\x07";

const END_BYTES: usize = 22;
const END_64_LOCATOR_BYTES: usize = 20;
const DIRECTORY_ENTRY_BYTES: u64 = 46;
const MAX_COMMENT_BYTES: usize = u16::MAX as usize;

/// Stands for "see the ZIP64 field".
const IN_ZIP64: u64 = u32::MAX as u64;

/// Whether bytes begin like an archive.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    bytes.starts_with(&LOCAL_HEADER)
}

/// An archive whose directory has been read.
pub(super) struct Archive {
    bytes: Bytes,
    members: BTreeMap<String, Member>,
}

/// Where the directory says a member is.
struct Member {
    local_header: u64,
    size: u64,
}

impl Archive {
    /// Reads the directory.
    pub fn open(bytes: &Bytes) -> Result<Archive, Problem> {
        let end = find_end(bytes)?;
        let directory = usize::try_from(end.start).ok().zip(usize::try_from(end.size).ok());
        let directory = directory.and_then(|(start, size)| bytes.get(start..start.checked_add(size)?));
        let directory =
            directory.ok_or_else(|| Problem::malformed("its ZIP directory is not inside the file"))?;
        if end.n_entries > directory.len() as u64 / DIRECTORY_ENTRY_BYTES {
            let (n, len) = (end.n_entries, directory.len());
            return Err(Problem::malformed(format!(
                "its ZIP directory of {len} bytes has no room for {n} entries"
            )));
        }
        let mut members = BTreeMap::new();
        let mut cursor = Cursor::new(directory);
        for _ in 0..end.n_entries {
            let (name, member) = decode_entry(&mut cursor)?;
            if members.contains_key(&name) {
                return Err(Problem::malformed(format!("the ZIP member {} occurs twice", quote(&name))));
            }
            members.insert(name, member);
        }
        Ok(Archive { bytes: bytes.clone(), members })
    }

    /// The names of all members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// The bytes of a member, or `None` if there is none of that name.
    pub fn member(&self, name: &str) -> Result<Option<Bytes>, Problem> {
        let Some(member) = self.members.get(name) else { return Ok(None) };
        let range = self
            .data_range(name, member)
            .map_err(|problem| problem.about(format!("ZIP member {}", quote(name))))?;
        Ok(self.bytes.slice(range))
    }

    /// The range of a member's data, which begins behind its local header.
    fn data_range(&self, name: &str, member: &Member) -> Result<Range<usize>, Problem> {
        let outside =
            || Problem::malformed("is not inside the file").hint("the file is cut short or damaged");
        let start = usize::try_from(member.local_header).map_err(|_| outside())?;
        let mut cursor = Cursor::new(self.bytes.get(start..).ok_or_else(outside)?);
        if cursor.array("a local header")? != LOCAL_HEADER {
            return Err(Problem::malformed(format!("there is no local header at byte {start}")));
        }
        cursor.take(22, "a local header")?;
        let name_len = cursor.u16("a name's length")?;
        let extra_len = cursor.u16("an extra field's length")?;
        if cursor.take(name_len.into(), "a name")? != name.as_bytes() {
            return Err(Problem::malformed("its local header has another name"));
        }
        cursor.take(extra_len.into(), "an extra field")?;
        let start = start + cursor.position();
        let end = usize::try_from(member.size).ok().and_then(|size| start.checked_add(size));
        let end = end.filter(|&end| end <= self.bytes.len()).ok_or_else(outside)?;
        Ok(start..end)
    }
}

/// What the record at the end of an archive says about the directory.
struct End {
    n_entries: u64,
    size: u64,
    start: u64,
}

fn find_end(bytes: &[u8]) -> Result<End, Problem> {
    let cut = || {
        Problem::malformed("is a ZIP archive without its end").hint("the file is cut short; fetch it again")
    };
    // The record is at the very end, unless the archive has a comment.
    let last = bytes.len().checked_sub(END_BYTES).ok_or_else(cut)?;
    let first = last.saturating_sub(MAX_COMMENT_BYTES);
    let found = |&at: &usize| {
        let comment = usize::from(u16::from_le_bytes([bytes[at + 20], bytes[at + 21]]));
        bytes[at..].starts_with(&END) && at + END_BYTES + comment == bytes.len()
    };
    let at = (first..=last).rev().find(found).ok_or_else(cut)?;

    if let Some(locator) = at.checked_sub(END_64_LOCATOR_BYTES).map(|start| &bytes[start..at])
        && locator.starts_with(&END_64_LOCATOR)
    {
        return decode_end_64(bytes, locator);
    }
    let mut cursor = Cursor::new(&bytes[at + 4..]);
    let what = "the ZIP end record";
    let (disk, directory_disk) = (cursor.u16(what)?, cursor.u16(what)?);
    let (n_here, n_entries) = (cursor.u16(what)?, cursor.u16(what)?);
    let (size, start) = (cursor.u32(what)?, cursor.u32(what)?);
    check_single((disk.into(), directory_disk.into()), (n_here.into(), n_entries.into()))?;
    Ok(End { n_entries: n_entries.into(), size: size.into(), start: start.into() })
}

fn decode_end_64(bytes: &[u8], locator: &[u8]) -> Result<End, Problem> {
    let what = "the ZIP64 end record";
    let mut cursor = Cursor::new(&locator[8..]);
    let at = usize::try_from(cursor.u64(what)?).ok().and_then(|at| bytes.get(at..));
    let mut cursor =
        Cursor::new(at.ok_or_else(|| Problem::malformed(format!("{what} is not inside the file")))?);
    if cursor.array(what)? != END_64 {
        return Err(Problem::malformed(format!("{what} is not where its locator says")));
    }
    cursor.take(12, what)?;
    let (disk, directory_disk) = (cursor.u32(what)?, cursor.u32(what)?);
    let (n_here, n_entries) = (cursor.u64(what)?, cursor.u64(what)?);
    let (size, start) = (cursor.u64(what)?, cursor.u64(what)?);
    check_single((disk, directory_disk), (n_here, n_entries))?;
    Ok(End { n_entries, size, start })
}

/// Refuses archives cut into several volumes.
fn check_single(disks: (u32, u32), (n_here, n_entries): (u64, u64)) -> Result<(), Problem> {
    if disks == (0, 0) && n_here == n_entries {
        return Ok(());
    }
    Err(Problem::unsupported("is one volume of a ZIP archive in several volumes"))
}

fn decode_entry(cursor: &mut Cursor<'_>) -> Result<(String, Member), Problem> {
    let what = "a ZIP directory entry";
    if cursor.array(what)? != DIRECTORY_ENTRY {
        return Err(Problem::malformed("its ZIP directory is damaged"));
    }
    cursor.take(4, what)?;
    let flags = cursor.u16(what)?;
    let method = cursor.u16(what)?;
    cursor.take(8, what)?;
    let stored_size = cursor.u32(what)?;
    let size = cursor.u32(what)?;
    let name_len = cursor.u16(what)?;
    let extra_len = cursor.u16(what)?;
    let comment_len = cursor.u16(what)?;
    cursor.take(8, what)?;
    let local_header = cursor.u32(what)?;
    let name = cursor.take(name_len.into(), what)?;
    let name =
        std::str::from_utf8(name).map_err(|_| Problem::malformed("a ZIP member's name is not UTF-8"))?;
    let extra = cursor.take(extra_len.into(), what)?;
    cursor.take(comment_len.into(), what)?;

    let about = |problem: Problem| problem.about(format!("ZIP member {}", quote(name)));
    let mut fields = [size.into(), stored_size.into(), local_header.into()];
    resolve_zip64(&mut fields, extra).map_err(about)?;
    let [size, stored_size, local_header] = fields;
    if flags & 1 != 0 {
        return Err(about(Problem::unsupported("is encrypted")));
    }
    if method != 0 || stored_size != size {
        let problem =
            Problem::unsupported(format!("is compressed (method {method}), which PyTorch never does"));
        return Err(about(problem.hint("unpack the archive and pack it again with `zip -0`")));
    }
    Ok((name.to_owned(), Member { local_header, size }))
}

/// Replaces each field that stands for "see the ZIP64 field" by its 64-bit value, in the order ZIP64 lists
/// them.
fn resolve_zip64(fields: &mut [u64; 3], extra: &[u8]) -> Result<(), Problem> {
    if !fields.contains(&IN_ZIP64) {
        return Ok(());
    }
    let mut extra = Cursor::new(extra);
    while extra.remaining() > 0 {
        let id = extra.u16("an extra field")?;
        let len = extra.u16("an extra field")?;
        let data = extra.take(len.into(), "an extra field")?;
        if id != 1 {
            continue;
        }
        let mut data = Cursor::new(data);
        for field in fields.iter_mut().filter(|field| **field == IN_ZIP64) {
            *field = data.u64("a ZIP64 field")?;
        }
        return Ok(());
    }
    Err(Problem::malformed("needs a ZIP64 field, but has none"))
}
