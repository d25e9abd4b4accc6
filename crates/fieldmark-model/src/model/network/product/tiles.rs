//! Tiles of bfloat16, and who multiplies them.
//!
//! A tile is a kilobyte of pairs of inner values: of the left side [16 rows, 16 pairs]; of the right side [16 pairs,
//! 16 columns]. A session multiplies two strips of tiles with two others and so fills a square of 32 x 32 sums.

use super::processor::{Amx, Avx512, ConfiguredTiles};

/// Rows and columns of what two strips a side give.
pub(super) const SIDE: usize = 32;
/// Rows and columns of a tile.
pub(super) const TILE_SIDE: usize = 16;

/// Pairs of bfloat16, the first of a pair in the lower half.
pub(super) type Tile = [[u32; TILE_SIDE]; TILE_SIDE];

/// [32 rows, 32 columns] of float32.
#[repr(C, align(64))]
pub(super) struct Square(pub(super) [f32; SIDE * SIDE]);

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

/// Instructions that multiply bfloat16. What a variant holds exists only where the processor has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// Intel's matrix extensions.
    Amx(Amx),
    /// Dot products of pairs in vectors of 512 bits.
    Avx512(Avx512),
}

impl Kernel {
    /// The fastest that this processor has.
    pub(crate) fn best() -> Option<Self> {
        static BEST: std::sync::OnceLock<Option<Kernel>> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::all().into_iter().next())
    }

    /// All that this processor has, the fastest first.
    pub(super) fn all() -> Vec<Self> {
        [Amx::detect().map(Self::Amx), Avx512::detect().map(Self::Avx512)].into_iter().flatten().collect()
    }

    /// Makes the thread ready.
    pub(super) fn begin(self) -> Session {
        match self {
            Self::Amx(amx) => Session::Amx(amx.configure()),
            Self::Avx512(avx512) => Session::Avx512(avx512),
        }
    }
}

/// A thread that is ready to multiply.
pub(super) enum Session {
    Amx(ConfiguredTiles),
    Avx512(Avx512),
}

impl Session {
    /// square = left · right: two strips of tiles a side, one after the other.
    ///
    /// # Panics
    /// If both sides are not of the same, even number of tiles.
    pub(super) fn multiply(&mut self, left: &[Tile], right: &[Tile], square: &mut Square) {
        assert!(left.len() == right.len() && left.len().is_multiple_of(2), "two strips of tiles a side");
        match self {
            Self::Amx(tiles) => tiles.multiply(left, right, square),
            Self::Avx512(avx512) => avx512.multiply(left, right, square),
        }
    }
}
