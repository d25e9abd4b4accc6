//! A large photo is looked at again, in overlapping square tiles at the model's own resolution, so that small things
//! become large enough to be seen. The tiles' maps are blended into one, without seams.
//!
//! A tile's map is about that tile's own similarity: it answers what in the tile makes *the tile* fit the prompt. All
//! passes have the same logit scale and nearly the same number of patches, so their values are of one kind and are
//! averaged as they are, never scaled: a tile that shows nothing of the concept keeps its weak evidence weak. What a
//! value means changes a little: it is logits per patch of a closer look, so sums over a blended map are larger than
//! over a plain one, by about the number of tiles.

use std::{fmt, num::NonZeroUsize, str::FromStr};

use crate::attribution::ConceptMap;
use crate::attribution::resample::Resampled;
use fieldmark_model::as_text;
use fieldmark_model::error::{Error, Result};
use fieldmark_model::geometry::{Grid, Placement, Rect, Size};

/// Along the photo's shorter side neighbouring tiles share this part of their side: a thing as large as that lies
/// whole in one of them.
const OVERLAP: f64 = 0.25;

/// Along the longer side, which the tiles' side does not divide, they share at least this part.
const LEAST_OVERLAP: f64 = 0.2;

/// `auto` takes at most so many tiles along the photo's shorter side.
const MOST_AUTO: usize = 4;

/// More passes than this are refused.
const MOST_TILES: usize = 1024;

/// A tile has at least so many pixels a side: smaller ones show nothing that could be recognised.
const SMALLEST_SIDE: u32 = 16;

/// How much the pass over the whole photo counts beside the tiles. Half: two scales, one mean.
const WHOLE_SHARE: f32 = 0.5;

/// Whether a photo is looked at in tiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tiles {
    /// Only as a whole.
    #[default]
    Off,
    /// In tiles of about as many pixels of the photo as the model sees, but at most 4 along the shorter side; as a
    /// whole only, where the photo is hardly larger than the model's input.
    Auto,
    /// In so many tiles along the shorter side, and as many along the other as keep them square.
    Along(NonZeroUsize),
}

impl FromStr for Tiles {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Along).map_err(|_| {
                let reason = format!("expected a number of tiles above 0, auto or off, found {text:?}");
                Error::Option { option: "tiles", reason }
            }),
        }
    }
}

impl fmt::Display for Tiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Auto => f.write_str("auto"),
            Self::Along(count) => write!(f, "{count}"),
        }
    }
}

as_text!(Tiles);

/// Where the tiles of a photo lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    photo: Size,
    side: u32,
    lefts: Vec<u32>,
    tops: Vec<u32>,
}

impl Layout {
    /// The tiles of a photo, for a model that sees squares of `input` pixels a side; none if it is only looked at as
    /// a whole.
    ///
    /// # Errors
    /// [`Error::Option`] if the tiles would be too small, or too many.
    pub fn new(tiles: Tiles, photo: Size, input: u32) -> Result<Option<Self>> {
        let short = photo.width.min(photo.height);
        let count = match tiles {
            Tiles::Off => return Ok(None),
            Tiles::Along(count) => count.get(),
            Tiles::Auto => {
                let wanted = 1.0 + (f64::from(short) / f64::from(input.max(1)) - 1.0) / (1.0 - OVERLAP);
                (wanted.round() as usize).clamp(1, MOST_AUTO)
            }
        };
        match Self::along(photo, count) {
            // A photo that cannot be tiled well is looked at as a whole.
            Err(_) if tiles == Tiles::Auto => Ok(None),
            _ if tiles == Tiles::Auto && count < 2 => Ok(None),
            layout => layout.map(Some),
        }
    }

