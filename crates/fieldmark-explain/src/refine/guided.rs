//! A map on the grid becomes one on the photo's pixels that follows the photo's edges.
//!
//! The guided filter (He, Sun and Tang, IEEE TPAMI 35, 2013, equations 19 to 21, with a colour guide) in its fast
//! form (He and Sun, 2015, arXiv 1505.00996): inside every window the map is explained as a linear function of the
//! photo's colours, `q = a·I + b`. The functions are found on a small picture, where boxes of any size cost the same,
//! and applied to the pixels of the large one.
//!
//! A linear function may overshoot where a window has colours that explain little. So every pixel is kept between two
//! bounds: the smallest and the largest value of a cell and its eight neighbours, interpolated from cell to cell, so
//! that the bounds leave no steps. Evidence is moved along edges, never made. A value keeps its unit, and its sign
//! wherever the cells around (no further than two) agree on one.

use image::RgbImage;
use rayon::prelude::*;

use super::affinity::neighbours;
use crate::attribution::ConceptMap;
use crate::attribution::resample::Resampled;
use fieldmark_model::geometry::{Grid, Placement, Rect, Size};

/// The refined map has a cell for every pixel, but no more than this many: 64 MB. In larger photos an edge is followed
/// to the nearest pixel or two.
pub const MOST_CELLS: usize = 1 << 24;

/// The functions are found on a picture with this many pixels along a side of one cell of the map; a window is two
/// cells wide.
const PIXELS_PER_CELL: usize = 16;

/// And with no more pixels than this in all.
const MOST_WORKING_PIXELS: usize = 1 << 20;

/// The variance of colours, from 0 to 1, below which differences count as noise (the filter's epsilon).
const NOISE: f32 = 1e-3;

/// The map on the pixels of a picture of the photo, at any resolution. What the map does not cover stays uncovered.
pub fn guided(map: &ConceptMap, picture: &RgbImage) -> ConceptMap {
    let photo = map.placement().photo;
    let part = inside(map.placement().covers, photo);
    let fine = fine_grid(part, picture, photo);
    let small = working_grid(map, part, fine);
    if fine.cells() == 0 || map.grid().cells() == 0 {
        return map.clone();
    }
    let guide = Guide { picture, photo, part };
    let functions = Functions::find(map, &guide, small);
    let bounds = [f32::min, f32::max].map(|choose| around(map, choose));
    let placement = Placement { grid: fine, covers: part, ..*map.placement() };
    let mut values = vec![0.0; fine.cells()];
    let size = Size::new(fine.columns as u32, fine.rows as u32);
    let [lowest, highest] = bounds.each_ref().map(|bound| Resampled::of_part(bound, part, size));
    let columns: Vec<_> = (0..fine.columns).map(|x| Between::new(x, fine.columns, small.columns)).collect();
    values.par_chunks_exact_mut(fine.columns).enumerate().for_each_init(
        || [(); 2].map(|()| vec![0.0; fine.columns]),
        |[low, high], (y, out)| {
            lowest.row(y as u32, low);
            highest.row(y as u32, high);
            let row = Between::new(y, fine.rows, small.rows);
            for (x, value) in out.iter_mut().enumerate() {
                let color = guide.color(placement.to_photo(x as f64 + 0.5, y as f64 + 0.5));
                *value = functions.value(color, row, columns[x]).max(low[x]).min(high[x]);
            }
        },
    );
    map.on_grid(values, placement)
}

/// The part of a rectangle that lies on the photo.
fn inside(covers: Rect, photo: Size) -> Rect {
    Rect {
        x0: covers.x0.max(0.0),
        y0: covers.y0.max(0.0),
        x1: covers.x1.min(f64::from(photo.width)),
        y1: covers.y1.min(f64::from(photo.height)),
    }
}

/// A cell for every pixel of the picture in a part of the photo, or fewer.
fn fine_grid(part: Rect, picture: &RgbImage, photo: Size) -> Grid {
    let pixels =
        |length: f64, picture: u32, photo: u32| length * f64::from(picture) / f64::from(photo.max(1));
    let (width, height) = (
        pixels(part.width(), picture.width(), photo.width),
        pixels(part.height(), picture.height(), photo.height),
    );
    let scale = (MOST_CELLS as f64 / (width * height)).sqrt().min(1.0);
    let cells = |length: f64| (length * scale).round().max(1.0) as usize;
    Grid::new(cells(height), cells(width))
}

