//! What ears tell the task of their client: a queue that takes no memory while nothing is told.
//!
//! Both of its ends are made for streams: whoever hears takes all that is there at once, with one lock, and many who wait
//! have nothing but a place for it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use puna_wire::{Event, Usage};

/// What an ear tells.
#[derive(Debug)]
pub(crate) enum Heard {
    /// So much of the prompt is read.
    Read,
    /// Something happened to the answer.
    Event(Event),
    /// This answer is over, or failed. Nothing comes of it afterwards.
    Over(usize, Box<Result<Usage, puna::Error>>),
    /// The engine's thread failed under it.
    Lost,
}

/// Where ears tell it. All clones belong to one question.
#[derive(Clone)]
pub(crate) struct Teller(Arc<Shared>);

/// Where it is heard. Dropping it tells the ears that nobody listens any more.
pub(crate) struct Hearer {
    shared: Arc<Shared>,
    /// What was taken, and is not heard yet.
    taken: VecDeque<Heard>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// What ears ask before each step.
    is_gone: AtomicBool,
}

#[derive(Default)]
struct Queue {
    told: VecDeque<Heard>,
    /// Who waits.
    waker: Option<Waker>,
    /// Whether nobody will.
    is_deserted: bool,
}

/// What a client may leave unread before it counts as gone: some megabytes of a stream.
const MOST: usize = 1 << 16;

/// Both ends.
pub(crate) fn hearing() -> (Teller, Hearer) {
    let shared = Arc::new(Shared::default());
    (Teller(shared.clone()), Hearer { shared, taken: VecDeque::new() })
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Teller {
    /// Tells it. Who has left hears nothing: the scheduler asks. Who is slow hears all that was told in the end.
    pub fn tell(&self, heard: Heard) {
        let mut queue = self.0.queue();
        if queue.is_deserted {
            return;
        }
        queue.told.push_back(heard);
        if queue.told.len() > MOST {
            self.0.is_gone.store(true, Ordering::Relaxed);
        }
        let waker = queue.waker.take();
        drop(queue);
        // Whoever wakes takes the lock.
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether nobody hears, or so slowly that it is the same.
    pub fn is_gone(&self) -> bool {
        self.0.is_gone.load(Ordering::Relaxed)
    }
}

impl Hearer {
    /// The next, if it is there.
    pub fn try_hear(&mut self) -> Option<Heard> {
        if self.taken.is_empty() {
            mem::swap(&mut self.taken, &mut self.shared.queue().told);
        }
        self.taken.pop_front()
    }

    /// The next, or the task is woken when it is there.
    pub fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        if self.taken.is_empty() {
            let mut queue = self.shared.queue();
            if queue.told.is_empty() {
                match &mut queue.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => queue.waker = Some(context.waker().clone()),
                }
                return Poll::Pending;
            }
            mem::swap(&mut self.taken, &mut queue.told);
        }
        self.taken.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits for the next.
    pub async fn hear(&mut self) -> Heard {
        poll_fn(|context| self.poll_hear(context)).await
    }

    /// Takes it back: it is the next again.
    pub fn put_back(&mut self, heard: Heard) {
        self.taken.push_front(heard);
    }
}

impl Drop for Hearer {
    fn drop(&mut self) {
        self.shared.is_gone.store(true, Ordering::Relaxed);
        *self.shared.queue() = Queue { is_deserted: true, ..Queue::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(hearer: &mut Hearer) -> Vec<usize> {
        let heard = std::iter::from_fn(|| hearer.try_hear());
        let number = |heard| match heard {
            Heard::Over(n, _) => n,
            _ => usize::MAX,
        };
        heard.map(number).collect()
    }

    fn over(n: usize) -> Heard {
        Heard::Over(n, Box::new(Ok(Usage::default())))
    }

    #[test]
    fn all_is_heard_in_order() {
        let (teller, mut hearer) = hearing();
        let other = teller.clone();
        teller.tell(over(1));
        other.tell(over(2));
        let first = hearer.try_hear().unwrap();
        teller.tell(over(3));
        hearer.put_back(first);
        assert_eq!(numbers(&mut hearer), [1, 2, 3]);
        assert!(hearer.try_hear().is_none());
    }

    #[test]
    fn who_waits_is_woken() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (teller, mut hearer) = hearing();
        let thread = std::thread::spawn(move || {
            for n in 0..1000 {
                teller.tell(over(n));
                std::thread::yield_now();
            }
        });
        for n in 0..1000 {
            let heard = runtime.block_on(hearer.hear());
            assert!(matches!(heard, Heard::Over(own, _) if own == n), "{n}: {heard:?}");
        }
        thread.join().unwrap();
    }

    #[test]
    fn who_is_slow_counts_as_gone_and_hears_the_end() {
        let (teller, mut hearer) = hearing();
        (0..MOST).for_each(|_| teller.tell(Heard::Read));
        assert!(!teller.is_gone());
        teller.tell(Heard::Read);
        assert!(teller.is_gone());
        teller.tell(over(7));
        assert_eq!(numbers(&mut hearer).last(), Some(&7));
    }

    #[test]
    fn who_left_hears_nothing() {
        let (teller, hearer) = hearing();
        drop(hearer);
        assert!(teller.is_gone());
        teller.tell(Heard::Read);
        assert!(teller.0.queue().told.is_empty());
    }
}
