//! A picture of one map gets a colour bar below it, which says how much evidence a colour stands for.
//!
//! An overlay's colours are bar-wise what they are on the photo: as transparent, over a light and over a dark ground.
//! The photo itself is not covered; the page is wider than it only where the words need more room.

use image::{Rgb, RgbImage, imageops};

use super::canvas::{Area, Ground, fill};
use super::colormap::{ColorTable, Entry, Sign};
use super::contour::SMALLEST_PICTURE;
use super::figure::{INK, LINE, PAPER, QUIET_INK, number};
use super::overlay::blend;
use super::{RenderOptions, heatmap, overlay, text};
use crate::attribution::ConceptMap;
use fieldmark_model::geometry::Size;

/// An [`overlay`] with a colour bar below it, in the map's `unit`. The bar has the overlay's line where it is on the
/// scale.
pub fn overlay_with_bar(photo: &RgbImage, map: &ConceptMap, options: &RenderOptions, unit: &str) -> RgbImage {
    let picture = overlay(photo, map, options);
    let has_line = picture.width().min(picture.height()) >= SMALLEST_PICTURE;
    let line = options.contour.filter(|part| has_line && *part > 0.0 && *part <= 1.0);
    let scale = options.scale.of(map, options.colors.sign());
    Bar { options, scale, unit, line, is_transparent: true }.below(&picture)
}

/// A [`heatmap`] with a colour bar below it, in the map's `unit`.
pub fn heatmap_with_bar(map: &ConceptMap, size: Size, options: &RenderOptions, unit: &str) -> RgbImage {
    let scale = options.scale.of(map, options.colors.sign());
    Bar { options, scale, unit, line: None, is_transparent: false }.below(&heatmap(map, size, options))
}

struct Bar<'a> {
    options: &'a RenderOptions,
    /// The evidence at the bar's end; none if nothing is drawn.
    scale: Option<f32>,
    unit: &'a str,
    /// Where a line is drawn around strong evidence, as a part of the scale.
    line: Option<f32>,
    /// Whether the colours are mixed over what is below them.
    is_transparent: bool,
}

/// The measures of a bar, all of them in proportion to its letters.
struct Measures {
    /// Pixels per em.
    em: f32,
    padding: u32,
    /// Where the title, the colours and the ticks' labels begin, below the picture.
    tops: [u32; 3],
    bar_height: u32,
    height: u32,
}

/// Letters are at least so large, in pixels per em.
const SMALLEST_EM: f32 = 13.0;

impl Measures {
    /// Those that suit a picture, of words that are `words` ems wide: larger letters below larger pictures, as far as the
    /// words fit below it.
    fn of(picture: &RgbImage, words: f32) -> Self {
        let area = f64::from(picture.width()) * f64::from(picture.height());
        let usual = (area.sqrt() * 0.021).min(96.0).round() as f32;
        let fitting = (picture.width() as f32 / (words + 2.0)).floor();
        let em = usual.min(fitting).max(SMALLEST_EM);
        let pixels = |ems: f32| (em * ems).round() as u32;
        let padding = pixels(0.9);
        let title = pixels(0.6);
        let bar = title + pixels(1.3 + 0.3);
        let bar_height = pixels(1.1);
        let labels = bar + bar_height + pixels(0.4);
        Self { em, padding, tops: [title, bar, labels], bar_height, height: labels + pixels(1.3 + 0.6) }
    }

    /// The baseline of a line of text that begins at some height.
    fn baseline(&self, top: u32) -> f32 {
        top as f32 + (text::LINE_HEIGHT + text::CAP_HEIGHT) / 2.0 * self.em
    }
}

/// The distance of ticks: 1, 2 or 5 times a power of ten.
#[derive(Clone, Copy)]
struct Step {
    factor: u8,
    exponent: i32,
}

impl Step {
    /// The smallest that reaches a scale in at most `most` steps; the largest within the scale, where that is larger.
    fn of(scale: f64, most: u32) -> Self {
        let exponent = scale.log10().floor() as i32;
        let larger = (exponent - 2..=exponent + 1)
            .flat_map(|exponent| [1, 2, 5].map(|factor| Self { factor, exponent }))
            .filter(|step| step.size() <= scale * (1.0 + 1e-6));
        let few = |step: &Self| step.size() * f64::from(most) >= scale * (1.0 - 1e-6);
        let mut all: Vec<Self> = larger.collect();
        let largest = all.pop().unwrap_or(Self { factor: 1, exponent });
        all.into_iter().find(few).unwrap_or(largest)
    }

