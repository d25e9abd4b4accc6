//! Turns (seed, index) into a scene: which birds stand where, in which colours, before which backdrop.
//!
//! A scene is plain numbers, free of any resolution; `draw.rs` turns it into pixels and part masks, `captions.rs`
//! into sentences whose truth can be computed exactly.

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

/// A named colour; the names are unambiguous because the palette is far apart and the jitter is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Colour {
    Black,
    White,
    Brown,
    Grey,
    Red,
    Orange,
    Yellow,
    Green,
    Blue,
    Purple,
}

impl Colour {
    /// Every colour, in a fixed order: the position is the colour's class in the dense term of the training.
    pub const ALL: [Colour; 10] = [
        Colour::Black,
        Colour::White,
        Colour::Brown,
        Colour::Grey,
        Colour::Red,
        Colour::Orange,
        Colour::Yellow,
        Colour::Green,
        Colour::Blue,
        Colour::Purple,
    ];

    /// The English word.
    pub fn name(self) -> &'static str {
        match self {
            Colour::Black => "black",
            Colour::White => "white",
            Colour::Brown => "brown",
            Colour::Grey => "grey",
            Colour::Red => "red",
            Colour::Orange => "orange",
            Colour::Yellow => "yellow",
            Colour::Green => "green",
            Colour::Blue => "blue",
            Colour::Purple => "purple",
        }
    }

    /// The middle of the colour's range, 0 to 255 a channel.
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Colour::Black => [38, 36, 44],
            Colour::White => [242, 240, 234],
            Colour::Brown => [122, 76, 42],
            Colour::Grey => [140, 145, 152],
            Colour::Red => [208, 36, 40],
            Colour::Orange => [242, 130, 26],
            Colour::Yellow => [248, 216, 48],
            Colour::Green => [56, 152, 66],
            Colour::Blue => [42, 98, 210],
            Colour::Purple => [134, 60, 172],
        }
    }
}

/// A part of a bird with a colour of its own; eye and legs are undecorated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Body,
    Head,
    Crown,
    Beak,
    Breast,
    Wing,
    Shoulder,
    Tail,
}

impl Part {
    /// Every part, in a fixed order: the position is the part's class in the dense term and its label's offset.
    pub const ALL: [Part; 8] = [
        Part::Body,
        Part::Head,
        Part::Crown,
        Part::Beak,
        Part::Breast,
        Part::Wing,
        Part::Shoulder,
        Part::Tail,
    ];

    /// The plain English word, also used in file names.
    pub fn name(self) -> &'static str {
        match self {
            Part::Body => "body",
            Part::Head => "head",
            Part::Crown => "crown",
            Part::Beak => "beak",
            Part::Breast => "breast",
            Part::Wing => "wing",
            Part::Shoulder => "shoulder",
            Part::Tail => "tail",
        }
    }
}

/// Where and how a bird stands. Lengths are in picture heights; a bird is about 3.7 units wide and 2.9 high.
#[derive(Clone, Debug)]
pub struct Pose {
    /// The body's centre, from the left and from the top, in picture heights.
    pub centre: [f32; 2],
    /// The length of a unit of the bird's own coordinates, in picture heights.
    pub unit: f32,
    /// Degrees, clockwise.
    pub turn: f32,
    /// Facing left instead of right.
    pub flipped: bool,
    /// Degrees by which the wing is raised.
    pub wing_lift: f32,
    /// Degrees by which the tail is raised.
    pub tail_lift: f32,
    /// 0: a round crown; 1: a long crest.
    pub crest: f32,
    /// The beak's length, 1 is usual.
    pub beak: f32,
}

/// One bird.
#[derive(Clone, Debug)]
pub struct Bird {
    /// The colour of each part, in the order of [`Part::ALL`].
    pub colours: [Colour; 8],
    /// Where and how it stands.
    pub pose: Pose,
    /// Seeds the small variations of shade and feathers.
    pub detail_seed: u64,
}

impl Bird {
    /// The colour of one part.
    pub fn colour(&self, part: Part) -> Colour {
        self.colours[part as usize]
    }

    /// Whether no other part of this bird has this part's colour.
    pub fn stands_out(&self, part: Part) -> bool {
        Part::ALL.iter().all(|&other| other == part || self.colour(other) != self.colour(part))
    }
}

/// A picture to be: birds before a backdrop.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Width over height.
    pub aspect: f32,
    /// No, one or two birds; later ones are drawn over earlier ones.
    pub birds: Vec<Bird>,
    /// Seeds sky, land, plants and blobs.
    pub backdrop_seed: u64,
    /// Whether a reed crosses the picture in front of the birds.
    pub reed_in_front: bool,
}

/// The random numbers of one picture: everything about it follows from the world's seed and its own index.
pub fn picture_rng(seed: u64, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    rng
}

