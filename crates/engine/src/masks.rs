//! Which tokens may come next, found out while a pass runs.
//!
//! A constraint knows what may come as soon as it was told the last token, which is before the pass begins whose logits
//! need it. So it is asked beside the pass, on threads of their own, and has its answer ready when the logits are there.
//! What comes out is the same; nobody waits for it. What may come after a guessed token is asked when that was right.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::constraint::Constraint;

/// Threads of an engine: beside those of a pass, and most answers have no form.
const THREADS: usize = 2;

/// The threads, once a constraint needed them. They end with the engine.
#[derive(Default)]
pub(crate) struct MaskThreads(OnceLock<Sender<Job>>);

struct Job {
    i: usize,
    constraint: Box<dyn Constraint>,
    done: Sender<Done>,
}

/// The constraint with its answer, or what it panicked with.
type Done = (usize, Result<Box<dyn Constraint>, Box<dyn Any + Send>>);

/// The constraints of a step, while they are asked.
pub(crate) struct Asked(Vec<Receiver<Done>>);

impl MaskThreads {
    /// Asks the constraints of these sequences what may come next.
    pub fn ask(&self, constraints: Vec<(usize, Box<dyn Constraint>)>) -> Asked {
        let ask = |(i, constraint)| {
            let (done, answer) = channel();
            let job = Job { i, constraint, done };
            if let Err(unsent) = self.0.get_or_init(start).send(job) {
                // There are no threads: the step asks where it needs the answer.
                let Job { i, constraint, done } = unsent.0;
                let _ = done.send((i, Ok(constraint)));
            }
            answer
        };
        Asked(constraints.into_iter().map(ask).collect())
    }
}

impl Asked {
    /// Waits for all of them, and gives them back. What panicked on its thread panics here.
    pub fn wait(self) -> impl Iterator<Item = (usize, Box<dyn Constraint>)> {
        self.0.into_iter().filter_map(|answer| {
            let (i, constraint) = answer.recv().ok()?;
            Some((i, constraint.unwrap_or_else(|panic| resume_unwind(panic))))
        })
    }
}

fn start() -> Sender<Job> {
    let (sender, jobs) = channel();
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..THREADS {
        let jobs = jobs.clone();
        // Where the system has no thread left, the others do it; without any, nothing is sent.
        let _ = std::thread::Builder::new().name("mask".into()).spawn(move || run(&jobs));
    }
    sender
}

fn run(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { i, mut constraint, done }) = next else { return };
        // A failure is found again by whoever chooses the token.
        let asked = catch_unwind(AssertUnwindSafe(|| drop(constraint.allowed())));
        // Nobody waits where the step failed.
        let _ = done.send((i, asked.map(|()| constraint)));
    }
}
