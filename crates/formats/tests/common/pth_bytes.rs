//! `.pth` files made byte by byte: pickles assembled from instructions, and stored ZIP archives.

/// A pickle being assembled.
#[derive(Clone, Default)]
pub struct Pickle(pub Vec<u8>);

impl Pickle {
    /// Begins with PROTO 2.
    pub fn new() -> Pickle {
        Pickle(vec![0x80, 2])
    }

    /// Appends instructions as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Pickle {
        self.0.extend(bytes);
        self
    }

    pub fn str(self, text: &str) -> Pickle {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    /// An integer of up to eight bytes (LONG1).
    pub fn int(self, value: i64) -> Pickle {
        self.raw(&[0x8a, 8]).raw(&value.to_le_bytes())
    }

    pub fn ints(self, values: &[i64]) -> Pickle {
        values.iter().fold(self.raw(b"("), |pickle, &value| pickle.int(value)).raw(b"t")
    }

    pub fn global(self, module: &str, name: &str) -> Pickle {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    /// A storage of a zip file.
    pub fn storage(self, storage_type: &str, key: &str, len: i64) -> Pickle {
        let pickle = self.raw(b"(").str("storage").global("torch", storage_type).str(key).str("cpu");
        pickle.int(len).raw(b"tQ")
    }

    /// A tensor of floats on storage `0`, which has `len` elements.
    pub fn tensor(self, len: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Pickle {
        let pickle =
            self.global("torch._utils", "_rebuild_tensor_v2").raw(b"(").storage("FloatStorage", "0", len);
        let pickle = pickle.int(offset).ints(shape).ints(strides).raw(&[0x89]);
        pickle.global("collections", "OrderedDict").raw(b")RtR")
    }

    /// A whole dictionary with one tensor `t` on a storage of `len` floats.
    pub fn one_tensor(len: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Pickle {
        Pickle::new().raw(b"}").str("t").tensor(len, offset, shape, strides).raw(b"s.")
    }
}

/// A ZIP archive of stored members.
pub fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, data) in members {
        let start = out.len() as u32;
        let sizes = [(data.len() as u32).to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        let name_len = (name.len() as u16).to_le_bytes();
        // Version, flags, method, time, date and checksum are all zero.
        out.extend([b"PK\x03\x04", &[0; 14][..], &sizes, &name_len, &[0; 2], name.as_bytes(), data].concat());
        let entry = [b"PK\x01\x02", &[0; 16][..], &sizes, &name_len, &[0; 12], &start.to_le_bytes()].concat();
        directory.extend(entry);
        directory.extend(name.as_bytes());
    }
    let (start, size) = (out.len() as u32, directory.len() as u32);
    let count = (members.len() as u16).to_le_bytes();
    out.extend(directory);
    let end =
        [b"PK\x05\x06", &[0; 4][..], &count, &count, &size.to_le_bytes(), &start.to_le_bytes(), &[0; 2]];
    out.extend(end.concat());
    out
}

/// A checkpoint of this pickle and as many bytes in storage `0`.
pub fn pth(pickle: &Pickle, n_storage_bytes: usize) -> Vec<u8> {
    let storage: Vec<u8> = (0..n_storage_bytes).map(|at| at as u8).collect();
    zip(&[("m/data.pkl", &pickle.0), ("m/byteorder", b"little"), ("m/data/0", &storage)])
}
