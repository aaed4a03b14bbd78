//! The thread pool of the token path: an empty parallel region costs about a microsecond.
//!
//! A region publishes one closure and a number of tasks, cut into a range for each thread: tasks that follow
//! each other usually read memory that does. The caller and every worker that is awake take the tasks of
//! their own range in order, then those left in the others'; when none is left the caller closes the region
//! and waits only for workers that joined it. A worker that was asleep or descheduled is not waited for, so
//! nothing stands still when other programs take a core. Idle workers spin briefly (the next operation of a
//! token comes within microseconds), then park. The pool lives on this floor, below tensors, because lending
//! a closure to another thread needs `unsafe`.
//!
//! Which thread runs a task is not determined; results must not depend on it, and no kernel's do.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::{JoinHandle, Thread};

use crate::buffer::Line;

/// Rounds of the spin loop before an idle worker parks: some tens of microseconds.
const SPIN_ROUNDS: u32 = 2_000;

/// A worker's reusable buffer, handed to each task it runs.
#[derive(Default)]
pub struct Scratch {
    lines: Vec<Line>,
    aside: Vec<Line>,
    /// The address at which the weights end that the worker's last task of that kind read.
    read_to: usize,
}

impl Scratch {
    /// Notes that a task reads `bytes`; whether they follow those that the worker's last task read.
    pub(crate) fn goes_on(&mut self, bytes: &[u8]) -> bool {
        let range = bytes.as_ptr_range();
        std::mem::replace(&mut self.read_to, range.end as usize) == range.start as usize
    }

    /// Disjoint buffers of the lengths asked for, with arbitrary content, each at the start of a cache line.
    pub fn buffers<const N: usize>(&mut self, lens: [usize; N]) -> [&mut [f32]; N] {
        buffers(&mut self.lines, lens)
    }

    /// Does `work` with such buffers, and with a scratch for what it calls.
    pub fn with_buffers<const N: usize>(
        &mut self,
        lens: [usize; N],
        work: impl FnOnce([&mut [f32]; N], &mut Scratch),
    ) {
        let mut aside = std::mem::take(&mut self.aside);
        work(buffers(&mut aside, lens), self);
        self.aside = aside;
    }
}

fn buffers<const N: usize>(lines: &mut Vec<Line>, lens: [usize; N]) -> [&mut [f32]; N] {
    let n_lines = lens.iter().map(|len| len.div_ceil(16)).sum();
    if lines.len() < n_lines {
        lines.resize(n_lines, Line::default());
    }
    let mut rest = lines.as_mut_slice();
    lens.map(|len| {
        let (own, after) = std::mem::take(&mut rest).split_at_mut(len.div_ceil(16));
        rest = after;
        // SAFETY: a line is 16 floats without padding.
        let floats = unsafe { std::slice::from_raw_parts_mut(own.as_mut_ptr().cast(), 16 * own.len()) };
        &mut floats[..len]
    })
}

type Job<'a> = &'a (dyn Fn(usize, &mut Scratch) + Sync);

struct Shared {
    /// Bits 0..16: workers inside the region. Bit 16: the region is open. Bits 17..: the region's number.
    state: AtomicU64,
    /// The region's closure; valid while the region is open or a worker is inside.
    job: UnsafeCell<Option<Job<'static>>>,
    /// By thread, the caller first.
    ranges: Vec<TaskRange>,
    panicked: AtomicBool,
    shutdown: AtomicBool,
    parked: Vec<AtomicBool>,
}

/// The tasks of a thread that nobody has taken yet. On a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct TaskRange {
    next: AtomicUsize,
    end: AtomicUsize,
}

const MEMBERS: u64 = 0xffff;
const OPEN: u64 = 1 << 16;
const REGION: u64 = 1 << 17;

// SAFETY: `job` is written only by the caller that holds the region lock while no region is open and no
// worker is inside, and read only by workers that entered an open region (both ordered through `state`).
unsafe impl Sync for Shared {}

/// A fixed set of threads that run the tasks of one region at a time.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    threads: Vec<Thread>,
    /// Held by the caller of the current region; also its scratch.
    region: Mutex<Scratch>,
}

