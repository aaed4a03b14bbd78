//! What is found where a file was expected, in words.

use std::fs::FileType;

/// What a path leads to instead of a regular file; `None` if it is one.
pub(crate) fn irregular(kind: FileType) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let special = [
            (kind.is_fifo(), "is a named pipe, not a file"),
            (kind.is_socket(), "is a socket, not a file"),
            (kind.is_char_device() || kind.is_block_device(), "is a device, not a file"),
        ];
        if let Some((_, fact)) = special.into_iter().find(|(is, _)| *is) {
            return Some(fact);
        }
    }
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("is a folder, not a file"),
        _ => Some("is not a regular file"),
    }
}
