//! How signals end the program: without unfinished files, and with an exit code that says which.
//!
//! A thread waits for them, so that nothing here runs in the middle of something else. On systems without
//! signals Ctrl-C ends the program, and the next one that writes the same file removes what was left.

use crate::failure::Failure;

#[cfg(unix)]
pub use unix::handle;

/// Nothing to do.
#[cfg(not(unix))]
pub fn handle() -> Result<(), Failure> {
    Ok(())
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use puna_formats::remove_unfinished;
    use signal_hook::consts::{SIGABRT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGXFSZ};
    use signal_hook::flag::register_conditional_shutdown;
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::{emulate_default_handler, exit};

    use super::Failure;
    use crate::{interrupt, terminal};

    /// Stack of the thread that waits.
    const STACK_BYTES: usize = 256 << 10;

    /// Handles signals from now on.
    pub fn handle() -> Result<(), Failure> {
        install().map_err(|error| Failure::Failed(format!("cannot catch signals\n  {error}")))
    }

    fn install() -> io::Result<()> {
        // What whoever started us has switched off (`nohup`, a shell's background job) stays so.
        let ignored = ignored_signals();
        let is_ours = |signal: &i32| ignored & 1 << (signal - 1) == 0;
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGXFSZ].into_iter().filter(is_ours))?;
        // After an allocation that failed, and a panic in a panic, a line was printed and the program aborts.
        // It failed: there is no more to it, and nothing to dump.
        register_conditional_shutdown(SIGABRT, 1, Arc::new(AtomicBool::new(true)))?;
        let wait = move || {
            for signal in signals.forever() {
                match signal {
                    SIGINT if !interrupt::press() => {}
                    SIGTERM if !interrupt::term() => {}
                    // That it is caught is enough: the write that was too much fails.
                    SIGXFSZ => {}
                    SIGTSTP => terminal::while_stopped(|| {
                        // Where it cannot be stopped, it goes on.
                        let _ = emulate_default_handler(SIGTSTP);
                    }),
                    signal => {
                        remove_unfinished();
                        terminal::restore();
                        exit(128 + signal);
                    }
                }
            }
        };
        std::thread::Builder::new().name("signals".into()).stack_size(STACK_BYTES).spawn(wait)?;
        Ok(())
    }

    /// A bit for each signal that is ignored; none where the system does not say (only Linux is asked).
    fn ignored_signals() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    }
}
