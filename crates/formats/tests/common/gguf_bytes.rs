//! GGUF files made byte by byte, so that every field can be wrong.

/// A GGUF file to be. The counts are those of what was added, unless they are set.
#[derive(Clone)]
pub struct GgufBytes {
    pub version: u32,
    pub n_tensors: Option<u64>,
    pub n_entries: Option<u64>,
    pub alignment: usize,
    pub data: Vec<u8>,
    pub entries: Vec<Vec<u8>>,
    pub infos: Vec<Vec<u8>>,
}

impl GgufBytes {
    pub fn new() -> GgufBytes {
        let (version, alignment) = (3, 32);
        let (entries, infos, data) = (Vec::new(), Vec::new(), Vec::new());
        GgufBytes { version, n_tensors: None, n_entries: None, alignment, entries, infos, data }
    }

    /// Two entries and two tensors, F32 [3, 2] and Q8_0 [1, 32], that fill their aligned places.
    pub fn small() -> GgufBytes {
        GgufBytes::new()
            .entry("general.architecture", 8, &string(b"llama"))
            .entry("llama.block_count", 4, &2u32.to_le_bytes())
            .tensor(b"a.weight", &[2, 3], 0, 0)
            .tensor(b"b.weight", &[32, 1], 8, 32)
            .with_data(66)
    }

    /// Adds an entry with its value's type and bytes.
    pub fn entry(mut self, key: &str, value_type: u32, value: &[u8]) -> GgufBytes {
        self.entries.push([&string(key.as_bytes())[..], &value_type.to_le_bytes(), value].concat());
        self
    }

    /// Adds a tensor with its dimensions innermost first, type number and offset.
    pub fn tensor(mut self, name: &[u8], dims: &[u64], type_id: u32, offset: u64) -> GgufBytes {
        let mut info = string(name);
        info.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|dim| info.extend(dim.to_le_bytes()));
        info.extend(type_id.to_le_bytes());
        info.extend(offset.to_le_bytes());
        self.infos.push(info);
        self
    }

    /// Sets as many bytes of data.
    pub fn with_data(mut self, len: usize) -> GgufBytes {
        self.data = (0..len).map(|at| at as u8).collect();
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let mut out = Vec::from(*b"GGUF");
        out.extend(self.version.to_le_bytes());
        out.extend(self.n_tensors.unwrap_or(self.infos.len() as u64).to_le_bytes());
        out.extend(self.n_entries.unwrap_or(self.entries.len() as u64).to_le_bytes());
        self.entries.iter().chain(&self.infos).for_each(|part| out.extend(part));
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(&self.data);
        out
    }
}

/// A length and bytes.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}
