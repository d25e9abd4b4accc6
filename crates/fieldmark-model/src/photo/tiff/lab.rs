//! CIE L*a*b* under the light D50, as in TIFF and ICC profiles, to sRGB.

use super::Fault;
use super::layout::{Kind, Samples};

/// D50, adapted to sRGB's D65 by Bradford's method, then linear sRGB.
const XYZ_TO_RGB: [[f32; 3]; 3] = [
    [3.133_856, -1.616_867, -0.490_615],
    [-0.978_768, 1.916_142, 0.033_454],
    [0.071_945, -0.228_991, 1.405_243],
];
const WHITE: [f32; 3] = [0.964_22, 1.0, 0.825_21];

/// How the three numbers are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lab {
    deep: bool,
    /// As in ICC profiles: a* and b* are 128 too large, rather than signed.
    shifted: bool,
}

impl Lab {
    pub(super) fn new(samples: &Samples, shifted: bool) -> Result<Self, Fault> {
        if samples.kind == Kind::Float || !matches!(samples.bits, 8 | 16) {
            return Err(Fault::unsupported(format!("L*a*b* colours of {} bits", samples.bits)));
        }
        Ok(Self { deep: samples.bits == 16, shifted })
    }

    pub(super) fn rgb(&self, [lightness, a, b]: [u16; 3]) -> [u8; 3] {
        let most = match (self.deep, self.shifted) {
            (false, _) => 255.0,
            (true, false) => 65_535.0,
            (true, true) => 65_280.0,
        };
        let lightness = f32::from(lightness) * 100.0 / most;
        let colour = |value: u16| match (self.deep, self.shifted) {
            (false, false) => f32::from(value as u8 as i8),
            (false, true) => f32::from(value) - 128.0,
            (true, false) => f32::from(value as i16) / 256.0,
            (true, true) => f32::from(value) / 256.0 - 128.0,
        };
        let y = (lightness + 16.0) / 116.0;
        let xyz = [y + colour(a) / 500.0, y, y - colour(b) / 200.0];
        let xyz = [0, 1, 2].map(|axis| WHITE[axis] * inverse(xyz[axis]));
        XYZ_TO_RGB.map(|row| gamma(row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2]))
    }
}

fn inverse(value: f32) -> f32 {
    const LINEAR: f32 = 6.0 / 29.0;
    if value > LINEAR { value.powi(3) } else { 3.0 * LINEAR * LINEAR * (value - 4.0 / 29.0) }
}

fn gamma(linear: f32) -> u8 {
    let value = if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
    (value * 255.0 + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_and_colours_are_those_of_colour_management() {
        let lab = Lab { deep: false, shifted: false };
        assert_eq!(lab.rgb([255, 0, 0]), [255; 3]);
        assert_eq!(lab.rgb([0, 0, 0]), [0; 3]);
        // L* 50 is mid grey 119.
        assert_eq!(Lab { deep: true, shifted: false }.rgb([32_768, 0, 0]), [119; 3]);
        assert_eq!(Lab { deep: true, shifted: true }.rgb([32_640, 32_768, 32_768]), [119; 3]);
        // sRGB's red is L* 54.29, a* 80.81, b* 69.89 under D50.
        let [red, green, blue] = lab.rgb([138, 81, 70]);
        assert!(red >= 253 && green < 12 && blue < 8, "{red} {green} {blue}");
    }
}
