//! A picture in the terminal: by a protocol that the terminal knows, else as coloured half blocks.
//!
//! The environment says what a terminal can do; the terminal is not queried, since a program that reads its terminal's
//! answers gets in the way of whoever types. Inside tmux and screen only half blocks are sure to arrive.

use base64::{Engine, engine::general_purpose::STANDARD};
use fieldmark::files::png;
use image::{RgbImage, imageops};

use crate::{
    args::{OutputArgs, Preview},
    output,
};

/// How pictures are sent to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// kitty's graphics protocol: a PNG in pieces.
    Kitty,
    /// iTerm2's inline images: a PNG in one piece.
    Iterm2,
    /// DEC's sixels: rows of six pixels in colours of a palette.
    Sixel,
    /// Two pixels a character, in 24-bit colours.
    Blocks,
    /// Two pixels a character, in the 256 colours of xterm.
    Blocks256,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub columns: u32,
    pub rows: u32,
}

impl Default for Room {
    /// Of a terminal that does not say.
    fn default() -> Self {
        Self { columns: 80, rows: 24 }
    }
}

/// No preview is wider: beyond, it would push the numbers away and show no more.
const WIDEST: u32 = 100;

/// The most bytes that kitty takes in one piece.
const PIECE: usize = 4096;

/// A character's width and height in pixels, for protocols that count in pixels. Most fonts are larger.
const CHARACTER: (u32, u32) = (8, 16);

impl Protocol {
    /// What a terminal with this environment can show; none if it can show nothing.
    pub fn detect(variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let value = |name: &str| variable(name).unwrap_or_default();
        let (term, program) = (value("TERM"), value("TERM_PROGRAM"));
        let is_inside = !value("TMUX").is_empty() || term.starts_with("screen") || term.starts_with("tmux");
        let is_any = |names: &[&str], text: &str| names.iter().any(|name| text.contains(name));
        if term == "dumb" {
            None
        } else if is_inside {
            Self::blocks(variable)
        } else if is_any(&["kitty", "ghostty"], &term)
            || program == "ghostty"
            || !value("KITTY_WINDOW_ID").is_empty()
        {
            Some(Self::Kitty)
        } else if is_any(&["iTerm.app", "WezTerm", "mintty"], &program) || value("LC_TERMINAL") == "iTerm2" {
            Some(Self::Iterm2)
        } else if is_any(&["foot", "sixel", "mlterm", "contour", "yaft"], &term) {
            Some(Self::Sixel)
        } else {
            Self::blocks(variable)
        }
    }

    /// Half blocks are made of colours: there are none where those are not wanted.
    fn blocks(variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        if variable("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            return None;
        }
        let colors = variable("COLORTERM").unwrap_or_default();
        let is_exact = ["truecolor", "24bit"].contains(&colors.as_str());
        Some(if is_exact { Self::Blocks } else { Self::Blocks256 })
    }

    /// Whether letters of ordinary size in a picture can be read.
    pub fn is_fine(self) -> bool {
        !matches!(self, Self::Blocks | Self::Blocks256)
    }

    /// What to write to show a picture in a terminal of this size, ending with a new line.
    pub fn show(self, picture: &RgbImage, room: Room) -> Vec<u8> {
        let (columns, rows) = fitted(picture, room);
        let resized = |width, height| imageops::thumbnail(picture, width, height);
        match self {
            Self::Kitty => kitty(&png_of(&resized_to_fit(picture, columns)), columns),
            Self::Iterm2 => iterm2(&png_of(&resized_to_fit(picture, columns)), columns),
            Self::Sixel => sixel(&resized(columns * CHARACTER.0, rows * CHARACTER.1)),
            Self::Blocks => blocks(&resized(columns, rows * 2), exact_color),
            Self::Blocks256 => blocks(&resized(columns, rows * 2), nearest_color),
        }
    }
}

/// How the results of so many photos are shown in the terminal, if they are.
pub fn protocol(wish: Preview, photos: usize, output: &OutputArgs) -> Option<Protocol> {
    let detect = || Protocol::detect(&|name| std::env::var(name).ok());
    match wish {
        _ if output.json => None,
        Preview::Never => None,
        Preview::Auto => detect().filter(|_| photos == 1 && output::is_terminal()),
        Preview::Always => detect().or(Some(Protocol::Blocks256)),
        Preview::Kitty => Some(Protocol::Kitty),
        Preview::Iterm2 => Some(Protocol::Iterm2),
        Preview::Sixel => Some(Protocol::Sixel),
        Preview::Blocks => Some(Protocol::Blocks),
    }
}

/// Columns and rows of characters, twice as high as they are wide, that hold the picture at its aspect.
fn fitted(picture: &RgbImage, room: Room) -> (u32, u32) {
    let most_columns = f64::from(room.columns.saturating_sub(2).clamp(1, WIDEST));
    // The lines above and the prompt below stay in sight.
    let most_rows = f64::from(room.rows.saturating_sub(4).max(4));
    let aspect = f64::from(picture.width().max(1)) / f64::from(picture.height().max(1));
    let columns = most_columns.min(most_rows * 2.0 * aspect).max(1.0);
    (columns.round() as u32, (columns / aspect / 2.0).round().max(1.0) as u32)
}

