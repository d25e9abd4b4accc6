//! The maps of several prompts on one photo become one figure: small multiples on one shared signed scale.
//!
//! The photo comes first, then a panel a prompt, in the order given. Under the maps the photo is grey and
//! pale, and colour is laid over it as ink over paper (multiplied), so that its outlines stay readable at
//! every strength and only the evidence has colour. One colour bar gives the scale.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::canvas::{Area, fill, frame, mark_outside};
use super::colormap::{ColorMap, ColorTable, Entry, Sign};
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

pub(super) const PAPER: Rgb<u8> = Rgb([255; 3]);
pub(super) const INK: Rgb<u8> = Rgb([24; 3]);
pub(super) const QUIET_INK: Rgb<u8> = Rgb([96; 3]);
pub(super) const LINE: Rgb<u8> = Rgb([190; 3]);

/// Type sizes in pixels per em.
pub(super) const TITLE: f32 = 18.0;
pub(super) const NOTE: f32 = 14.0;

/// White around everything.
const MARGIN: u32 = 36;
/// White between neighbouring panels.
const GAP: (u32, u32) = (32, 36);
/// White between a picture and the words above or below it.
const WORD_GAP: u32 = 10;
/// A panel's long side is at most this; a larger photo is made smaller.
pub const LONGEST_PANEL: u32 = 480;
/// A panel's long side is at least this; a smaller photo is made larger.
const SHORTEST_PANEL: u32 = 240;
/// Words have at least this width, however narrow the photo is.
const NARROWEST_CELL: u32 = 240;
/// The colour bar's width and height.
const BAR: (u32, u32) = (300, 14);
/// How many lines a title or a note may have.
const MOST_LINES: usize = 2;

/// One figure: the photo, then every prompt's map over it, all on one scale, with a colour bar in the maps' `unit`.
///
/// Equal evidence has equal colour in every panel. [`Scale::Own`] takes the largest absolute value of all
/// the maps. Panels are at most 480 pixels on their long side, whatever the photo's size. A map without
/// positive evidence is labelled so.
pub fn sheet(photo: &RgbImage, panels: &[Panel], scale: Scale, unit: &str) -> RgbImage {
    let scale = shared_scale(panels, scale);
    let small = fitted(photo, SHORTEST_PANEL, LONGEST_PANEL);
    let cells = cells(photo, &small, panels);
    let layout = Layout::of(&small, &cells);
    let mut page = RgbImage::from_pixel(layout.page.width, layout.page.height, PAPER);
    for (index, cell) in cells.iter().enumerate() {
        let picture = match index.checked_sub(1) {
            Some(panel) => tinted(&small, panels[panel].map, scale),
            None => small.clone(),
        };
        draw_cell(&mut page, layout.picture_corner(index), cell, &picture);
    }
    draw_bar(&mut page, layout.bar, scale, unit);
    page
}

/// The evidence in logits that gets the last colour; none if no map has any.
fn shared_scale(panels: &[Panel], scale: Scale) -> Option<f32> {
    let own = |panel: &Panel| scale.of(panel.map, Sign::Both);
    panels.iter().filter_map(own).reduce(f32::max)
}