/// The grid on which the functions are found: never finer than the picture.
fn working_grid(map: &ConceptMap, part: Rect, fine: Grid) -> Grid {
    let covers = map.placement().covers;
    let wanted = |cells: usize, part: f64, whole: f64| {
        ((cells * PIXELS_PER_CELL) as f64 * part / whole).round().max(1.0)
    };
    let rows = wanted(map.grid().rows, part.height(), covers.height());
    let columns = wanted(map.grid().columns, part.width(), covers.width());
    let scale = (MOST_WORKING_PIXELS as f64 / (rows * columns)).sqrt().min(1.0);
    let cells = |wanted: f64, most: usize| ((wanted * scale) as usize).clamp(1, most.max(1));
    Grid::new(cells(rows, fine.rows), cells(columns, fine.columns))
}

/// The picture that is followed.
struct Guide<'a> {
    picture: &'a RgbImage,
    photo: Size,
    part: Rect,
}

impl Guide<'_> {
    /// The colour at a place of the photo, red, green and blue from 0 to 1.
    fn color(&self, (x, y): (f64, f64)) -> [f32; 3] {
        let pixel = |at: f64, pixels: u32, photo: u32| {
            ((at * f64::from(pixels) / f64::from(photo)) as u32).min(pixels.saturating_sub(1))
        };
        let x = pixel(x, self.picture.width(), self.photo.width);
        let y = pixel(y, self.picture.height(), self.photo.height);
        self.picture.get_pixel(x, y).0.map(|channel| f32::from(channel) / 255.0)
    }

    /// The covered part as a small picture, each pixel the mean of those that it stands for: a plane a channel.
    fn small(&self, grid: Grid) -> [Vec<f32>; 3] {
        let scale_x = f64::from(self.picture.width()) / f64::from(self.photo.width);
        let scale_y = f64::from(self.picture.height()) / f64::from(self.photo.height);
        let stretch = |start: f64, length: f64, index: usize, count: usize, scale: f64, most: u32| {
            let edge = |index: usize| (start + length * index as f64 / count as f64) * scale;
            let first = (edge(index) as u32).min(most - 1);
            first..(edge(index + 1).round() as u32).clamp(first + 1, most)
        };
        let (width, height) = self.picture.dimensions();
        let mean = |cell: usize| {
            let (row, column) = (cell / grid.columns, cell % grid.columns);
            let ys = stretch(self.part.y0, self.part.height(), row, grid.rows, scale_y, height);
            let xs = stretch(self.part.x0, self.part.width(), column, grid.columns, scale_x, width);
            let mut sums = [0_u64; 3];
            for y in ys.clone() {
                for x in xs.clone() {
                    let pixel = self.picture.get_pixel(x, y).0;
                    sums.iter_mut().zip(pixel).for_each(|(sum, channel)| *sum += u64::from(channel));
                }
            }
            let count = (ys.len() * xs.len()) as f64 * 255.0;
            sums.map(|sum| (sum as f64 / count) as f32)
        };
        let cells: Vec<[f32; 3]> = (0..grid.cells()).into_par_iter().map(mean).collect();
        [0, 1, 2].map(|channel| cells.iter().map(|color| color[channel]).collect())
    }
}

/// For every pixel of the small picture the function of the colour that explains the map around it: the factors of
/// red, green and blue, and what is added.
struct Functions {
    grid: Grid,
    planes: [Vec<f32>; 4],
}