    /// So many tiles along the shorter side.
    fn along(photo: Size, count: usize) -> Result<Self> {
        let refuse = |reason| Err(Error::Option { option: "tiles", reason });
        let short = photo.width.min(photo.height);
        let side = (f64::from(short) / (1.0 + (count - 1) as f64 * (1.0 - OVERLAP))).ceil() as u32;
        if side < SMALLEST_SIDE {
            let Size { width, height } = photo;
            return refuse(format!(
                "expected tiles of at least {SMALLEST_SIDE} pixels, found {count} along the shorter side of a photo \
                 of {width} x {height} pixels"
            ));
        }
        let starts = |length: u32| {
            let rest = f64::from(length) / f64::from(side) - 1.0;
            let steps = (rest / (1.0 - LEAST_OVERLAP)).ceil() as u32;
            starts(length, side, if length == short { count as u32 - 1 } else { steps })
        };
        let layout = Self { photo, side, lefts: starts(photo.width), tops: starts(photo.height) };
        match layout.count() {
            count if count > MOST_TILES => {
                refuse(format!("expected at most {MOST_TILES} tiles in all, found {count}"))
            }
            _ => Ok(layout),
        }
    }

    /// The tiles' side, in pixels of the photo.
    pub fn side(&self) -> u32 {
        self.side
    }

    /// Rows and columns of tiles.
    pub fn tiling(&self) -> Grid {
        Grid::new(self.tops.len(), self.lefts.len())
    }

    /// How many tiles there are.
    pub fn count(&self) -> usize {
        self.tiling().cells()
    }

    /// Where every tile begins, row by row: pixels to the left of it and above it.
    pub fn corners(&self) -> impl Iterator<Item = [u32; 2]> {
        self.tops.iter().flat_map(|top| self.lefts.iter().map(move |left| [*left, *top]))
    }

    /// The grid of a blended map: cells of the size that they have in a tile with this grid.
    pub fn grid(&self, tile: Grid) -> Grid {
        let cells = |photo: u32, cells: usize| {
            (f64::from(photo) / f64::from(self.side) * cells as f64).round().max(1.0) as usize
        };
        Grid::new(cells(self.photo.height, tile.rows), cells(self.photo.width, tile.columns))
    }

    /// How much a tile that begins at `start` counts at a place along one side: it rises and falls smoothly (half a
    /// cosine) where it overlaps with the tiles beside it, and is 1 elsewhere.
    fn weight(&self, starts: &[u32], start: u32, at: f64) -> f64 {
        let side = f64::from(self.side);
        let from_left = at - f64::from(start);
        if !(0.0..=side).contains(&from_left) {
            return 0.0;
        }
        let index = starts.partition_point(|other| *other < start);
        let before = index.checked_sub(1).and_then(|index| starts.get(index));
        let left = before.map_or(1.0, |before| smooth(from_left / overlap(side, *before, start)));
        let after = starts.get(index + 1);
        left * after.map_or(1.0, |after| smooth((side - from_left) / overlap(side, start, *after)))
    }
}

/// Where tiles begin that cover a length evenly.
fn starts(length: u32, side: u32, steps: u32) -> Vec<u32> {
    let last = f64::from(length.saturating_sub(side));
    (0..=steps).map(|step| (last * f64::from(step) / f64::from(steps.max(1))).round() as u32).collect()
}

fn overlap(side: f64, one: u32, next: u32) -> f64 {
    (side - f64::from(next - one)).max(1.0)
}

/// From 0 to 1 without a kink.
fn smooth(part: f64) -> f64 {
    0.5 - 0.5 * (std::f64::consts::PI * part.clamp(0.0, 1.0)).cos()
}

/// The maps of a photo's tiles on their way into one map of the whole photo.
#[derive(Clone, Debug)]
pub struct Blend {
    layout: Layout,
    placement: Placement,
    patch_area: f64,
    sums: Vec<f64>,
    weights: Vec<f64>,
}

impl Blend {
    /// Nothing blended yet, of tiles whose maps have this grid.
    pub fn new(layout: &Layout, tile: Grid) -> Self {
        let grid = layout.grid(tile);
        let photo = layout.photo;
        let patch = |length: u32, cells: usize| f64::from(length) / cells as f64;
        Self {
            layout: layout.clone(),
            placement: Placement { photo, input: photo, grid, covers: Rect::whole(photo) },
            patch_area: patch(layout.side, tile.rows) * patch(layout.side, tile.columns),
            sums: vec![0.0; grid.cells()],
            weights: vec![0.0; grid.cells()],
        }
    }

