//! The runs of a region become its outline, its holes and its run-length code.
//!
//! All are read off the region's *edges*, the sides that its pixels share with pixels outside it. Their number
//! grows with the outline and not with the area, so a region of millions of pixels is cheap. The outer line alone needs
//! no list of edges: it is walked from run to run.

use std::ops::Range;

use super::{
    corner::{Corner, direction},
    simplified::simplified,
};
use fieldmark_model::geometry::Size;

/// The pixels of a region, as runs of columns in rows from top to bottom, in each row from left to right. No two
/// runs of a row touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// The photo's size.
    size: Size,
    runs: Vec<(u32, Range<u32>)>,
}

/// A part of the outline, with the region to its right for who walks from start to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    start: Corner,
    end: Corner,
}

/// A run-length code as in COCO: pixels are counted down the first column, then down the next.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RunLengths {
    /// How many pixels are outside, then how many inside, then outside again, and so on.
    pub counts: Vec<u64>,
    /// The photo's height and width.
    pub size: [u32; 2],
}

impl Mask {
    /// # Panics
    /// In tests, if the runs are not in order.
    pub(super) fn new(size: Size, runs: Vec<(u32, Range<u32>)>) -> Self {
        debug_assert!(runs.is_sorted_by_key(|(y, run)| (*y, run.start)));
        Self { size, runs }
    }

    /// The photo's size.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Rows and their columns, from top to bottom and from left to right.
    pub fn runs(&self) -> &[(u32, Range<u32>)] {
        &self.runs
    }

    /// The number of pixels.
    pub fn area(&self) -> u64 {
        self.runs.iter().map(|(_, run)| u64::from(run.end - run.start)).sum()
    }

    /// The columns and rows of the smallest rectangle around it.
    pub(super) fn bounds(&self) -> [Range<u32>; 2] {
        let (first, last) = (self.runs.first(), self.runs.last());
        let down = first.map_or(0, |(y, _)| *y)..last.map_or(0, |(y, _)| y + 1);
        let (mut start, mut end) = (u32::MAX, 0);
        for (_, run) in &self.runs {
            (start, end) = (start.min(run.start), end.max(run.end));
        }
        [start.min(end)..end, down]
    }

    /// The closed lines around the region, the outer one first and then those around its holes, exactly along the
    /// pixels' sides. The outer one is clockwise, the others are not; the first corner is not repeated at the end.
    ///
    /// Pixels that touch at a corner only belong together, so the outer line may pass a corner twice.
    pub fn rings(&self) -> Vec<Vec<Corner>> {
        let mut edges = self.horizontal_edges();
        for (y, run) in &self.runs {
            edges.push(Edge { start: [run.end, *y], end: [run.end, y + 1] });
            edges.push(Edge { start: [run.start, y + 1], end: [run.start, *y] });
        }
        edges.sort_unstable();
        let mut rings = rings(&edges);
        // Only the outer line is clockwise, with a positive area.
        rings.sort_by_key(|line| twice_area(line) <= 0);
        rings
    }

    /// The outer line, with the corners left out that lie within `tolerance` pixels of the line without them
    /// (Douglas and Peucker, 1973).
    pub fn polygon(&self, tolerance: f64) -> Vec<Corner> {
        simplified(&self.outer_line(), tolerance)
    }

    /// The first of the [`rings`](Self::rings).
    fn outer_line(&self) -> Vec<Corner> {
        let Some(leftmost) = (0..self.runs.len()).min_by_key(|index| self.runs[*index].1.start) else {
            return Vec::new();
        };
        let rows = Rows::of(&self.runs);
        let start = Walk { run: leftmost, side: Side::Left };
        let (mut line, mut here) = (Vec::new(), start);
        loop {
            let next = rows.next(here);
            let (from, to) = (rows.column(here), rows.column(next));
            if from != to {
                let height = rows.height(here);
                line.extend([[from, height], [to, height]]);
            }
            if next == start {
                return line;
            }
            here = next;
        }
    }

    /// The run-length code.
    pub fn run_lengths(&self) -> RunLengths {
        let height = u64::from(self.size.height);
        let edges = self.horizontal_edges();
        let across = |edge: &Edge| edge.start[0].min(edge.end[0])..edge.start[0].max(edge.end[0]);
        let changes = edges
            .iter()
            .flat_map(|edge| across(edge).map(move |x| u64::from(x) * height + u64::from(edge.start[1])));
        let mut changes: Vec<u64> = changes.collect();
        changes.sort_unstable();
        let (mut counts, mut before) = (Vec::new(), 0);
        for same in changes.chunk_by(|one, other| one == other) {
            // A column that ends inside is followed by one that begins inside: two changes at one place are none.
            if same.len() % 2 == 1 {
                counts.push(same[0] - before);
                before = same[0];
            }
        }
        if before < self.size.area() || counts.is_empty() {
            counts.push(self.size.area() - before);
        }
        RunLengths { counts, size: [self.size.height, self.size.width] }
    }