impl Functions {
    fn find(map: &ConceptMap, guide: &Guide, grid: Grid) -> Self {
        let covers = map.placement().covers;
        let radius = |small: usize, cells: usize, part: f64, whole: f64| {
            ((small as f64 / (cells as f64 * part / whole)).round() as usize).max(1)
        };
        let window = Window {
            grid,
            down: radius(grid.rows, map.grid().rows, guide.part.height(), covers.height()),
            across: radius(grid.columns, map.grid().columns, guide.part.width(), covers.width()),
        };
        let colors = guide.small(grid);
        let evidence = small_map(map, guide.part, grid);
        let mean_colors = [0, 1, 2].map(|channel| window.mean(&colors[channel]));
        let mean_evidence = window.mean(&evidence);
        let covariance = |one: &[f32], other: &[f32], mean_one: &[f32], mean_other: &[f32]| {
            let products: Vec<f32> = one.iter().zip(other).map(|(one, other)| one * other).collect();
            let mut means = window.mean(&products);
            let both = mean_one.iter().zip(mean_other);
            means.iter_mut().zip(both).for_each(|(mean, (one, other))| *mean -= one * other);
            means
        };
        let with_evidence = [0, 1, 2]
            .map(|channel| covariance(&colors[channel], &evidence, &mean_colors[channel], &mean_evidence));
        // The six different entries of the symmetric matrix, row by row.
        let among_colors = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
            .map(|(i, j)| covariance(&colors[i], &colors[j], &mean_colors[i], &mean_colors[j]));
        let mut planes = [(); 4].map(|()| vec![0.0; grid.cells()]);
        for pixel in 0..grid.cells() {
            let matrix = [0, 1, 2, 3, 4, 5].map(|entry| among_colors[entry][pixel]);
            let factors = solve(matrix, [0, 1, 2].map(|channel| with_evidence[channel][pixel]));
            let explained: f32 = (0..3).map(|channel| factors[channel] * mean_colors[channel][pixel]).sum();
            (0..3).for_each(|channel| planes[channel][pixel] = factors[channel]);
            planes[3][pixel] = mean_evidence[pixel] - explained;
        }
        Self { grid, planes: planes.map(|plane| window.mean(&plane)) }
    }

    /// What a colour stands for between some pixels of the small picture.
    fn value(&self, color: [f32; 3], row: Between, column: Between) -> f32 {
        let corners = [
            row.first * self.grid.columns + column.first,
            row.first * self.grid.columns + column.second,
            row.second * self.grid.columns + column.first,
            row.second * self.grid.columns + column.second,
        ];
        let at = |plane: &[f32]| {
            let [a, b, c, d] = corners.map(|corner| plane[corner]);
            let (above, below) = (a + (b - a) * column.share, c + (d - c) * column.share);
            above + (below - above) * row.share
        };
        let [red, green, blue, added] = &self.planes;
        at(red) * color[0] + at(green) * color[1] + at(blue) * color[2] + at(added)
    }
}

/// (matrix + NOISE · 1)⁻¹ · vector, for a symmetric matrix without negative eigenvalues.
fn solve([rr, rg, rb, gg, gb, bb]: [f32; 6], vector: [f32; 3]) -> [f32; 3] {
    let [rr, rg, rb, gg, gb, bb] = [rr + NOISE, rg, rb, gg + NOISE, gb, bb + NOISE].map(f64::from);
    let [x, y, z] = vector.map(f64::from);
    let (c0, c1, c2) = (gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb);
    let (d1, d2, e2) = (rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg);
    let determinant = rr * c0 + rg * c1 + rb * c2;
    let row = |one: f64, two: f64, three: f64| ((one * x + two * y + three * z) / determinant) as f32;
    [row(c0, c1, c2), row(c1, d1, d2), row(c2, d2, e2)]
}

/// The map on a small picture of a part of the photo.
fn small_map(map: &ConceptMap, part: Rect, grid: Grid) -> Vec<f32> {
    let resampled = Resampled::of_part(map, part, Size::new(grid.columns as u32, grid.rows as u32));
    let mut values = vec![0.0; grid.cells()];
    for (y, row) in values.chunks_exact_mut(grid.columns).enumerate() {
        resampled.row(y as u32, row);
    }
    values
}

/// A rectangle around every pixel of a small picture, cut off at its edges.
struct Window {
    grid: Grid,
    /// Pixels above and below the middle one.
    down: usize,
    /// Pixels to the left and to the right of it.
    across: usize,
}