/// The photo with a long side within bounds.
pub(super) fn fitted(photo: &RgbImage, shortest: u32, longest: u32) -> RgbImage {
    let long = photo.width().max(photo.height()).max(1);
    let wanted = long.clamp(shortest, longest);
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

/// Where everything goes. Cells are equally wide; a row is as high as its longest words need.
struct Layout {
    page: Size,
    columns: usize,
    cell_width: u32,
    /// For each row, where its pictures begin.
    picture_tops: Vec<u32>,
    /// Top left corner of the colour bar with its words.
    bar: (u32, u32),
}

impl Layout {
    fn of(small: &RgbImage, cells: &[Cell]) -> Self {
        let cell_width = cell_width(small);
        let columns = best_columns(cells, cell_width, small.height());
        let mut picture_tops = Vec::new();
        let mut y = MARGIN;
        for row in cells.chunks(columns) {
            y += title_height(row);
            picture_tops.push(y);
            y += small.height() + notes_height(row) + GAP.1;
        }
        let width = extent(columns, cell_width, GAP.0).max(BAR.0) + 2 * MARGIN;
        let page = Size::new(width, y + bar_height() + MARGIN);
        Self { page, columns, cell_width, picture_tops, bar: (MARGIN, y) }
    }

    /// The top left corner of a cell's picture.
    fn picture_corner(&self, index: usize) -> (u32, u32) {
        let column = (index % self.columns) as u32;
        (MARGIN + column * (self.cell_width + GAP.0), self.picture_tops[index / self.columns])
    }
}

fn title_height(row: &[Cell]) -> u32 {
    lines_height(row.iter().map(|cell| cell.title.len()).max().unwrap_or(0), TITLE) + WORD_GAP
}

fn notes_height(row: &[Cell]) -> u32 {
    lines_height(row.iter().map(|cell| cell.notes.len()).max().unwrap_or(0), NOTE) + WORD_GAP
}

/// The length of `count` things in a row with gaps between them.
fn extent(count: usize, length: u32, gap: u32) -> u32 {
    let count = count as u32;
    count * length + count.saturating_sub(1) * gap
}

/// The number of columns that brings the page nearest to a landscape page (3:2) and leaves few places
/// empty.
fn best_columns(cells: &[Cell], cell_width: u32, picture_height: u32) -> usize {
    const WIDEST: u32 = 2600;
    let cell_height = title_height(cells) + picture_height + notes_height(cells);
    let count = cells.len();
    let cost = |columns: usize| {
        let rows = count.div_ceil(columns);
        let aspect =
            f64::from(extent(columns, cell_width, GAP.0)) / f64::from(extent(rows, cell_height, GAP.1));
        let empty = (columns * rows - count) as f64 / count as f64;
        (aspect / 1.5).ln().abs() + empty
    };
    let fits = |columns: &usize| *columns == 1 || extent(*columns, cell_width, GAP.0) <= WIDEST;
    (1..=count).filter(fits).min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or(1)
}

pub(super) fn lines_height(lines: usize, size: f32) -> u32 {
    (lines as f32 * size * text::LINE_HEIGHT).ceil() as u32
}

/// Words, picture and a hairline around it. Titles stand on the picture, so that one line and two lines both
/// touch it.
fn draw_cell(page: &mut RgbImage, (x, y): (u32, u32), cell: &Cell, picture: &RgbImage) {
    let title_top = y.saturating_sub(WORD_GAP + lines_height(cell.title.len(), TITLE));
    draw_lines(page, &cell.title, (x, title_top), TITLE, INK);
    imageops::replace(page, picture, i64::from(x), i64::from(y));
    frame(page, Area { x, y, width: picture.width(), height: picture.height() }, LINE);
    draw_lines(page, &cell.notes, (x, y + picture.height() + WORD_GAP), NOTE, QUIET_INK);
}

pub(super) fn draw_lines(
    page: &mut RgbImage,
    lines: &[String],
    (x, y): (u32, u32),
    size: f32,
    color: Rgb<u8>,
) {
    let height = size * text::LINE_HEIGHT;
    let mut baseline = y as f32 + (height + text::CAP_HEIGHT * size) / 2.0;
    for line in lines {
        text::draw(page, line, (x as f32, baseline), size, color);
        baseline += height;
    }
}

/// The photo in pale grey with a map's evidence as ink over it.
pub(super) fn tinted(small: &RgbImage, map: &ConceptMap, scale: Option<f32>) -> RgbImage {
    let mut picture = paled(small);
    let resampled = Resampled::new(map, Size::new(small.width(), small.height()));
    if let Some(scale) = scale {
        let table = ColorTable::new(&RenderOptions::signed(), scale);
        each_pixel(&mut picture, &resampled, |pixel, evidence| ink_over(pixel, table.entry(evidence)));
    }
    let (columns, rows) = (resampled.covered_columns(), resampled.covered_rows());
    if is_partial(&picture, &columns, &rows) {
        mark_outside(&mut picture, columns, rows, RenderOptions::default().paleness_outside);
    }
    picture
}

/// Lays a colour over a grey pixel as ink over paper. The stronger the evidence the paler the grey becomes
/// first, so that strong evidence looks nearly alike on dark and on light ground.
fn ink_over(pixel: &mut [u8; 3], entry: Entry) {
    let opacity = u32::from(entry.opacity);
    for (channel, ink) in pixel.iter_mut().zip(entry.color) {
        let grey = u32::from(*channel) * (256 - opacity) + 255 * opacity;
        *channel = (grey * u32::from(ink) / (255 * 256)) as u8;
    }
}

/// Grey between light grey and white: enough contrast for outlines, and light enough for colour.
fn paled(photo: &RgbImage) -> RgbImage {
    const DARKEST: u32 = 150;
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
fn draw_bar(page: &mut RgbImage, (x, y): (u32, u32), scale: Option<f32>, unit: &str) {
    draw_lines(page, &[format!("evidence ({unit})")], (x, y), NOTE, INK);
    let area = Area { x, y: y + lines_height(1, NOTE) + 6, width: BAR.0, height: BAR.1 };
    draw_colors(page, area, scale.is_some());
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

/// The colours from the most evidence against to the most for; without any evidence the middle one alone.
pub(super) fn draw_colors(page: &mut RgbImage, area: Area, has_evidence: bool) {
    for column in 0..area.width {
        let evidence = f64::from(column) / f64::from(area.width - 1) * 2.0 - 1.0;
        let evidence = if has_evidence { evidence } else { 0.0 };
        let color = Rgb(ColorMap::BlueOrange.color(evidence));
        fill(page, Area { x: area.x + column, width: 1, ..area }, color, 1.0);
    }
    frame(page, area, LINE);
}

/// A number with three significant digits.
pub(super) fn number(value: f32) -> String {
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
        let fitted = |photo: &RgbImage| fitted(photo, SHORTEST_PANEL, LONGEST_PANEL);
        let size = |width, height| fitted(&RgbImage::new(width, height)).dimensions();
        assert_eq!(size(4000, 2000), (480, 240));
        assert_eq!(size(300, 400), (300, 400));
        assert_eq!(size(1, 1), (240, 240));
        assert_eq!(size(3000, 20), (480, 3));
        assert_eq!(size(20, 9000), (1, 480));
    }

    #[test]
    fn columns_make_a_landscape_page_without_holes() {
        let columns = |count: usize, height: u32| {
            let cell = || Cell { title: vec!["title".to_owned()], notes: vec!["note".to_owned()] };
            let cells: Vec<Cell> = std::iter::repeat_with(cell).take(count).collect();
            best_columns(&cells, 480, height)
        };
        assert_eq!([2, 4, 6, 12, 21].map(|count| columns(count, 320)), [2, 2, 3, 4, 5]);
        assert_eq!(columns(5, 3), 1, "strips stand above each other");
    }
}