impl Scene {
    /// Draws lots for a whole scene of the given width over height.
    pub fn sample(rng: &mut impl Rng, aspect: f32) -> Self {
        let n_birds = match rng.random_range(0..100) {
            0..4 => 0,
            4..80 => 1,
            _ => 2,
        };
        let birds = (0..n_birds)
            .map(|slot| Bird {
                colours: sample_colours(rng),
                pose: sample_pose(rng, aspect, slot, n_birds),
                detail_seed: rng.random(),
            })
            .collect();
        Scene { aspect, birds, backdrop_seed: rng.random(), reed_in_front: rng.random_bool(0.15) }
    }
}

/// Any colour but the ones given.
pub fn another_colour(rng: &mut impl Rng, not: &[Colour]) -> Colour {
    loop {
        let colour = *Colour::ALL.choose(rng).unwrap_or(&Colour::Black);
        if !not.contains(&colour) {
            return colour;
        }
    }
}

/// The plumages with a name, made often enough that their names are learnt.
fn sample_species(rng: &mut impl Rng) -> [Colour; 8] {
    use Colour::{Black, Blue, Brown, Grey, Orange, Red, Yellow};
    let beak = *[Black, Grey, Orange, Yellow].choose(rng).unwrap_or(&Grey);
    let mut colours = [Black; 8];
    let kind = rng.random_range(0..8);
    let (base, marks): (Colour, &[(Part, Colour)]) = match kind {
        0 | 1 => (Black, &[(Part::Shoulder, Red)]),
        2 => (Black, &[(Part::Head, Yellow), (Part::Crown, Yellow)]),
        3 => (Black, &[(Part::Wing, Brown), (Part::Shoulder, Brown)]),
        4 => (Red, &[]),
        5 => (Yellow, &[(Part::Wing, Black), (Part::Shoulder, Black)]),
        6 => (Blue, &[(Part::Breast, Orange)]),
        _ => (Black, &[]),
    };
    colours.fill(base);
    colours[Part::Beak as usize] = beak;
    for &(part, colour) in marks {
        colours[part as usize] = colour;
    }
    colours
}

/// The usual colour, or with the given probability another one.
fn mark(rng: &mut impl Rng, share: f64, usual: Colour) -> Colour {
    if rng.random_bool(share) { another_colour(rng, &[usual]) } else { usual }
}

fn sample_colours(rng: &mut impl Rng) -> [Colour; 8] {
    if rng.random_bool(0.25) {
        return sample_species(rng);
    }
    let base = if rng.random_bool(0.2) { Colour::Black } else { another_colour(rng, &[]) };
    let mut colours = [base; 8];
    colours[Part::Head as usize] = mark(rng, 0.35, base);
    colours[Part::Crown as usize] = mark(rng, 0.4, colours[Part::Head as usize]);
    colours[Part::Beak as usize] = mark(rng, 0.9, base);
    colours[Part::Breast as usize] = mark(rng, 0.4, base);
    colours[Part::Wing as usize] = mark(rng, 0.35, base);
    colours[Part::Shoulder as usize] = mark(rng, 0.5, colours[Part::Wing as usize]);
    colours[Part::Tail as usize] = mark(rng, 0.35, base);
    colours
}

/// A place for bird number `slot` of `n_birds`: large in the frame, sometimes a little cut off.
fn sample_pose(rng: &mut impl Rng, aspect: f32, slot: usize, n_birds: usize) -> Pose {
    let (width, height) = (3.75, 3.0);
    let (unit, centre) = if n_birds == 1 {
        let unit = (aspect / width).min(1.0 / height) * rng.random_range(0.78..1.03);
        let slack = |extent: f32, size: f32| (extent - size * unit).max(0.0) / 2.0 + 0.03;
        let (dx, dy) = (slack(aspect, width), slack(1.0, height));
        let centre = [aspect / 2.0 + rng.random_range(-dx..dx), 0.5 + rng.random_range(-dy..dy)];
        (unit, centre)
    } else {
        let unit = (aspect / width).min(1.0 / height) * rng.random_range(0.6..0.74);
        // One bird stands upper left and one lower right, or the other way: `slot` alone does not say which.
        let side = if slot == 0 { -1.0 } else { 1.0 };
        let (reach_x, reach_y) = ((aspect - width * unit).max(0.0), (1.0 - height * unit).max(0.0));
        let centre = [
            aspect / 2.0 + side * (0.5 * reach_x + 0.01) + rng.random_range(-0.03..0.03),
            0.5 + side * 0.5 * reach_y + rng.random_range(-0.03..0.03),
        ];
        (unit, centre)
    };
    Pose {
        centre: [centre[0] - 0.02 * unit, centre[1] + 0.17 * unit],
        unit,
        turn: rng.random_range(-18.0..18.0),
        flipped: rng.random_bool(0.5),
        wing_lift: rng.random_range(-14.0..16.0),
        tail_lift: rng.random_range(-18.0..24.0),
        crest: if rng.random_bool(0.5) { 0.0 } else { rng.random_range(0.2..1.0) },
        beak: rng.random_range(0.85..1.15),
    }
}
