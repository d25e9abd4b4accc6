//! The maps of several prompts on one photo become one figure: small multiples on one shared signed scale.
//!
//! The photo comes first, then a panel a prompt, in the order given. Under the maps the photo is grey and
//! pale, and colour is laid over it as ink over paper (multiplied), so that its outlines stay readable at
//! every strength and only the evidence has colour. One colour bar gives the scale in logits.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::canvas::{Area, fill, frame, mark_outside};
use super::colormap::{ColorMap, ColorTable, Sign};
use super::overlay::{each_pixel, is_partial};
use super::{RenderOptions, Scale, text};
use crate::attribution::ConceptMap;
use crate::attribution::resample::Resampled;
use crate::geometry::Size;

/// One prompt's part of a sheet.
#[derive(Clone, Debug)]
pub struct Panel<'map> {
    /// Above the map: the prompt. Up to two lines, then an ellipsis.
    pub title: String,
    /// Below the map, quieter: numbers such as similarity, logit and probability; each wraps once at most.
    pub notes: Vec<String>,
    /// The evidence for and against the prompt.
    pub map: &'map ConceptMap,
}

const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([24; 3]);
const QUIET_INK: Rgb<u8> = Rgb([96; 3]);
const LINE: Rgb<u8> = Rgb([190; 3]);

/// Type sizes in pixels per em.
const TITLE: f32 = 18.0;
const NOTE: f32 = 14.0;

/// White around everything.
const MARGIN: u32 = 36;
/// White between neighbouring panels.
const GAP: (u32, u32) = (32, 36);
/// White between a picture and the words above or below it.
const WORD_GAP: u32 = 10;
/// A panel's long side is at most this; a larger photo is made smaller.
const LONGEST_PANEL: u32 = 480;
/// A panel's long side is at least this; a smaller photo is made larger.
const SHORTEST_PANEL: u32 = 240;
/// Words have at least this width, however narrow the photo is.
const NARROWEST_CELL: u32 = 240;
/// The colour bar's width and height.
const BAR: (u32, u32) = (300, 14);
/// How many lines a title or a note may have.
const MOST_LINES: usize = 2;

/// One figure: the photo, then every prompt's map over it, all on one scale, with a colour bar in logits.
///
/// Equal evidence has equal colour in every panel. [`Scale::Own`] takes the largest absolute value of all
/// the maps. Panels are at most 480 pixels on their long side, whatever the photo's size. A map without
/// positive evidence is labelled so.
pub fn sheet(photo: &RgbImage, panels: &[Panel], scale: Scale) -> RgbImage {
    let scale = shared_scale(panels, scale);
    let small = fitted(photo);
    let cells = cells(photo, &small, panels);
    let layout = Layout::of(&small, &cells);
    let mut page = RgbImage::from_pixel(layout.page.width, layout.page.height, PAPER);
    for (index, cell) in cells.iter().enumerate() {
        let picture = match index.checked_sub(1) {
            Some(panel) => tinted(&small, panels[panel].map, scale),
            None => small.clone(),
        };
        draw_cell(&mut page, &layout, layout.origin(index), cell, &picture);
    }
    draw_bar(&mut page, layout.bar, scale);
    page
}

/// The evidence in logits that gets the last colour; none if no map has any.
fn shared_scale(panels: &[Panel], scale: Scale) -> Option<f32> {
    let own = |panel: &Panel| scale.of(panel.map, Sign::Both);
    panels.iter().filter_map(own).reduce(f32::max)
}

/// The photo at a panel's size.
fn fitted(photo: &RgbImage) -> RgbImage {
    let long = photo.width().max(photo.height()).max(1);
    let wanted = long.clamp(SHORTEST_PANEL, LONGEST_PANEL);
    let side = |length: u32| {
        let scaled = f64::from(length) * f64::from(wanted) / f64::from(long);
        (scaled.round() as u32).max(1)
    };
    let (width, height) = (side(photo.width()), side(photo.height()));
    match wanted.cmp(&long) {
        _ if photo.width() == 0 || photo.height() == 0 => RgbImage::from_pixel(width, height, PAPER),
        std::cmp::Ordering::Equal => photo.clone(),
        std::cmp::Ordering::Less => imageops::thumbnail(photo, width, height),
        std::cmp::Ordering::Greater => imageops::resize(photo, width, height, FilterType::CatmullRom),
    }
}

/// The words of one cell, broken into lines.
struct Cell {
    title: Vec<String>,
    notes: Vec<String>,
}

