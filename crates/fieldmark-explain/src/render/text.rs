//! Words become pixels, in the font that ships (DejaVu Sans Condensed: Latin, Greek, Cyrillic, Armenian,
//! Georgian and many symbols).
//!
//! Left to right, one glyph a character, with kerning; scripts that need shaping are set plainly. A
//! character that the font lacks is drawn as the font's empty box. Sizes are pixels per em.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, Glyph, GlyphId, Point, PxScale, ScaleFont};
use image::Rgb;

use super::canvas::{Canvas, Ground};
use fieldmark_model::guard::guarded;

/// The font of all pictures, a TrueType file: DejaVu Sans Condensed.
pub const FONT_FILE: &[u8] = include_bytes!("../../assets/fonts/DejaVuSansCondensed.ttf");

#[allow(clippy::expect_used, reason = "the font is compiled in: no input can break it")]
static FONT: LazyLock<FontRef<'static>> =
    LazyLock::new(|| FontRef::try_from_slice(FONT_FILE).expect("the font that ships can be read"));

/// From one line's baseline to the next, in ems.
pub(super) const LINE_HEIGHT: f32 = 1.3;

/// From the baseline to the top of a capital letter, in ems.
pub(super) const CAP_HEIGHT: f32 = 0.73;

/// What stands for words that had no room.
const ELLIPSIS: &str = "…";

/// The width of a line of text, in pixels.
pub(super) fn width(words: &str, size: f32) -> f32 {
    place(words, size).1
}

/// Draws a line of text from a point on its baseline; what falls outside the picture is left out.
pub(super) fn draw<P: Ground>(
    picture: &mut Canvas<P>,
    words: &str,
    from: (f32, f32),
    size: f32,
    color: Rgb<u8>,
) {
    let scale = scale(size);
    // A baseline between two pixels would blur every horizontal stroke.
    let baseline = from.1.round();
    for (glyph, x) in place(words, size).0 {
        let glyph = glyph.with_scale_and_position(scale, Point { x: from.0 + x, y: baseline });
        // A glyph that the font's reader cannot draw is missing in the picture: the picture is worth more.
        let _ = guarded(|| draw_glyph(picture, glyph, color));
    }
}

fn draw_glyph<P: Ground>(picture: &mut Canvas<P>, glyph: Glyph, color: Rgb<u8>) {
    let Some(outline) = FONT.outline_glyph(glyph) else { return };
    let corner = outline.px_bounds().min;
    outline.draw(|x, y, coverage| {
        let (x, y) = (i64::from(x) + corner.x as i64, i64::from(y) + corner.y as i64);
        if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
            && let Some(pixel) = picture.get_pixel_mut_checked(x, y)
        {
            pixel.mix(color, coverage.clamp(0.0, 1.0));
        }
    });
}

/// Breaks text between words into at most `lines` lines of at most `room` pixels; words too long for a line
/// are broken anywhere, and what has no room at all becomes an ellipsis.
pub(super) fn wrap(words: &str, size: f32, room: f32, lines: usize) -> Vec<String> {
    let mut wrapped: Vec<String> = Vec::new();
    let mut rest = clean(words);
    while !rest.is_empty() && wrapped.len() < lines {
        let is_last = wrapped.len() + 1 == lines;
        let end = if is_last { rest.len() } else { line_end(&rest, size, room) };
        let line = rest[..end].trim_end();
        wrapped.push(if is_last { shortened(line, size, room) } else { line.to_owned() });
        rest = rest[end..].trim_start().to_owned();
    }
    wrapped
}

/// Where the first line of a text ends, in bytes: at least one character is on it.
fn line_end(words: &str, size: f32, room: f32) -> usize {
    if width(words, size) <= room {
        return words.len();
    }
    let fits = fitting(words, size, room);
    match words[..fits].rfind(' ') {
        _ if words[fits..].starts_with(' ') => fits,
        Some(space) => space,
        None => fits,
    }
}

/// A line cut to its room, with an ellipsis if anything was cut.
fn shortened(line: &str, size: f32, room: f32) -> String {
    if width(line, size) <= room {
        return line.to_owned();
    }
    let fits = fitting(line, size, room - width(ELLIPSIS, size));
    format!("{}{ELLIPSIS}", line[..fits].trim_end())
}