/// The picture with as many pixels as so many characters can show, on a fine display; not more than it has.
fn resized_to_fit(picture: &RgbImage, columns: u32) -> RgbImage {
    let width = columns * CHARACTER.0 * 2;
    if picture.width() <= width {
        return picture.clone();
    }
    let height = f64::from(picture.height()) * f64::from(width) / f64::from(picture.width());
    imageops::thumbnail(picture, width, (height.round() as u32).max(1))
}

fn png_of(picture: &RgbImage) -> String {
    // Without a PNG nothing is shown: a preview is no result.
    STANDARD.encode(png(&picture.clone().into()).unwrap_or_default())
}

fn kitty(png: &str, columns: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let pieces = png.as_bytes().chunks(PIECE);
    let last = pieces.len().saturating_sub(1);
    for (index, piece) in pieces.enumerate() {
        let more = u8::from(index < last);
        // q=2: the terminal must not answer.
        let head =
            if index == 0 { format!("a=T,f=100,q=2,c={columns},m={more}") } else { format!("m={more}") };
        out.extend(format!("\x1b_G{head};").into_bytes());
        out.extend(piece);
        out.extend(b"\x1b\\");
    }
    out.push(b'\n');
    out
}

fn iterm2(png: &str, columns: u32) -> Vec<u8> {
    let size = png.len() / 4 * 3;
    format!("\x1b]1337;File=inline=1;size={size};width={columns};preserveAspectRatio=1:{png}\x07\n")
        .into_bytes()
}

/// Half blocks: the upper pixel is the character's colour, the lower one its ground.
fn blocks(picture: &RgbImage, color: fn([u8; 3]) -> String) -> Vec<u8> {
    let mut out = String::new();
    for y in (0..picture.height()).step_by(2) {
        out.push_str("  ");
        for x in 0..picture.width() {
            let upper = picture.get_pixel(x, y).0;
            let lower = picture.get_pixel(x, (y + 1).min(picture.height() - 1)).0;
            out.push_str(&format!("\x1b[38;{};48;{}m▀", color(upper), color(lower)));
        }
        out.push_str("\x1b[0m\n");
    }
    out.into_bytes()
}

fn exact_color([red, green, blue]: [u8; 3]) -> String {
    format!("2;{red};{green};{blue}")
}

/// The nearest of xterm's 256 colours: of its cube of six levels and its ramp of greys.
fn nearest_color(color: [u8; 3]) -> String {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let distance = |other: [u8; 3]| -> u32 {
        color.iter().zip(other).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    };
    let nearest = |value: u8| (0..6).min_by_key(|level| LEVELS[*level].abs_diff(value)).unwrap_or(0);
    let [red, green, blue] = color.map(nearest);
    let cube = [LEVELS[red], LEVELS[green], LEVELS[blue]];
    let mean = color.iter().map(|value| u32::from(*value)).sum::<u32>() / 3;
    let grey = (mean.saturating_sub(3) / 10).min(23);
    let index = if distance([8 + 10 * grey as u8; 3]) < distance(cube) {
        232 + grey as usize
    } else {
        16 + 36 * red + 6 * green + blue
    };
    format!("5;{index}")
}

/// Levels of red, green and blue in the palette of sixels: 252 colours, most for green, where the eye is finest.
const SIXEL_LEVELS: [u32; 3] = [7, 9, 4];

