//! Plain shapes on a picture: fills, frames and the marks that say "the model did not look here".

use std::ops::Range;

use image::{ImageBuffer, Pixel, Rgb, RgbImage, Rgba};

/// A pixel into which colours are mixed: one of a photo, or one of a transparent layer that is laid over it later.
pub(super) trait Ground: Pixel<Subpixel = u8> + Send + Sync {
    /// Mixes a colour in; `opacity` is 0 to 1.
    fn mix(&mut self, color: Rgb<u8>, opacity: f32);
}

impl Ground for Rgb<u8> {
    #[inline]
    fn mix(&mut self, color: Rgb<u8>, opacity: f32) {
        for (channel, target) in self.0.iter_mut().zip(color.0) {
            let (from, to) = (f32::from(*channel), f32::from(target));
            // Adding a half rounds; `round` is a call on machines without an instruction for it.
            *channel = (from + (to - from) * opacity + 0.5) as u8;
        }
    }
}

/// Porter and Duff's "over" with straight (not premultiplied) alpha, as PNG stores it.
impl Ground for Rgba<u8> {
    #[inline]
    fn mix(&mut self, color: Rgb<u8>, opacity: f32) {
        let below = f32::from(self.0[3]) / 255.0 * (1.0 - opacity);
        let alpha = opacity + below;
        if alpha <= 0.0 {
            return;
        }
        for (channel, target) in self.0.iter_mut().zip(color.0) {
            *channel = ((f32::from(*channel) * below + f32::from(target) * opacity) / alpha + 0.5) as u8;
        }
        self.0[3] = (alpha * 255.0 + 0.5) as u8;
    }
}

/// A picture that is drawn on.
pub(super) type Canvas<P> = ImageBuffer<P, Vec<u8>>;

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
pub(super) fn fill<P: Ground>(picture: &mut Canvas<P>, area: Area, color: Rgb<u8>, opacity: f32) {
    let (right, bottom) = (area.right().min(picture.width()), area.bottom().min(picture.height()));
    for y in area.y..bottom {
        for x in area.x..right {
            picture.get_pixel_mut(x, y).mix(color, opacity);
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

/// Makes everything outside the covered columns and rows paler, and hatches it with thin diagonal lines, so
/// that it can be taken neither for a bright photo nor for a lack of evidence.
pub(super) fn mark_outside<P: Ground>(
    picture: &mut Canvas<P>,
    columns: Range<usize>,
    rows: Range<usize>,
    paleness: f32,
) {
    const WHITE: Rgb<u8> = Rgb([255; 3]);
    const LINE: Rgb<u8> = Rgb([90; 3]);
    let distance = (picture.width().max(picture.height()) / 60).clamp(6, 40);
    let thickness = (distance / 12).max(1);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        if columns.contains(&(x as usize)) && rows.contains(&(y as usize)) {
            continue;
        }
        pixel.mix(WHITE, paleness.clamp(0.0, 1.0));
        if (x + y) % distance < thickness {
            pixel.mix(LINE, 0.4);
        }
    }
}
