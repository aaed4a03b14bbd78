//! Writing a `.pth` file: a ZIP archive without compression, as `torch.save` writes it.
//!
//! Members lie one after the other, each with its local header; the central directory at the end lists them
//! again. Sizes and offsets that need more than 32 bits are in ZIP64 fields (APPNOTE.TXT of PKWARE, 4.5.3).
//! The pickle is protocol 2: a dictionary from names to
//! `torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.

use std::path::Path;

use crate::atomic_file::AtomicFile;
use crate::error::{FormatError, Problem};
use crate::tensor_map::TensorInfo;
use puna_tensor::DType;

/// Where the bytes of storages begin: multiples of this.
const ALIGNMENT: u64 = 64;
/// The folder of all members.
const FOLDER: &str = "consolidated";
/// The largest number that a field of 32 bits holds without meaning that a ZIP64 field does.
const MAX_32: u64 = u32::MAX as u64 - 1;

/// A member whose bytes are written.
struct Member {
    name: String,
    crc: u32,
    len: u64,
    offset: u64,
}

/// Takes the tensors, in the order in which they were announced, and completes the file.
pub struct PthWriter {
    file: AtomicFile,
    /// Bytes written so far.
    at: u64,
    members: Vec<Member>,
    tensors: Vec<TensorInfo>,
    n_written: usize,
}

impl PthWriter {
    /// Begins a file with these tensors, of F32, F16 or BF16. Nothing appears under `path` until it is
    /// finished.
    pub fn begin(path: &Path, tensors: Vec<TensorInfo>) -> Result<PthWriter, FormatError> {
        let pickle = pickle(&tensors).map_err(|problem| problem.in_output(path))?;
        let file = AtomicFile::create(path)?;
        let mut writer = PthWriter { file, at: 0, members: Vec::new(), tensors, n_written: 0 };
        writer.member("data.pkl", &pickle)?;
        Ok(writer)
    }

    /// The tensor whose bytes come next, or `None` when all are written.
    pub fn expected(&self) -> Option<&TensorInfo> {
        self.tensors.get(self.n_written)
    }

    /// Writes all bytes of the expected tensor.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let Some(expected) = self.expected() else {
            return Err(self.fail("data was given where no tensor was due".into()));
        };
        if expected.data_bytes().ok() != Some(bytes.len()) {
            return Err(self.fail(format!("{}: {} bytes are not its data", expected.title(), bytes.len())));
        }
        let name = format!("data/{}", self.n_written);
        self.member(&name, bytes)?;
        self.n_written += 1;
        Ok(())
    }

    /// Completes the file and gives it its name. An error if a tensor is missing.
    pub fn finish(mut self) -> Result<(), FormatError> {
        if let Some(missing) = self.expected() {
            return Err(self.fail(format!("{}: its bytes were never given", missing.title())));
        }
        self.member("version", b"3\n")?;
        let start = self.at;
        for member in std::mem::take(&mut self.members) {
            self.put(&central_header(&member))?;
        }
        let n_members = self.n_written as u64 + 2;
        let end = end_records(n_members, start, self.at - start);
        self.put(&end)?;
        self.file.commit()
    }

    fn member(&mut self, name: &str, bytes: &[u8]) -> Result<(), FormatError> {
        let name = format!("{FOLDER}/{name}");
        let (crc, len, offset) = (crc32(bytes), bytes.len() as u64, self.at);
        let header = local_header(&name, crc, len, offset);
        self.put(&header)?;
        self.put(bytes)?;
        self.members.push(Member { name, crc, len, offset });
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.at += bytes.len() as u64;
        self.file.write(bytes)
    }

    fn fail(&self, fact: String) -> FormatError {
        Problem::malformed(fact).in_output(self.file.destination())
    }
}

fn field(out: &mut Vec<u8>, value: u64, n_bytes: usize) {
    out.extend_from_slice(&value.to_le_bytes()[..n_bytes]);
}

/// A value in its field of 32 bits, or the number that says that it is in a ZIP64 field.
fn field_32(out: &mut Vec<u8>, value: u64, is_64: bool) {
    field(out, if is_64 { u64::from(u32::MAX) } else { value }, 4);
}

/// Version needed, flags (the name is UTF-8), method (none), time and date (the first there is).
fn common_fields(out: &mut Vec<u8>) {
    for value in [45, 0x0800, 0, 0, 0x21] {
        field(out, value, 2);
    }
}