    /// The upper and lower sides: to the right above the region, to the left below it.
    fn horizontal_edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        let mut above: &[(u32, Range<u32>)] = &[];
        for row in self.runs.chunk_by(|one, other| one.0 == other.0) {
            let y = row[0].0;
            if let Some((last, _)) = above.first().filter(|(last, _)| last + 1 < y) {
                add_differences(&mut edges, above, &[], last + 1);
                above = &[];
            }
            add_differences(&mut edges, above, row, y);
            above = row;
        }
        if let Some((last, _)) = above.first() {
            add_differences(&mut edges, above, &[], last + 1);
        }
        edges
    }
}

/// A side of a run that the outer line passes, clockwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Upwards.
    Left,
    /// Downwards.
    Right,
}

/// Where the outer line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Walk {
    run: usize,
    side: Side,
}

/// Runs that can be found by their row.
struct Rows<'m> {
    runs: &'m [(u32, Range<u32>)],
    top: u32,
    /// Where the runs of each row begin, from the empty one above the first to where the empty one below the last ends;
    /// nothing where no row has two.
    starts: Vec<usize>,
}

impl<'m> Rows<'m> {
    fn of(runs: &'m [(u32, Range<u32>)]) -> Self {
        let (top, end) = (runs.first().map_or(0, |(y, _)| *y), runs.last().map_or(0, |(y, _)| y + 1));
        if runs.len() == (end - top) as usize {
            return Self { runs, top, starts: Vec::new() };
        }
        let mut starts = Vec::with_capacity((end - top) as usize + 3);
        starts.push(0);
        for (index, (y, _)) in runs.iter().enumerate() {
            starts.resize(starts.len().max((y - top) as usize + 2), index);
        }
        starts.extend([runs.len(); 2]);
        Self { runs, top, starts }
    }

    /// The column of the side.
    fn column(&self, Walk { run, side }: Walk) -> u32 {
        let (_, Range { start, end }) = self.runs[run];
        if side == Side::Left { start } else { end }
    }

    /// The height at which the line leaves the side.
    fn height(&self, Walk { run, side }: Walk) -> u32 {
        self.runs[run].0 + u32::from(side == Side::Right)
    }

    /// The side that the line passes next where every row has one run, which touches those above and below it.
    fn next_of_single(&self, Walk { run, side }: Walk) -> Walk {
        match side {
            Side::Left => {
                run.checked_sub(1).map_or(Walk { run, side: Side::Right }, |run| Walk { run, side })
            }
            Side::Right if run + 1 < self.runs.len() => Walk { run: run + 1, side },
            Side::Right => Walk { run, side: Side::Left },
        }
    }

    /// The side that the line passes next. Pixels that touch at a corner belong together, so a turn to the left comes
    /// first.
    fn next(&self, here: Walk) -> Walk {
        let Walk { run, side } = here;
        if self.starts.is_empty() {
            return self.next_of_single(here);
        }
        let (y, Range { start, end }) = &self.runs[run];
        let x = self.column(here);
        // Of the rows from the empty one on, the next above or below.
        let row = (y - self.top) as usize + if side == Side::Left { 0 } else { 2 };
        let beside = &self.runs[self.starts[row]..self.starts[row + 1]];
        let place = beside.partition_point(|(_, other)| other.end < x);
        let at = |place: usize, side| Walk { run: self.starts[row] + place, side };
        let is_beside = |run: &(u32, Range<u32>)| run.0 == *y;
        let on = beside.get(place).filter(|(_, other)| other.start <= x);
        match (side, on) {
            // Up the run above, or before that to the left along it as far as the neighbour.
            (Side::Left, Some((_, above))) => match run.checked_sub(1).map(|before| &self.runs[before]) {
                Some(before) if is_beside(before) && before.1.end >= above.start => {
                    Walk { run: run - 1, side: Side::Right }
                }
                _ => at(place, Side::Left),
            },
            (Side::Left, None) => match beside.get(place) {
                Some((_, above)) if above.start <= *end => at(place, Side::Left),
                _ => Walk { run, side: Side::Right },
            },
            (Side::Right, Some((_, below))) => match self.runs.get(run + 1) {
                Some(after) if is_beside(after) && after.1.start <= below.end => {
                    Walk { run: run + 1, side: Side::Left }
                }
                _ => at(place, Side::Right),
            },
            (Side::Right, None) => match place.checked_sub(1) {
                Some(place) if beside[place].1.end >= *start => at(place, Side::Right),
                _ => Walk { run, side: Side::Left },
            },
        }
    }
}

