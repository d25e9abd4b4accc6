//! Changed pictures at the model's input: which pixels go, and what they become.

use std::collections::BTreeMap;

use super::{Faithfulness, Fill, Order, Space};
use crate::metric::{relevance_order, road};
use fieldmark_explain::{
    attribution::{ConceptMap, resample::Resampled},
    explain::ModelInput,
};
use fieldmark_model::{
    geometry::{Placement, Size},
    random::Random,
};

/// The deviation of the blur, in pixels, and how far it reaches.
const BLUR: (f64, usize) = (5.0, 5);

/// How the photo is changed. Units are pixels or patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// Nothing.
    Unchanged,
    /// All of it is filled.
    Filled(Fill),
    /// So many units are filled.
    Removed { fill: Fill, order: Order, count: usize },
    /// So many units are filled in from around them, as ROAD does it.
    Imputed { order: Order, count: usize },
    /// It is seen through the map, over a fill.
    Through(Fill),
}

impl Change {
    /// So many of all units filled; the ends of every curve are the same pictures.
    pub(super) fn filling(fill: Fill, order: Order, count: usize, all: usize) -> Self {
        match count {
            0 => Self::Unchanged,
            _ if count == all => Self::Filled(fill),
            _ => Self::Removed { fill, order, count },
        }
    }

    /// Whether it is the same picture for every map.
    pub(super) fn is_of_photo(self) -> bool {
        matches!(self, Self::Unchanged | Self::Filled(_))
    }
}

/// A photo's pixels, and what may stand in their place: each `[3, height, width]`.
pub(super) struct Canvas {
    pixels: Vec<f32>,
    fills: BTreeMap<Fill, Vec<f32>>,
    placement: Placement,
    options: Faithfulness,
}

impl Canvas {
    pub(super) fn new(input: &ModelInput, options: &Faithfulness) -> Self {
        let fills =
            [options.fill, options.insertion_fill].map(|fill| (fill, filled(input, fill, options.seed)));
        Self {
            pixels: input.pixels().to_vec(),
            fills: BTreeMap::from(fills),
            placement: *input.placement(),
            options: options.clone(),
        }
    }

    /// A map, ready to say which pixels go.
    pub(super) fn rank(&self, map: &ConceptMap) -> Ranking {
        let Placement { input, grid, .. } = self.placement;
        let cells = Size::new(grid.columns as u32, grid.rows as u32);
        let by_rank = |size| {
            let order = relevance_order(&at_size(map, &self.placement, size));
            let mut ranks = vec![0; order.len()];
            order.into_iter().enumerate().for_each(|(rank, unit)| ranks[unit] = rank);
            ranks
        };
        let (ranks, units) = match self.options.space {
            Space::Pixels => (by_rank(input), input.area() as usize),
            Space::Patches => (spread(&by_rank(cells), cells, input), grid.cells()),
        };
        Ranking { ranks, units, shown: at_size(&shown(map), &self.placement, input) }
    }

    /// The changed picture.
    pub(super) fn picture(&self, change: Change, ranking: &Ranking) -> Vec<f32> {
        let filled = |fill| self.fills.get(&fill).unwrap_or(&self.pixels);
        match change {
            Change::Unchanged => self.pixels.clone(),
            Change::Filled(fill) => filled(fill).clone(),
            Change::Removed { fill, order, count } => {
                let removed = ranking.removed(order, count);
                let pairs = self.pixels.iter().zip(filled(fill)).zip(removed.iter().cycle());
                pairs.map(|((kept, fill), removed)| if *removed { *fill } else { *kept }).collect()
            }
            Change::Imputed { order, count } => {
                let width = self.placement.input.width.max(1) as usize;
                let mut random = Random::named(self.options.seed, &format!("{order} {count}"));
                let removed = ranking.removed(order, count);
                road::impute(&self.pixels, &removed, width, self.options.road_noise, &mut random)
            }
            Change::Through(fill) => {
                let pairs = self.pixels.iter().zip(filled(fill)).zip(ranking.shown.iter().cycle());
                pairs.map(|((pixel, fill), share)| fill + (pixel - fill) * share).collect()
            }
        }
    }
}

/// In which order the units of the input go.
pub(super) struct Ranking {
    /// Of every pixel the place of its unit, 0 for the most relevant.
    ranks: Vec<usize>,
    /// How many units there are.
    pub(super) units: usize,
    /// How much of every pixel is seen through the map, 0 to 1.
    shown: Vec<f32>,
}

