//! The maps of several prompts on one photo become one figure: small multiples on one shared signed scale.
//!
//! The photo comes first, then a panel a prompt, in the order given. One colour bar gives the scale and its unit. A
//! strip is the same in one row: one prompt's map as something changes, such as the strength.

use image::{RgbImage, imageops};

use super::canvas::{Area, frame};
use super::colormap::Sign;
use super::figure::{
    BAR, GAP, INK, LINE, LONGEST_PANEL, MARGIN, NARROWEST_CELL, NOTE, PAPER, QUIET_INK, SHORTEST_PANEL,
    TITLE, WORD_GAP, bar_height, draw_bar, draw_lines, fitted, lines_height, tinted,
};
use super::{Scale, text};
use crate::attribution::ConceptMap;
use fieldmark_model::geometry::Size;

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

/// How many lines a title or a note may have.
const MOST_LINES: usize = 2;
/// A page is wider only if a single panel is, or so many stand in one row.
const WIDEST: u32 = 2600;

/// One figure: the photo, then every prompt's map over it, all on one scale, with a colour bar in the maps' `unit`.
///
/// Equal evidence has equal colour in every panel. [`Scale::Own`] takes the largest absolute value of all
/// the maps. Panels are at most 480 pixels on their long side, for any size of photo. A map without
/// positive evidence is labelled so.
pub fn sheet(photo: &RgbImage, panels: &[Panel], scale: Scale, unit: &str) -> RgbImage {
    let size = format!("{} × {} pixels", photo.width(), photo.height());
    draw(photo, &[size], panels, (scale, unit), Rows::Many)
}

/// A [`sheet`] in one row, with words of the caller's below the photo. Panels become smaller, down to 240 pixels on
/// their long side, so that the row is no wider than a sheet.
pub fn strip(photo: &RgbImage, words: &[String], panels: &[Panel], scale: Scale, unit: &str) -> RgbImage {
    draw(photo, words, panels, (scale, unit), Rows::One)
}

/// How many rows of panels a figure may have.
#[derive(Clone, Copy, PartialEq)]
enum Rows {
    One,
    Many,
}

fn draw(
    photo: &RgbImage,
    words: &[String],
    panels: &[Panel],
    (scale, unit): (Scale, &str),
    rows: Rows,
) -> RgbImage {
    let scale = shared_scale(panels, scale);
    let longest = match rows {
        Rows::Many => LONGEST_PANEL,
        Rows::One => longest_in_row(1 + panels.len()),
    };
    let small = fitted(photo, SHORTEST_PANEL, longest);
    let cells = cells(&small, words, panels);
    let columns = match rows {
        Rows::Many => best_columns(&cells, cell_width(&small), small.height()),
        Rows::One => cells.len(),
    };
    let layout = Layout::of(&small, &cells, columns);
    let mut page = RgbImage::from_pixel(layout.page.width, layout.page.height, PAPER);
    for (index, cell) in cells.iter().enumerate() {
        let picture = match index.checked_sub(1) {
            Some(panel) => tinted(&small, panels[panel].map, scale, Sign::Both),
            None => small.clone(),
        };
        draw_cell(&mut page, layout.picture_corner(index), cell, &picture);
    }
    draw_bar(&mut page, layout.bar, (scale, unit), Sign::Both);
    page
}

/// The long side of a panel if so many are to stand in one row.
fn longest_in_row(count: usize) -> u32 {
    let gaps = GAP.0.saturating_mul(count as u32);
    (WIDEST.saturating_sub(gaps) / (count as u32).max(1)).clamp(SHORTEST_PANEL, LONGEST_PANEL)
}

/// The evidence in logits that gets the last colour; none if no map has any.
fn shared_scale(panels: &[Panel], scale: Scale) -> Option<f32> {
    let own = |panel: &Panel| scale.of(panel.map, Sign::Both);
    panels.iter().filter_map(own).reduce(f32::max)
}

/// The words of one cell, broken into lines.
struct Cell {
    title: Vec<String>,
    notes: Vec<String>,
}

fn cells(small: &RgbImage, words: &[String], panels: &[Panel]) -> Vec<Cell> {
    let room = cell_width(small) as f32;
    let wrapped = |words: &str, size: f32| text::wrap(words, size, room, MOST_LINES);
    let notes = words.iter().flat_map(|words| wrapped(words, NOTE)).collect();
    let first = Cell { title: wrapped("Photo", TITLE), notes };
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
    fn of(small: &RgbImage, cells: &[Cell], columns: usize) -> Self {
        let cell_width = cell_width(small);
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

/// Words, picture and a hairline around it. Titles stand on the picture, so that one line and two lines both
/// touch it.
fn draw_cell(page: &mut RgbImage, (x, y): (u32, u32), cell: &Cell, picture: &RgbImage) {
    let title_top = y.saturating_sub(WORD_GAP + lines_height(cell.title.len(), TITLE));
    draw_lines(page, &cell.title, (x, title_top), TITLE, INK);
    imageops::replace(page, picture, i64::from(x), i64::from(y));
    frame(page, Area { x, y, width: picture.width(), height: picture.height() }, LINE);
    draw_lines(page, &cell.notes, (x, y + picture.height() + WORD_GAP), NOTE, QUIET_INK);
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_row_of_many_has_smaller_panels() {
        assert_eq!([1, 4, 8, 40].map(longest_in_row), [480, 480, 293, 240]);
    }
}
