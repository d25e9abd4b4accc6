//! Turns a scene into pixels and, for every pixel, the part of the bird that is seen there.
//!
//! The drawing is made of vector shapes in units of the picture's height, so that the same scene can be drawn at
//! 96 pixels for training and at a thousand for people. Fine feathers are added where a unit spans enough pixels.

use crate::backdrop;
use crate::world::{Bird, Colour, Part, Scene};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tiny_skia::{
    Color, FillRule, GradientStop, LineCap, LinearGradient, Mask, Paint, Path, PathBuilder, Pixmap, Point,
    Shader, SpreadMode, Stroke, Transform,
};

/// What a shape does to the labels of the pixels that it covers.
#[derive(Clone, Copy)]
pub enum Label {
    /// Leaves them: shading, outlines, an eye.
    Keep,
    /// Sets them: 0 is backdrop, `1 + 8 · bird + part` a part.
    Set(u8),
}

/// A picture being drawn.
pub struct Canvas {
    /// The pixels.
    pub pixmap: Pixmap,
    /// A label per pixel, in rows.
    pub labels: Vec<u8>,
    scratch: Mask,
}

impl Canvas {
    /// An empty picture.
    ///
    /// # Panics
    /// When a side is 0.
    pub fn new(width: u32, height: u32) -> Self {
        let pixmap = Pixmap::new(width, height).expect("a picture has pixels");
        let scratch = Mask::new(width, height).expect("a picture has pixels");
        Canvas { pixmap, labels: vec![0; (width * height) as usize], scratch }
    }

    /// Fills a path and labels the pixels that it covers by more than half.
    pub fn fill(
        &mut self,
        path: &Path,
        shader: Shader<'_>,
        at: Transform,
        clip: Option<&Mask>,
        label: Label,
    ) {
        let paint = Paint { shader, anti_alias: true, ..Paint::default() };
        self.pixmap.fill_path(path, &paint, FillRule::Winding, at, clip);
        if let Label::Set(label) = label {
            self.scratch.clear();
            self.scratch.fill_path(path, FillRule::Winding, true, at);
            let inside = |position: usize| clip.is_none_or(|clip| clip.data()[position] > 127);
            for (position, &coverage) in self.scratch.data().iter().enumerate() {
                if coverage > 127 && inside(position) {
                    self.labels[position] = label;
                }
            }
        }
    }

    /// Strokes a path; labels stay.
    pub fn stroke(&mut self, path: &Path, colour: Color, width: f32, at: Transform, clip: Option<&Mask>) {
        let paint = Paint { shader: Shader::SolidColor(colour), anti_alias: true, ..Paint::default() };
        let stroke = Stroke { width, line_cap: LineCap::Round, ..Stroke::default() };
        self.pixmap.stroke_path(path, &paint, &stroke, at, clip);
    }

    /// The mask that keeps later shapes inside a path.
    pub fn clip_to(&self, path: &Path, at: Transform) -> Mask {
        let mut mask = Mask::new(self.pixmap.width(), self.pixmap.height()).expect("a picture has pixels");
        mask.fill_path(path, FillRule::Winding, true, at);
        mask
    }
}

/// A finished picture.
pub struct Picture {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Three bytes a pixel.
    pub rgb: Vec<u8>,
    /// A label per pixel: 0 is backdrop, `1 + 8 · bird + part` a part that is seen there.
    pub labels: Vec<u8>,
}

impl Picture {
    /// The share of the picture that shows this part of this bird.
    pub fn share(&self, bird: usize, part: Part) -> f32 {
        let label = label_of(bird, part);
        self.labels.iter().filter(|&&found| found == label).count() as f32 / self.labels.len() as f32
    }
}

/// The label of a part of a bird.
pub fn label_of(bird: usize, part: Part) -> u8 {
    (1 + 8 * bird + part as usize) as u8
}

