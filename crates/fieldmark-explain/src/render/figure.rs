//! What the figures have in common: their measures, the photo in pale grey under its evidence, and the colour bar.
//!
//! Colour is laid over the grey as ink over paper (multiplied), so that the photo's outlines stay readable at every
//! strength and only the evidence has colour.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::canvas::{Area, fill, frame, mark_outside};
use super::colormap::{ColorMap, ColorTable, Entry, Sign};
use super::overlay::{each_pixel, is_partial};
use super::{RenderOptions, text};
use crate::attribution::ConceptMap;
use crate::attribution::resample::Resampled;
use fieldmark_model::geometry::Size;

pub(super) const PAPER: Rgb<u8> = Rgb([255; 3]);
pub(super) const INK: Rgb<u8> = Rgb([24; 3]);
pub(super) const QUIET_INK: Rgb<u8> = Rgb([96; 3]);
pub(super) const LINE: Rgb<u8> = Rgb([190; 3]);

/// Type sizes in pixels per em.
pub(super) const TITLE: f32 = 18.0;
pub(super) const NOTE: f32 = 14.0;

/// White around everything.
pub(super) const MARGIN: u32 = 36;
/// White between neighbouring panels.
pub(super) const GAP: (u32, u32) = (32, 36);
/// White between a picture and the words above or below it.
pub(super) const WORD_GAP: u32 = 10;
/// A panel's long side is at most this; a larger photo is made smaller.
pub const LONGEST_PANEL: u32 = 480;
/// A panel's long side is at least this; a smaller photo is made larger.
pub(super) const SHORTEST_PANEL: u32 = 240;
/// Words have at least this width, however narrow the photo is.
pub(super) const NARROWEST_CELL: u32 = 240;
/// The colour bar's width and height.
pub(super) const BAR: (u32, u32) = (300, 14);

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

/// The height of some lines of text.
pub(super) fn lines_height(lines: usize, size: f32) -> u32 {
    (lines as f32 * size * text::LINE_HEIGHT).ceil() as u32
}

/// Draws lines of text below a point.
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

/// The photo in pale grey with a map's evidence as ink over it; of [`Sign::Positive`], only that for the concept.
pub(super) fn tinted(small: &RgbImage, map: &ConceptMap, scale: Option<f32>, sign: Sign) -> RgbImage {
    let mut picture = paled(small);
    let resampled = Resampled::new(map, Size::new(small.width(), small.height()));
    if let Some(scale) = scale {
        let table = ColorTable::new(&RenderOptions::signed(), scale);
        let lowest = if sign == Sign::Positive { 0.0 } else { f32::NEG_INFINITY };
        each_pixel(&mut picture, &resampled, |pixel: &mut Rgb<u8>, evidence| {
            ink_over(&mut pixel.0, table.entry(evidence.max(lowest)));
        });
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
pub(super) fn paled(photo: &RgbImage) -> RgbImage {
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

pub(super) fn bar_height() -> u32 {
    lines_height(1, NOTE) + 6 + BAR.1 + 6 + lines_height(1, NOTE)
}

/// The colour bar: what it measures, the colours, and their ticks; one tick and no colour where no map has any
/// evidence. Of [`Sign::Positive`], it begins at 0.
pub(super) fn draw_bar(
    page: &mut RgbImage,
    (x, y): (u32, u32),
    (scale, unit): (Option<f32>, &str),
    sign: Sign,
) {
    draw_lines(page, &[format!("evidence ({unit})")], (x, y), NOTE, INK);
    let area = Area { x, y: y + lines_height(1, NOTE) + 6, width: BAR.0, height: BAR.1 };
    draw_colors(page, area, scale.is_some(), sign);
    let mut tick = |label: &str, at: u32, share: f32| draw_tick(page, area.bottom(), label, (at, share));
    match sign {
        Sign::Positive => tick("0", x, 0.0),
        Sign::Both => tick("0", x + area.width / 2, 0.5),
    }
    if let Some(scale) = scale {
        if sign == Sign::Both {
            tick(&format!("−{} against", number(scale)), x, 0.0);
        }
        tick(&format!("for +{}", number(scale)), area.right() - 1, 1.0);
    }
}

/// The colours of a bar; without any evidence the middle one alone.
pub(super) fn draw_colors(page: &mut RgbImage, area: Area, has_evidence: bool, sign: Sign) {
    let lowest = if sign == Sign::Positive { 0.0 } else { -1.0 };
    for column in 0..area.width {
        let evidence = lowest + f64::from(column) / f64::from(area.width - 1) * (1.0 - lowest);
        let evidence = if has_evidence { evidence } else { 0.0 };
        let color = Rgb(ColorMap::BlueOrange.color(evidence));
        fill(page, Area { x: area.x + column, width: 1, ..area }, color, 1.0);
    }
    frame(page, area, LINE);
}

/// A tick below a bar that ends at `bottom`, with its label; `share` of the label's width lies left of it.
fn draw_tick(page: &mut RgbImage, bottom: u32, label: &str, (at, share): (u32, f32)) {
    fill(page, Area { x: at, y: bottom + 1, width: 1, height: 4 }, QUIET_INK, 1.0);
    let left = at as f32 - text::width(label, NOTE) * share;
    let baseline = (bottom + 6) as f32 + (text::LINE_HEIGHT + text::CAP_HEIGHT) / 2.0 * NOTE;
    text::draw(page, label, (left, baseline), NOTE, QUIET_INK);
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
        let size =
            |width, height| fitted(&RgbImage::new(width, height), SHORTEST_PANEL, LONGEST_PANEL).dimensions();
        assert_eq!(size(4000, 2000), (480, 240));
        assert_eq!(size(300, 400), (300, 400));
        assert_eq!(size(1, 1), (240, 240));
        assert_eq!(size(3000, 20), (480, 3));
        assert_eq!(size(20, 9000), (1, 480));
        assert_eq!(fitted(&RgbImage::new(300, 200), 60, 150).dimensions(), (150, 100));
    }
}
