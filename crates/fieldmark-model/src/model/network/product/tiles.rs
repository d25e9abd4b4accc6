//! The instructions that multiply bfloat16: AMX, which multiplies whole tiles, and AVX-512 BF16.
//!
//! A tile is a kilobyte of pairs of inner values: of the left side [16 rows, 16 pairs]; of the right side [16 pairs,
//! 16 columns]. A session multiplies two strips of tiles with two others and so fills a square of 32 x 32 sums.
//!
//! AMX has no functions in the stable compiler, so its few instructions are written out. Linux gives a process the
//! tiles' registers on request only.

/// Rows and columns of what two strips a side give.
pub(super) const SIDE: usize = 32;
/// Rows and columns of a tile.
pub(super) const TILE_SIDE: usize = 16;

/// Pairs of bfloat16, the first of a pair in the lower half.
pub(super) type Tile = [[u32; TILE_SIDE]; TILE_SIDE];

/// [32 rows, 32 columns] of float32.
#[repr(C, align(64))]
pub(super) struct Square([f32; SIDE * SIDE]);

impl Default for Square {
    fn default() -> Self {
        Self([0.0; SIDE * SIDE])
    }
}

impl Square {
    pub(super) fn rows(&self) -> &[[f32; SIDE]] {
        self.0.as_chunks::<SIDE>().0
    }
}

/// Instructions that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// Intel's matrix extensions.
    Amx,
    /// Dot products of pairs in vectors of 512 bits.
    Avx512,
}

impl Kernel {
    /// The fastest that this processor has.
    pub(crate) fn best() -> Option<Self> {
        static BEST: std::sync::OnceLock<Option<Kernel>> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::all().into_iter().next())
    }

    /// All that this processor has, the fastest first.
    pub(super) fn all() -> Vec<Self> {
        let there = [(Self::Amx, processor::has_amx()), (Self::Avx512, processor::has_avx512_bf16())];
        there.into_iter().filter(|(_, there)| *there).map(|(kernel, _)| kernel).collect()
    }

    /// Makes the thread ready.
    pub(super) fn begin(self) -> Session {
        if self == Self::Amx {
            processor::configure_tiles();
        }
        Session { kernel: self, of_this_thread: std::marker::PhantomData }
    }
}

/// A thread that is ready to multiply.
pub(super) struct Session {
    kernel: Kernel,
    /// The tiles' configuration belongs to a thread.
    of_this_thread: std::marker::PhantomData<*const ()>,
}

impl Session {
    /// square = left · right: two strips of tiles a side, one after the other.
    ///
    /// # Panics
    /// If both sides are not of the same, even number of tiles.
    pub(super) fn multiply(&mut self, left: &[Tile], right: &[Tile], square: &mut Square) {
        assert!(left.len() == right.len() && left.len().is_multiple_of(2), "two strips of tiles a side");
        match self.kernel {
            Kernel::Amx => processor::multiply_tiles(left, right, square),
            Kernel::Avx512 => processor::multiply_pairs(left, right, square),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.kernel == Kernel::Amx {
            processor::release_tiles();
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod processor {
    use std::arch::{asm, x86_64::*};

    use super::{SIDE, Square, TILE_SIDE, Tile};

    pub(super) fn has_avx512_bf16() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
    }

    pub(super) fn multiply_pairs(left: &[Tile], right: &[Tile], square: &mut Square) {
        // SAFETY: a `Session` with this kernel exists only where the processor has the instructions.
        unsafe { pairs(left, right, square) }
    }

    /// Eight rows and two vectors of columns at a time: sixteen sums, and two vectors that are shared by eight rows.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pairs(left: &[Tile], right: &[Tile], square: &mut Square) {
        const ROWS: usize = 8;
        let strip = right.len() / 2;
        for (at, rows) in square.0.chunks_exact_mut(ROWS * SIDE).enumerate() {
            let (first, within) = (at * ROWS / TILE_SIDE * strip, at * ROWS % TILE_SIDE);
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            for tile in 0..strip {
                let left = &left[first + tile];
                for pair in 0..TILE_SIDE {
                    // SAFETY: all of these types are 512 bits of plain numbers.
                    let columns: [__m512bh; 2] = std::array::from_fn(|half| unsafe {
                        std::mem::transmute(right[half * strip + tile][pair])
                    });
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let both = _mm512_set1_epi32(left[within + row][pair] as i32);
                        // SAFETY: as above.
                        let both: __m512bh = unsafe { std::mem::transmute(both) };
                        for (sum, columns) in sums.iter_mut().zip(columns) {
                            *sum = _mm512_dpbf16_ps(*sum, both, columns);
                        }
                    }
                }
            }
            for (to, sum) in rows.chunks_exact_mut(TILE_SIDE).zip(sums.as_flattened()) {
                // SAFETY: the slice has 16 numbers, and the store asks for no alignment.
                unsafe { _mm512_storeu_ps(to.as_mut_ptr(), *sum) };
            }
        }
    }

    /// Whether the processor multiplies tiles of bfloat16 and the system lets this process do so.
    pub(super) fn has_amx() -> bool {
        const TILES_AND_BF16: u32 = 1 << 24 | 1 << 22;
        let leaves = __cpuid(0).eax;
        leaves >= 7 && __cpuid_count(7, 0).edx & TILES_AND_BF16 == TILES_AND_BF16 && permitted()
    }

    /// Asks Linux for the tiles' registers, for all threads of the process.
    #[cfg(target_os = "linux")]
    fn permitted() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const REQUEST_PERMISSION: u64 = 0x1023;
        const TILE_DATA: u64 = 18;
        let result: i64;
        // SAFETY: the call reads two numbers and changes nothing but what the process may use; the kernel overwrites
        // the three registers that are named.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") ARCH_PRCTL => result,
                in("rdi") REQUEST_PERMISSION,
                in("rsi") TILE_DATA,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        result == 0
    }