    fn size(self) -> f64 {
        f64::from(self.factor) * 10_f64.powi(self.exponent)
    }

    /// So many steps, with the digits that the step has.
    fn label(self, steps: i64) -> String {
        let value = steps as f64 * self.size();
        match self.exponent {
            -4..=4 => format!("{value:.*}", usize::try_from(-self.exponent).unwrap_or(0)),
            _ => number(value as f32),
        }
    }
}

/// A tick: its place as a part of the bar, and its label.
type Tick = (f32, String);

impl Bar<'_> {
    fn below(&self, picture: &RgbImage) -> RgbImage {
        let title = format!("evidence ({})", self.unit);
        let ends = self.ticks(1);
        let words = |em: f32| text::width(&title, em).max(widths(&ends, em));
        let measures = Measures::of(picture, words(SMALLEST_EM) / SMALLEST_EM);
        let words = words(measures.em);
        let width = picture.width().max(words.ceil() as u32 + 2 * measures.padding);
        let mut page = RgbImage::from_pixel(width, picture.height() + measures.height, PAPER);
        imageops::replace(&mut page, picture, i64::from((width - picture.width()) / 2), 0);
        let at = |top: u32| picture.height() + top;
        let (x, length) = (measures.padding, width - 2 * measures.padding);
        let area = Area { x, y: at(measures.tops[1]), width: length, height: measures.bar_height };
        let baseline = measures.baseline(at(measures.tops[0]));
        text::draw(&mut page, &title, (x as f32, baseline), measures.em, INK);
        self.draw_colors(&mut page, area);
        self.draw_line(&mut page, area, &measures);
        self.draw_line_label(&mut page, (&title, area, baseline), &measures);
        self.draw_ticks(&mut page, area, &measures);
        page
    }

    /// Round numbers from no evidence to the scale, at most `most` above 0, and as many against the concept where that is
    /// shown; one tick where there is no scale.
    fn ticks(&self, most: u32) -> Vec<Tick> {
        let is_signed = self.options.colors.sign() == Sign::Both;
        let zero = if is_signed { 0.5 } else { 0.0 };
        let Some(scale) = self.scale.map(f64::from) else { return vec![(zero, "0".into())] };
        let step = Step::of(scale, most);
        let above = (scale / step.size() * (1.0 + 1e-6)).floor() as i64;
        let tick = |number: i64| {
            let part = (number as f64 * step.size() / scale).min(1.0) as f32;
            let label = match number {
                0 => "0".into(),
                _ if number < 0 => format!("−{}", step.label(-number)),
                _ if is_signed => format!("+{}", step.label(number)),
                _ => step.label(number),
            };
            (zero + part * (1.0 - zero), label)
        };
        (if is_signed { -above } else { 0 }..=above).map(tick).collect()
    }

    fn draw_colors(&self, page: &mut RgbImage, area: Area) {
        const GROUNDS: [Rgb<u8>; 2] = [Rgb([235; 3]), Rgb([70; 3])];
        let lowest = if self.options.colors.sign() == Sign::Both { -1.0 } else { 0.0 };
        let table = ColorTable::new(self.options, 1.0);
        for column in 0..area.width {
            let evidence = lowest + column as f32 / (area.width.max(2) - 1) as f32 * (1.0 - lowest);
            let entry = table.entry(if self.scale.is_some() { evidence } else { 0.0 });
            for row in 0..area.height {
                let half = usize::from(row >= area.height.div_ceil(2));
                let pixel = page.get_pixel_mut(area.x + column, area.y + row);
                *pixel = self.color(entry, GROUNDS[half]);
            }
        }
        self.draw_frame(page, area);
    }

    fn color(&self, entry: Entry, mut ground: Rgb<u8>) -> Rgb<u8> {
        if !self.is_transparent {
            return Rgb(entry.color);
        }
        blend(&mut ground.0, entry);
        ground
    }

    /// A line around the colours, outside them: near-white ones would have no edge.
    fn draw_frame(&self, page: &mut RgbImage, area: Area) {
        let outer = Area { x: area.x - 1, y: area.y - 1, width: area.width + 2, height: area.height + 2 };
        for (y, height) in [(outer.y, 1), (area.bottom(), 1)] {
            fill(page, Area { y, height, ..outer }, LINE, 1.0);
        }
        for (x, width) in [(outer.x, 1), (area.right(), 1)] {
            fill(page, Area { x, width, ..outer }, LINE, 1.0);
        }
    }

    /// The overlay's line at its place on the scale, looking as it does there.
    fn draw_line(&self, page: &mut RgbImage, area: Area, measures: &Measures) {
        let (Some(part), Some(_)) = (self.line, self.scale) else { return };
        let zero = if self.options.colors.sign() == Sign::Both { 0.5 } else { 0.0 };
        let middle = area.x as f32 + (zero + part * (1.0 - zero)) * (area.width - 1) as f32;
        let half = (measures.em / 14.0).max(1.0).round();
        for (half, color, opacity) in [(2.0 * half, Rgb([0; 3]), 0.45), (half, Rgb([255; 3]), 0.9)] {
            let left = (middle - half).round().max(area.x as f32) as u32;
            let right = ((middle + half).round() as u32).min(area.right());
            for x in left..right {
                (area.y..area.bottom()).for_each(|y| page.get_pixel_mut(x, y).mix(color, opacity));
            }
        }
    }

    /// At the right of the title, how much evidence the line stands for; nothing if there is no room.
    fn draw_line_label(&self, page: &mut RgbImage, title: (&str, Area, f32), measures: &Measures) {
        let ((title, area, baseline), em) = (title, measures.em);
        let (Some(part), Some(scale)) = (self.line, self.scale) else { return };
        let label = format!("line: {}", number(part * scale));
        let width = text::width(&label, em);
        if text::width(title, em) + 2.0 * em + width <= area.width as f32 {
            text::draw(page, &label, (area.right() as f32 - width, baseline), em, QUIET_INK);
        }
    }

    fn draw_ticks(&self, page: &mut RgbImage, area: Area, measures: &Measures) {
        let fits = |ticks: &Vec<Tick>| widths(ticks, measures.em) <= area.width as f32;
        let ticks = [5, 2].map(|most| self.ticks(most)).into_iter().find(fits);
        let thickness = (measures.em / 16.0).round().max(1.0) as u32;
        let baseline = measures.baseline(area.y - measures.tops[1] + measures.tops[2]);
        for (part, label) in ticks.unwrap_or_else(|| self.ticks(1)) {
            let x = area.x + (part * (area.width - thickness.min(area.width)) as f32).round() as u32;
            let length = (measures.em * 0.3).round() as u32;
            fill(page, Area { x, y: area.bottom() + 1, width: thickness, height: length }, QUIET_INK, 1.0);
            let room = area.width as f32 - text::width(&label, measures.em);
            // Labels are centred below their ticks, as far as they stay below the bar.
            let wanted = part * area.width as f32 - text::width(&label, measures.em) / 2.0;
            let left = area.x as f32 + wanted.clamp(0.0, room.max(0.0));
            text::draw(page, &label, (left, baseline), measures.em, QUIET_INK);
        }
    }
}

