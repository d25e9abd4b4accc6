//! Where a concept is known to be becomes a mask of the photo's pixels.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageFormat, ImageReader, Limits};

use crate::{
    error::{Error, Result},
    files::read_bounded,
    geometry::{Rect, Size},
    photo,
};

/// Where a concept is, in pixels of the upright photo.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// A PNG of the photo's size: pixels that are neither black nor fully transparent are inside.
    Mask(PathBuf),
    /// A rectangle: pixels whose centre lies in it are inside.
    Box(Rect),
    /// One point; the pixel that it lies in is inside.
    Point {
        /// From the photo's left edge.
        x: f64,
        /// From the photo's top edge.
        y: f64,
    },
    /// Nowhere: the concept is not in the picture.
    Absent,
}

impl Truth {
    /// Whether the concept is in the picture.
    pub fn is_present(&self) -> bool {
        *self != Self::Absent
    }

    /// Which pixels of a photo of that size are inside, row by row: at least one of them. `None` where the concept is
    /// absent.
    ///
    /// `photo` names the photo in messages.
    ///
    /// # Errors
    /// If the mask cannot be read, is not a PNG of the photo's size or is empty, or if the box or point lies outside
    /// the photo.
    pub fn mask(&self, photo: &Path, size: Size) -> Result<Option<Vec<bool>>> {
        let outside = |what: String| {
            let Size { width, height } = size;
            let reason =
                format!("expected {what} in the photo's {width} x {height} pixels, found none of it");
            Error::Dataset { path: photo.into(), reason }
        };
        match self {
            Self::Mask(path) => read_mask(path, size).map(Some),
            Self::Box(area) => box_mask(area, size).map(Some).ok_or_else(|| {
                outside(format!("box [{}, {}, {}, {}]", area.x0, area.y0, area.width(), area.height()))
            }),
            Self::Point { x, y } => {
                point_mask(*x, *y, size).map(Some).ok_or_else(|| outside(format!("point [{x}, {y}]")))
            }
            Self::Absent => Ok(None),
        }
    }
}

fn read_mask(path: &Path, size: Size) -> Result<Vec<bool>> {
    let error = |reason: String| Error::Image { path: path.into(), reason };
    let bytes = read_bounded(path, photo::memory_limit(size.area()))?;
    let is_png = image::guess_format(&bytes).is_ok_and(|format| format == ImageFormat::Png);
    let header = photo::png_size(&bytes).filter(|_| is_png);
    let (width, height) =
        header.ok_or_else(|| error("expected a mask as PNG, found something else".into()))?;
    if Size::new(width, height) != size {
        let expected = format!("expected a mask of the photo's {} x {} pixels", size.width, size.height);
        return Err(error(format!("{expected}, found {width} x {height}")));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(photo::memory_limit(size.area()));
    reader.limits(limits);
    let pixels = reader.decode().map_err(|cause| error(format!("the mask cannot be decoded: {cause}")))?;
    let mask = inside(pixels);
    match mask.contains(&true) {
        true => Ok(mask),
        false => Err(error("expected a mask with a pixel that is not zero, found none".into())),
    }
}

fn inside(pixels: DynamicImage) -> Vec<bool> {
    // 16 bits, because 8 would round a small label of a 16-bit mask to 0.
    let is_inside = |pixel: &image::Rgba<u16>| pixel[3] != 0 && pixel.0[..3] != [0; 3];
    pixels.into_rgba16().pixels().map(is_inside).collect()
}

fn box_mask(area: &Rect, size: Size) -> Option<Vec<bool>> {
    // The first pixel whose centre is not before `edge`; casts saturate, so huge numbers do no harm.
    let first = |edge: f64, limit: u32| ((edge - 0.5).ceil().max(0.0) as usize).min(limit as usize);
    let (left, right) = (first(area.x0, size.width), first(area.x1, size.width));
    let (top, bottom) = (first(area.y0, size.height), first(area.y1, size.height));
    if left >= right || top >= bottom {
        return None;
    }
    let width = size.width as usize;
    let mut mask = vec![false; size.area() as usize];
    for row in mask.chunks_exact_mut(width).take(bottom).skip(top) {
        row[left..right].fill(true);
    }
    Some(mask)
}

fn point_mask(x: f64, y: f64, size: Size) -> Option<Vec<bool>> {
    let within = |value: f64, limit: u32| value >= 0.0 && value < f64::from(limit);
    if !within(x, size.width) || !within(y, size.height) {
        return None;
    }
    let mut mask = vec![false; size.area() as usize];
    mask[y as usize * size.width as usize + x as usize] = true;
    Some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma, Rgba};

    fn pixels(mask: &[bool]) -> Vec<usize> {
        (0..mask.len()).filter(|&pixel| mask[pixel]).collect()
    }

    fn boxed(x0: f64, y0: f64, x1: f64, y1: f64) -> Option<Vec<usize>> {
        box_mask(&Rect { x0, y0, x1, y1 }, Size::new(4, 3)).map(|mask| pixels(&mask))
    }

    #[test]
    fn a_box_holds_the_pixels_whose_centres_it_holds() {
        assert_eq!(boxed(1.0, 1.0, 3.0, 2.0), Some(vec![5, 6]));
        assert_eq!(boxed(1.4, 0.6, 2.6, 2.4), Some(vec![5, 6]));
        assert_eq!(boxed(3.0, 2.0, 90.0, 1e300), Some(vec![11]));
        assert_eq!(boxed(-5.0, -5.0, 1.0, 1.0), Some(vec![0]));
    }

    #[test]
    fn a_box_without_a_pixel_is_refused() {
        assert_eq!(boxed(4.0, 0.0, 9.0, 3.0), None);
        assert_eq!(boxed(1.6, 0.0, 2.4, 3.0), None);
        assert_eq!(boxed(-9.0, -9.0, 0.0, 0.0), None);
    }

    #[test]
    fn a_point_is_the_pixel_that_it_lies_in() {
        let size = Size::new(4, 3);
        assert_eq!(point_mask(1.9, 2.0, size).map(|mask| pixels(&mask)), Some(vec![9]));
        assert_eq!(point_mask(4.0, 0.0, size), None);
        assert_eq!(point_mask(-0.1, 0.0, size), None);
    }

    #[test]
    fn every_depth_counts_what_is_not_zero() {
        let small: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_raw(3, 1, vec![0, 1, 65535]).unwrap();
        assert_eq!(inside(small.into()), [false, true, true]);
        let clear: ImageBuffer<Rgba<u8>, _> =
            ImageBuffer::from_raw(3, 1, vec![0, 0, 0, 255, 0, 0, 7, 255, 9, 9, 9, 0]).unwrap();
        assert_eq!(inside(clear.into()), [false, true, false]);
    }
}
