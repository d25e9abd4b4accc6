//! The instructions that multiply bfloat16: AMX, which multiplies whole tiles, and AVX-512 BF16.
//!
//! Only detection makes an [`Amx`] or an [`Avx512`], and only an [`Amx`] makes [`ConfiguredTiles`], which stay on their
//! thread: whoever has one may use its instructions.
//!
//! AMX has no functions in the stable compiler, so its few instructions are written out. Linux gives a process the
//! tiles' registers on request only.

pub(crate) use instructions::{Amx, Avx512, ConfiguredTiles};

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod instructions {
    use std::{
        arch::{asm, x86_64::*},
        cell::Cell,
        marker::PhantomData,
    };

    use crate::model::network::product::tiles::{SIDE, Square, TILE_SIDE, Tile};

    /// A processor that has AVX-512 BF16.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Avx512(());

    impl Avx512 {
        pub(in super::super) fn detect() -> Option<Self> {
            (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16"))
                .then_some(Self(()))
        }

        pub(in super::super) fn multiply(self, left: &[Tile], right: &[Tile], square: &mut Square) {
            // SAFETY: there is such a value only where the processor has the instructions.
            unsafe { pairs(left, right, square) }
        }
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

    /// A processor that multiplies tiles of bfloat16, and a system that lets this process do so.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Amx(());

    impl Amx {
        pub(in super::super) fn detect() -> Option<Self> {
            const TILES_AND_BF16: u32 = 1 << 24 | 1 << 22;
            let leaves = __cpuid(0).eax;
            let has_both = leaves >= 7 && __cpuid_count(7, 0).edx & TILES_AND_BF16 == TILES_AND_BF16;
            (has_both && permitted()).then_some(Self(()))
        }

        /// Configures the tiles of this thread.
        pub(in super::super) fn configure(self) -> ConfiguredTiles {
            // SAFETY: there is such a value only where the processor has the instruction, and the address is that of
            // 64 bytes.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack, readonly)) }
            USERS.with(|users| users.set(users.get() + 1));
            ConfiguredTiles { of_this_thread: PhantomData }
        }
    }

    /// Asks Linux for the tiles' registers, for all threads of the process.
    #[cfg(target_os = "linux")]
    fn permitted() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const REQUEST_PERMISSION: u64 = 0x1023;
        const TILE_DATA: u64 = 18;
        let result: i64;
        // SAFETY: the call reads two numbers and changes only what the process may use; the kernel overwrites
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

    thread_local! {
        /// How many [`ConfiguredTiles`] this thread has.
        static USERS: Cell<usize> = const { Cell::new(0) };
    }

    /// Tiles that are configured, on the thread that did so. The last one of a thread releases them.
    pub(crate) struct ConfiguredTiles {
        /// The configuration belongs to a thread, so this must not leave it.
        of_this_thread: PhantomData<*const ()>,
    }

    impl Drop for ConfiguredTiles {
        fn drop(&mut self) {
            let left = USERS.with(|users| {
                users.set(users.get() - 1);
                users.get()
            });
            if left == 0 {
                // SAFETY: the tiles are configured, so the processor has the instruction; nobody on this thread reads
                // them afterwards.
                unsafe { asm!("tilerelease", options(nostack, nomem)) }
            }
        }
    }

    impl ConfiguredTiles {
        /// square = left · right. Four tiles of sums stay in registers while the four strips pass.
        ///
        /// # Panics
        /// If both sides are not of the same, even number of tiles.
        pub(in super::super) fn multiply(&mut self, left: &[Tile], right: &[Tile], square: &mut Square) {
            let strip = left.len() / 2;
            assert!(left.len() == 2 * strip && right.len() == 2 * strip, "two strips of tiles a side");
            if strip == 0 {
                *square = Square::default();
                return;
            }
            // SAFETY: the tiles are configured on this thread, which `self` cannot have left. Each of the four pointers
            // moves over its strip's tiles, a kilobyte a step; the square's rows are 128 bytes apart, and the four
            // stores fill all of its 4096 bytes.
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
}

/// Other processors have none of the instructions, and no value of these types exists.
#[cfg(not(target_arch = "x86_64"))]
mod instructions {
    use std::convert::Infallible;

    use crate::model::network::product::tiles::{Square, Tile};

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Avx512(Infallible);

    impl Avx512 {
        pub(in super::super) fn detect() -> Option<Self> {
            None
        }

        pub(in super::super) fn multiply(self, _: &[Tile], _: &[Tile], _: &mut Square) {
            match self.0 {}
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Amx(Infallible);

    impl Amx {
        pub(in super::super) fn detect() -> Option<Self> {
            None
        }

        pub(in super::super) fn configure(self) -> ConfiguredTiles {
            match self.0 {}
        }
    }

    pub(crate) struct ConfiguredTiles(Infallible);

    impl ConfiguredTiles {
        pub(in super::super) fn multiply(&mut self, _: &[Tile], _: &[Tile], _: &mut Square) {
            match self.0 {}
        }
    }
}
