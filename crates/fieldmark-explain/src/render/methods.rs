//! Several methods' maps of several prompts on one photo become one figure: methods by rows, prompts by columns.
//!
//! Methods have units of their own, so that each row has a scale of its own, which stands beside it. The colours and
//! the pale photo under them are the [sheet](super::sheet())'s.

use image::{RgbImage, imageops};

use super::Scale;
use super::canvas::{Area, frame};
use super::figure::{
    INK, LINE, NOTE, PAPER, QUIET_INK, TITLE, draw_colors, draw_lines, fitted, lines_height, number, tinted,
};
use super::{colormap::Sign, text};
use crate::attribution::ConceptMap;

/// The words above one column.
#[derive(Clone, Debug)]
pub struct MethodColumn {
    /// The prompt. Up to two lines, then an ellipsis.
    pub title: String,
    /// Below it, quieter: its numbers.
    pub notes: Vec<String>,
}

/// One method's maps.
#[derive(Clone, Debug)]
pub struct MethodRow<'map> {
    /// The method.
    pub title: String,
    /// What its maps show; wraps.
    pub note: String,
    /// What its maps count, after the number that the last colour stands for.
    pub unit: String,
    /// A map a column.
    pub maps: Vec<&'map ConceptMap>,
}

/// White around everything.
const MARGIN: u32 = 36;
/// White between neighbouring pictures.
const GAP: u32 = 16;
/// White between a picture and the words beside or above it.
const WORD_GAP: u32 = 12;
/// The width of the words beside a row, and of the photo above them.
const LABEL: u32 = 230;
/// A picture's long side: as large as the widest page allows, within these bounds.
const SIDES: (u32, u32) = (150, 260);
/// The widest page.
const WIDEST: u32 = 2400;
/// Blocks of rows side by side, at most.
const MOST_BLOCKS: usize = 3;
/// How many lines the note beside a row may have.
const MOST_NOTE_LINES: usize = 4;

/// One figure: the photo and the prompts on top, then a row a method. Many methods stand in two or three blocks side by
/// side, so that the page is not a strip.
///
/// Within a row equal values have equal colours; between rows they have not. A map that is nowhere above zero is
/// labelled so.
pub fn methods(photo: &RgbImage, columns: &[MethodColumn], rows: &[MethodRow]) -> RgbImage {
    let small = fitted(photo, side(columns.len()), side(columns.len()));
    let count = blocks(columns.len(), rows.len(), small.height());
    let blocks: Vec<_> = if rows.is_empty() {
        vec![block(photo, columns, rows, &small)]
    } else {
        let each = rows.chunks(rows.len().div_ceil(count));
        each.map(|rows| block(photo, columns, rows, &small)).collect()
    };
    let width = blocks.iter().map(RgbImage::width).sum();
    let tallest = blocks.iter().map(RgbImage::height).max().unwrap_or(0);
    let mut page = RgbImage::from_pixel(width, tallest + key_height() + MARGIN, PAPER);
    let mut left = 0;
    for block in &blocks {
        imageops::replace(&mut page, block, left, 0);
        left += i64::from(block.width());
    }
    draw_key(&mut page, tallest);
    page
}

/// How many blocks side by side bring the page nearest to a landscape page (3:2), and are not too wide together.
fn blocks(columns: usize, rows: usize, picture_height: u32) -> usize {
    let width = f64::from(2 * MARGIN + LABEL + (side(columns) + GAP) * columns as u32);
    let cost = |blocks: usize| {
        let height = f64::from(picture_height + GAP) * rows.div_ceil(blocks).max(1) as f64;
        (width * blocks as f64 / height / 1.5).ln().abs()
    };
    let fits = |blocks: &usize| *blocks == 1 || width * *blocks as f64 <= f64::from(WIDEST);
    (1..=MOST_BLOCKS).filter(fits).min_by(|one, other| cost(*one).total_cmp(&cost(*other))).unwrap_or(1)
}

fn block(photo: &RgbImage, columns: &[MethodColumn], rows: &[MethodRow], small: &RgbImage) -> RgbImage {
    let layout = Layout::of(photo, small, columns, rows);
    let mut page = RgbImage::from_pixel(layout.width(columns.len()), layout.height, PAPER);
    draw_top(&mut page, &layout, photo, columns);
    for (row, top) in rows.iter().zip(&layout.row_tops) {
        draw_row(&mut page, &layout, (row, *top), small);
    }
    page
}

/// The long side of a picture.
fn side(columns: usize) -> u32 {
    let room = WIDEST.saturating_sub(2 * MARGIN + LABEL + GAP) / (columns.max(1) as u32);
    room.saturating_sub(GAP).clamp(SIDES.0, SIDES.1)
}

struct Layout {
    /// Of one picture.
    picture: (u32, u32),
    /// From the left of one column to the left of the next.
    stride: u32,
    /// The words of the columns, in lines.
    titles: Vec<Vec<String>>,
    notes: Vec<Vec<String>>,
    /// Where the pictures of the first row begin.
    top: u32,
    row_tops: Vec<u32>,
    height: u32,
}