/// A header before a member's bytes, padded by an extra field so that these begin at a multiple of the
/// alignment.
fn local_header(name: &str, crc: u32, len: u64, offset: u64) -> Vec<u8> {
    let is_64 = len > MAX_32;
    let mut out = b"PK\x03\x04".to_vec();
    common_fields(&mut out);
    field(&mut out, u64::from(crc), 4);
    field_32(&mut out, len, is_64);
    field_32(&mut out, len, is_64);
    let mut extra = Vec::new();
    if is_64 {
        field(&mut extra, 1, 2);
        field(&mut extra, 16, 2);
        field(&mut extra, len, 8);
        field(&mut extra, len, 8);
    }
    // An extra field of PyTorch's own, which readers pass over.
    let unpadded = offset + 30 + name.len() as u64 + extra.len() as u64 + 4;
    let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
    extra.extend_from_slice(b"FB");
    field(&mut extra, padding, 2);
    extra.resize(extra.len() + padding as usize, b'Z');
    field(&mut out, name.len() as u64, 2);
    field(&mut out, extra.len() as u64, 2);
    out.extend_from_slice(name.as_bytes());
    out.extend(extra);
    out
}

fn central_header(member: &Member) -> Vec<u8> {
    let (len, offset) = (member.len, member.offset);
    let mut extra = Vec::new();
    let is_64 = [len > MAX_32, offset > MAX_32];
    if is_64[0] {
        field(&mut extra, len, 8);
        field(&mut extra, len, 8);
    }
    if is_64[1] {
        field(&mut extra, offset, 8);
    }
    let mut out = b"PK\x01\x02".to_vec();
    field(&mut out, 45, 2); // made by
    common_fields(&mut out);
    field(&mut out, u64::from(member.crc), 4);
    field_32(&mut out, len, is_64[0]);
    field_32(&mut out, len, is_64[0]);
    field(&mut out, member.name.len() as u64, 2);
    field(&mut out, if extra.is_empty() { 0 } else { extra.len() as u64 + 4 }, 2);
    field(&mut out, 0, 2 + 2 + 2); // comment, disk, internal attributes
    field(&mut out, 0, 4); // external attributes
    field_32(&mut out, offset, is_64[1]);
    out.extend_from_slice(member.name.as_bytes());
    if !extra.is_empty() {
        field(&mut out, 1, 2);
        field(&mut out, extra.len() as u64, 2);
        out.extend(extra);
    }
    out
}

/// The ZIP64 end of the central directory, its locator, and the old end, which refers to them where it must.
fn end_records(n_members: u64, start: u64, len: u64) -> Vec<u8> {
    let mut out = b"PK\x06\x06".to_vec();
    field(&mut out, 44, 8);
    field(&mut out, 45, 2);
    field(&mut out, 45, 2);
    field(&mut out, 0, 8); // disks
    for value in [n_members, n_members, len, start] {
        field(&mut out, value, 8);
    }
    out.extend_from_slice(b"PK\x06\x07");
    field(&mut out, 0, 4);
    field(&mut out, start + len, 8);
    field(&mut out, 1, 4);
    out.extend_from_slice(b"PK\x05\x06");
    field(&mut out, 0, 4); // disks
    for _ in 0..2 {
        field(&mut out, n_members.min(u64::from(u16::MAX)), 2);
    }
    field_32(&mut out, len, len > MAX_32);
    field_32(&mut out, start, start > MAX_32);
    field(&mut out, 0, 2); // comment
    out
}

/// The dictionary of all tensors.
fn pickle(tensors: &[TensorInfo]) -> Result<Vec<u8>, Problem> {
    let mut out = b"\x80\x02}(".to_vec(); // protocol, empty dictionary, mark
    for (key, tensor) in tensors.iter().enumerate() {
        let storage = match tensor.dtype {
            DType::F32 => "FloatStorage",
            DType::F16 => "HalfStorage",
            DType::BF16 => "BFloat16Storage",
            DType::I8 => "CharStorage",
            other => {
                let fact = format!("{}: a .pth file is not written with type {other}", tensor.title());
                return Err(Problem::unsupported(fact));
            }
        };
        let n_elements = tensor.shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
        let too_large = || Problem::unsupported(format!("{} is too large", tensor.title()));
        let n_elements = n_elements.ok_or_else(too_large)?;
        text(&mut out, &tensor.name);
        global(&mut out, "torch._utils", "_rebuild_tensor_v2");
        out.extend_from_slice(b"((");
        text(&mut out, "storage");
        global(&mut out, "torch", storage);
        text(&mut out, &key.to_string());
        text(&mut out, "cpu");
        number(&mut out, n_elements as u64);
        out.extend_from_slice(b"tQ"); // tuple, persistent id
        number(&mut out, 0);
        numbers(&mut out, tensor.shape.iter().map(|n| *n as u64));
        let strides =
            (0..tensor.shape.len()).map(|i| tensor.shape[i + 1..].iter().map(|n| *n as u64).product());
        numbers(&mut out, strides);
        out.push(0x89); // false: no gradient
        global(&mut out, "collections", "OrderedDict");
        out.extend_from_slice(b")RtR"); // empty tuple, call; tuple, call
    }
    out.extend_from_slice(b"u."); // set items, stop
    Ok(out)
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    field(out, text.len() as u64, 4);
    out.extend_from_slice(text.as_bytes());
}

