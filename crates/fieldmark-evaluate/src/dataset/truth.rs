//! Where a concept is known to be becomes a mask of the photo's pixels.

use std::path::{Path, PathBuf};

use super::{
    mask_file::{Inside, read_mask},
    region::Region,
};
use fieldmark_model::{
    error::{Error, Result},
    geometry::{Rect, Size},
};

/// Where a concept is, in pixels of the upright photo.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Truth {
    /// A PNG of the photo's size: pixels that are neither black nor fully transparent are inside.
    Mask(PathBuf),
    /// A PNG of the photo's size, and which of its pixels are inside.
    MaskOf {
        /// The file.
        path: PathBuf,
        /// How it is read.
        inside: Inside,
    },
    /// A rectangle: pixels whose centre lies in it are inside.
    Box(Rect),
    /// Rectangles, at least one: pixels whose centre lies in one of them are inside.
    Boxes(Vec<Rect>),
    /// Polygons and run-length codes: pixels that are in one of them are inside.
    Region(Region),
    /// One point; the pixel that it lies in is inside.
    Point {
        /// From the photo's left edge.
        x: f64,
        /// From the photo's top edge.
        y: f64,
    },
    /// Points of which it is known whether they are on the concept, and no other.
    Points(PointLabels),
    /// Nowhere: the concept is not in the picture.
    Absent,
    /// In the picture, but nobody knows where: such a question serves what is measured without a place.
    Unknown,
}

/// How much a truth says about the place of a concept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extent {
    /// All of its pixels, or a box around them.
    Area,
    /// Some points only.
    Points,
    /// There is no place: the concept is not in the picture.
    Nowhere,
    /// Nothing.
    Unknown,
}

/// Points that are known to be on a concept or not.
#[derive(Clone, Debug, PartialEq)]
pub struct PointLabels {
    /// `[x, y]` of those on it.
    pub yes: Vec<[f64; 2]>,
    /// `[x, y]` of those beside it.
    pub no: Vec<[f64; 2]>,
    /// What x and y are counted in.
    pub unit: PointUnit,
}

/// What the position of a point is counted in, from the upright photo's left and top edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PointUnit {
    /// Pixels.
    Pixel,
    /// Shares of the width and of the height, from 0 to 1.
    Share,
}

/// [`PointLabels`] as numbers of pixels, which are counted row by row; a repeated statement about a pixel counts twice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PointPixels {
    /// Those on the concept.
    pub yes: Vec<usize>,
    /// Those beside it.
    pub no: Vec<usize>,
}

impl Truth {
    /// Whether the concept is in the picture.
    pub fn is_present(&self) -> bool {
        *self != Self::Absent
    }

    /// How much is known about its place.
    pub fn extent(&self) -> Extent {
        match self {
            Self::Mask(_) | Self::MaskOf { .. } | Self::Box(_) | Self::Boxes(_) | Self::Region(_) => {
                Extent::Area
            }
            Self::Point { .. } | Self::Points(_) => Extent::Points,
            Self::Absent => Extent::Nowhere,
            Self::Unknown => Extent::Unknown,
        }
    }

    /// The boxes, where it is boxes that are known.
    pub fn boxes(&self) -> &[Rect] {
        match self {
            Self::Box(area) => std::slice::from_ref(area),
            Self::Boxes(areas) => areas,
            _ => &[],
        }
    }

    /// Which pixels of a photo of that size are inside, row by row: at least one of them. `None` where the concept is
    /// absent, hidden, or its place unknown.
    ///
    /// `photo` names the photo in messages.
    ///
    /// # Errors
    /// If the mask cannot be read, is not a PNG of the photo's size or is empty, or if the place lies outside the
    /// photo, or belongs to a photo of another size.
    pub fn mask(&self, photo: &Path, size: Size) -> Result<Option<Vec<bool>>> {
        let found = match self {
            Self::Mask(path) => return read_mask(path, &Inside::NotBlack, size),
            Self::MaskOf { path, inside } => return read_mask(path, inside, size),
            Self::Absent | Self::Unknown => return Ok(None),
            Self::Box(_) | Self::Boxes(_) => box_mask(self.boxes(), size),
            Self::Region(region) => region.mask(size).map_err(|reason| misplaced(photo, reason))?,
            Self::Point { x, y } => point_pixel([*x, *y], size).map(|pixel| points_mask(&[pixel], size)),
            Self::Points(labels) => {
                let yes = labels.pixels(photo, size)?.yes;
                return Ok((!yes.is_empty()).then(|| points_mask(&yes, size)));
            }
        };
        found.map(Some).ok_or_else(|| misplaced(photo, outside(&self.in_words(), size)))
    }

    fn in_words(&self) -> String {
        let one =
            |area: &Rect| format!("box [{}, {}, {}, {}]", area.x0, area.y0, area.width(), area.height());
        match self {
            Self::Point { x, y } => format!("point [{x}, {y}]"),
            Self::Box(area) => one(area),
            Self::Boxes(areas) => format!("one of {} boxes", areas.len()),
            _ => "the region".into(),
        }
    }
}

