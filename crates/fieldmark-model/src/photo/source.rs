//! The bytes of one image file, the errors about them, and the limits on its size.

use std::path::Path;

use super::format::{Content, Format};
use crate::geometry::Size;
use crate::{error::Error, error::Result};

/// The longest width or height that is decoded, in pixels: the longest side that a JPEG can have.
///
/// Without it a picture of one column may have as many rows as the pixel limit allows, and code that keeps something for
/// each row needs as much memory as for a large photo.
pub const LONGEST_SIDE: u32 = 65_535;

/// The bytes of one image file, and what messages and limits need.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) bytes: &'a [u8],
    pub(super) pixel_limit: u64,
}

impl Source<'_> {
    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        image_error(self.path, reason)
    }

    /// Refuses an image that is larger than allowed, or that has no pixels.
    pub(super) fn check_size(&self, width: u32, height: u32) -> Result<()> {
        if width == 0 || height == 0 {
            return Err(self.error(format!("expected at least one pixel, found {width} x {height}")));
        }
        let path = || self.path.to_path_buf();
        if Size::new(width, height).area() > self.pixel_limit {
            return Err(Error::ImageTooLarge { path: path(), width, height, limit: self.pixel_limit });
        }
        if width.max(height) > LONGEST_SIDE {
            return Err(Error::ImageSideTooLong { path: path(), width, height, limit: LONGEST_SIDE });
        }
        Ok(())
    }

    /// The format that the content shows, if it can be decoded.
    pub(super) fn format(&self) -> Result<Format> {
        format_of(self.path, self.bytes)
    }
}

/// The format that the first bytes of a file show, if it can be decoded.
pub(super) fn format_of(path: &Path, bytes: &[u8]) -> Result<Format> {
    if bytes.is_empty() {
        return Err(image_error(path, "not an image: the file is empty"));
    }
    match Content::of(bytes) {
        Content::Photo(format) => Ok(format),
        Content::Foreign(format, kind) => {
            Err(Error::UnsupportedFormat { path: path.to_path_buf(), format: format.into(), kind })
        }
        Content::Unknown => {
            let reason = format!("not an image: its content is none of {}", super::SUPPORTED_FORMATS);
            Err(image_error(path, reason))
        }
    }
}

pub(super) fn image_error(path: &Path, reason: impl Into<String>) -> Error {
    Error::Image { path: path.to_path_buf(), reason: reason.into() }
}
