//! Paints what is behind the birds: sky, land or water, blobs of light, leaves, rocks, reeds and branches.
//!
//! The blobs and leaves use the birds' own palette now and then, so that a colour somewhere in the picture says
//! nothing about a bird.

use crate::draw::{Canvas, Label, gradient, oval, path, shade};
use crate::world::Colour;
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use tiny_skia::{Shader, Transform};

/// Upper and lower colour of the air.
const SKIES: [([f32; 3], [f32; 3]); 8] = [
    ([152.0, 198.0, 232.0], [226.0, 238.0, 240.0]),
    ([244.0, 204.0, 160.0], [250.0, 234.0, 206.0]),
    ([120.0, 150.0, 120.0], [186.0, 206.0, 160.0]),
    ([182.0, 188.0, 200.0], [222.0, 224.0, 226.0]),
    ([94.0, 122.0, 150.0], [170.0, 188.0, 196.0]),
    ([214.0, 190.0, 214.0], [244.0, 224.0, 214.0]),
    ([72.0, 96.0, 84.0], [128.0, 150.0, 116.0]),
    ([232.0, 226.0, 196.0], [206.0, 216.0, 178.0]),
];

/// What the ground is made of: meadow, reed bed, water, sand, moss.
const GROUNDS: [[f32; 3]; 5] = [
    [122.0, 152.0, 84.0],
    [176.0, 156.0, 96.0],
    [104.0, 148.0, 172.0],
    [206.0, 186.0, 148.0],
    [84.0, 112.0, 78.0],
];

/// Paints a backdrop that follows from the seed. `frame` scales picture heights to pixels.
pub fn paint(canvas: &mut Canvas, aspect: f32, seed: u64, frame: Transform) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (top, bottom) = *SKIES.choose(&mut rng).unwrap_or(&SKIES[0]);
    let everything = path((0.0, 0.0), &[&[(aspect, 0.0)], &[(aspect, 1.0)], &[(0.0, 1.0)]], true);
    let air = gradient((0.0, 0.0), (0.0, 1.0), shade(top, 0.0, 1.0), shade(bottom, 0.0, 1.0));
    canvas.fill(&everything, air, frame, None, Label::Keep);
    let mut pen = Pen { canvas, aspect, frame, rng };
    pen.blobs();
    if pen.rng.random_bool(0.7) {
        pen.ground();
    }
    match pen.rng.random_range(0..5) {
        0 => pen.reeds(),
        1 => pen.leaves(),
        2 => pen.rocks(),
        3 => {
            pen.reeds();
            pen.leaves();
        }
        _ => pen.twigs(),
    }
}

/// Paints one reed across the picture, over the birds.
pub fn reed_in_front(canvas: &mut Canvas, aspect: f32, seed: u64, frame: Transform) {
    let rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
    let mut pen = Pen { canvas, aspect, frame, rng };
    let x = pen.rng.random_range(0.05..0.95) * aspect;
    pen.reed(x, 0.012);
}

struct Pen<'a> {
    canvas: &'a mut Canvas,
    aspect: f32,
    frame: Transform,
    rng: ChaCha8Rng,
}