/// Draws a scene at the given height in pixels; the width follows from the scene's aspect.
pub fn draw(scene: &Scene, height: u32) -> Picture {
    let width = (scene.aspect * height as f32).round().max(1.0) as u32;
    let mut canvas = Canvas::new(width, height);
    let frame = Transform::from_scale(height as f32, height as f32);
    backdrop::paint(&mut canvas, scene.aspect, scene.backdrop_seed, frame);
    for (number, bird) in scene.birds.iter().enumerate() {
        Painter::new(&mut canvas, bird, number, height as f32).paint();
    }
    if scene.reed_in_front {
        backdrop::reed_in_front(&mut canvas, scene.aspect, scene.backdrop_seed, frame);
    }
    let rgb = canvas.pixmap.pixels().iter().flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]);
    Picture { width: width as usize, height: height as usize, rgb: rgb.collect(), labels: canvas.labels }
}

/// A solid colour a little lighter (`lift` above 0) or darker than the given one.
pub fn shade(rgb: [f32; 3], lift: f32, alpha: f32) -> Color {
    let channel = |value: f32| {
        let value = if lift > 0.0 { value + (255.0 - value) * lift } else { value * (1.0 + lift) };
        (value / 255.0).clamp(0.0, 1.0)
    };
    Color::from_rgba(channel(rgb[0]), channel(rgb[1]), channel(rgb[2]), alpha).unwrap_or(Color::BLACK)
}

/// A gradient from the upper point's shade to the lower point's.
pub fn gradient(from: (f32, f32), to: (f32, f32), first: Color, last: Color) -> Shader<'static> {
    let stops = vec![GradientStop::new(0.0, first), GradientStop::new(1.0, last)];
    let points = (Point::from_xy(from.0, from.1), Point::from_xy(to.0, to.1));
    LinearGradient::new(points.0, points.1, stops, SpreadMode::Pad, Transform::identity())
        .unwrap_or(Shader::SolidColor(first))
}

/// A smooth closed or open path from `M x y`, `Q` and `C` steps given as point lists of length 1, 2 or 3.
pub fn path(start: (f32, f32), steps: &[&[(f32, f32)]], closed: bool) -> Path {
    let mut builder = PathBuilder::new();
    builder.move_to(start.0, start.1);
    for step in steps {
        match step {
            [a] => builder.line_to(a.0, a.1),
            [a, b] => builder.quad_to(a.0, a.1, b.0, b.1),
            [a, b, c] => builder.cubic_to(a.0, a.1, b.0, b.1, c.0, c.1),
            _ => {}
        }
    }
    if closed {
        builder.close();
    }
    builder.finish().expect("the shapes drawn here are never empty")
}

/// An ellipse.
pub fn oval(x: f32, y: f32, radius_x: f32, radius_y: f32) -> Path {
    let bounds = tiny_skia::Rect::from_xywh(x - radius_x, y - radius_y, 2.0 * radius_x, 2.0 * radius_y);
    PathBuilder::from_oval(bounds.expect("radii are positive")).expect("an oval is a path")
}

/// Draws one bird in its own coordinates: facing right, the body around the origin, a unit about half its length.
struct Painter<'a> {
    canvas: &'a mut Canvas,
    bird: &'a Bird,
    number: usize,
    at: Transform,
    rng: ChaCha8Rng,
    /// Whether a unit spans enough pixels for single feathers to be seen.
    fine: bool,
    tints: [[f32; 3]; 8],
}

impl<'a> Painter<'a> {
    fn new(canvas: &'a mut Canvas, bird: &'a Bird, number: usize, height: f32) -> Self {
        let pose = &bird.pose;
        let unit = pose.unit * height;
        let mirror = if pose.flipped { -1.0 } else { 1.0 };
        let at = Transform::from_scale(unit * mirror, unit)
            .post_concat(Transform::from_rotate(pose.turn))
            .post_translate(pose.centre[0] * height, pose.centre[1] * height);
        let mut rng = ChaCha8Rng::seed_from_u64(bird.detail_seed);
        // One jitter per colour, so that equal parts stay equal.
        let jitter: Vec<[f32; 3]> = Colour::ALL.iter().map(|_| jitter(&mut rng)).collect();
        let tints = bird.colours.map(|colour| {
            let (rgb, jitter) = (colour.rgb(), jitter[colour as usize]);
            [0, 1, 2].map(|channel| (f32::from(rgb[channel]) + jitter[channel]).clamp(0.0, 255.0))
        });
        Painter { canvas, bird, number, at, rng, fine: unit > 60.0, tints }
    }