impl Pool {
    /// A pool of `n_threads` threads, the caller's included. At least 1, at most 1024.
    pub fn new(n_threads: usize) -> Pool {
        let n_workers = n_threads.clamp(1, 1024) - 1;
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            ranges: (0..=n_workers).map(|_| TaskRange::default()).collect(),
            panicked: AtomicBool::new(false),
            shutdown: AtomicBool::new(false),
            parked: (0..n_workers).map(|_| AtomicBool::new(false)).collect(),
        });
        let workers: Vec<_> = (0..n_workers)
            .map_while(|i| {
                let shared = shared.clone();
                // A machine that refuses a thread leaves us with fewer: slower, not wrong.
                std::thread::Builder::new().name(format!("puna-{i}")).spawn(move || work(&shared, i)).ok()
            })
            .collect();
        let threads = workers.iter().map(|w| w.thread().clone()).collect();
        Pool { shared, workers, threads, region: Mutex::default() }
    }

    /// As many threads as this process may use: the CPU affinity mask and the cgroup quota are respected.
    pub fn default_threads() -> usize {
        std::thread::available_parallelism().map_or(1, |n| n.get())
    }

    /// Threads, the caller's included.
    pub fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `task(i, scratch)` for each `i` in `0..n_tasks`, each exactly once, on all threads, and returns
    /// when all are done. From inside a task, or while another thread's region runs, the tasks run on the
    /// calling thread.
    ///
    /// # Panics
    /// If a task panics, after all threads have left the region.
    pub fn run(&self, n_tasks: usize, task: impl Fn(usize, &mut Scratch) + Sync) {
        let mut scratch = match self.region.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(), // Scratch holds nothing to break.
            Err(TryLockError::WouldBlock) => {
                let mut scratch = Scratch::default();
                return (0..n_tasks).for_each(|i| task(i, &mut scratch));
            }
        };
        if n_tasks <= 1 || self.workers.is_empty() {
            return (0..n_tasks).for_each(|i| task(i, &mut scratch));
        }
        self.open(n_tasks, &task);
        let mine = catch_unwind(AssertUnwindSafe(|| self.shared.run_tasks(&task, 0, &mut scratch)));
        self.close();
        let others_panicked = self.shared.panicked.swap(false, Ordering::Relaxed);
        drop(scratch);
        if let Err(panic) = mine {
            resume_unwind(panic);
        }
        assert!(!others_panicked, "a task of a parallel region panicked");
    }

    fn open(&self, n_tasks: usize, task: Job<'_>) {
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. `close` returns only when no worker is inside and none can
        // enter, so nobody uses the reference after `run` returns.
        let job = unsafe { std::mem::transmute::<Job<'_>, Job<'static>>(task) };
        // SAFETY: the region lock is held, no region is open and no worker inside (`close` saw to that).
        unsafe { *shared.job.get() = Some(job) };
        let n_ranges = self.n_threads();
        for (i, range) in shared.ranges.iter().take(n_ranges).enumerate() {
            range.next.store(n_tasks * i / n_ranges, Ordering::Relaxed);
            range.end.store(n_tasks * (i + 1) / n_ranges, Ordering::Relaxed);
        }
        let number = shared.state.load(Ordering::Relaxed) / REGION + 1;
        // Sequentially consistent, as is `parked`: either the worker sees this region before it parks, or we
        // see it parked and wake it.
        shared.state.store(number.wrapping_mul(REGION) | OPEN, Ordering::SeqCst);
        for (thread, parked) in self.threads.iter().zip(&shared.parked).take(n_tasks - 1) {
            if parked.load(Ordering::SeqCst) {
                thread.unpark();
            }
        }
    }

    fn close(&self) {
        self.shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut rounds = 0u32;
        while self.shared.state.load(Ordering::Acquire) & MEMBERS != 0 {
            pause(&mut rounds);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, Ordering::SeqCst);
        for thread in &self.threads {
            thread.unpark();
        }
        for worker in self.workers.drain(..) {
            let _ = worker.join(); // A worker never panics: its tasks' panics are caught.
        }
    }
}

/// One round of waiting for another thread: spin at first, then let others run.
fn pause(rounds: &mut u32) {
    *rounds += 1;
    if *rounds < SPIN_ROUNDS {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

impl Shared {
    /// Runs the tasks of the thread's own range, then of those after it.
    fn run_tasks(&self, task: Job<'_>, thread_idx: usize, scratch: &mut Scratch) {
        let (before, own_and_after) = self.ranges.split_at(thread_idx);
        for range in own_and_after.iter().chain(before) {
            let end = range.end.load(Ordering::Relaxed);
            loop {
                let i = range.next.fetch_add(1, Ordering::Relaxed);
                if i >= end {
                    break;
                }
                task(i, scratch);
            }
        }
    }

    /// Enters the open region if there is one other than `last`; returns its number.
    fn enter(&self, last: u64) -> Option<u64> {
        let state = self.state.load(Ordering::SeqCst);
        let number = state / REGION;
        if state & OPEN == 0 || number == last {
            return None;
        }
        let entered = self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
        entered.is_ok().then_some(number)
    }
}

/// A worker's life.
fn work(shared: &Shared, worker_idx: usize) {
    let mut scratch = Scratch::default();
    let mut last = 0;
    let mut rounds = 0;
    while !shared.shutdown.load(Ordering::SeqCst) {
        if let Some(number) = shared.enter(last) {
            last = number;
            rounds = 0;
            // SAFETY: we entered the region while it was open, so `close` waits for us to leave, and `job`
            // was written before it opened.
            let job = unsafe { (*shared.job.get()).expect("an open region has a job") };
            if let Err(panic) =
                catch_unwind(AssertUnwindSafe(|| shared.run_tasks(job, worker_idx + 1, &mut scratch)))
            {
                shared.panicked.store(true, Ordering::Relaxed);
                std::mem::forget(panic); // Dropping it could panic again, here where nobody catches.
            }
            shared.state.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        rounds += 1;
        if rounds < SPIN_ROUNDS {
            std::hint::spin_loop();
            continue;
        }
        let parked = &shared.parked[worker_idx];
        parked.store(true, Ordering::SeqCst);
        let state = shared.state.load(Ordering::SeqCst);
        let nothing_to_do = state & OPEN == 0 || state / REGION == last;
        if nothing_to_do && !shared.shutdown.load(Ordering::SeqCst) {
            std::thread::park();
        }
        parked.store(false, Ordering::SeqCst);
        rounds = 0;
    }
}
