//! Polygons and run-length codes become a mask of the photo's pixels.

use fieldmark_explain::regions::RunLengths;
use fieldmark_model::geometry::Size;

/// Shapes that together are the place of a concept.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// The shapes; a pixel that is in one of them is inside.
    pub shapes: Vec<Shape>,
    /// The size of the photo that they were drawn on, where it is known.
    pub size: Option<Size>,
}

/// One shape.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Shape {
    /// A closed line through `[x, y]`, in pixels of the photo: pixels whose centre it encloses are inside, and where it
    /// crosses itself, those that it encloses an odd number of times. (pycocotools draws the line itself too, on a grid
    /// five times as fine; its masks differ by pixels along the edge.)
    Polygon(Vec<[f64; 2]>),
    /// Pixels outside and inside by turns, down the columns.
    Runs(RunLengths),
}

impl Region {
    /// Which pixels are inside, row by row; `None` if there is none.
    ///
    /// # Errors
    /// A reason, if the shapes were drawn on a photo of another size, or a code does not count that photo's pixels.
    pub(super) fn mask(&self, size: Size) -> Result<Option<Vec<bool>>, String> {
        if let Some(drawn) = self.size.filter(|drawn| *drawn != size) {
            return Err(format!(
                "expected a photo of {} x {} pixels, as its regions are, found {} x {}",
                drawn.width, drawn.height, size.width, size.height
            ));
        }
        let mut mask = vec![false; size.area() as usize];
        for shape in &self.shapes {
            match shape {
                Shape::Polygon(corners) => add_polygon(corners, size, &mut mask),
                Shape::Runs(runs) => add_runs(runs, size, &mut mask)?,
            }
        }
        Ok(mask.contains(&true).then_some(mask))
    }
}

/// Every side toggles the first pixel behind it in each row that it crosses; going along the row, a pixel is inside
/// while the toggles so far are odd.
fn add_polygon(corners: &[[f64; 2]], size: Size, mask: &mut [bool]) {
    let (width, height) = (size.width as usize, size.height as usize);
    // The first pixel whose centre is not before `edge`; casts saturate, so huge numbers do no harm.
    let first = |edge: f64, limit: usize| ((edge - 0.5).ceil().max(0.0) as usize).min(limit);
    let mut toggled = vec![false; mask.len()];
    let next = corners.iter().cycle().skip(1);
    for ([x0, y0], [x1, y1]) in corners.iter().zip(next) {
        let (top, bottom) = (first(y0.min(*y1), height), first(y0.max(*y1), height));
        for row in top..bottom {
            let x = x0 + (row as f64 + 0.5 - y0) / (y1 - y0) * (x1 - x0);
            let column = first(x, width);
            if column < width {
                toggled[row * width + column] ^= true;
            }
        }
    }
    for (row, toggled) in mask.chunks_exact_mut(width).zip(toggled.chunks_exact(width)) {
        let mut is_inside = false;
        for (pixel, toggle) in row.iter_mut().zip(toggled) {
            is_inside ^= toggle;
            *pixel |= is_inside;
        }
    }
}

fn add_runs(runs: &RunLengths, size: Size, mask: &mut [bool]) -> Result<(), String> {
    let [height, width] = runs.size;
    if Size::new(width, height) != size {
        return Err(format!(
            "expected run lengths of the photo's {} x {} pixels, found {width} x {height}",
            size.width, size.height
        ));
    }
    let total = runs.counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
    if total != Some(size.area()) {
        let found = total.map_or("more".to_owned(), |total| total.to_string());
        return Err(format!("expected run lengths of {} pixels together, found {found}", size.area()));
    }
    let (width, height) = (size.width as usize, size.height as usize);
    let mut place = 0;
    for (turn, count) in runs.counts.iter().enumerate() {
        let end = place + *count as usize;
        if turn % 2 == 1 {
            (place..end).for_each(|place| mask[place % height * width + place / height] = true);
        }
        place = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(shapes: Vec<Shape>) -> Result<Vec<usize>, String> {
        let mask = Region { shapes, size: None }.mask(Size::new(4, 3))?.unwrap_or_default();
        Ok((0..mask.len()).filter(|&pixel| mask[pixel]).collect())
    }

    fn polygon(corners: &[[f64; 2]]) -> Vec<usize> {
        pixels(vec![Shape::Polygon(corners.into())]).unwrap()
    }

    fn runs(counts: &[u64], size: [u32; 2]) -> Result<Vec<usize>, String> {
        pixels(vec![Shape::Runs(RunLengths { counts: counts.into(), size })])
    }

    #[test]
    fn a_polygon_holds_the_pixels_whose_centres_it_encloses() {
        assert_eq!(polygon(&[[1.0, 0.0], [3.0, 0.0], [3.0, 2.0], [1.0, 2.0]]), [1, 2, 5, 6]);
        // The lower left half of a square of three: the diagonal's centres count as enclosed.
        assert_eq!(polygon(&[[0.0, 0.0], [3.1, 3.1], [0.0, 3.1]]), [4, 8, 9]);
        // Clockwise or not, and from far outside.
        assert_eq!(polygon(&[[1e9, -1e9], [-1e9, -1e9], [-1e9, 1e9], [1e9, 1e9]]).len(), 12);
        assert!(polygon(&[[1.0, 1.0], [2.0, 2.0]]).is_empty());
        assert!(polygon(&[]).is_empty());
    }

    #[test]
    fn what_is_enclosed_twice_is_outside_and_shapes_are_joined() {
        let outer = [[0.0, 0.0], [4.0, 0.0], [4.0, 3.0], [0.0, 3.0], [0.0, 0.0]];
        let inner = [[1.0, 1.0], [3.0, 1.0], [3.0, 2.0], [1.0, 2.0], [1.0, 1.0], [0.0, 0.0]];
        assert_eq!(polygon(&[&outer[..], &inner].concat()), [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]);
        let two = vec![Shape::Polygon(outer.into()), Shape::Polygon(inner.into())];
        assert_eq!(pixels(two).unwrap().len(), 12);
    }

    #[test]
    fn runs_go_down_the_columns() {
        // Columns of three: two outside, two inside (the last of the first column, the first of the second).
        assert_eq!(runs(&[2, 2, 8], [3, 4]), Ok(vec![1, 8]));
        assert_eq!(runs(&[0, 12], [3, 4]).map(|pixels| pixels.len()), Ok(12));
    }

    #[test]
    fn runs_that_do_not_fit_are_refused_before_anything_is_counted() {
        assert!(runs(&[12], [4, 3]).is_err_and(|reason| reason.ends_with("4 x 3 pixels, found 3 x 4")));
        assert!(runs(&[2, 2], [3, 4]).is_err_and(|reason| reason.ends_with("12 pixels together, found 4")));
        assert!(runs(&[u64::MAX, 2], [3, 4]).is_err_and(|reason| reason.ends_with("found more")));
        let other = Region { shapes: vec![], size: Some(Size::new(9, 9)) };
        assert!(other.mask(Size::new(4, 3)).is_err());
    }
}