    fn paint(&mut self) {
        self.perch();
        self.legs();
        self.tail();
        self.body();
        self.head();
        self.wing();
    }

    /// Fills a part with a soft gradient, lit from above, and draws its outline.
    fn part(&mut self, part: Part, shape: &Path, at: Transform, clip: Option<&Mask>) {
        let tint = self.tints[part as usize];
        let bounds = shape.bounds();
        let middle = (bounds.left() + bounds.right()) / 2.0;
        let shader = gradient(
            (middle - 0.1, bounds.top()),
            (middle + 0.1, bounds.bottom()),
            shade(tint, 0.14, 1.0),
            shade(tint, -0.16, 1.0),
        );
        self.canvas.fill(shape, shader, at, clip, Label::Set(label_of(self.number, part)));
        self.canvas.stroke(shape, shade(tint, -0.55, 0.75), 0.035, at, clip);
    }

    fn line(&mut self, part: Part, points: [(f32, f32); 3], lift: f32, at: Transform, clip: Option<&Mask>) {
        let stroke = path(points[0], &[&[points[1], points[2]]], false);
        self.canvas.stroke(&stroke, shade(self.tints[part as usize], lift, 0.55), 0.022, at, clip);
    }

    fn perch(&mut self) {
        let lean = self.rng.random_range(-0.12..0.12);
        let thick = self.rng.random_range(0.07..0.12);
        let branch = path(
            (-4.5, 1.32 - lean),
            &[
                &[(-1.5, 1.16), (0.2, 1.22), (4.5, 1.2 + lean)],
                &[(4.5, 1.2 + lean + 2.0 * thick)],
                &[(0.2, 1.22 + 2.2 * thick), (-1.5, 1.2 + 2.0 * thick), (-4.5, 1.34 - lean + 2.0 * thick)],
            ],
            true,
        );
        let bark = [104.0, 82.0, 62.0];
        let shader = gradient((0.0, 1.15), (0.0, 1.5), shade(bark, 0.25, 1.0), shade(bark, -0.4, 1.0));
        self.canvas.fill(&branch, shader, self.at, None, Label::Set(0));
        self.canvas.stroke(&branch, shade(bark, -0.6, 0.7), 0.03, self.at, None);
    }

    fn legs(&mut self) {
        for x in [-0.12, 0.26] {
            let leg = path((x, 0.75), &[&[(x + 0.02, 1.0), (x + 0.05, 1.22)]], false);
            self.canvas.stroke(&leg, shade([92.0, 72.0, 64.0], 0.0, 1.0), 0.075, self.at, None);
            for toe in [-0.14, 0.04, 0.17] {
                let toe = path((x + 0.05, 1.2), &[&[(x + 0.05 + toe, 1.2), (x + 0.07 + toe, 1.3)]], false);
                self.canvas.stroke(&toe, shade([92.0, 72.0, 64.0], -0.1, 1.0), 0.06, self.at, None);
            }
        }
    }

    fn tail(&mut self) {
        let at = self.at.pre_concat(Transform::from_rotate_at(self.bird.pose.tail_lift, -0.6, 0.2));
        let shape = path(
            (-0.5, -0.12),
            &[
                &[(-1.0, -0.12), (-1.4, -0.14), (-1.76, -0.1)],
                &[(-1.92, 0.18), (-1.74, 0.56)],
                &[(-1.3, 0.58), (-0.9, 0.6), (-0.5, 0.52)],
            ],
            true,
        );
        self.part(Part::Tail, &shape, at, None);
        for step in 0..4 {
            let y = 0.0 + 0.13 * step as f32;
            self.line(
                Part::Tail,
                [(-0.7, 0.1 + 0.3 * y), (-1.2, y * 0.9 + 0.02), (-1.74, y * 1.1)],
                -0.5,
                at,
                None,
            );
        }
    }