/// The room that the ticks' labels need side by side: as if each were as wide as the widest, with a space between.
fn widths(ticks: &[Tick], em: f32) -> f32 {
    let widest = ticks.iter().map(|(_, label)| text::width(label, em)).fold(0.0, f32::max);
    ticks.len() as f32 * (widest + em)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Scale;
    use fieldmark_model::geometry::{Grid, Placement, Rect};

    fn map(size: Size, values: [f32; 2]) -> ConceptMap {
        let placement =
            Placement { photo: size, input: size, grid: Grid::new(1, 2), covers: Rect::whole(size) };
        ConceptMap::new(values.into(), placement)
    }

    fn labels(values: [f32; 2], options: &RenderOptions, most: u32) -> Vec<String> {
        let scale = options.scale.of(&map(Size::new(9, 9), values), options.colors.sign());
        let bar = Bar { options, scale, unit: "logits", line: None, is_transparent: true };
        bar.ticks(most).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_in_the_maps_unit_and_signed_where_the_colours_are() {
        assert_eq!(labels([8.0, -9.0], &RenderOptions::default(), 5), ["0", "2", "4", "6", "8"]);
        assert_eq!(labels([8.0, -9.0], &RenderOptions::signed(), 2), ["−5", "0", "+5"]);
        let fixed = RenderOptions { scale: Scale::Shared(12.5), ..RenderOptions::default() };
        assert_eq!(labels([8.0, -9.0], &fixed, 5), ["0", "5", "10"]);
        assert_eq!(labels([-8.0, -9.0], &RenderOptions::default(), 4), ["0"], "nothing is drawn");
    }

    #[test]
    fn ticks_are_round_numbers_at_their_places() {
        let at = |scale: f32, most: u32| {
            let options = RenderOptions { scale: Scale::Shared(scale), ..RenderOptions::default() };
            let bar =
                Bar { options: &options, scale: Some(scale), unit: "", line: None, is_transparent: true };
            bar.ticks(most)
        };
        let of = |scale, most| at(scale, most).into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(of(1.0, 5), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(of(0.3, 5), ["0", "0.1", "0.2", "0.3"]);
        assert_eq!(of(0.037, 5), ["0", "0.01", "0.02", "0.03"]);
        assert_eq!(of(99.0, 5), ["0", "20", "40", "60", "80"]);
        assert_eq!(of(4321.0, 2), ["0", "2000", "4000"]);
        assert_eq!(of(4321.0, 1), ["0", "2000", "4000"], "larger steps would leave 0 alone");
        assert_eq!(of(0.37, 1), ["0", "0.2"]);
        for (part, label) in at(12.5, 5) {
            assert!((f64::from(part) * 12.5 - label.parse::<f64>().unwrap()).abs() < 1e-5);
        }
        for scale in (0..4000).map(|step| 10_f32.powf(step as f32 / 60.0 - 33.0)) {
            for most in [1, 2, 5] {
                let ticks = at(scale, most);
                assert!((2..=most as usize + 3).contains(&ticks.len()), "{scale}, {most}: {ticks:?}");
                assert!(ticks.iter().all(|(part, _)| (0.0..=1.0).contains(part)));
            }
        }
    }

    #[test]
    fn the_photo_above_the_bar_is_the_overlay() {
        for (width, height) in [(1, 1), (640, 480), (3000, 20), (20, 3000)] {
            let size = Size::new(width, height);
            let photo = RgbImage::from_pixel(width, height, Rgb([90, 120, 150]));
            for values in [[2.0, -1.0], [-1.0, -2.0], [f32::MAX, 0.0], [f32::MIN_POSITIVE, 0.0]] {
                let map = map(size, values);
                let plain = overlay(&photo, &map, &RenderOptions::default());
                let page = overlay_with_bar(&photo, &map, &RenderOptions::default(), "logits");
                let left = (page.width() - width) / 2;
                assert_eq!(imageops::crop_imm(&page, left, 0, width, height).to_image(), plain);
                assert!(page.height() > height && page.width() <= width.max(200), "{:?}", page.dimensions());
                let signed = RenderOptions::signed();
                let page = heatmap_with_bar(&map, size, &signed, "logits");
                let left = (page.width() - width) / 2;
                let above = imageops::crop_imm(&page, left, 0, width, height).to_image();
                assert_eq!(above, heatmap(&map, size, &signed));
            }
        }
    }

    #[test]
    fn the_last_colour_is_at_the_end_of_the_bar() {
        let size = Size::new(640, 480);
        let page = heatmap_with_bar(&map(size, [2.0, -2.0]), size, &RenderOptions::signed(), "logits");
        let measures = Measures::of(&RgbImage::new(640, 480), 9.0);
        let y = 480 + measures.tops[1] + measures.bar_height / 2;
        let at = |x: u32| page.get_pixel(x, y).0;
        let colors = RenderOptions::signed().colors;
        assert_eq!(at(measures.padding), colors.color(-1.0));
        assert_eq!(at(640 - measures.padding - 1), colors.color(1.0));
    }
}