fn cells(photo: &RgbImage, small: &RgbImage, panels: &[Panel]) -> Vec<Cell> {
    let room = cell_width(small) as f32;
    let wrapped = |words: &str, size: f32| text::wrap(words, size, room, MOST_LINES);
    let size = format!("{} × {} pixels", photo.width(), photo.height());
    let first = Cell { title: wrapped("Photo", TITLE), notes: wrapped(&size, NOTE) };
    let others = panels.iter().map(|panel| {
        let blank = (panel.map.max() <= 0.0).then_some("no positive evidence");
        let notes = panel.notes.iter().map(String::as_str).chain(blank);
        Cell {
            title: wrapped(&panel.title, TITLE),
            notes: notes.flat_map(|note| wrapped(note, NOTE)).collect(),
        }
    });
    std::iter::once(first).chain(others).collect()
}

fn cell_width(small: &RgbImage) -> u32 {
    small.width().max(NARROWEST_CELL)
}

/// Where everything goes; all cells are of one size.
struct Layout {
    page: Size,
    columns: u32,
    cell: Size,
    /// Height of the words above the pictures.
    title_height: u32,
    /// Top left corner of the colour bar with its words.
    bar: (u32, u32),
}

impl Layout {
    fn of(small: &RgbImage, cells: &[Cell]) -> Self {
        let most = |lines: fn(&Cell) -> usize| cells.iter().map(lines).max().unwrap_or(0);
        let title_height = lines_height(most(|cell| cell.title.len()), TITLE) + WORD_GAP;
        let notes_height = lines_height(most(|cell| cell.notes.len()), NOTE) + WORD_GAP;
        let cell = Size::new(cell_width(small), title_height + small.height() + notes_height);
        let count = cells.len() as u32;
        let columns = best_columns(count, cell);
        let rows = count.div_ceil(columns);
        let width = extent(columns, cell.width, GAP.0).max(BAR.0) + 2 * MARGIN;
        let bar = (MARGIN, MARGIN + extent(rows, cell.height, GAP.1) + GAP.1);
        Self { page: Size::new(width, bar.1 + bar_height() + MARGIN), columns, cell, title_height, bar }
    }

    /// The top left corner of a cell.
    fn origin(&self, index: usize) -> (u32, u32) {
        let (row, column) = (index as u32 / self.columns, index as u32 % self.columns);
        (MARGIN + column * (self.cell.width + GAP.0), MARGIN + row * (self.cell.height + GAP.1))
    }
}

/// The length of `count` things in a row with gaps between them.
fn extent(count: u32, length: u32, gap: u32) -> u32 {
    count * length + count.saturating_sub(1) * gap
}

/// The number of columns that brings the page nearest to a landscape page (3:2) and leaves few places
/// empty.
fn best_columns(count: u32, cell: Size) -> u32 {
    const WIDEST: u32 = 2600;
    let cost = |columns: u32| {
        let rows = count.div_ceil(columns);
        let aspect =
            f64::from(extent(columns, cell.width, GAP.0)) / f64::from(extent(rows, cell.height, GAP.1));
        let empty = f64::from(columns * rows - count) / f64::from(count);
        (aspect / 1.5).ln().abs() + empty
    };
    let fitting =
        (1..=count).filter(|columns| *columns == 1 || extent(*columns, cell.width, GAP.0) <= WIDEST);
    fitting.min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or(1)
}

fn lines_height(lines: usize, size: f32) -> u32 {
    (lines as f32 * size * text::LINE_HEIGHT).ceil() as u32
}

/// Words, picture and a hairline around it. Titles stand on the picture, so that one line and two lines both
/// touch it.
fn draw_cell(page: &mut RgbImage, layout: &Layout, (x, y): (u32, u32), cell: &Cell, picture: &RgbImage) {
    let top = y + layout.title_height;
    let title_top = top - WORD_GAP - lines_height(cell.title.len(), TITLE);
    draw_lines(page, &cell.title, (x, title_top), TITLE, INK);
    imageops::replace(page, picture, i64::from(x), i64::from(top));
    frame(page, Area { x, y: top, width: picture.width(), height: picture.height() }, LINE);
    draw_lines(page, &cell.notes, (x, top + picture.height() + WORD_GAP), NOTE, QUIET_INK);
}

fn draw_lines(page: &mut RgbImage, lines: &[String], (x, y): (u32, u32), size: f32, color: Rgb<u8>) {
    let height = size * text::LINE_HEIGHT;
    let mut baseline = y as f32 + (height + text::CAP_HEIGHT * size) / 2.0;
    for line in lines {
        text::draw(page, line, (x as f32, baseline), size, color);
        baseline += height;
    }
}

