//! Pages of a map whose file has them no more: they become zeros, and the map remembers it.
//!
//! A mapped file that another program makes shorter has no bytes behind its last pages. Touching one raises
//! SIGBUS, which would end the program without a word. Instead the handler maps zeros from that page to the
//! map's end and marks the map; whoever computed with it looks at the mark afterwards ([`Watch::has_lost`])
//! and throws the result away. An address in no map of ours goes to the handler that was there before, as
//! does memory that is broken. Systems without SIGBUS do not let a mapped file become shorter.
//!
//! A signal handler is given nothing but the address, so what it needs is in a `static`: a list of the ranges
//! of all maps. It takes no lock and allocates nothing.

use std::ops::Range;

#[cfg(unix)]
pub(crate) use unix::Watch;

/// Nothing to watch.
#[cfg(not(unix))]
pub(crate) struct Watch;

#[cfg(not(unix))]
impl Watch {
    pub fn over(_map: Range<usize>) -> Watch {
        Watch
    }

    pub fn has_lost(&self) -> bool {
        false
    }
}

#[cfg(unix)]
#[allow(unsafe_code)]
mod unix {
    use std::mem;
    use std::ptr;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    use std::sync::{Mutex, Once, OnceLock, PoisonError};

    use libc::{c_int, c_void, sigaction, siginfo_t};

    use super::Range;

    /// Watches the pages of a map from now on, until it is dropped, which must be before the map is gone.
    pub(crate) struct Watch(&'static Place);

    /// A place in the list of maps. Places are used again and never freed, so that the handler may walk along
    /// them at any time.
    struct Place {
        /// Address of the first byte; 0 where nobody has the place.
        start: AtomicUsize,
        end: AtomicUsize,
        has_lost: AtomicBool,
        next: OnceLock<Box<Place>>,
    }

    static FIRST: Place = Place::new();

    /// Held by whoever gives out places; the handler does without.
    static GIVING: Mutex<()> = Mutex::new(());

    /// What handled the signal before.
    static PREVIOUS: OnceLock<sigaction> = OnceLock::new();

    static PAGE_BYTES: OnceLock<usize> = OnceLock::new();

    impl Place {
        const fn new() -> Place {
            let (start, end) = (AtomicUsize::new(0), AtomicUsize::new(0));
            Place { start, end, has_lost: AtomicBool::new(false), next: OnceLock::new() }
        }

        /// The end of its map, if the address is in it.
        fn end_after(&self, address: usize) -> Option<usize> {
            let start = self.start.load(SeqCst);
            let end = self.end.load(SeqCst);
            // Another thread may have given the place to another map between the two. The map that the
            // address is in stays, since somebody is reading it.
            let is_same = start != 0 && self.start.load(SeqCst) == start;
            (is_same && (start..end).contains(&address)).then_some(end)
        }
    }

    impl Watch {
        /// Watches the map at these addresses, whose first is one of a page.
        pub fn over(map: Range<usize>) -> Watch {
            static INSTALL: Once = Once::new();
            INSTALL.call_once(install);
            let _giving = GIVING.lock().unwrap_or_else(PoisonError::into_inner);
            let mut place = &FIRST;
            while place.start.load(SeqCst) != 0 {
                place = place.next.get_or_init(|| Box::new(Place::new()));
            }
            place.has_lost.store(false, SeqCst);
            // The handler looks at the start first, so it comes last.
            place.end.store(map.end.next_multiple_of(page_bytes()), SeqCst);
            place.start.store(map.start, SeqCst);
            Watch(place)
        }

        /// Whether a page was touched that the file has no more.
        pub fn has_lost(&self) -> bool {
            self.0.has_lost.load(SeqCst)
        }
    }

    impl Drop for Watch {
        fn drop(&mut self) {
            let _giving = GIVING.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.start.store(0, SeqCst);
        }
    }

    fn page_bytes() -> usize {
        // SAFETY: asks for a number.
        *PAGE_BYTES.get_or_init(|| unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize)
    }

    fn install() {
        page_bytes();
        // SAFETY: all-zero bytes are a value of this struct of numbers, flags and an optional function. Both
        // calls are given structs that live until they return; the handler has the form that SA_SIGINFO asks
        // for and does only what a handler may.
        unsafe {
            let mut previous: sigaction = mem::zeroed();
            if libc::sigaction(libc::SIGBUS, ptr::null(), &mut previous) != 0 {
                return; // Then nothing is caught, as without us.
            }
            // Before the handler can run.
            let _ = PREVIOUS.set(previous);
            let mut own: sigaction = mem::zeroed();
            own.sa_sigaction = on_sigbus as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
            // Threads whose stack has overflowed come here too, on their other stack.
            own.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&mut own.sa_mask);
            libc::sigaction(libc::SIGBUS, &own, ptr::null_mut());
        }
    }

    extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the system gives a handler with SA_SIGINFO a valid `info`.
        let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
        // Sent by a program, it has no address; memory that is broken, on Linux, is another matter.
        let is_of_file = if cfg!(target_os = "linux") { code == libc::BUS_ADRERR } else { code > 0 };
        if !(is_of_file && replace_pages(address)) {
            pass_on(signal, info, context);
        }
    }

    /// Puts zeros into the place of the pages from `address` to the end of its map; `false` if it is in none.
    fn replace_pages(address: usize) -> bool {
        let mut place = Some(&FIRST);
        while let Some(found) = place {
            let Some(end) = found.end_after(address) else {
                place = found.next.get().map(|next| &**next);
                continue;
            };
            found.has_lost.store(true, SeqCst);
            let page = address / page_bytes() * page_bytes();
            // SAFETY: `page..end` are whole pages of a read-only map of ours, which stays while the thread
            // that is interrupted here reads from it. Their file has no bytes for them, so only zeros can be
            // read where nothing could be. The call is one that a signal handler may make.
            let zeros = unsafe {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_FIXED;
                libc::mmap(page as *mut c_void, end - page, libc::PROT_READ, flags, -1, 0)
            };
            return zeros != libc::MAP_FAILED;
        }
        false
    }

    /// Does what was done with the signal before us.
    fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        let previous = PREVIOUS
            .get()
            .filter(|previous| ![libc::SIG_DFL, libc::SIG_IGN].contains(&previous.sa_sigaction));
        // SAFETY: what is neither of these two values is the address of a function, of the form that its
        // flags say; `info` and `context` are passed on as they came. Without one the signal's default is
        // restored, and the access that raised it ends the program when it is tried again.
        unsafe {
            match previous {
                Some(previous) if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                        mem::transmute(previous.sa_sigaction);
                    handler(signal, info, context);
                }
                Some(previous) => {
                    let handler: extern "C" fn(c_int) = mem::transmute(previous.sa_sigaction);
                    handler(signal);
                }
                None => {
                    let mut default: sigaction = mem::zeroed();
                    default.sa_sigaction = libc::SIG_DFL;
                    libc::sigaction(signal, &default, ptr::null_mut());
                }
            }
        }
    }
}