/// The bytes of a text's longest start that fits, one character at least.
fn fitting(words: &str, size: f32, room: f32) -> usize {
    // No glyph is a thousandth of an em wide on average, and a prompt may be a whole book.
    let longest = (room / size.max(1.0) * 20.0).max(1.0) as usize;
    let ends: Vec<usize> = words.char_indices().map(|(at, c)| at + c.len_utf8()).take(longest).collect();
    let count = ends.partition_point(|end| width(&words[..*end], size) <= room);
    ends.get(count.max(1) - 1).copied().unwrap_or(words.len())
}

/// Glyphs with their distances from the start of the line, and the width of them all.
fn place(words: &str, size: f32) -> (Vec<(GlyphId, f32)>, f32) {
    let font = FONT.as_scaled(scale(size));
    let mut glyphs: Vec<(GlyphId, f32)> = Vec::new();
    let mut x = 0.0;
    for character in clean(words).chars() {
        let before = glyphs.last().map(|(glyph, _)| *glyph);
        // A character that the font's reader fails on is left out, as one that it cannot draw is.
        let measured = guarded(|| {
            let glyph = font.glyph_id(character);
            (glyph, before.map_or(0.0, |before| font.kern(before, glyph)), font.h_advance(glyph))
        });
        let Ok((glyph, kern, advance)) = measured else { continue };
        x += kern;
        glyphs.push((glyph, x));
        x += advance;
    }
    (glyphs, x)
}

/// Text on one line: white space and control characters become single spaces, and characters that only
/// steer how others are shown (joiners, directions, variants) are left out.
fn clean(words: &str) -> String {
    let is_steering = |c: &char| matches!(u32::from(*c), 0xAD | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x206F | 0xFE00..=0xFE0F | 0xFEFF);
    let spaced: String =
        words.chars().filter(|c| !is_steering(c)).map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// ab_glyph measures a font by its line's height, people by its em.
fn scale(size: f32) -> PxScale {
    let per_em = FONT.units_per_em().unwrap_or(2048.0);
    PxScale::from(size * FONT.height_unscaled() / per_em)
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    #[test]
    fn a_line_that_fits_is_one_line() {
        assert_eq!(wrap(" red\n bird ", 16.0, 400.0, 2), ["red bird"]);
        assert!(wrap("", 16.0, 400.0, 2).is_empty());
    }

    #[test]
    fn long_text_breaks_between_words_then_ends_in_an_ellipsis() {
        let text = "a photo of a red-winged blackbird with its shoulder patch shown among reeds in spring";
        let lines = wrap(text, 16.0, 200.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(text.starts_with(&lines[0]) && text[lines[0].len()..].starts_with(' '));
        assert!(lines[1].ends_with(ELLIPSIS));
        assert!(lines.iter().all(|line| width(line, 16.0) <= 200.0));
    }

    #[test]
    fn a_word_without_spaces_is_broken_and_never_lost_in_a_loop() {
        let lines = wrap(&"я".repeat(5000), 16.0, 100.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| width(line, 16.0) <= 100.0));
        assert_eq!(wrap("ab", 16.0, 0.0, 2).len(), 2, "no room at all still ends");
    }

    #[test]
    fn letters_of_three_alphabets_have_glyphs_and_others_get_the_box() {
        for character in "aéßŁαΩяЖ−…·×".chars() {
            assert_ne!(FONT.glyph_id(character), GlyphId(0), "{character}");
        }
        assert_eq!(FONT.glyph_id('鳥'), GlyphId(0));
        let mut picture = RgbImage::from_pixel(40, 40, Rgb([255; 3]));
        draw(&mut picture, "鳥", (5.0, 30.0), 24.0, Rgb([0; 3]));
        assert!(picture.pixels().any(|pixel| pixel.0[0] < 64), "the box is visible");
    }

    #[test]
    fn kerning_brings_letters_together() {
        assert!(width("AV", 100.0) < width("A", 100.0) + width("V", 100.0) - 1.0);
    }

    #[test]
    fn text_outside_the_picture_is_left_out() {
        let mut picture = RgbImage::new(3, 3);
        draw(&mut picture, "W", (-50.0, -50.0), 20.0, Rgb([255; 3]));
        draw(&mut picture, "W", (1.0, 1e9), 20.0, Rgb([255; 3]));
        assert!(picture.pixels().all(|pixel| pixel.0 == [0; 3]));
    }
}
