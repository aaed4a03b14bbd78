//! What every reader promises about the tensors it returns.

use puna_formats::TensorMap;

/// Each tensor has the bytes its type and shape ask for, and all of them can be read.
pub fn check_sizes(tensors: &TensorMap) {
    for tensor in tensors {
        assert_eq!(tensor.dtype.bytes_of(tensor.n_elements()), Some(tensor.data.len()), "{}", tensor.name);
        std::hint::black_box(tensor.data.iter().fold(0u8, |sum, byte| sum ^ byte));
    }
}

/// Besides, no byte of the file belongs to two tensors.
#[allow(dead_code)]
pub fn check_disjoint(tensors: &TensorMap, file_len: usize) {
    check_sizes(tensors);
    assert!(tensors.total_bytes() <= file_len as u64);
}
