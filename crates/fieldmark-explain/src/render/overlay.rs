//! A map and its photo become one picture at the photo's own resolution; or the map alone does.

use std::ops::Range;

use image::{GrayImage, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use rayon::prelude::*;

use super::canvas::{Area, Canvas, Ground, fill, mark_outside};
use super::colormap::{ColorTable, Entry};
use super::contour::draw_contour;
use super::{RenderOptions, text};
use crate::attribution::ConceptMap;
use crate::attribution::resample::Resampled;
use crate::regions::{Threshold, level};
use fieldmark_model::geometry::Size;

/// What an overlay without positive evidence says.
const NOTHING_FOUND: &str = "no positive evidence";

/// The photo with the evidence as colour over it, at the photo's own resolution.
///
/// Where there is no evidence the photo is untouched; colour and opacity grow with the evidence, and a thin
/// line follows one level of it. A map without positive evidence leaves the photo as it is and says so in a caption at the bottom. What the map
/// does not cover is pale and hatched. The map is fitted to the photo as it is given, even if that has
/// another resolution than the one the map was made from.
pub fn overlay(photo: &RgbImage, map: &ConceptMap, options: &RenderOptions) -> RgbImage {
    let mut picture = photo.clone();
    draw_over(&mut picture, map, options, |pixel: &mut Rgb<u8>, entry| blend(&mut pixel.0, entry));
    picture
}

/// What an [`overlay`] lays over the photo, alone: transparent where the photo is untouched, at `size` pixels for the
/// whole photo. Laid over the photo it gives the overlay, but for rounding.
pub fn layer(map: &ConceptMap, size: Size, options: &RenderOptions) -> RgbaImage {
    let mut picture = RgbaImage::new(size.width, size.height);
    draw_over(&mut picture, map, options, |pixel: &mut Rgba<u8>, Entry { color: [r, g, b], opacity }| {
        // 256 is opaque in a table of colours, 255 in a picture.
        *pixel = Rgba([r, g, b, ((u32::from(opacity) * 255 + 128) >> 8) as u8]);
    });
    picture
}

/// Draws a map over a picture; `color` gives a pixel of it its colour, and nothing has been drawn there before.
fn draw_over<P: Ground>(
    picture: &mut Canvas<P>,
    map: &ConceptMap,
    options: &RenderOptions,
    color: impl Fn(&mut P, Entry) + Sync,
) {
    let resampled = Resampled::new(map, Size::new(picture.width(), picture.height()));
    if let Some(scale) = options.scale.of(map, options.colors.sign()) {
        let table = ColorTable::new(options, scale);
        each_pixel(picture, &resampled, |pixel, evidence| color(pixel, table.entry(evidence)));
        if let Some(level) = options.contour.map(|part| part * scale).filter(|level| *level > 0.0) {
            draw_contour(picture, map, &resampled, level);
        }
    }
    let (columns, rows) = (resampled.covered_columns(), resampled.covered_rows());
    if is_partial(picture, &columns, &rows) {
        mark_outside(picture, columns, rows, options.paleness_outside);
    }
    if map.max() <= 0.0 {
        caption(picture, NOTHING_FOUND);
    }
}

/// The map alone in colour, at `size` pixels for the whole photo; what the map does not cover is grey and
/// hatched.
///
/// A sequential colour map shows evidence against the concept like no evidence, a diverging one
/// ([`RenderOptions::signed`]) shows both around its neutral middle. Opacity, gamma and contour do not apply.
pub fn heatmap(map: &ConceptMap, size: Size, options: &RenderOptions) -> RgbImage {
    const OUTSIDE: Rgb<u8> = Rgb([200; 3]);
    let mut picture = RgbImage::from_pixel(size.width, size.height, OUTSIDE);
    let resampled = Resampled::new(map, size);
    let scale = options.scale.of(map, options.colors.sign());
    let table = ColorTable::new(options, scale.unwrap_or(1.0));
    each_pixel(&mut picture, &resampled, |pixel: &mut Rgb<u8>, evidence| {
        // Without a scale everything gets the colour of no evidence.
        let evidence = if scale.is_some() { evidence } else { 0.0 };
        *pixel = Rgb(table.entry(evidence).color);
    });
    let (columns, rows) = (resampled.covered_columns(), resampled.covered_rows());
    if is_partial(&picture, &columns, &rows) {
        mark_outside(&mut picture, columns, rows, 0.0);
    }
    picture
}

/// White (255) where the evidence is positive and reaches the threshold, black (0) elsewhere, at the photo's size;
/// all black where there is no positive evidence.
///
/// It is what [`crate::regions::regions`] is made of, specks included.
pub fn mask(map: &ConceptMap, threshold: Threshold) -> GrayImage {
    let photo = map.placement().photo;
    let mut picture = GrayImage::new(photo.width, photo.height);
    let Some(level) = level(map, threshold) else { return picture };
    let resampled = Resampled::new(map, photo);
    for y in 0..photo.height {
        for x in resampled.runs_at_least(y, level).into_iter().flat_map(|run| run.pixels) {
            picture.put_pixel(x, y, Luma([255]));
        }
    }
    picture
}

/// Calls `change` with every pixel that the map covers and its evidence, rows in parallel.
pub(super) fn each_pixel<P: Ground>(
    picture: &mut Canvas<P>,
    resampled: &Resampled,
    change: impl Fn(&mut P, f32) + Sync,
) {
    let (width, channels) = (picture.width() as usize, usize::from(P::CHANNEL_COUNT));
    if width == 0 {
        return;
    }
    let (covered, rows) = (resampled.covered_columns(), resampled.covered_rows());
    picture.par_chunks_exact_mut(width * channels).enumerate().for_each_init(
        || vec![0.0; width],
        |evidence, (y, row)| {
            if !rows.contains(&y) {
                return;
            }
            resampled.row(y as u32, evidence);
            let pixels = row[covered.start * channels..covered.end * channels].chunks_exact_mut(channels);
            for (pixel, evidence) in pixels.zip(&evidence[covered.clone()]) {
                change(P::from_slice_mut(pixel), *evidence);
            }
        },
    );
}

/// Whether a picture has pixels that the map does not cover.
pub(super) fn is_partial<P: Ground>(
    picture: &Canvas<P>,
    columns: &Range<usize>,
    rows: &Range<usize>,
) -> bool {
    columns.len() < picture.width() as usize || rows.len() < picture.height() as usize
}

/// Mixes a colour over a pixel, in sRGB's code values; no opacity leaves the pixel exactly as it is.
pub(super) fn blend(pixel: &mut [u8; 3], entry: Entry) {
    let opacity = u32::from(entry.opacity);
    for (channel, color) in pixel.iter_mut().zip(entry.color) {
        let mixed = u32::from(*channel) * (256 - opacity) + u32::from(color) * opacity;
        *channel = ((mixed + 128) >> 8) as u8;
    }
}

/// Writes a line at the bottom left of the picture on a dark strip, as large as the picture allows. A picture
/// too small for legible letters stays as it is.
fn caption<P: Ground>(picture: &mut Canvas<P>, words: &str) {
    const SMALLEST: f32 = 6.0;
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let wanted = (width.min(height) * 0.045).clamp(12.0, 96.0);
    let room = (width * 0.94 / text::width(words, 1.0)).min(height * 0.6);
    let size = wanted.min(room);
    if size < SMALLEST {
        return;
    }
    let strip = (size * 1.9).round().min(height) as u32;
    let top = picture.height() - strip;
    fill(picture, Area { x: 0, y: top, width: picture.width(), height: strip }, Rgb([20; 3]), 0.72);
    let baseline = top as f32 + (strip as f32 + text::CAP_HEIGHT * size) / 2.0;
    let left = (size * 0.8).min((width - text::width(words, size)) / 2.0);
    text::draw(picture, words, (left, baseline), size, Rgb([255; 3]));
}