/// Adds the edges between two rows of runs that meet at height `y`.
fn add_differences(edges: &mut Vec<Edge>, above: &[(u32, Range<u32>)], below: &[(u32, Range<u32>)], y: u32) {
    let ends = |runs: &[(u32, Range<u32>)], sign: i32| -> Vec<(u32, i32)> {
        runs.iter().flat_map(|(_, run)| [(run.start, sign), (run.end, -sign)]).collect()
    };
    let mut ends = [ends(above, -1), ends(below, 1)].concat();
    ends.sort_unstable();
    // 1 where only the row below is inside, -1 where only the row above is.
    let mut side = 0;
    for pair in ends.windows(2) {
        side += pair[0].1;
        let (left, right) = ([pair[0].0, y], [pair[1].0, y]);
        match side {
            _ if left == right => {}
            1 => edges.push(Edge { start: left, end: right }),
            -1 => edges.push(Edge { start: right, end: left }),
            _ => {}
        }
    }
}

/// Walks along sorted edges until every one was passed. Where two lead on, the left one joins the pixels that touch
/// at that corner.
fn rings(edges: &[Edge]) -> Vec<Vec<Corner>> {
    let mut passed = vec![false; edges.len()];
    let mut rings = Vec::new();
    for first in 0..edges.len() {
        let (mut line, mut index): (Vec<Corner>, _) = (Vec::new(), first);
        while !passed[index] {
            passed[index] = true;
            let edge = edges[index];
            line.push(edge.start);
            let start = edges.partition_point(|other| other.start < edge.end);
            let next = (start..edges.len()).take_while(|next| edges[*next].start == edge.end);
            match next.filter(|next| !passed[*next]).min_by_key(|next| turn(edge, edges[*next])) {
                Some(next) => index = next,
                None => break,
            }
        }
        if !line.is_empty() {
            rings.push(without_straight_corners(line));
        }
    }
    rings
}

/// Below 0 for a turn to the left, above 0 for one to the right.
fn turn(from: Edge, to: Edge) -> i64 {
    cross(direction(from.start, from.end), direction(to.start, to.end)).signum()
}

fn cross(one: [i64; 2], other: [i64; 2]) -> i64 {
    one[0] * other[1] - one[1] * other[0]
}

fn without_straight_corners(line: Vec<Corner>) -> Vec<Corner> {
    let count = line.len();
    let is_corner = |index: &usize| {
        let (before, here, after) =
            (line[(index + count - 1) % count], line[*index], line[(index + 1) % count]);
        cross(direction(before, here), direction(here, after)) != 0
    };
    (0..count).filter(is_corner).map(|index| line[index]).collect()
}

