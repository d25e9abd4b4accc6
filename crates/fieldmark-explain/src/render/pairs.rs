//! Every prompt against every other becomes one figure: a table of small maps.
//!
//! The cell in row i and column j shows what speaks for prompt i and not for prompt j; what speaks the other way is in
//! the cell mirrored at the diagonal. Below a map stands by how much prompt i fits better. All maps have one scale.

use image::{RgbImage, imageops};

use super::canvas::{Area, frame};
use super::colormap::Sign;
use super::figure::{
    BAR, INK, LINE, MARGIN, NOTE, PAPER, QUIET_INK, TITLE, WORD_GAP, bar_height, draw_bar, draw_lines,
    fitted, lines_height, paled, tinted,
};
use super::{Scale, text};
use crate::attribution::ConceptMap;

/// One prompt of such a table, with its row.
#[derive(Clone, Debug)]
pub struct PairRow<'map> {
    /// The prompt: beside the row and, again, above the column.
    pub title: String,
    /// A number or two about it, on the diagonal.
    pub note: String,
    /// The signed map against every prompt in turn, with a number; none against itself.
    pub cells: Vec<Option<(String, &'map ConceptMap)>>,
}

/// The width of the words beside a row.
const ROW_TITLE: u32 = 170;
/// White between neighbouring maps.
const SPACE: u32 = 14;
/// How many lines a prompt may have.
const MOST_LINES: usize = 3;
/// What the pictures of a row should have in width, all together.
const WANTED_WIDTH: u32 = 1500;
/// The limits of a picture's long side.
const SIDES: (u32, u32) = (130, 260);

/// One figure with a map in every cell of a table, on one scale of the evidence for the row's prompt, with a colour
/// bar in logits. [`Scale::Own`] takes the largest evidence of all maps.
pub fn pairs(photo: &RgbImage, rows: &[PairRow], scale: Scale, unit: &str) -> RgbImage {
    let maps = || rows.iter().flat_map(|row| row.cells.iter().flatten().map(|(_, map)| *map));
    let scale = maps().filter_map(|map| scale.of(map, Sign::Positive)).reduce(f32::max);
    let side = (WANTED_WIDTH / (rows.len() as u32).max(1)).clamp(SIDES.0, SIDES.1);
    let small = fitted(photo, SIDES.0, side);
    let layout = Layout::of(&small, rows);
    let mut page = RgbImage::from_pixel(layout.width, layout.bar_top + bar_height() + MARGIN, PAPER);
    layout.draw_titles(&mut page);
    let pale = paled(&small);
    for (index, row) in rows.iter().enumerate() {
        for (column, cell) in row.cells.iter().enumerate() {
            let (picture, words, ink) = match cell {
                Some((words, map)) => (&tinted(&small, map, scale, Sign::Positive), words, INK),
                // One photo in its colours is enough to see what the others are of.
                None => (if index == 0 { &small } else { &pale }, &row.note, QUIET_INK),
            };
            let (x, y) = layout.corner(column, index);
            imageops::replace(&mut page, picture, i64::from(x), i64::from(y));
            frame(&mut page, Area { x, y, width: picture.width(), height: picture.height() }, LINE);
            let words = text::wrap(words, NOTE, layout.cell.0 as f32, 1);
            draw_lines(&mut page, &words, (x, y + picture.height() + 2), NOTE, ink);
        }
    }
    draw_bar(&mut page, (MARGIN, layout.bar_top), (scale, unit), Sign::Positive);
    page
}

/// Where everything goes.
struct Layout {
    width: u32,
    /// The prompts' words beside their rows.
    beside: Vec<Vec<String>>,
    /// The prompts' words above their columns.
    above: Vec<Vec<String>>,
    /// The size of a picture.
    cell: (u32, u32),
    /// Where the first row's pictures begin.
    top: u32,
    /// From one row to the next.
    step: u32,
    bar_top: u32,
}