impl Ranking {
    /// Which pixels belong to the first so many units.
    fn removed(&self, order: Order, count: usize) -> Vec<bool> {
        let kept = self.units.saturating_sub(count);
        let is_removed = |rank: &usize| match order {
            Order::MostFirst => *rank < count,
            Order::LeastFirst => *rank >= kept,
        };
        self.ranks.iter().map(is_removed).collect()
    }
}

/// The map as a picture of the model's input at some size sees it; NaN where it does not reach.
fn at_size(map: &ConceptMap, seen: &Placement, size: Size) -> Vec<f32> {
    let resampled = Resampled::of_part(map, seen.covers, size);
    let mut values = vec![0.0; size.area() as usize];
    for (y, row) in values.chunks_exact_mut(size.width.max(1) as usize).enumerate() {
        resampled.row(y as u32, row);
    }
    values
}

/// The positive part of a map, scaled to 0 to 1 on its own grid, as torchcam does it; nothing of it where it is flat.
fn shown(map: &ConceptMap) -> ConceptMap {
    let positive = || map.values().iter().map(|value| value.max(0.0));
    let low = positive().fold(f32::INFINITY, f32::min);
    let range = positive().fold(0.0, f32::max) - low;
    let scaled = positive().map(|value| if range > 0.0 { (value - low) / range } else { 0.0 });
    map.on_grid(scaled.collect(), *map.placement())
}

/// What cells have, for every pixel of them.
fn spread(cells: &[usize], grid: Size, input: Size) -> Vec<usize> {
    let rows = 0..input.height;
    let pixels = rows.flat_map(|y| (0..input.width).map(move |x| (x, y)));
    let cell = |(x, y)| (y * grid.height / input.height * grid.width + x * grid.width / input.width) as usize;
    pixels.map(|pixel| cells[cell(pixel)]).collect()
}

/// A whole picture of a fill.
fn filled(input: &ModelInput, fill: Fill, seed: u64) -> Vec<f32> {
    let pixels = input.pixels();
    let channel = pixels.len() / 3;
    match fill {
        Fill::Mean => vec![0.0; pixels.len()],
        Fill::Black => {
            input.normalised([0.0; 3]).into_iter().flat_map(|value| vec![value; channel]).collect()
        }
        Fill::Noise => {
            let mut random = Random::named(seed, "fill");
            let mut noise = vec![0.0; pixels.len()];
            for pixel in 0..channel {
                let colour = input.normalised([0; 3].map(|_: u8| random.below(256) as f32));
                (0..3).for_each(|index| noise[index * channel + pixel] = colour[index]);
            }
            noise
        }
        Fill::Blur => {
            let width = input.placement().input.width.max(1) as usize;
            pixels.chunks_exact(channel.max(1)).flat_map(|channel| blurred(channel, width)).collect()
        }
    }
}

/// A channel, blurred along its rows and then along its columns.
fn blurred(channel: &[f32], width: usize) -> Vec<f32> {
    let height = channel.len() / width;
    let rows: Vec<f32> = channel.chunks_exact(width).flat_map(|row| blurred_line(row.to_vec())).collect();
    let mut output = vec![0.0; channel.len()];
    for x in 0..width {
        let line = blurred_line((0..height).map(|y| rows[y * width + x]).collect());
        line.into_iter().enumerate().for_each(|(y, value)| output[y * width + x] = value);
    }
    output
}