/// Twice the area inside a closed line, in pixels; positive if it is clockwise.
fn twice_area(line: &[Corner]) -> i64 {
    let next = line.iter().cycle().skip(1);
    let wide = |corner: &Corner| corner.map(i64::from);
    line.iter().zip(next).map(|(one, other)| cross(wide(one), wide(other))).sum()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::regions::simplified::Chord;

    /// The mask of the `#` in some rows of text.
    fn mask(rows: &[&str]) -> Mask {
        let mut runs = Vec::new();
        for (y, row) in rows.iter().enumerate() {
            let inside: Vec<u32> =
                (0..row.len() as u32).filter(|x| row.as_bytes()[*x as usize] == b'#').collect();
            for run in inside.chunk_by(|one, other| one + 1 == *other) {
                runs.push((y as u32, run[0]..run[run.len() - 1] + 1));
            }
        }
        Mask::new(Size::new(rows[0].len() as u32, rows.len() as u32), runs)
    }

    /// The pixels behind a run-length code, row by row.
    fn decoded(code: &RunLengths) -> Vec<bool> {
        let [height, width] = code.size.map(|side| side as usize);
        let down = code.counts.iter().enumerate();
        let down: Vec<bool> = down.flat_map(|(index, count)| vec![index % 2 == 1; *count as usize]).collect();
        assert_eq!(down.len(), width * height);
        (0..width * height).map(|at| down[at % width * height + at / width]).collect()
    }

    #[test]
    fn a_ring_of_pixels_has_an_outer_line_and_a_hole() {
        let around = mask(&[".....", ".###.", ".#.#.", ".###.", "....."]);
        assert_eq!(
            around.rings(),
            [vec![[1, 1], [4, 1], [4, 4], [1, 4]], vec![[2, 2], [2, 3], [3, 3], [3, 2]],]
        );
        assert_eq!(around.polygon(0.0), [[1, 1], [4, 1], [4, 4], [1, 4]]);
    }

    #[test]
    fn pixels_that_touch_at_a_corner_have_one_outer_line() {
        let both = mask(&["#.", ".#"]);
        assert_eq!(both.rings(), [vec![[0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [1, 2], [1, 1], [0, 1]]]);
    }

    #[test]
    fn rings_have_the_areas_of_the_pixels_and_the_code_gives_them_back() {
        let shapes: [&[&str]; 6] = [
            &["#"],
            &["###", "###"],
            &["#..#", "####", "#..#", "####"],
            &[".##..", "##.#.", ".###.", "...##"],
            &["#.#.#", ".#.#.", "#.#.#"],
            &["....", ".#..", "....", "...."],
        ];
        for rows in shapes {
            let mask = mask(rows);
            let area: i64 = mask.rings().iter().map(|line| twice_area(line)).sum();
            assert_eq!(area, 2 * mask.area() as i64, "{rows:?}");
            assert_eq!(mask.rings().iter().filter(|line| twice_area(line) > 0).count(), 1, "{rows:?}");
            let expected: Vec<bool> = rows.concat().bytes().map(|pixel| pixel == b'#').collect();
            assert_eq!(decoded(&mask.run_lengths()), expected, "{rows:?}");
        }
    }

    #[test]
    fn a_simple_outline_is_near_the_exact_one() {
        // A disc of radius 40: its outline has a corner for nearly every row.
        let rows = (0..81_u32).map(|y| {
            let half = (1600.0 - (f64::from(y) - 40.0).powi(2)).sqrt() as u32;
            (y, 40 - half..41 + half)
        });
        let disc = Mask::new(Size::new(81, 81), rows.collect());
        let (exact, simple) = (disc.rings().remove(0), disc.polygon(1.0));
        assert!(simple.len() * 4 < exact.len(), "{} of {} corners", simple.len(), exact.len());
        let areas = [&exact, &simple].map(|line| twice_area(line) as f64);
        assert!((areas[1] / areas[0] - 1.0).abs() < 0.05, "{areas:?}");
        let off = exact.iter().map(|corner| {
            let lines = simple.iter().zip(simple.iter().cycle().skip(1));
            lines.map(|(from, to)| Chord::new(*from, *to).distance(*corner)).fold(f64::INFINITY, f64::min)
        });
        assert!(off.fold(0.0, f64::max) <= 1.0);
    }

    /// A connected region of any shape: runs that grow from row to row, with holes and corners that touch.
    fn any_region(random: &mut ChaCha8Rng) -> Mask {
        let size = Size::new(random.random_range(1..40), random.random_range(1..40));
        let filled = random.random_range(0.3..1.0);
        let pixels: Vec<f32> =
            (0..size.area()).map(|_| if random.random_bool(filled) { 1.0 } else { 0.0 }).collect();
        let map = crate::regions::reading::tests::pixels(size.width as usize, &pixels);
        let found = crate::regions::instances(&map, crate::regions::Threshold::Peak(1.0));
        found.into_iter().next().map_or(Mask::new(size, vec![(0, 0..1)]), |instance| instance.mask)
    }

    /// What [`simplified`] is by definition.
    fn simplified_by_all_distances(line: &[Corner], tolerance: f64) -> Vec<Corner> {
        fn cut(line: &[Corner], tolerance: f64) -> Vec<Corner> {
            let (first, last) = (line[0], line[line.len() - 1]);
            let chord = Chord::new(first, last);
            let far = |place: usize| chord.distance(line[place]);
            let furthest = (1..line.len() - 1).max_by(|one, other| far(*one).total_cmp(&far(*other)));
            match furthest.filter(|place| far(*place) > tolerance) {
                Some(place) => [cut(&line[..=place], tolerance), cut(&line[place..], tolerance)].concat(),
                None => vec![first],
            }
        }
        let closed: Vec<Corner> = line.iter().chain(line.first()).copied().collect();
        let distance =
            |corner: &Corner| direction(closed[0], *corner).map(|side| side * side).iter().sum::<i64>();
        let middle = (0..closed.len()).max_by_key(|place| distance(&closed[*place])).unwrap();
        [cut(&closed[..=middle], tolerance), cut(&closed[middle..], tolerance)].concat()
    }

    #[test]
    fn the_outer_line_is_the_first_ring_and_its_corners_are_those_of_all_distances() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for case in 0..600 {
            let mask = any_region(&mut random);
            let (outer, rings) = (mask.outer_line(), mask.rings());
            assert_eq!(outer, rings[0], "case {case}");
            for tolerance in [0.0, 0.5, 1.0, 3.0] {
                let expected = simplified_by_all_distances(&outer, tolerance);
                assert_eq!(mask.polygon(tolerance), expected, "case {case}, tolerance {tolerance}");
            }
        }
    }
}