impl Layout {
    fn of(small: &RgbImage, rows: &[PairRow]) -> Self {
        // Narrow photos leave room for a number below them.
        let cell = (small.width().max(96), small.height());
        let wrapped = |width: u32| {
            let titles = rows.iter().map(|row| text::wrap(&row.title, NOTE, width as f32, MOST_LINES));
            titles.collect::<Vec<_>>()
        };
        let (beside, above) = (wrapped(ROW_TITLE), wrapped(cell.0));
        let heading = lines_height(1, TITLE) + lines_height(1, NOTE) + 2 * WORD_GAP;
        let lines = above.iter().map(Vec::len).max().unwrap_or(0);
        let top = MARGIN + heading + lines_height(lines, NOTE) + WORD_GAP;
        let step = cell.1.max(lines_height(MOST_LINES, NOTE)) + lines_height(1, NOTE) + SPACE;
        let count = rows.len() as u32;
        let width = 2 * MARGIN + (ROW_TITLE + count * (cell.0 + SPACE)).max(BAR.0).max(HEADING_WIDTH);
        Self { width, beside, above, cell, top, step, bar_top: top + count * step + WORD_GAP }
    }

    /// The top left corner of a picture.
    fn corner(&self, column: usize, row: usize) -> (u32, u32) {
        let x = MARGIN + ROW_TITLE + SPACE + column as u32 * (self.cell.0 + SPACE);
        (x, self.top + row as u32 * self.step)
    }

    /// The heading, and the prompts beside the rows and above the columns; the latter stand on their pictures.
    fn draw_titles(&self, page: &mut RgbImage) {
        draw_lines(page, &[HEADING.to_owned()], (MARGIN, MARGIN), TITLE, INK);
        let below = MARGIN + lines_height(1, TITLE);
        draw_lines(page, &[EXPLANATION.to_owned()], (MARGIN, below), NOTE, QUIET_INK);
        for (index, lines) in self.beside.iter().enumerate() {
            draw_lines(page, lines, (MARGIN, self.corner(0, index).1), NOTE, INK);
        }
        for (index, lines) in self.above.iter().enumerate() {
            let (x, y) = self.corner(index, 0);
            draw_lines(page, lines, (x, y - 6 - lines_height(lines.len(), NOTE)), NOTE, INK);
        }
    }
}

const HEADING: &str = "What speaks for the prompt of the row, against that of the column";
const EXPLANATION: &str = "below each map: the difference of their logits";
const HEADING_WIDTH: u32 = 560;

#[cfg(test)]
mod tests {
    use super::*;
    use fieldmark_model::geometry::{Grid, Placement, Rect, Size};

    #[test]
    fn a_cell_shows_what_speaks_for_its_row_and_nothing_else() {
        let size = Size::new(260, 260);
        let placement =
            Placement { photo: size, input: size, grid: Grid::new(1, 2), covers: Rect::whole(size) };
        let map = ConceptMap::new(vec![2.0, -2.0], placement);
        let turned = ConceptMap::new(vec![-2.0, 2.0], placement);
        let row = |title: &str, cells| PairRow { title: title.into(), note: "logit 1".into(), cells };
        let rows = [
            row("one", vec![None, Some(("+1.00".to_owned(), &map))]),
            row("other", vec![Some(("−1.00".to_owned(), &turned)), None]),
        ];
        let photo = RgbImage::from_pixel(260, 260, PAPER);
        let page = pairs(&photo, &rows, Scale::Own, "logits");
        let layout = Layout::of(&fitted(&photo, SIDES.0, 260), &rows);
        let at = |column: usize, row: usize, x: u32| {
            let corner = layout.corner(column, row);
            page.get_pixel(corner.0 + x, corner.1 + 130).0
        };
        assert_eq!((at(0, 0, 20), at(1, 1, 240)), (PAPER.0, PAPER.0), "the diagonal has no evidence");
        let is_grey = |[red, green, blue]: [u8; 3]| red == green && green == blue;
        assert!(!is_grey(at(1, 0, 20)));
        assert!(is_grey(at(1, 0, 240)), "evidence against is in the mirrored cell");
        assert_eq!((at(0, 1, 240), at(0, 1, 20)), (at(1, 0, 20), at(1, 0, 240)));
    }
}
