use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use puna_kernels::pool::Pool;

#[test]
fn every_task_runs_once() {
    for n_threads in [1, 2, 5] {
        let pool = Pool::new(n_threads);
        for n_tasks in [0, 1, 2, 7, 1000] {
            for _ in 0..50 {
                let counts: Vec<AtomicUsize> = (0..n_tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(n_tasks, |i, _| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
            }
        }
    }
}

#[test]
fn wakes_parked_workers() {
    let pool = Pool::new(3);
    for _ in 0..5 {
        std::thread::sleep(std::time::Duration::from_millis(5));
        let ran = AtomicUsize::new(0);
        pool.run(64, |_, _| {
            ran.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ran.load(Ordering::Relaxed), 64);
    }
}

/// Two tasks that each wait until the other runs: one thread alone would wait for ever.
#[test]
fn threads_run_at_the_same_time() {
    let pool = Pool::new(2);
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(5)); // The worker parks.
        let running = AtomicUsize::new(0);
        let start = std::time::Instant::now();
        pool.run(2, |_, _| {
            running.fetch_add(1, Ordering::SeqCst);
            while running.load(Ordering::SeqCst) < 2 {
                assert!(start.elapsed().as_secs() < 60, "the worker did not wake");
                std::thread::yield_now();
            }
        });
    }
}

/// A thread that is done takes what is left in another's range: the first task ends only when all others
/// have.
#[test]
fn tasks_are_taken_from_a_thread_that_is_busy() {
    let pool = Pool::new(2);
    let done = AtomicUsize::new(0);
    let start = std::time::Instant::now();
    pool.run(16, |i, _| {
        while i == 0 && done.load(Ordering::SeqCst) < 15 {
            assert!(start.elapsed().as_secs() < 60, "nobody took the tasks of a busy thread");
            std::thread::yield_now();
        }
        done.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(done.load(Ordering::SeqCst), 16);
}

#[test]
fn a_nested_region_runs_inline() {
    let pool = Pool::new(2);
    let ran = AtomicUsize::new(0);
    pool.run(4, |_, _| {
        pool.run(3, |_, _| {
            ran.fetch_add(1, Ordering::Relaxed);
        })
    });
    assert_eq!(ran.load(Ordering::Relaxed), 12);
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_survives() {
    let pool = Pool::new(2);
    for _ in 0..20 {
        let caught = catch_unwind(AssertUnwindSafe(|| pool.run(8, |i, _| assert_ne!(i, 5))));
        assert!(caught.is_err());
        let caught = catch_unwind(AssertUnwindSafe(|| pool.run(8, |_, _| panic!("every task"))));
        assert!(caught.is_err());
        pool.run(8, |_, _| ()); // An old panic does not reach a new region.
    }
    let ran = AtomicUsize::new(0);
    pool.run(8, |_, _| {
        ran.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(ran.load(Ordering::Relaxed), 8);
}