    #[cfg(not(target_os = "linux"))]
    fn permitted() -> bool {
        false
    }

    /// What the instruction that configures tiles reads.
    #[repr(C, align(64))]
    struct Configuration {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    /// All eight tiles have 16 rows of 64 bytes.
    static CONFIGURATION: Configuration = Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };

    pub(super) fn configure_tiles() {
        // SAFETY: only a `Kernel` that this processor has calls it, and the address is that of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack, readonly)) }
    }

    pub(super) fn release_tiles() {
        // SAFETY: as above; nothing reads the tiles afterwards.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }

    /// Four tiles of sums stay in registers while the four strips pass.
    pub(super) fn multiply_tiles(left: &[Tile], right: &[Tile], square: &mut Square) {
        let strip = left.len() / 2;
        if strip == 0 {
            *square = Square::default();
            return;
        }
        // SAFETY: a `Session` with this kernel has configured the tiles on this thread. Each of the four pointers
        // moves over its strip's tiles, a kilobyte a step; the square's rows are 128 bytes apart, and the four stores
        // fill all of its 4096 bytes.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{left} + {step}]",
                "tileloadd tmm6, [{right} + {step}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{right_below} + {step}]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{left_below} + {step}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {left}, 1024",
                "add {left_below}, 1024",
                "add {right}, 1024",
                "add {right_below}, 1024",
                "dec {tiles}",
                "jnz 2b",
                "shl {step}, 1",
                "tilestored [{square} + {step}], tmm0",
                "tilestored [{square} + {step} + 64], tmm1",
                "tilestored [{square} + {step} + 2048], tmm2",
                "tilestored [{square} + {step} + 2112], tmm3",
                left = inout(reg) left.as_ptr() => _,
                left_below = inout(reg) left[strip..].as_ptr() => _,
                right = inout(reg) right.as_ptr() => _,
                right_below = inout(reg) right[strip..].as_ptr() => _,
                tiles = inout(reg) strip => _,
                step = inout(reg) 64_usize => _,
                square = in(reg) square.0.as_mut_ptr(),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

/// Other processors have none of the instructions, so that no session is ever made.
#[cfg(not(target_arch = "x86_64"))]
mod processor {
    use super::{Square, Tile};

    pub(super) fn has_amx() -> bool {
        false
    }

    pub(super) fn has_avx512_bf16() -> bool {
        false
    }

    pub(super) fn configure_tiles() {}

    pub(super) fn release_tiles() {}

    pub(super) fn multiply_tiles(_: &[Tile], _: &[Tile], _: &mut Square) {}

    pub(super) fn multiply_pairs(_: &[Tile], _: &[Tile], _: &mut Square) {}
}