    fn body(&mut self) {
        let shape = path(
            (-0.98, 0.1),
            &[
                &[(-0.98, -0.5), (-0.4, -0.8), (0.25, -0.74)],
                &[(0.8, -0.66), (1.06, -0.25), (1.0, 0.18)],
                &[(0.92, 0.72), (0.38, 0.96), (-0.1, 0.9)],
                &[(-0.62, 0.84), (-0.98, 0.55), (-0.98, 0.1)],
            ],
            true,
        );
        self.part(Part::Body, &shape, self.at, None);
        let clip = self.canvas.clip_to(&shape, self.at);
        let breast = path(
            (0.45, -0.6),
            &[
                &[(0.2, -0.1), (0.2, 0.55), (0.36, 1.1)],
                &[(0.8, 1.2), (1.3, 0.6), (1.2, -0.3)],
                &[(0.9, -0.7), (0.45, -0.6)],
            ],
            true,
        );
        self.part(Part::Breast, &breast, self.at, Some(&clip));
        if self.fine {
            self.scallops(Part::Body, (-0.85, 0.1), (0.3, 0.9), &clip);
            let mut both = clip.clone();
            both.intersect_path(&breast, FillRule::Winding, true, self.at);
            self.scallops(Part::Breast, (0.25, -0.5), (1.05, 0.95), &both);
        }
        self.canvas.stroke(&shape, shade(self.tints[0], -0.6, 0.8), 0.035, self.at, None);
    }

    /// Rows of little arcs, as small feathers look from afar.
    fn scallops(&mut self, part: Part, from: (f32, f32), to: (f32, f32), clip: &Mask) {
        let (step_x, step_y) = (0.13, 0.1);
        let mut y = from.1;
        let mut odd = false;
        while y < to.1 {
            let mut x = from.0 + if odd { step_x / 2.0 } else { 0.0 };
            while x < to.0 {
                let arc = [(x, y), (x + step_x * 0.5, y + step_y * 0.9), (x + step_x, y)];
                self.line(part, arc, if odd { -0.3 } else { 0.3 }, self.at, Some(clip));
                x += step_x;
            }
            (y, odd) = (y + step_y, !odd);
        }
    }

    fn head(&mut self) {
        self.beak();
        let head = oval(0.72, -0.78, 0.57, 0.56);
        self.part(Part::Head, &head, self.at, None);
        let crest = self.bird.pose.crest;
        let crown = path(
            (0.14, -0.8),
            &[
                &[(0.1 - 0.1 * crest, -1.1), (0.16 - 0.3 * crest, -1.2 - 0.2 * crest)],
                &[(0.3, -1.36 - 0.12 * crest), (0.52, -1.45), (0.78, -1.41)],
                &[(1.08, -1.36), (1.27, -1.14), (1.29, -0.9)],
                &[(0.95, -1.06), (0.6, -1.0)],
                &[(0.35, -0.94), (0.14, -0.8)],
            ],
            true,
        );
        self.part(Part::Crown, &crown, self.at, None);
        self.eye();
    }

    fn beak(&mut self) {
        let reach = 1.1 + 0.88 * self.bird.pose.beak;
        let beak = path(
            (1.08, -1.05),
            &[
                &[(1.45, -1.1), (reach - 0.2, -0.95), (reach, -0.62)],
                &[(reach - 0.3, -0.5), (1.5, -0.4), (1.08, -0.46)],
            ],
            true,
        );
        self.part(Part::Beak, &beak, self.at, None);
        self.line(Part::Beak, [(1.2, -0.7), (1.55, -0.76), (reach - 0.03, -0.63)], -0.6, self.at, None);
    }

    fn eye(&mut self) {
        let solid = |rgb: [f32; 3]| Shader::SolidColor(shade(rgb, 0.0, 1.0));
        for (x, y, radius, rgb) in [
            (0.98, -0.8, 0.135, [250.0, 248.0, 240.0]),
            (0.99, -0.8, 0.1, [24.0, 20.0, 26.0]),
            (1.02, -0.84, 0.035, [255.0; 3]),
        ] {
            self.canvas.fill(&oval(x, y, radius, radius), solid(rgb), self.at, None, Label::Keep);
        }
    }

