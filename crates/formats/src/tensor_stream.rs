//! The data part of a file being written: tensors in a declared order, each padded to an alignment.
//!
//! The writers of GGUF and safetensors describe all tensors first and stream the bytes afterwards, so that a
//! model larger than memory can be converted tensor by tensor. The stream checks that what arrives is what
//! was declared.

use std::path::Path;

use crate::atomic_file::AtomicFile;
use crate::error::{FormatError, Problem};
use crate::tensor_map::TensorInfo;

/// Takes the bytes of the declared tensors, in order, and completes the file.
#[derive(Debug)]
pub struct TensorStream {
    file: AtomicFile,
    tensors: Vec<TensorInfo>,
    /// The index of the tensor being written.
    tensor_idx: usize,
    /// How much of that tensor has been written.
    written_bytes: usize,
    alignment: usize,
}

impl TensorStream {
    /// Begins a file with its header. The tensors' sizes have been checked by the caller.
    pub(crate) fn create(
        path: &Path,
        header: &[u8],
        tensors: Vec<TensorInfo>,
        alignment: usize,
    ) -> Result<TensorStream, FormatError> {
        let mut file = AtomicFile::create(path)?;
        file.write(header)?;
        let mut stream = TensorStream { file, tensors, tensor_idx: 0, written_bytes: 0, alignment };
        stream.close_full_tensors()?;
        Ok(stream)
    }

    /// The tensor whose bytes come next, or `None` when all are written.
    pub fn expected(&self) -> Option<&TensorInfo> {
        self.tensors.get(self.tensor_idx)
    }

    /// Appends bytes of the tensor `name`, which must be the expected one: all of them, or a piece.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), FormatError> {
        let expected = self.expected().filter(|expected| expected.name == name);
        let Some(expected) = expected else {
            let wanted = self.expected().map_or("no more data".into(), TensorInfo::title);
            return Err(self.fail(format!("the data of tensor `{name}` was given where {wanted} was due")));
        };
        let left = self.expected_bytes() - self.written_bytes;
        if bytes.len() > left {
            let (title, len) = (expected.title(), bytes.len());
            return Err(
                self.fail(format!("{title}: {len} bytes were given, but only {left} are left to write"))
            );
        }
        self.file.write(bytes)?;
        self.written_bytes += bytes.len();
        self.close_full_tensors()
    }

    /// Completes the file and gives it its name. An error if a tensor is missing.
    pub fn finish(self) -> Result<(), FormatError> {
        if let Some(missing) = self.expected() {
            let (title, left) = (missing.title(), self.expected_bytes() - self.written_bytes);
            return Err(self.fail(format!("{title}: {left} of its bytes were never given")));
        }
        self.file.commit()
    }

    fn expected_bytes(&self) -> usize {
        let bytes = self.expected().map(|info| info.data_bytes().expect("checked when it was declared"));
        bytes.unwrap_or(0)
    }

    /// Pads and closes the current tensor once it is full, and any empty tensors after it.
    fn close_full_tensors(&mut self) -> Result<(), FormatError> {
        while self.expected().is_some() && self.written_bytes == self.expected_bytes() {
            let padding = self.written_bytes.next_multiple_of(self.alignment) - self.written_bytes;
            self.file.write(&vec![0; padding])?;
            self.tensor_idx += 1;
            self.written_bytes = 0;
        }
        Ok(())
    }

    fn fail(&self, fact: String) -> FormatError {
        Problem::malformed(fact).in_output(self.file.destination())
    }
}
