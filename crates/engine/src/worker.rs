//! The engine's own thread: takes jobs from anywhere, and nobody else touches a tensor.
//!
//! Orders wait in a queue until a step is over. What is not a sequence, such as a text's vector, is done between two
//! steps. A panic in a step is a fault of ours: whoever was in it is told, and the thread goes on with a new scheduler.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::scheduler::{Counts, Draft, Job, Scheduler, SchedulerOptions};

enum Order {
    Job(Box<Job>),
    Task(Box<dyn FnOnce(&Engine) + Send>),
    Forget,
}

/// An engine that runs jobs on a thread of its own. Dropping it ends them.
pub struct Worker {
    orders: Option<Sender<Order>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    counts: Mutex<Counts>,
    start: Instant,
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Starts the thread; something may guess tokens. Fails if the system has no thread
    /// left.
    pub fn start(
        engine: Arc<Engine>,
        draft: Option<Draft>,
        options: SchedulerOptions,
    ) -> std::io::Result<Worker> {
        let (sender, orders) = channel();
        let shared = Arc::new(Shared { counts: Mutex::new(Counts::default()), start: Instant::now() });
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("engine".into()).spawn(move || {
            let scheduler = || {
                let scheduler = Scheduler::new(engine.clone(), options.clone());
                match &draft {
                    Some(draft) => scheduler.with_draft(draft.clone()),
                    None => scheduler,
                }
            };
            run(&scheduler, &orders, &own);
        })?;
        Ok(Worker { orders: Some(sender), shared, thread: Some(thread) })
    }

    /// Time since the start, which deadlines are counted from.
    pub fn now(&self) -> Duration {
        self.shared.start.elapsed()
    }

    /// Takes a job; its listener hears of all else.
    pub fn submit(&self, job: Job) {
        self.send(Order::Job(Box::new(job)));
    }

    /// Does something with the engine between two steps.
    pub fn run(&self, task: impl FnOnce(&Engine) + Send + 'static) {
        self.send(Order::Task(Box::new(task)));
    }

    /// Forgets what finished sequences computed.
    pub fn forget(&self) {
        self.send(Order::Forget);
    }

    fn send(&self, order: Order) {
        // The thread is there as long as this is.
        let sent = self.orders.as_ref().map(|orders| orders.send(order).is_ok());
        debug_assert_eq!(sent, Some(true));
    }

    /// What was going on after the last step.
    pub fn counts(&self) -> Counts {
        *self.shared.counts()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It catches what panics in it.
            let _ = thread.join();
        }
    }
}

fn run(new_scheduler: &dyn Fn() -> Scheduler, orders: &Receiver<Order>, shared: &Shared) {
    let clock = || shared.start.elapsed();
    let mut scheduler = new_scheduler();
    loop {
        // Where there is nothing to do it sleeps.
        let first = if scheduler.is_idle() { orders.recv().ok() } else { None };
        if first.is_none() && scheduler.is_idle() {
            return;
        }
        let step = AssertUnwindSafe(|| {
            if let Some(order) = first {
                obey(&mut scheduler, order, clock());
            }
            let goes_on = loop {
                match orders.try_recv() {
                    Ok(order) => obey(&mut scheduler, order, clock()),
                    Err(TryRecvError::Empty) => break true,
                    Err(TryRecvError::Disconnected) => break false,
                }
            };
            if goes_on {
                scheduler.step(&clock);
            } else {
                scheduler.stop(clock());
            }
            scheduler.counts()
        });
        match catch_unwind(step) {
            Ok(counts) => *shared.counts() = counts,
            Err(_) => {
                // Its sequences may be in any state. Their listeners hear of it when they are dropped.
                scheduler = new_scheduler();
            }
        }
    }
}

fn obey(scheduler: &mut Scheduler, order: Order, now: Duration) {
    match order {
        Order::Job(job) => scheduler.submit(*job, now),
        Order::Task(task) => task(scheduler.engine()),
        Order::Forget => scheduler.forget(),
    }
}
