//! Tiles of bytes (Intel's AMX): up to sixteen rows of 64 bytes, of which one instruction multiplies two.
//!
//! The compiler has no stable functions for them, so the instructions are written out. It uses no tiles itself, and what a
//! tile holds lasts from one of these functions to the next on the same thread.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

/// Whether the processor has tiles of bytes, and the system lets this program use them.
pub(crate) fn is_usable() -> bool {
    static IS_USABLE: OnceLock<bool> = OnceLock::new();
    *IS_USABLE.get_or_init(|| {
        const TILES_AND_BYTES: u32 = 0b11 << 24;
        (__cpuid_count(7, 0).edx & TILES_AND_BYTES) == TILES_AND_BYTES && is_allowed()
    })
}

/// Asks Linux to keep tiles when it switches between threads, which it does for programs alone that ask.
#[cfg(target_os = "linux")]
fn is_allowed() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const TILE_DATA: libc::c_ulong = 18;
    // SAFETY: the call changes nothing but what is kept for the threads of this program.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_allowed() -> bool {
    false
}

/// The shapes of tiles, as the processor reads them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// The tiles of this thread until it is dropped: for products of some rows of [`COLUMNS`] activations with as many codes of
/// weight rows.
pub(crate) struct Tiles(());

/// Columns that are multiplied at a time.
pub(crate) const COLUMNS: usize = 32;
/// Products with sixteen weight rows.
pub(crate) const DOTS: usize = 256;

impl Tiles {
    /// # Panics
    /// If there are more than 16 rows.
    pub fn new(rows: usize) -> Tiles {
        assert!((1..=16).contains(&rows) && is_usable());
        let (m, k) = (rows as u8, COLUMNS as u8);
        // Tiles 0 and 1 are products, 2 activations, 3 and 4 codes.
        let (mut row_bytes, mut n_rows) = ([0; 16], [0; 16]);
        row_bytes[..5].copy_from_slice(&[64, 64, k as u16, 64, 64]);
        n_rows[..5].copy_from_slice(&[m, m, m, k / 4, k / 4]);
        let shapes = Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows: n_rows };
        // SAFETY: the processor has tiles, and these are within what its palette 1 allows.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly)) };
        Tiles(())
    }

    /// Products of the columns of the rows of `x` with those of twice sixteen weight rows: `[2, row, 16]`, [`DOTS`] numbers
    /// from one to the other of two.
    ///
    /// `x` points at `[row, COLUMNS]` numbers; each of `codes` at `[COLUMNS / 4, 16, 4]`, four of each weight row. All are
    /// signed.
    ///
    /// # Safety
    /// They are readable, and `out` has room for two times [`DOTS`] numbers.
    #[inline(always)]
    pub unsafe fn dot(&self, x: *const i8, codes: [*const u8; 2], out: *mut i32) {
        // SAFETY: the caller's promise; tiles have their shapes as long as `self` lives.
        unsafe {
            asm!(
                "tileloadd tmm2, [{x} + {row}]",
                "tileloadd tmm3, [{first} + {line}]",
                "tilezero tmm0",
                "tdpbssd tmm0, tmm2, tmm3",
                "tileloadd tmm4, [{second} + {line}]",
                "tilezero tmm1",
                "tdpbssd tmm1, tmm2, tmm4",
                "tilestored [{out} + {line}], tmm0",
                "tilestored [{out} + {line} + 1024], tmm1",
                x = in(reg) x,
                first = in(reg) codes[0],
                second = in(reg) codes[1],
                out = in(reg) out,
                row = in(reg) COLUMNS,
                line = in(reg) 64usize,
                options(nostack),
            );
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: nobody else uses tiles on this thread.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