/// An ordered dither, in sixteenths of a step.
const BAYER: [[u32; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];

fn sixel(picture: &RgbImage) -> Vec<u8> {
    let (width, height) = picture.dimensions();
    let mut out = format!("\x1bP0;1q\"1;1;{width};{height}");
    for (index, [red, green, blue]) in sixel_palette().enumerate() {
        out.push_str(&format!("#{index};2;{red};{green};{blue}"));
    }
    for top in (0..height).step_by(6) {
        for (color, columns) in sixel_band(picture, top) {
            out.push_str(&format!("#{color}"));
            out.push_str(&run_lengths(&columns));
            out.push('$');
        }
        out.push('-');
    }
    out.push_str("\x1b\\\n");
    out.into_bytes()
}

/// The palette's colours in percent, the blue one counting fastest.
fn sixel_palette() -> impl Iterator<Item = [u32; 3]> {
    let [reds, greens, blues] = SIXEL_LEVELS;
    let percent = |level: u32, levels: u32| level * 100 / (levels - 1);
    (0..reds * greens * blues).map(move |index| {
        let (red, green, blue) = (index / (greens * blues), index / blues % greens, index % blues);
        [percent(red, reds), percent(green, greens), percent(blue, blues)]
    })
}

/// Six rows of pixels: for every colour in them, a character a column whose bits are its pixels.
fn sixel_band(picture: &RgbImage, top: u32) -> std::collections::BTreeMap<u32, Vec<u8>> {
    let mut band = std::collections::BTreeMap::new();
    for y in top..(top + 6).min(picture.height()) {
        for x in 0..picture.width() {
            let color = palette_index(picture.get_pixel(x, y).0, BAYER[(y % 4) as usize][(x % 4) as usize]);
            let columns = band.entry(color).or_insert_with(|| vec![0_u8; picture.width() as usize]);
            columns[x as usize] |= 1 << (y - top);
        }
    }
    band
}

fn palette_index(color: [u8; 3], dither: u32) -> u32 {
    color.into_iter().zip(SIXEL_LEVELS).fold(0, |index, (value, levels)| {
        let sixteenths = u32::from(value) * (levels - 1) * 16 / 255;
        index * levels + (sixteenths + dither) / 16
    })
}

/// Sixel characters, runs of equal ones counted.
fn run_lengths(columns: &[u8]) -> String {
    let runs = columns.chunk_by(|one, next| one == next);
    runs.map(|run| format!("!{}{}", run.len(), char::from(63 + run[0]))).collect()
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    fn detected(variables: &[(&str, &str)]) -> Option<Protocol> {
        Protocol::detect(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn terminals_are_known_by_their_environment() {
        assert_eq!(detected(&[("TERM", "xterm-kitty")]), Some(Protocol::Kitty));
        assert_eq!(
            detected(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "iTerm.app")]),
            Some(Protocol::Iterm2)
        );
        assert_eq!(detected(&[("TERM", "foot")]), Some(Protocol::Sixel));
        assert_eq!(detected(&[("TERM", "xterm"), ("COLORTERM", "truecolor")]), Some(Protocol::Blocks));
        assert_eq!(detected(&[("TERM", "xterm")]), Some(Protocol::Blocks256));
        assert_eq!(detected(&[("TERM", "tmux"), ("KITTY_WINDOW_ID", "1")]), Some(Protocol::Blocks256));
        assert_eq!(detected(&[("TERM", "dumb")]), None);
        assert_eq!(detected(&[("TERM", "xterm"), ("NO_COLOR", "1")]), None);
    }

    #[test]
    fn a_picture_fits_the_terminal_at_its_aspect() {
        let room = Room { columns: 60, rows: 24 };
        assert_eq!(fitted(&RgbImage::new(400, 100), room), (58, 7));
        assert_eq!(fitted(&RgbImage::new(100, 400), room), (10, 20));
        assert_eq!(fitted(&RgbImage::new(9000, 1), room), (58, 1));
        assert_eq!(fitted(&RgbImage::new(400, 100), Room { columns: 300, rows: 90 }), (100, 13));
    }

    #[test]
    fn half_blocks_are_two_pixels_a_character() {
        let picture = RgbImage::from_fn(1, 2, |_, y| Rgb([[255, 0, 0], [0, 0, 95]][y as usize]));
        let text = String::from_utf8(blocks(&picture, exact_color)).unwrap();
        assert_eq!(text, "  \x1b[38;2;255;0;0;48;2;0;0;95m▀\x1b[0m\n");
        let text = String::from_utf8(blocks(&picture, nearest_color)).unwrap();
        assert_eq!(text, "  \x1b[38;5;196;48;5;17m▀\x1b[0m\n");
        assert_eq!(nearest_color([118; 3]), "5;243");
    }

    #[test]
    fn kitty_gets_pieces_and_iterm_one() {
        let png = "A".repeat(5000);
        let text = String::from_utf8(kitty(&png, 40)).unwrap();
        let pieces: Vec<&str> = text.trim_end().split_inclusive("\x1b\\").collect();
        assert_eq!(pieces.len(), 2);
        assert!(pieces[0].starts_with("\x1b_Ga=T,f=100,q=2,c=40,m=1;AAA"));
        assert_eq!(pieces[1], format!("\x1b_Gm=0;{}\x1b\\", "A".repeat(5000 - PIECE)));
        let text = String::from_utf8(iterm2("AAAA", 40)).unwrap();
        assert_eq!(text, "\x1b]1337;File=inline=1;size=3;width=40;preserveAspectRatio=1:AAAA\x07\n");
    }

    #[test]
    fn sixels_hold_every_pixel_in_the_nearest_colours() {
        let picture = RgbImage::from_fn(3, 7, |x, _| Rgb(if x < 2 { [255, 255, 255] } else { [0, 0, 0] }));
        let text = String::from_utf8(sixel(&picture)).unwrap();
        assert!(text.starts_with("\x1bP0;1q\"1;1;3;7#0;2;0;0;0#1;2;0;0;33"));
        // Black is colour 0 and white the last, 251; six rows are `~` (63 + 63), one row is `@` (63 + 1).
        assert!(text.ends_with("#0!2?!1~$#251!2~!1?$-#0!2?!1@$#251!2@!1?$-\x1b\\\n"), "{text:?}");
        assert_eq!(sixel_palette().count(), 252);
    }
}
