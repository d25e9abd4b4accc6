//! What a file's metadata says about its orientation.

use image::metadata::Orientation;

/// What an image's metadata says about its orientation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exif {
    /// Nothing, or a value that the standard does not have.
    Silent,
    /// How the stored pixels must be turned.
    Orientation(Orientation),
    /// There is an EXIF block, but it is broken from its first bytes.
    Unreadable,
}

impl Exif {
    pub(super) fn parse(chunk: Option<&[u8]>) -> Self {
        let Some(chunk) = chunk else { return Self::Silent };
        // Some writers put JPEG's prefix before the block in WebP and PNG files as well.
        let chunk = chunk.strip_prefix(b"Exif\0\0").unwrap_or(chunk);
        if !chunk.starts_with(b"II*\0") && !chunk.starts_with(b"MM\0*") {
            return Self::Unreadable;
        }
        Orientation::from_exif_chunk(chunk).map_or(Self::Silent, Self::Orientation)
    }

    pub(super) fn orientation(self) -> Orientation {
        match self {
            Self::Orientation(orientation) => orientation,
            Self::Silent | Self::Unreadable => Orientation::NoTransforms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_exif_is_not_taken_for_none() {
        assert_eq!(Exif::parse(None), Exif::Silent);
        assert_eq!(Exif::parse(Some(b"garbage")), Exif::Unreadable);
        assert_eq!(Exif::parse(Some(b"II*\0")), Exif::Silent);
    }
}