    /// Adds the map of the tile that begins at a corner.
    pub fn add(&mut self, corner: [u32; 2], map: &ConceptMap) {
        let Grid { rows, columns } = self.placement.grid;
        // The tile's map lies on the tile; the blended cells are seen from there.
        let [left, top] = corner.map(f64::from);
        let part = Rect {
            x0: -left,
            y0: -top,
            x1: f64::from(self.layout.photo.width) - left,
            y1: f64::from(self.layout.photo.height) - top,
        };
        let resampled = Resampled::of_part(map, part, Size::new(columns as u32, rows as u32));
        let along = |column: usize| self.placement.to_photo(column as f64 + 0.5, 0.0).0;
        let across: Vec<f64> =
            (0..columns).map(|x| self.layout.weight(&self.layout.lefts, corner[0], along(x))).collect();
        let mut line = vec![0.0; columns];
        for y in resampled.covered_rows() {
            let down = self.placement.to_photo(0.0, y as f64 + 0.5).1;
            let down = self.layout.weight(&self.layout.tops, corner[1], down);
            resampled.row(y as u32, &mut line);
            for x in resampled.covered_columns() {
                let cell = y * columns + x;
                self.sums[cell] += down * across[x] * f64::from(line[x]);
                self.weights[cell] += down * across[x];
            }
        }
    }

