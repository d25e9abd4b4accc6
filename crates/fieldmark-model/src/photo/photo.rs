//! A photo, and what was odd about its file.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::{
    decode::{self, Decoded},
    exif::Exif,
    file,
    flatten::Flat,
    source::Source,
    tones, upright,
};
use crate::error::{Error, Result};
use crate::geometry::Size;
use crate::progress::Warning;

/// What a photo may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PhotoOptions {
    /// The largest width times height that is decoded; larger images are refused from their header.
    pub pixel_limit: u64,
}

crate::setters!(PhotoOptions { pixel_limit: u64 });

impl Default for PhotoOptions {
    /// At most 200 million pixels, which as 8-bit RGB take 600 MB.
    fn default() -> Self {
        Self { pixel_limit: 200_000_000 }
    }
}

/// An upright 8-bit RGB picture with at least one pixel, and the name that it goes by in messages.
#[derive(Clone, Debug)]
pub struct Photo {
    path: PathBuf,
    rgb: RgbImage,
    warnings: Vec<Warning>,
}

impl Photo {
    /// Reads and decodes a file with the default options.
    ///
    /// # Errors
    /// As [`Photo::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &PhotoOptions::default())
    }

    /// Reads and decodes a file.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read, is not a regular file, or is larger than a photo of its size can be;
    /// [`Error::WebAddress`] if the path is an address; [`Error::Image`] if it is not an
    /// image, or broken; [`Error::UnsupportedFormat`] if it is an image of another format; [`Error::ImageTooLarge`] or
    /// [`Error::ImageSideTooLong`] if its header claims more pixels than the options allow, or a side beyond
    /// [`LONGEST_SIDE`](super::LONGEST_SIDE).
    pub fn open_with(path: impl AsRef<Path>, options: &PhotoOptions) -> Result<Self> {
        let path = path.as_ref();
        let bytes = file::read(path, options)?;
        Self::from_bytes(path, &bytes, options)
    }

    /// Decodes an image file that is in memory; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`Photo::open_with`], but for [`Error::Read`].
    pub fn from_bytes(name: impl Into<PathBuf>, bytes: &[u8], options: &PhotoOptions) -> Result<Self> {
        let path = name.into();
        let source = Source { path: &path, bytes, pixel_limit: options.pixel_limit };
        let Decoded { flat, exif } = decode::decode(&source)?;
        let reasons = oddities(&flat, exif);
        let warn = |reason| Warning::Image { path: path.clone(), reason };
        let warnings = reasons.into_iter().map(warn).collect();
        let rgb = upright::turn_upright(flat.rgb, exif.orientation());
        Ok(Self { path, rgb, warnings })
    }

    /// A photo from pixels that are upright already; `name` stands for it in messages.
    ///
    /// # Errors
    /// [`Error::Image`] if there is no pixel.
    pub fn from_rgb(name: impl Into<PathBuf>, rgb: RgbImage) -> Result<Self> {
        let path = name.into();
        if rgb.width() == 0 || rgb.height() == 0 {
            let reason = format!("expected at least one pixel, found {} x {}", rgb.width(), rgb.height());
            return Err(Error::Image { path, reason });
        }
        Ok(Self { path, rgb, warnings: Vec::new() })
    }

    /// A part of the photo, from some pixels to the left of it and above it on; none if it has no pixel or does not
    /// lie on the photo.
    pub fn part(&self, [left, top]: [u32; 2], size: Size) -> Option<Self> {
        let fits =
            |start: u32, length: u32, most: u32| length > 0 && length <= most && start <= most - length;
        let (width, height) = self.rgb.dimensions();
        if !fits(left, size.width, width) || !fits(top, size.height, height) {
            return None;
        }
        let rgb = image::imageops::crop_imm(&self.rgb, left, top, size.width, size.height).to_image();
        Some(Self { path: self.path.clone(), rgb, warnings: Vec::new() })
    }

    /// Width and height in pixels, upright.
    pub fn size(&self) -> Size {
        Size::new(self.rgb.width(), self.rgb.height())
    }

    /// The pixels, upright.
    pub fn rgb(&self) -> &RgbImage {
        &self.rgb
    }

    /// The file that the photo came from, or the name that stands for it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was odd about the file, though it could be read.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

/// What is odd about a photo that could be decoded.
fn oddities(flat: &Flat, exif: Exif) -> Vec<String> {
    let mut reasons = Vec::new();
    if exif == Exif::Unreadable {
        reasons.push("its EXIF metadata cannot be read, so it is taken to be upright".to_owned());
    }
    if flat.is_transparent {
        reasons.push("every pixel is transparent, so the photo is white".to_owned());
    } else if flat.is_deep
        && let Some(tones) = tones::few_tones(&flat.rgb)
    {
        let tones = if tones == 1 { "one tone".to_owned() } else { format!("{tones} tones") };
        reasons.push(format!(
            "it has more than 8 bits per value, but as 8 bits its values have only {tones} of 256: they may be \
             scaled for another range (12 bits stored in 16, or floats beyond 1)"
        ));
    }
    reasons
}
