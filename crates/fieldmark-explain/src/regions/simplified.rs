//! A closed line becomes one with fewer corners (Douglas and Peucker, 1973).

use pulp::{Arch, NullaryFnOnce};

use super::corner::{Corner, direction};

/// Corners that are looked at side by side: a vector register's worth of the widest.
const LANES: usize = 8;

/// A closed line with fewer corners: halved at its first corner and the one furthest from it, each half is a line
/// that is cut at its furthest corner as long as that is too far away.
pub(super) fn simplified(line: &[Corner], tolerance: f64) -> Vec<Corner> {
    Arch::new().dispatch(Simplified { line, tolerance })
}

struct Simplified<'l> {
    line: &'l [Corner],
    tolerance: f64,
}

impl NullaryFnOnce for Simplified<'_> {
    type Output = Vec<Corner>;

    #[inline(always)]
    fn call(self) -> Vec<Corner> {
        let Self { line, tolerance } = self;
        let Some(first) = line.first() else { return Vec::new() };
        let closed = [line, &[*first]].concat();
        let distance =
            |corner: &Corner| direction(*first, *corner).map(|side| side * side).iter().sum::<i64>();
        let middle = (0..closed.len()).max_by_key(|index| distance(&closed[*index])).unwrap_or(0);
        let mut kept = vec![false; closed.len()];
        kept[0] = true;
        kept[middle] = true;
        let mut open = vec![(0, middle), (middle, closed.len() - 1)];
        while let Some((from, to)) = open.pop() {
            let chord = Chord::new(closed[from], closed[to]);
            if let Some(place) = chord.furthest(&closed[from + 1..to], tolerance) {
                let furthest = from + 1 + place;
                kept[furthest] = true;
                open.extend([(from, furthest), (furthest, to)]);
            }
        }
        (0..line.len()).filter(|index| kept[*index]).map(|index| line[index]).collect()
    }
}

/// A straight line between two corners.
pub(super) struct Chord {
    from: Corner,
    to: Corner,
    along: [f64; 2],
    length: f64,
}

impl Chord {
    pub(super) fn new(from: Corner, to: Corner) -> Self {
        let along = direction(from, to).map(|x| x as f64);
        Self { from, to, along, length: norm(along) }
    }

    /// Which of some corners is furthest away, the last one of several; none if none is further than `tolerance`.
    ///
    /// Beside the chord the distance is the height over it times its length, a whole number that needs no quotient to
    /// be compared. Mostly all corners are there.
    #[inline(always)]
    fn furthest(&self, corners: &[Corner], tolerance: f64) -> Option<usize> {
        match self.highest_beside(corners) {
            Some(highest) if highest / self.length <= tolerance => None,
            Some(highest) => corners.iter().rposition(|corner| self.place(*corner)[1] == highest),
            None => {
                self.furthest_anywhere(corners).filter(|place| self.distance(corners[*place]) > tolerance)
            }
        }
    }

    /// The largest height of some corners; none if they are not all beside the chord.
    #[inline(always)]
    fn highest_beside(&self, corners: &[Corner]) -> Option<f64> {
        let (mut highest, mut first, mut last) = ([-1.0; LANES], [0.0; LANES], [0.0; LANES]);
        let mut look = |lane: usize, corner: Corner| {
            let [along, height] = self.place(corner);
            highest[lane] = if height > highest[lane] { height } else { highest[lane] };
            first[lane] = if along < first[lane] { along } else { first[lane] };
            last[lane] = if along > last[lane] { along } else { last[lane] };
        };
        let (chunks, rest) = corners.as_chunks::<LANES>();
        for chunk in chunks {
            for (lane, corner) in chunk.iter().enumerate() {
                look(lane, *corner);
            }
        }
        for (lane, corner) in rest.iter().enumerate() {
            look(lane, *corner);
        }
        let [first, last] =
            [first.iter().copied().fold(0.0, f64::min), last.iter().copied().fold(0.0, f64::max)];
        let is_beside = self.length > 0.0 && first >= 0.0 && last <= self.length * self.length;
        is_beside.then(|| highest.iter().copied().fold(-1.0, f64::max))
    }

    /// The furthest of some corners, wherever they are: the highest of those beside the chord, or the outermost of the
    /// others.
    fn furthest_anywhere(&self, corners: &[Corner]) -> Option<usize> {
        let (mut highest, mut outermost) = (None, None);
        let mut most = [-1.0, -1.0];
        for (place, corner) in corners.iter().enumerate() {
            let [along, height] = self.place(*corner);
            if self.length > 0.0 && (0.0..=self.length * self.length).contains(&along) {
                if height >= most[0] {
                    (most[0], highest) = (height, Some(place));
                }
            } else {
                let distance = self.distance(*corner);
                if distance >= most[1] {
                    (most[1], outermost) = (distance, Some(place));
                }
            }
        }
        let candidates = [highest, outermost].into_iter().flatten();
        candidates.max_by(|one, other| {
            self.distance(corners[*one]).total_cmp(&self.distance(corners[*other])).then(one.cmp(other))
        })
    }

    /// How far along the chord a corner lies, and how high over it, both times the chord's length: whole numbers.
    #[inline(always)]
    fn place(&self, corner: Corner) -> [f64; 2] {
        let [x, y] = [0, 1].map(|axis| f64::from(corner[axis]) - f64::from(self.from[axis]));
        let [along_x, along_y] = self.along;
        [x * along_x + y * along_y, (along_x * y - along_y * x).abs()]
    }

    pub(super) fn distance(&self, corner: Corner) -> f64 {
        let Self { from, to, along, length } = *self;
        let there = direction(from, corner).map(|x| x as f64);
        let part = (there[0] * along[0] + there[1] * along[1]) / (length * length);
        if length == 0.0 || !(0.0..=1.0).contains(&part) {
            let end = if part > 1.0 { direction(to, corner).map(|x| x as f64) } else { there };
            return norm(end);
        }
        (along[0] * there[1] - along[1] * there[0]).abs() / length
    }
}

/// Of whole numbers far below 2^26, so that nothing overflows and the squares are exact.
fn norm([x, y]: [f64; 2]) -> f64 {
    (x * x + y * y).sqrt()
}