    fn wing(&mut self) {
        let at = self.at.pre_concat(Transform::from_rotate_at(self.bird.pose.wing_lift, 0.2, -0.2));
        let wing = path(
            (0.42, -0.22),
            &[
                &[(0.2, -0.62), (-0.45, -0.58), (-0.78, -0.2)],
                &[(-0.98, 0.05), (-1.12, 0.28), (-1.26, 0.46)],
                &[(-0.9, 0.62), (-0.2, 0.68), (0.18, 0.34)],
                &[(0.4, 0.16), (0.52, -0.05), (0.42, -0.22)],
            ],
            true,
        );
        self.part(Part::Wing, &wing, at, None);
        let clip = self.canvas.clip_to(&wing, at);
        for step in 0..5 {
            let y = 0.13 * step as f32;
            self.line(
                Part::Wing,
                [(-0.3, -0.1 + y), (-0.75, y + 0.05), (-1.22, 0.4 + 0.1 * y)],
                -0.5,
                at,
                Some(&clip),
            );
        }
        let patch = path(
            (0.46, -0.2),
            &[
                &[(0.3, -0.62), (-0.2, -0.62), (-0.46, -0.42)],
                &[(-0.42, -0.1), (-0.1, 0.16), (0.26, 0.24)],
                &[(0.46, 0.1), (0.52, -0.05), (0.46, -0.2)],
            ],
            true,
        );
        self.part(Part::Shoulder, &patch, at, Some(&clip));
        if self.fine {
            let mut inner = clip.clone();
            inner.intersect_path(&patch, FillRule::Winding, true, at);
            self.scallops(Part::Shoulder, (-0.55, -0.7), (0.6, 0.4), &inner);
        }
        self.canvas.stroke(&wing, shade(self.tints[Part::Wing as usize], -0.6, 0.8), 0.035, at, None);
    }
}

/// A small shift of lightness and hue, in bytes a channel.
fn jitter(rng: &mut impl Rng) -> [f32; 3] {
    let lightness = rng.random_range(-9.0..9.0);
    [0; 3].map(|_| lightness + rng.random_range(-7.0..7.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Scene, picture_rng};

    fn lone_bird() -> Scene {
        let mut rng = picture_rng(3, 0);
        let scenes = std::iter::repeat_with(|| Scene::sample(&mut rng, 1.0));
        scenes.into_iter().find(|scene| scene.birds.len() == 1 && !scene.reed_in_front).unwrap()
    }

    #[test]
    fn the_same_seed_and_index_draw_the_same_picture() {
        let draw_one = |index| draw(&Scene::sample(&mut picture_rng(9, index), 1.0), 48).rgb;
        assert_eq!(draw_one(4), draw_one(4));
        assert_ne!(draw_one(4), draw_one(5));
    }

    #[test]
    fn a_mask_covers_the_same_share_at_every_resolution() {
        let scene = lone_bird();
        let (small, large) = (draw(&scene, 96), draw(&scene, 384));
        for part in Part::ALL {
            let (small, large) = (small.share(0, part), large.share(0, part));
            assert!((small - large).abs() < 0.01, "{}: {small} {large}", part.name());
        }
    }

    #[test]
    fn the_middle_of_a_mask_has_the_colour_of_the_part() {
        let mut scene = lone_bird();
        scene.birds[0].colours = [Colour::Black; 8];
        scene.birds[0].colours[Part::Shoulder as usize] = Colour::Red;
        let picture = draw(&scene, 96);
        let shoulder = label_of(0, Part::Shoulder);
        let pixels: Vec<usize> =
            (0..picture.labels.len()).filter(|&at| picture.labels[at] == shoulder).collect();
        let mean = |channel: usize| {
            pixels.iter().map(|&at| f32::from(picture.rgb[3 * at + channel])).sum::<f32>()
                / pixels.len() as f32
        };
        assert!(pixels.len() > 40);
        assert!(mean(0) > 130.0 && mean(1) < 80.0 && mean(2) < 80.0, "{} {} {}", mean(0), mean(1), mean(2));
    }
}
