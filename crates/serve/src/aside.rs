//! What takes a while is done aside: one thread sends everybody's tokens, and they need not wait for it.

use puna_wire::{Kind, Problem};

/// Does something on a thread that may be held up.
pub(crate) async fn aside<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let lost = |_| Err(Problem::new(Kind::Internal, "a task failed under us; ask again"));
    tokio::task::spawn_blocking(f).await.unwrap_or_else(lost)
}