impl PointLabels {
    /// The pixels of a photo of that size that the points lie in. A point on the right or lower edge belongs to the
    /// last pixel.
    ///
    /// `photo` names the photo in messages.
    ///
    /// # Errors
    /// [`Error::Dataset`] if a point lies outside the photo.
    pub fn pixels(&self, photo: &Path, size: Size) -> Result<PointPixels> {
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        let pixel = |[x, y]: &[f64; 2]| {
            let [x, y] = match self.unit {
                PointUnit::Pixel => [*x, *y],
                PointUnit::Share => [x * width, y * height],
            };
            let inward = |value: f64, limit: f64| if value == limit { limit - 0.5 } else { value };
            point_pixel([inward(x, width), inward(y, height)], size)
                .ok_or_else(|| misplaced(photo, outside(&format!("point [{x}, {y}]"), size)))
        };
        let all = |points: &[[f64; 2]]| points.iter().map(pixel).collect::<Result<Vec<_>>>();
        Ok(PointPixels { yes: all(&self.yes)?, no: all(&self.no)? })
    }
}

fn misplaced(photo: &Path, reason: String) -> Error {
    Error::Dataset { path: photo.into(), reason }
}

fn outside(what: &str, Size { width, height }: Size) -> String {
    format!("expected {what} in the photo's {width} x {height} pixels, found none of it")
}

/// `None` if no pixel is in any of the boxes.
fn box_mask(areas: &[Rect], size: Size) -> Option<Vec<bool>> {
    // The first pixel whose centre is not before `edge`; casts saturate, so huge numbers do no harm.
    let first = |edge: f64, limit: u32| ((edge - 0.5).ceil().max(0.0) as usize).min(limit as usize);
    let width = size.width as usize;
    let mut mask = vec![false; size.area() as usize];
    let mut is_empty = true;
    for area in areas {
        let (left, right) = (first(area.x0, size.width), first(area.x1, size.width));
        let (top, bottom) = (first(area.y0, size.height), first(area.y1, size.height));
        if left >= right || top >= bottom {
            continue;
        }
        is_empty = false;
        for row in mask.chunks_exact_mut(width).take(bottom).skip(top) {
            row[left..right].fill(true);
        }
    }
    (!is_empty).then_some(mask)
}

/// The pixel that a point lies in, counted row by row.
fn point_pixel([x, y]: [f64; 2], size: Size) -> Option<usize> {
    let within = |value: f64, limit: u32| value >= 0.0 && value < f64::from(limit);
    (within(x, size.width) && within(y, size.height)).then(|| y as usize * size.width as usize + x as usize)
}

fn points_mask(pixels: &[usize], size: Size) -> Vec<bool> {
    let mut mask = vec![false; size.area() as usize];
    pixels.iter().for_each(|pixel| mask[*pixel] = true);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(mask: &[bool]) -> Vec<usize> {
        (0..mask.len()).filter(|&pixel| mask[pixel]).collect()
    }

    fn boxed(x0: f64, y0: f64, x1: f64, y1: f64) -> Option<Vec<usize>> {
        box_mask(&[Rect { x0, y0, x1, y1 }], Size::new(4, 3)).map(|mask| pixels(&mask))
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
    fn several_boxes_hold_what_one_of_them_holds() {
        let area = |x0, y0, x1, y1| Rect { x0, y0, x1, y1 };
        let areas = [area(0.0, 0.0, 2.0, 1.0), area(9.0, 9.0, 10.0, 10.0), area(1.0, 0.0, 2.0, 2.0)];
        assert_eq!(box_mask(&areas, Size::new(4, 3)).map(|mask| pixels(&mask)), Some(vec![0, 1, 5]));
    }

    #[test]
    fn a_point_is_the_pixel_that_it_lies_in() {
        let size = Size::new(4, 3);
        assert_eq!(point_pixel([1.9, 2.0], size), Some(9));
        assert_eq!(point_pixel([4.0, 0.0], size), None);
        assert_eq!(point_pixel([-0.1, 0.0], size), None);
        assert_eq!(point_pixel([f64::NAN, 0.0], size), None);
    }

    #[test]
    fn labelled_points_count_in_pixels_or_shares() -> Result<()> {
        let (photo, size) = (Path::new("a.jpg"), Size::new(4, 2));
        let labels = |unit| PointLabels { yes: vec![[1.0, 0.5]], no: vec![[0.0, 1.0]], unit };
        let found = labels(PointUnit::Share).pixels(photo, size)?;
        // One half of two rows down is the second row; the right edge belongs to the last column.
        assert_eq!(found, PointPixels { yes: vec![7], no: vec![4] });
        let found = labels(PointUnit::Pixel).pixels(photo, size)?;
        assert_eq!(found, PointPixels { yes: vec![1], no: vec![4] });
        let far = PointLabels { yes: vec![[4.1, 0.0]], no: vec![], unit: PointUnit::Pixel };
        let error = far.pixels(photo, size).map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("a.jpg: expected point [4.1, 0] in the photo's 4 x 2 pixels, found none of it".into())
        );
        assert_eq!(Truth::Points(PointLabels { yes: vec![], ..far }).mask(photo, size)?, None);
        Ok(())
    }

    #[test]
    fn only_the_absent_is_not_there() {
        assert!(Truth::Unknown.is_present() && !Truth::Absent.is_present());
        assert_eq!(Truth::Unknown.extent(), Extent::Unknown);
        assert!(Truth::Unknown.mask(Path::new("a"), Size::new(2, 2)).is_ok_and(|mask| mask.is_none()));
    }
}