impl Layout {
    fn of(photo: &RgbImage, small: &RgbImage, columns: &[MethodColumn], rows: &[MethodRow]) -> Self {
        let picture = small.dimensions();
        let room = picture.0.max(SIDES.0);
        let wrapped = |words: &str, size: f32| text::wrap(words, size, room as f32, 2);
        let titles: Vec<_> = columns.iter().map(|column| wrapped(&column.title, TITLE)).collect();
        let notes: Vec<Vec<String>> = columns
            .iter()
            .map(|column| column.notes.iter().flat_map(|note| wrapped(note, NOTE)).collect())
            .collect();
        let tallest = |lines: &[Vec<String>]| lines.iter().map(Vec::len).max().unwrap_or(0);
        let words = lines_height(tallest(&titles), TITLE) + lines_height(tallest(&notes), NOTE);
        let top = MARGIN + words.max(fitted(photo, LABEL, LABEL).height()) + WORD_GAP;
        let mut y = top;
        let mut row_tops = Vec::with_capacity(rows.len());
        for row in rows {
            row_tops.push(y);
            y += picture.1.max(label_height(row)) + blank_height(row) + GAP;
        }
        Self { picture, stride: room + GAP, titles, notes, top, row_tops, height: y + GAP }
    }

    fn width(&self, columns: usize) -> u32 {
        self.left(columns) - GAP + MARGIN
    }

    /// Where a column begins.
    fn left(&self, column: usize) -> u32 {
        MARGIN + LABEL + GAP + self.stride * column as u32
    }
}

fn label_lines(row: &MethodRow) -> [Vec<String>; 3] {
    let room = LABEL as f32;
    let scale = match row_scale(row) {
        Some(scale) => format!("± {} {}", number(scale), row.unit),
        None => "no evidence".to_owned(),
    };
    [
        text::wrap(&row.title, TITLE, room, 2),
        text::wrap(&scale, NOTE, room, 2),
        text::wrap(&row.note, NOTE, room, MOST_NOTE_LINES),
    ]
}

fn label_height(row: &MethodRow) -> u32 {
    let [title, scale, note] = label_lines(row);
    lines_height(title.len(), TITLE) + lines_height(scale.len() + note.len(), NOTE)
}

/// Room for the words below maps that are nowhere above zero.
fn blank_height(row: &MethodRow) -> u32 {
    if row.maps.iter().any(|map| map.max() <= 0.0) { lines_height(1, NOTE) + WORD_GAP / 2 } else { 0 }
}

/// The value that gets the last colour; none if no map of the row has any.
fn row_scale(row: &MethodRow) -> Option<f32> {
    row.maps.iter().filter_map(|map| Scale::Own.of(map, Sign::Both)).reduce(f32::max)
}

/// The photo, and the prompts beside it, standing on the first row.
fn draw_top(page: &mut RgbImage, layout: &Layout, photo: &RgbImage, columns: &[MethodColumn]) {
    let label = fitted(photo, LABEL, LABEL);
    let top = layout.top - WORD_GAP - label.height();
    imageops::replace(page, &label, i64::from(MARGIN), i64::from(top));
    frame(page, Area { x: MARGIN, y: top, width: label.width(), height: label.height() }, LINE);
    for column in 0..columns.len() {
        let (titles, notes) = (&layout.titles[column], &layout.notes[column]);
        let left = layout.left(column);
        let notes_top = layout.top - WORD_GAP - lines_height(notes.len(), NOTE);
        draw_lines(page, titles, (left, notes_top - lines_height(titles.len(), TITLE)), TITLE, INK);
        draw_lines(page, notes, (left, notes_top), NOTE, QUIET_INK);
    }
}

fn draw_row(page: &mut RgbImage, layout: &Layout, (row, top): (&MethodRow, u32), small: &RgbImage) {
    let [title, scale, note] = label_lines(row);
    let below_title = top + lines_height(title.len(), TITLE);
    draw_lines(page, &title, (MARGIN, top), TITLE, INK);
    draw_lines(page, &scale, (MARGIN, below_title), NOTE, INK);
    draw_lines(page, &note, (MARGIN, below_title + lines_height(scale.len(), NOTE)), NOTE, QUIET_INK);
    let (width, height) = layout.picture;
    for (column, map) in row.maps.iter().enumerate() {
        let x = layout.left(column);
        imageops::replace(
            page,
            &tinted(small, map, row_scale(row), Sign::Both),
            i64::from(x),
            i64::from(top),
        );
        frame(page, Area { x, y: top, width, height }, LINE);
        if map.max() <= 0.0 {
            let words = ["no positive evidence".to_owned()];
            draw_lines(page, &words, (x, top + height + WORD_GAP / 2), NOTE, QUIET_INK);
        }
    }
}

const KEY: (u32, u32) = (230, 14);

fn key_height() -> u32 {
    lines_height(2, NOTE) + KEY.1
}

/// What the colours mean.
fn draw_key(page: &mut RgbImage, top: u32) {
    let area = Area { x: MARGIN, y: top + lines_height(1, NOTE) / 4, width: KEY.0, height: KEY.1 };
    draw_colors(page, area, true, Sign::Both);
    let words = [
        "against the prompt, none, for it. Each row has its own scale:".to_owned(),
        "the last colours are the values beside its name.".to_owned(),
    ];
    draw_lines(page, &words, (MARGIN + KEY.0 + GAP, top), NOTE, QUIET_INK);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_methods_stand_side_by_side_and_few_do_not() {
        assert_eq!([1, 3, 10, 20].map(|rows| blocks(3, rows, 195)), [1, 1, 2, 2]);
        assert_eq!(blocks(1, 20, 195), 3);
        assert_eq!(blocks(8, 20, 195), 1);
    }

    #[test]
    fn pictures_shrink_where_prompts_are_many() {
        assert_eq!([1, 3, 10, 100].map(side), [260, 260, 192, 150]);
    }
}