fn global(out: &mut Vec<u8>, module: &str, name: &str) {
    out.extend(format!("c{module}\n{name}\n").into_bytes());
}

fn number(out: &mut Vec<u8>, n: u64) {
    if n <= i32::MAX as u64 {
        out.push(b'J');
        field(out, n, 4);
    } else {
        // A long of nine bytes, whose last keeps it positive.
        out.extend_from_slice(&[0x8a, 9]);
        field(out, n, 8);
        out.push(0);
    }
}

fn numbers(out: &mut Vec<u8>, values: impl Iterator<Item = u64>) {
    out.push(b'(');
    values.for_each(|value| number(out, value));
    out.push(b't');
}

/// The checksum of ZIP: the polynomial 0xEDB88320, eight bytes at a time by tables.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLES: [[u32; 256]; 8] = crc_tables();
    let mut crc = !0u32;
    let (eights, rest) = bytes.as_chunks::<8>();
    for eight in eights {
        let word = u64::from_le_bytes(*eight) ^ u64::from(crc);
        let byte = |i: usize| (word >> (8 * i)) as usize & 0xff;
        crc = (0..8).fold(0, |sum, i| sum ^ TABLES[7 - i][byte(i)]);
    }
    for byte in rest {
        crc = TABLES[0][(crc as u8 ^ byte) as usize] ^ crc >> 8;
    }
    !crc
}

const fn crc_tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut i = 0;
        while i < 256 {
            let before = tables[n - 1][i];
            tables[n][i] = tables[0][(before & 0xff) as usize] ^ before >> 8;
            i += 1;
        }
        n += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_zip() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(&[0; 32]), 0x190A_55AD);
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("consolidated.00.pth");
        let tensors = vec![
            TensorInfo::new("a.weight", DType::F32, [2, 3]),
            TensorInfo::new("b", DType::BF16, [5]),
            TensorInfo::new("c", DType::F16, [1, 2, 2]),
        ];
        let data: Vec<Vec<u8>> = [24, 10, 8].map(|n: u8| (0..n).collect()).to_vec();
        let mut writer = PthWriter::begin(&path, tensors.clone()).unwrap();
        assert!(writer.write(&data[1]).is_err());
        data.iter().for_each(|bytes| writer.write(bytes).unwrap());
        assert!(writer.write(&[]).is_err());
        writer.finish().unwrap();
        let read = super::super::open(&path).unwrap();
        for (info, data) in tensors.iter().zip(&data) {
            let tensor = read.get(&info.name).unwrap();
            assert_eq!(
                (&tensor.dtype, &tensor.shape, &tensor.data[..]),
                (&info.dtype, &info.shape, &data[..])
            );
            assert_eq!(tensor.data.as_ptr() as usize % 4, 0);
        }
        // One that is not complete leaves nothing.
        let other = dir.path().join("other.pth");
        assert!(PthWriter::begin(&other, tensors).unwrap().finish().is_err());
        assert!(PthWriter::begin(&other, vec![TensorInfo::new("q", DType::Q8_0, [32])]).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// Fields of 64 bits, which no test file is large enough to need.
    #[test]
    fn sizes_beyond_32_bits_have_their_fields() {
        let large = 5u64 << 32;
        let member = Member { name: "m".into(), crc: 1, len: large, offset: large + 1 };
        let header = central_header(&member);
        assert_eq!(&header[20..28], &[0xff; 8]);
        assert_eq!(&header[46 + 1..46 + 5], &[1, 0, 24, 0]);
        assert!(header.ends_with(&(large + 1).to_le_bytes()));
        let local = local_header("m", 1, large, 0);
        assert!(local.len().is_multiple_of(64) && local[18..26] == [0xff; 8]);
    }
}