/// A line under a Gaussian, which is cut at the line's ends and weighs 1 everywhere.
fn blurred_line(line: Vec<f32>) -> Vec<f32> {
    let (deviation, reach) = BLUR;
    let weight = |distance: usize| (-0.5 * (distance as f64 / deviation).powi(2)).exp();
    let blur = |at: usize| {
        let near = at.saturating_sub(reach)..(at + reach + 1).min(line.len());
        let [sum, weights] = near.fold([0.0; 2], |[sum, weights], other| {
            let weight = weight(at.abs_diff(other));
            [sum + weight * f64::from(line[other]), weights + weight]
        });
        (sum / weights) as f32
    };
    (0..line.len()).map(blur).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldmark_model::geometry::{Grid, Rect};

    /// A picture of 4 x 2 pixels whose channels are 1 to 8, 11 to 18 and 21 to 28, and a grid of 2 x 1 patches.
    fn canvas(options: Faithfulness) -> Canvas {
        let input = Size::new(4, 2);
        let placement = Placement { photo: input, input, grid: Grid::new(1, 2), covers: Rect::whole(input) };
        let pixels: Vec<f32> =
            [0, 10, 20].iter().flat_map(|tens| (1..9).map(move |one| (tens + one) as f32)).collect();
        let fills = [(Fill::Mean, vec![0.0; 24]), (Fill::Black, vec![-1.0; 24])];
        Canvas { pixels, fills: BTreeMap::from(fills), placement, options }
    }

    fn map(canvas: &Canvas, values: &[f32], grid: Grid) -> ConceptMap {
        ConceptMap::new(values.into(), Placement { grid, ..canvas.placement })
    }

    fn first_channel(canvas: &Canvas, change: Change, ranking: &Ranking) -> Vec<f32> {
        let picture = canvas.picture(change, ranking);
        assert_eq!(picture.len(), 24);
        for channel in [8, 16] {
            let kept = |at: &usize| picture[channel + at] > 0.0;
            let first = |at: &usize| picture[*at] > 0.0;
            assert!((0..8).all(|at| kept(&at) == first(&at)), "all channels go together");
        }
        picture[..8].to_vec()
    }

    #[test]
    fn pixels_go_by_the_map_from_either_end() {
        let canvas = canvas(Faithfulness::default());
        let ranking = canvas.rank(&map(&canvas, &[8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0], Grid::new(2, 4)));
        let removed = |order, count| {
            let change = Change::filling(Fill::Mean, order, count, ranking.units);
            first_channel(&canvas, change, &ranking)
        };
        assert_eq!(removed(Order::MostFirst, 3), [0.0, 2.0, 0.0, 4.0, 0.0, 6.0, 7.0, 8.0]);
        assert_eq!(removed(Order::LeastFirst, 3), [1.0, 0.0, 3.0, 0.0, 5.0, 0.0, 7.0, 8.0]);
        assert_eq!(removed(Order::LeastFirst, 8), [0.0; 8]);
        assert_eq!(removed(Order::MostFirst, 0), canvas.pixels[..8]);
    }

    #[test]
    fn equal_pixels_go_from_the_top_left() {
        let canvas = canvas(Faithfulness::default());
        let ranking = canvas.rank(&map(&canvas, &[5.0; 8], Grid::new(2, 4)));
        let change = Change::filling(Fill::Black, Order::MostFirst, 3, 8);
        assert_eq!(first_channel(&canvas, change, &ranking), [-1.0, -1.0, -1.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    }

    #[test]
    fn whole_patches_go_together() {
        let canvas = canvas(Faithfulness { space: Space::Patches, ..Faithfulness::default() });
        let ranking = canvas.rank(&map(&canvas, &[1.0, 2.0], Grid::new(1, 2)));
        assert_eq!(ranking.units, 2);
        let change = Change::filling(Fill::Mean, Order::MostFirst, 1, 2);
        assert_eq!(first_channel(&canvas, change, &ranking), [1.0, 2.0, 0.0, 0.0, 5.0, 6.0, 0.0, 0.0]);
    }

    #[test]
    fn a_map_lets_through_its_positive_part() {
        let canvas = canvas(Faithfulness::default());
        let ranking =
            canvas.rank(&map(&canvas, &[4.0, 2.0, 0.0, -8.0, 4.0, 1.0, -1.0, 0.0], Grid::new(2, 4)));
        let seen = canvas.picture(Change::Through(Fill::Mean), &ranking);
        assert_eq!(seen[..8], [1.0, 1.0, 0.0, 0.0, 5.0, 1.5, 0.0, 0.0]);
        let flat = canvas.rank(&map(&canvas, &[-1.0; 8], Grid::new(2, 4)));
        assert_eq!(canvas.picture(Change::Through(Fill::Black), &flat), [-1.0; 24]);
    }

    #[test]
    fn what_the_map_does_not_cover_goes_last() {
        let canvas = canvas(Faithfulness::default());
        let covers = Rect { x0: 2.0, y0: 0.0, x1: 4.0, y1: 2.0 };
        let half =
            ConceptMap::new(vec![-3.0], Placement { grid: Grid::new(1, 1), covers, ..canvas.placement });
        let change = Change::filling(Fill::Mean, Order::MostFirst, 4, 8);
        let left = first_channel(&canvas, change, &canvas.rank(&half));
        assert_eq!(left, [1.0, 2.0, 0.0, 0.0, 5.0, 6.0, 0.0, 0.0]);
    }

    #[test]
    fn a_blur_keeps_what_is_constant_and_spreads_a_point() {
        assert!(blurred(&[3.0; 40], 8).iter().all(|value| (value - 3.0).abs() < 1e-6));
        let mut point = vec![0.0; 31];
        point[15] = 1.0;
        let line = blurred_line(point);
        assert_eq!((line[9], line[21]), (0.0, 0.0));
        assert!((line.iter().sum::<f32>() - 1.0).abs() < 1e-6 && (line[10] - line[20]).abs() < 1e-9);
    }
}