impl Pen<'_> {
    /// A muted colour, or now and then one of the birds' own.
    fn tint(&mut self, share_of_palette: f64, usual: [f32; 3]) -> [f32; 3] {
        let shift: f32 = self.rng.random_range(-22.0..22.0);
        if self.rng.random_bool(share_of_palette) {
            let colour = *Colour::ALL.choose(&mut self.rng).unwrap_or(&Colour::Grey);
            colour.rgb().map(|channel| f32::from(channel) + 0.6 * shift)
        } else {
            usual.map(|channel| channel + shift)
        }
    }

    fn fill(&mut self, shape: &tiny_skia::Path, tint: [f32; 3], alpha: f32) {
        let shader = Shader::SolidColor(shade(tint, 0.0, alpha));
        self.canvas.fill(shape, shader, self.frame, None, Label::Set(0));
    }

    fn blobs(&mut self) {
        for _ in 0..self.rng.random_range(3..9) {
            let (x, y) = (self.rng.random_range(0.0..self.aspect), self.rng.random_range(0.0..1.0));
            let radius = self.rng.random_range(0.04..0.16);
            let tint = self.tint(0.75, [200.0, 210.0, 190.0]);
            let alpha = self.rng.random_range(0.25..0.9);
            self.fill(&oval(x, y, radius, radius * 0.95), tint, alpha);
        }
    }

    fn ground(&mut self) {
        let tint = *GROUNDS.choose(&mut self.rng).unwrap_or(&GROUNDS[0]);
        let horizon = self.rng.random_range(0.55..0.88);
        let (left, right) = (self.rng.random_range(-0.06..0.06), self.rng.random_range(-0.06..0.06));
        let land = path(
            (0.0, horizon + left),
            &[
                &[
                    (0.3 * self.aspect, horizon - left),
                    (0.7 * self.aspect, horizon - right),
                    (self.aspect, horizon + right),
                ],
                &[(self.aspect, 1.0)],
                &[(0.0, 1.0)],
            ],
            true,
        );
        let shader = gradient((0.0, horizon), (0.0, 1.0), shade(tint, 0.12, 1.0), shade(tint, -0.3, 1.0));
        self.canvas.fill(&land, shader, self.frame, None, Label::Keep);
        for _ in 0..self.rng.random_range(2..6) {
            let (x, y) =
                (self.rng.random_range(0.0..self.aspect), self.rng.random_range(horizon + 0.06..1.0));
            let ripple = path((x, y), &[&[(x + 0.08, y - 0.012), (x + 0.17, y)]], false);
            self.canvas.stroke(&ripple, shade(tint, 0.35, 0.6), 0.008, self.frame, None);
        }
    }

    fn reeds(&mut self) {
        for _ in 0..self.rng.random_range(4..10) {
            let x = self.rng.random_range(0.0..self.aspect);
            let width = self.rng.random_range(0.008..0.018);
            self.reed(x, width);
        }
    }

    fn reed(&mut self, x: f32, width: f32) {
        let tint = self.tint(0.1, [140.0, 150.0, 84.0]);
        let (lean, top) = (self.rng.random_range(-0.12..0.12), self.rng.random_range(-0.05..0.5));
        let stem = path(
            (x - width, 1.02),
            &[
                &[(x - width + 0.2 * lean, 0.6), (x + lean, top)],
                &[(x + width + 0.2 * lean, 0.6), (x + width, 1.02)],
            ],
            true,
        );
        self.fill(&stem, tint, 1.0);
        if self.rng.random_bool(0.5) {
            let head = self.tint(0.0, [112.0, 74.0, 48.0]);
            let y = top + 0.14;
            self.fill(&oval(x + 0.8 * lean, y, 1.6 * width, 0.07), head, 1.0);
        }
    }

    fn leaves(&mut self) {
        for _ in 0..self.rng.random_range(6..14) {
            let (x, y) = (self.rng.random_range(0.0..self.aspect), self.rng.random_range(0.0..1.0));
            let (angle, length) = (self.rng.random_range(0.0..6.28_f32), self.rng.random_range(0.08..0.2));
            let (dx, dy) = (angle.cos() * length, angle.sin() * length);
            let tint = self.tint(0.35, [96.0, 140.0, 74.0]);
            let leaf = path(
                (x, y),
                &[
                    &[(x + 0.5 * dx - 0.35 * dy, y + 0.5 * dy + 0.35 * dx), (x + dx, y + dy)],
                    &[(x + 0.5 * dx + 0.35 * dy, y + 0.5 * dy - 0.35 * dx), (x, y)],
                ],
                true,
            );
            self.fill(&leaf, tint, 0.95);
            let vein = path((x, y), &[&[(x + 0.9 * dx, y + 0.9 * dy)]], false);
            self.canvas.stroke(&vein, shade(tint, -0.35, 0.7), 0.005, self.frame, None);
        }
    }

    fn rocks(&mut self) {
        for _ in 0..self.rng.random_range(3..7) {
            let x = self.rng.random_range(0.0..self.aspect);
            let (radius, height) = (self.rng.random_range(0.08..0.22), self.rng.random_range(0.06..0.16));
            let y = self.rng.random_range(0.8..1.02);
            let tint = self.tint(0.2, [134.0, 130.0, 126.0]);
            self.fill(&oval(x, y, radius, height), tint, 1.0);
            self.fill(
                &oval(x - 0.2 * radius, y - 0.3 * height, 0.6 * radius, 0.45 * height),
                tint.map(|c| c + 22.0),
                0.6,
            );
        }
    }

    fn twigs(&mut self) {
        for _ in 0..self.rng.random_range(2..6) {
            let (y, end) = (self.rng.random_range(0.0..1.0), self.rng.random_range(0.0..1.0));
            let middle = self.rng.random_range(0.0..1.0);
            let tint = self.tint(0.05, [110.0, 88.0, 66.0]);
            let twig = path((-0.02, y), &[&[(0.5 * self.aspect, middle), (self.aspect + 0.02, end)]], false);
            let width = self.rng.random_range(0.008..0.024);
            self.canvas.stroke(&twig, shade(tint, 0.0, 1.0), width, self.frame, None);
            for _ in 0..3 {
                let (x, y) = (self.rng.random_range(0.0..self.aspect), self.rng.random_range(0.0..1.0));
                let bud = self.tint(0.5, [120.0, 150.0, 90.0]);
                self.fill(&oval(x, y, 0.03, 0.022), bud, 1.0);
            }
        }
    }
}