impl Window {
    /// The mean over every pixel's window: a running sum along the rows, then one down the columns.
    fn mean(&self, values: &[f32]) -> Vec<f32> {
        let columns = self.grid.columns;
        let mut along = vec![0.0_f32; values.len()];
        along.par_chunks_exact_mut(columns).zip(values.par_chunks_exact(columns)).for_each(|(out, row)| {
            let mut sum: f64 = row[..self.across.min(columns)].iter().map(|value| f64::from(*value)).sum();
            for (x, mean) in out.iter_mut().enumerate() {
                sum += row.get(x + self.across).map_or(0.0, |value| f64::from(*value));
                let first = x.saturating_sub(self.across);
                *mean = (sum / (columns.min(x + self.across + 1) - first) as f64) as f32;
                sum -= if x >= self.across { f64::from(row[first]) } else { 0.0 };
            }
        });
        self.mean_down(&along)
    }

    fn mean_down(&self, values: &[f32]) -> Vec<f32> {
        let Grid { rows, columns } = self.grid;
        let row = |y: usize| &values[y * columns..(y + 1) * columns];
        let mut sums = vec![0.0_f64; columns];
        let add = |sums: &mut [f64], y: usize, sign: f64| {
            sums.iter_mut().zip(row(y)).for_each(|(sum, value)| *sum += sign * f64::from(*value));
        };
        (0..self.down.min(rows)).for_each(|y| add(&mut sums, y, 1.0));
        let mut out = Vec::with_capacity(values.len());
        for y in 0..rows {
            if y + self.down < rows {
                add(&mut sums, y + self.down, 1.0);
            }
            let count = (rows.min(y + self.down + 1) - y.saturating_sub(self.down)) as f64;
            out.extend(sums.iter().map(|sum| (sum / count) as f32));
            if y >= self.down {
                add(&mut sums, y - self.down, -1.0);
            }
        }
        out
    }
}

/// The two neighbouring pixels of a small picture that one of the large one lies between, and the second's share.
#[derive(Clone, Copy)]
struct Between {
    first: usize,
    second: usize,
    share: f32,
}

impl Between {
    fn new(pixel: usize, large: usize, small: usize) -> Self {
        let last = small - 1;
        let at = ((pixel as f64 + 0.5) / large as f64 * small as f64 - 0.5).clamp(0.0, last as f64);
        let first = (at as usize).min(last);
        Self { first, second: (first + 1).min(last), share: (at - first as f64) as f32 }
    }
}