    /// The mean of the tiles' map and that of the whole photo.
    pub fn finish(self, whole: &ConceptMap) -> ConceptMap {
        let grid = self.placement.grid;
        let resampled = Resampled::new(whole, Size::new(grid.columns as u32, grid.rows as u32));
        let mut line = vec![0.0; grid.columns];
        let mut values = Vec::with_capacity(grid.cells());
        for y in 0..grid.rows {
            resampled.row(y as u32, &mut line);
            for (x, whole) in line.iter().enumerate() {
                let cell = y * grid.columns + x;
                let tiles = (self.sums[cell] / self.weights[cell]) as f32;
                // What a crop left out, only the tiles have seen.
                let whole = if whole.is_nan() { tiles } else { *whole };
                values.push(tiles + (whole - tiles) * WHOLE_SHARE);
            }
        }
        ConceptMap::new(values, self.placement).resolving(self.patch_area)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(count: usize, photo: Size) -> Layout {
        let tiles = Tiles::Along(NonZeroUsize::new(count).unwrap());
        Layout::new(tiles, photo, 224).unwrap().unwrap()
    }

    fn on(photo: Size, grid: Grid, value: impl Fn(usize) -> f32) -> ConceptMap {
        let placement = Placement { photo, input: photo, grid, covers: Rect::whole(photo) };
        ConceptMap::new((0..grid.cells()).map(value).collect(), placement)
    }

    #[test]
    fn tiles_cover_the_photo_and_overlap() {
        for (width, height) in [(1000, 1000), (4000, 3000), (640, 480), (3000, 100), (123, 457)] {
            for count in 1..=4 {
                let layout = layout(count, Size::new(width, height));
                assert_eq!(layout.tops.len().min(layout.lefts.len()), count, "{width} x {height}");
                for (starts, length) in [(&layout.lefts, width), (&layout.tops, height)] {
                    assert_eq!((starts[0], starts[starts.len() - 1] + layout.side), (0, length));
                    let most = f64::from(layout.side) * (1.0 - LEAST_OVERLAP) + 1.5;
                    assert!(starts.windows(2).all(|pair| f64::from(pair[1] - pair[0]) <= most), "{starts:?}");
                }
            }
        }
        assert_eq!(layout(2, Size::new(1750, 1750)).side, 1000);
        assert_eq!(layout(1, Size::new(300, 100)).lefts, [0, 67, 133, 200]);
        assert_eq!(layout(1, Size::new(170, 100)).lefts, [0, 70]);
    }

    #[test]
    fn automatic_tiles_are_as_large_as_what_the_model_sees() {
        let auto = |width, height| Layout::new(Tiles::Auto, Size::new(width, height), 224).unwrap();
        assert_eq!(auto(300, 260), None);
        assert_eq!(auto(400, 392).unwrap().tiling(), Grid::new(2, 2));
        assert_eq!(auto(4000, 3000).unwrap().tiling(), Grid::new(4, 6));
        assert_eq!(auto(200_000, 300), None, "hundreds of tiles");
    }

    #[test]
    fn what_cannot_be_tiled_is_refused() {
        let tiles = |text: &str| text.parse::<Tiles>();
        for text in ["", "0", "-1", "2.5", "many"] {
            assert!(tiles(text).unwrap_err().to_string().contains("tiles"), "{text}");
        }
        assert_eq!(["off", "auto", "3"].map(|text| tiles(text).unwrap().to_string()), ["off", "auto", "3"]);
        let new =
            |text: &str, width, height| Layout::new(tiles(text).unwrap(), Size::new(width, height), 224);
        assert!(new("9", 96, 96).unwrap_err().to_string().contains("16 pixels"));
        assert!(new("99", 9000, 9000).unwrap_err().to_string().contains("at most 1024"));
        assert!(new("999999999999999999", 9000, 9000).unwrap_err().to_string().contains("16 pixels"));
        assert_eq!(new("off", 9000, 9000).unwrap(), None);
    }

    #[test]
    fn weights_of_all_tiles_are_smooth_and_equal_tiles_have_no_seams() {
        let photo = Size::new(700, 400);
        let layout = layout(3, photo);
        let tile = Grid::new(6, 6);
        let side = Size::new(layout.side, layout.side);
        let mut blend = Blend::new(&layout, tile);
        for corner in layout.corners() {
            blend.add(corner, &on(side, tile, |_| 0.8));
        }
        assert!(blend.weights.iter().all(|weight| *weight > 0.1), "{:?}", blend.weights);
        let map = blend.finish(&on(photo, Grid::new(4, 7), |_| 0.8));
        assert!(map.values().iter().all(|value| (value - 0.8).abs() < 1e-6));
        assert_eq!(map.grid(), Grid::new(15, 26));
        assert_eq!(
            *map.placement(),
            Placement { photo, input: photo, grid: map.grid(), covers: Rect::whole(photo) }
        );
    }

    #[test]
    fn tiles_of_different_evidence_flow_into_each_other() {
        let photo = Size::new(1750, 1000);
        let layout = layout(1, photo);
        assert_eq!(layout.lefts, [0, 750]);
        let (tile, side) = (Grid::new(20, 20), Size::new(1000, 1000));
        let mut blend = Blend::new(&layout, tile);
        blend.add([0, 0], &on(side, tile, |_| 1.0));
        blend.add([750, 0], &on(side, tile, |_| 0.0));
        let map = blend.finish(&on(photo, tile, |_| 0.0));
        let row = &map.values()[..35];
        assert!(row[..15].iter().all(|value| (value - 0.5).abs() < 1e-6), "{row:?}");
        assert!(row[20..].iter().all(|value| value.abs() < 1e-6), "{row:?}");
        // From 1 to 0 over five cells of half a weight: no step is larger than that of a cosine.
        assert!(row.windows(2).all(|pair| (0.0..0.16).contains(&(pair[0] - pair[1]))), "{row:?}");
    }

    #[test]
    fn a_tiles_evidence_lands_where_the_tile_is() {
        let photo = Size::new(1750, 1750);
        let layout = layout(2, photo);
        let (tile, side) = (Grid::new(10, 10), Size::new(1000, 1000));
        let mut blend = Blend::new(&layout, tile);
        for corner in layout.corners() {
            let is_last = corner == [750, 750];
            blend.add(corner, &on(side, tile, |cell| if is_last && cell == 98 { 3.0 } else { 0.0 }));
        }
        let map = blend.finish(&on(photo, tile, |_| 0.0));
        let top =
            (0..map.values().len()).max_by(|a, b| map.values()[*a].total_cmp(&map.values()[*b])).unwrap();
        // Cell 98 is the tile's last row, last but one column: 8.5 and 9.5 cells of 100 pixels from 750.
        let (x, y) = map.placement().to_photo((top % 18) as f64 + 0.5, (top / 18) as f64 + 0.5);
        assert!((x - 1600.0).abs() < 60.0 && (y - 1700.0).abs() < 60.0, "{x} {y}");
        assert!((map.patch_area() - 10_000.0).abs() < 1e-6);
    }
}
