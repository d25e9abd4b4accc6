//! Plain shapes on a picture: fills, frames and the marks that say "the model did not look here".

use std::ops::Range;

use image::{Rgb, RgbImage};

/// A rectangle of whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Area {
    pub(super) fn right(self) -> u32 {
        self.x.saturating_add(self.width)
    }

    pub(super) fn bottom(self) -> u32 {
        self.y.saturating_add(self.height)
    }
}

/// Mixes a colour over an area, as far as it is on the picture; `opacity` is 0 to 1.
pub(super) fn fill(picture: &mut RgbImage, area: Area, color: Rgb<u8>, opacity: f32) {
    let (right, bottom) = (area.right().min(picture.width()), area.bottom().min(picture.height()));
    for y in area.y..bottom {
        for x in area.x..right {
            mix(picture.get_pixel_mut(x, y), color, opacity);
        }
    }
}

/// Draws a line of one pixel around an area, outside it.
pub(super) fn frame(picture: &mut RgbImage, area: Area, color: Rgb<u8>) {
    let (left, top) = (area.x.saturating_sub(1), area.y.saturating_sub(1));
    let across = area.right().saturating_sub(left) + 1;
    let down = area.bottom().saturating_sub(top) + 1;
    for y in [top, area.bottom()] {
        fill(picture, Area { x: left, y, width: across, height: 1 }, color, 1.0);
    }
    for x in [left, area.right()] {
        fill(picture, Area { x, y: top, width: 1, height: down }, color, 1.0);
    }
}

/// Mixes a colour into a pixel; `opacity` is 0 to 1.
pub(super) fn mix(pixel: &mut Rgb<u8>, color: Rgb<u8>, opacity: f32) {
    for (channel, target) in pixel.0.iter_mut().zip(color.0) {
        let (from, to) = (f32::from(*channel), f32::from(target));
        // Adding a half rounds; `round` is a call on machines without an instruction for it.
        *channel = (from + (to - from) * opacity + 0.5) as u8;
    }
}

/// Makes everything outside the covered columns and rows paler, and hatches it with thin diagonal lines, so
/// that it can be taken neither for a bright photo nor for a lack of evidence.
pub(super) fn mark_outside(picture: &mut RgbImage, columns: Range<usize>, rows: Range<usize>, paleness: f32) {
    const WHITE: Rgb<u8> = Rgb([255; 3]);
    const LINE: Rgb<u8> = Rgb([90; 3]);
    let distance = (picture.width().max(picture.height()) / 60).clamp(6, 40);
    let thickness = (distance / 12).max(1);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        if columns.contains(&(x as usize)) && rows.contains(&(y as usize)) {
            continue;
        }
        mix(pixel, WHITE, paleness.clamp(0.0, 1.0));
        if (x + y) % distance < thickness {
            mix(pixel, LINE, 0.4);
        }
    }
}