/// The map with every cell's value chosen among it and its neighbours'.
fn around(map: &ConceptMap, choose: fn(f32, f32) -> f32) -> ConceptMap {
    let values = map.values();
    let chosen =
        |cell: usize| neighbours(map.grid(), cell).map(|other| values[other]).fold(values[cell], choose);
    map.on_grid((0..values.len()).map(chosen).collect(), *map.placement())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    /// A photo that is dark to the left of column `edge` and bright from there on.
    fn halves(size: Size, edge: u32) -> RgbImage {
        RgbImage::from_fn(size.width, size.height, |x, _| {
            Rgb(if x < edge { [30, 40, 50] } else { [220, 200, 90] })
        })
    }

    fn map(grid: Grid, photo: Size, values: &[f32]) -> ConceptMap {
        let placement = Placement { photo, input: photo, grid, covers: Rect::whole(photo) };
        ConceptMap::new(values.to_vec(), placement)
    }

    #[test]
    fn the_map_follows_an_edge_between_its_cells() {
        // Cells of 20 pixels; the edge is a quarter of a cell away from the border between two of them.
        let (photo, grid) = (Size::new(160, 80), Grid::new(4, 8));
        let values: Vec<f32> = (0..32).map(|cell| if cell % 8 < 4 { 1.0 } else { -1.0 }).collect();
        let (coarse, picture) = (map(grid, photo, &values), halves(photo, 85));
        let fine = guided(&coarse, &picture);
        assert_eq!(fine.grid(), Grid::new(80, 160));
        let (before, after) = (coarse.at_photo_size(), fine.at_photo_size());
        let row = |values: &[f32], x: usize| values[40 * 160 + x];
        // Without a guide the sign changes at pixel 80 and the map is nearly flat there.
        assert!(row(&before, 78) > 0.0 && row(&before, 82) < 0.0);
        assert!(row(&before, 84) - row(&before, 85) < 0.11);
        // With one it steps at the edge, by most of the way from 1 to -1.
        assert!(row(&after, 84) - row(&after, 85) > 1.0, "{} and {}", row(&after, 84), row(&after, 85));
        assert!(row(&after, 82) > 0.0 && row(&after, 87) < 0.0);
    }

    #[test]
    fn values_stay_between_those_of_the_cells_around_and_constants_stay_constant() {
        let (photo, grid) = (Size::new(97, 61), Grid::new(4, 6));
        let picture = RgbImage::from_fn(97, 61, |x, y| {
            Rgb([(x * 37 % 256) as u8, (y * 91 % 256) as u8, ((x * y * 13) % 256) as u8])
        });
        let constant = guided(&map(grid, photo, &[-0.7; 24]), &picture);
        assert!(constant.values().iter().all(|value| *value == -0.7));
        let values: Vec<f32> = (0..24).map(|cell| (cell * 7 % 11) as f32 - 3.0).collect();
        let coarse = map(grid, photo, &values);
        let fine = guided(&coarse, &picture);
        // No value that is not between those of the cells up to two away.
        let [low, high] = [f32::min, f32::max].map(|choose| around(&around(&coarse, choose), choose));
        for (index, value) in fine.values().iter().enumerate() {
            let (x, y) = ((index % 97) as f64 + 0.5, (index / 97) as f64 + 0.5);
            let (column, row) = coarse.placement().to_grid(x, y);
            let cell = row as usize * 6 + column as usize;
            assert!((low.values()[cell]..=high.values()[cell]).contains(value), "{index}");
        }
        assert!(fine.max() <= coarse.max() && fine.max_abs() <= coarse.max_abs());
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean(fine.values()) - mean(&coarse.at_photo_size())).abs() < 0.1);
    }

    #[test]
    fn the_sign_turns_with_the_map() {
        let (photo, grid) = (Size::new(64, 64), Grid::new(4, 4));
        let values: Vec<f32> = (0..16).map(|cell| (cell as f32 * 1.7).sin()).collect();
        let (coarse, picture) = (map(grid, photo, &values), halves(photo, 21));
        let (one, other) = (guided(&coarse, &picture), guided(&coarse.negated(), &picture));
        for (one, other) in one.values().iter().zip(other.values()) {
            assert!((one + other).abs() < 1e-5);
        }
    }

    #[test]
    fn a_part_of_the_photo_and_a_smaller_picture_of_it_are_guides_too() {
        let photo = Size::new(300, 100);
        let covers = Rect { x0: 100.0, y0: 0.0, x1: 200.0, y1: 100.0 };
        let placement = Placement { photo, input: photo, grid: Grid::new(2, 2), covers };
        let coarse = ConceptMap::new(vec![1.0, 0.0, 1.0, 0.0], placement);
        assert_eq!(guided(&coarse, &halves(photo, 150)).grid(), Grid::new(100, 100));
        let fine = guided(&coarse, &halves(Size::new(150, 50), 75));
        assert_eq!(
            (fine.grid(), fine.placement().covers, fine.placement().photo),
            (Grid::new(50, 50), covers, photo)
        );
        assert!(fine.values()[24] > 0.5 && fine.values()[25] < 0.5, "{:?}", &fine.values()[20..30]);
        let pixels = fine.at_photo_size();
        assert!(pixels[99].is_nan() && !pixels[100].is_nan() && pixels[200].is_nan());
        assert_eq!(fine.patch_area(), coarse.patch_area());
    }

    #[test]
    fn a_window_takes_the_mean_of_what_is_there() {
        let window = Window { grid: Grid::new(2, 4), down: 1, across: 1 };
        let means = window.mean(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(means, [3.5, 4.0, 5.0, 5.5, 3.5, 4.0, 5.0, 5.5]);
        let wide = Window { grid: Grid::new(1, 3), down: 9, across: 9 };
        assert_eq!(wide.mean(&[1.0, 2.0, 6.0]), [3.0; 3]);
    }

    #[test]
    fn equations_are_solved() {
        let [x, y, z] = solve([2.0, 1.0, 0.0, 3.0, 1.0, 4.0], [1.0, 2.0, 3.0]);
        let rest = [2.0 * x + y - 1.0, x + 3.0 * y + z - 2.0, y + 4.0 * z - 3.0];
        assert!(rest.iter().all(|rest| rest.abs() < 0.01), "{rest:?}");
    }
}