/// The photo in pale grey with a map's evidence as ink over it.
fn tinted(small: &RgbImage, map: &ConceptMap, scale: Option<f32>) -> RgbImage {
    let mut picture = paled(small);
    let resampled = Resampled::new(map, Size::new(small.width(), small.height()));
    if let Some(scale) = scale {
        let table = ColorTable::new(&RenderOptions::signed(), scale);
        each_pixel(&mut picture, &resampled, |pixel, evidence| {
            let Some(entry) = table.entry(evidence) else { return };
            for (channel, ink) in pixel.iter_mut().zip(entry.color) {
                *channel = (u16::from(*channel) * u16::from(ink) / 255) as u8;
            }
        });
    }
    let (columns, rows) = (resampled.covered_columns(), resampled.covered_rows());
    if is_partial(&picture, &columns, &rows) {
        mark_outside(&mut picture, columns, rows, RenderOptions::default().paleness_outside);
    }
    picture
}

/// Grey between light grey and white: enough contrast for outlines, and light enough for colour.
fn paled(photo: &RgbImage) -> RgbImage {
    const DARKEST: u32 = 120;
    let mut picture = photo.clone();
    for pixel in picture.pixels_mut() {
        let [r, g, b] = pixel.0.map(u32::from);
        // Rec. 709's weights of the three colours in brightness.
        let grey = (r * 2126 + g * 7152 + b * 722) / 10_000;
        *pixel = Rgb([(DARKEST + grey * (255 - DARKEST) / 255) as u8; 3]);
    }
    picture
}

fn bar_height() -> u32 {
    lines_height(1, NOTE) + 6 + BAR.1 + 6 + lines_height(1, NOTE)
}

/// The colour bar: what it measures, the colours, and three ticks; one tick and no colour where no map has
/// any evidence.
fn draw_bar(page: &mut RgbImage, (x, y): (u32, u32), scale: Option<f32>) {
    draw_lines(page, &["evidence (logits)".to_owned()], (x, y), NOTE, INK);
    let area = Area { x, y: y + lines_height(1, NOTE) + 6, width: BAR.0, height: BAR.1 };
    for column in 0..area.width {
        let evidence = f64::from(column) / f64::from(area.width - 1) * 2.0 - 1.0;
        let evidence = if scale.is_some() { evidence } else { 0.0 };
        let color = Rgb(ColorMap::BlueOrange.color(evidence));
        fill(page, Area { x: x + column, width: 1, ..area }, color, 1.0);
    }
    frame(page, area, LINE);
    let top = area.bottom() + 6;
    let mut tick = |label: &str, at: u32, share: f32| {
        fill(page, Area { x: at, y: area.bottom() + 1, width: 1, height: 4 }, QUIET_INK, 1.0);
        let left = at as f32 - text::width(label, NOTE) * share;
        let baseline = top as f32 + (text::LINE_HEIGHT + text::CAP_HEIGHT) / 2.0 * NOTE;
        text::draw(page, label, (left, baseline), NOTE, QUIET_INK);
    };
    tick("0", x + area.width / 2, 0.5);
    if let Some(scale) = scale {
        tick(&format!("−{} against", number(scale)), x, 0.0);
        tick(&format!("for +{}", number(scale)), area.right() - 1, 1.0);
    }
}

/// A number with three significant digits.
fn number(value: f32) -> String {
    let digits = f64::from(value).abs().log10().floor();
    if !(-4.0..6.0).contains(&digits) {
        return format!("{value:.2e}");
    }
    format!("{value:.*}", (2.0 - digits).max(0.0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits() {
        let shown = [0.00123, 0.5, 1.0, 9.876, 42.0, 1234.0, 1e-9, 1e12].map(number);
        assert_eq!(shown, ["0.00123", "0.500", "1.00", "9.88", "42.0", "1234", "1.00e-9", "1.00e12"]);
    }

    #[test]
    fn panels_are_bounded_and_keep_the_aspect() {
        let size = |width, height| fitted(&RgbImage::new(width, height)).dimensions();
        assert_eq!(size(4000, 2000), (480, 240));
        assert_eq!(size(300, 400), (300, 400));
        assert_eq!(size(1, 1), (240, 240));
        assert_eq!(size(3000, 20), (480, 3));
        assert_eq!(size(20, 9000), (1, 480));
    }

    #[test]
    fn columns_make_a_landscape_page_without_holes() {
        let cell = Size::new(480, 420);
        assert_eq!(best_columns(2, cell), 2);
        assert_eq!(best_columns(4, cell), 2);
        assert_eq!(best_columns(6, cell), 3);
        assert_eq!(best_columns(12, cell), 4);
        assert_eq!(best_columns(21, cell), 5);
        assert_eq!(best_columns(5, Size::new(480, 60)), 1, "strips stand above each other");
    }
}
