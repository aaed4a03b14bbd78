//! Records of a source's files in blocks, read ahead by a thread of their own, and work on a block by several.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

use super::error::DataError;
use super::files::DataFile;
use super::read::Reader;
use super::record::Record;
use super::unpack::BytesRead;

/// Records of one file, one after the other.
pub(crate) struct Block {
    /// The number of the file.
    pub file: usize,
    pub records: Vec<Record>,
}

/// About how many bytes of text make a block.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;

/// Where to go on: a file, and the records of it that are done.
pub(crate) type Position = (u64, u64);

/// Sends all records from a position on in blocks of about `block_bytes`. Stops where nobody listens any more.
pub(crate) fn send_blocks(
    files: &[DataFile],
    from: Position,
    block_bytes: usize,
    bytes_read: &BytesRead,
    to: &SyncSender<Result<Block, DataError>>,
) {
    let first = usize::try_from(from.0).unwrap_or(usize::MAX);
    for (file, data_file) in files.iter().enumerate().skip(first) {
        let n_skipped = if file == first { from.1 } else { 0 };
        match send_file(file, data_file, n_skipped, block_bytes, bytes_read, to) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return,
            Err(error) => {
                let _ = to.send(Err(error)); // Whoever does not listen does not need to know.
                return;
            }
        }
    }
}

fn send_file(
    file: usize,
    data_file: &DataFile,
    n_skipped: u64,
    block_bytes: usize,
    bytes_read: &BytesRead,
    to: &SyncSender<Result<Block, DataError>>,
) -> Result<ControlFlow<()>, DataError> {
    let mut reader = Reader::open(&data_file.path, bytes_read)?;
    for _ in 0..n_skipped {
        if reader.next()?.is_none() {
            break;
        }
    }
    let (mut records, mut n_bytes) = (Vec::new(), 0);
    loop {
        let record = reader.next()?;
        let is_end = record.is_none();
        if let Some(record) = record {
            n_bytes += record.n_bytes();
            records.push(record);
        }
        if (is_end || n_bytes >= block_bytes) && !records.is_empty() {
            let block = Block { file, records: std::mem::take(&mut records) };
            n_bytes = 0;
            if to.send(Ok(block)).is_err() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if is_end {
            return Ok(ControlFlow::Continue(()));
        }
    }
}

/// What `work` makes of each thing, in their order, by so many threads.
pub(crate) fn map_in_order<T: Send, R: Send>(
    things: Vec<T>,
    n_threads: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    if n_threads <= 1 || things.len() <= 1 {
        return things.into_iter().map(work).collect();
    }
    let n = things.len();
    let waiting: Vec<Mutex<Option<T>>> = things.into_iter().map(|thing| Mutex::new(Some(thing))).collect();
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(thing) = waiting.get(i) else { return done };
            let thing = thing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            done.extend(thing.map(|thing| (i, work(thing))));
        }
    };
    let mut all: Vec<Option<R>> = (0..n).map(|_| None).collect();
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..n_threads.min(n)).map(|_| scope.spawn(run)).collect();
        let own = run();
        let others = others
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        for (i, result) in own.into_iter().chain(others) {
            all[i] = Some(result);
        }
    });
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_whoever_works() {
        for n_threads in [1, 2, 5] {
            let doubled = map_in_order((0..1000).collect(), n_threads, |n: u64| 2 * n);
            assert!(doubled.into_iter().eq((0..1000).map(|n| 2 * n)));
        }
    }
}
