//! Evidence becomes colour, in equal steps for the eye.
//!
//! The sequential maps are matplotlib's perceptually uniform ones and cividis, from `colorous`. None of the
//! diverging maps there is uniform (they are splines through eleven ColorBrewer colours), so ours is made:
//! two arms in OKLab (B. Ottosson, 2020, <https://bottosson.github.io/posts/oklab/>), each a straight line
//! from the same near-white to a deep colour. The two ends are equally dark and equally far from the middle,
//! so neither sign looks stronger, and they are blue and orange, which all common kinds of colour vision
//! tell apart.

use super::RenderOptions;
use fieldmark_model::named;

/// Which evidence a colour map shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sign {
    /// Only the evidence for the concept.
    Positive,
    /// Evidence for and against, around a neutral zero.
    Both,
}

/// A perceptually uniform colour map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColorMap {
    /// Sequential, dark violet over green to yellow.
    Viridis,
    /// Sequential, black over red to pale yellow.
    Inferno,
    /// Sequential, black over magenta to pale yellow.
    Magma,
    /// Sequential, blue over magenta to yellow: saturated throughout, so it stands out from a photo.
    Plasma,
    /// Sequential, blue over grey to yellow: looks nearly the same with every kind of colour vision.
    Cividis,
    /// Diverging: blue is evidence against, orange is evidence for.
    BlueOrange,
}

/// OKLab's lightness, a and b of the diverging map's middle and ends.
const NEUTRAL: [f64; 3] = [0.975, 0.0, 0.0];
const AGAINST: [f64; 3] = [0.58, -0.045, -0.155];
const FOR: [f64; 3] = [0.58, 0.116, 0.112];

// The default of overlays comes first, the diverging map last.
named!(ColorMap, "colour map",
    Plasma => "plasma",
    Viridis => "viridis",
    Cividis => "cividis",
    Inferno => "inferno",
    Magma => "magma",
    BlueOrange => "blue-orange",
);

impl ColorMap {
    /// Which evidence the colour map shows.
    pub fn sign(self) -> Sign {
        match self {
            Self::BlueOrange => Sign::Both,
            _ => Sign::Positive,
        }
    }

    /// The colour, as red, green and blue of sRGB, of evidence over scale: 0 to 1 for sequential maps, -1 to
    /// 1 for diverging ones. Values beyond that get the nearest end's colour.
    pub fn color(self, evidence: f64) -> [u8; 3] {
        let gradient = match self {
            Self::Viridis => colorous::VIRIDIS,
            Self::Inferno => colorous::INFERNO,
            Self::Magma => colorous::MAGMA,
            Self::Plasma => colorous::PLASMA,
            Self::Cividis => colorous::CIVIDIS,
            Self::BlueOrange => return blue_orange(evidence.clamp(-1.0, 1.0)),
        };
        let color = gradient.eval_continuous(evidence.clamp(0.0, 1.0));
        [color.r, color.g, color.b]
    }
}

fn blue_orange(evidence: f64) -> [u8; 3] {
    let end = if evidence < 0.0 { AGAINST } else { FOR };
    let at = |i: usize| NEUTRAL[i] + (end[i] - NEUTRAL[i]) * evidence.abs();
    oklab_to_srgb([at(0), at(1), at(2)])
}

pub(super) fn oklab_to_srgb([lightness, a, b]: [f64; 3]) -> [u8; 3] {
    let long = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let medium = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let short = (lightness - 0.089_484_177_5 * a - 1.291_485_548 * b).powi(3);
    [
        4.076_741_662_1 * long - 3.307_711_591_3 * medium + 0.230_969_929_2 * short,
        -1.268_438_004_6 * long + 2.609_757_401_1 * medium - 0.341_319_396_5 * short,
        -0.004_196_086_3 * long - 0.703_418_614_7 * medium + 1.707_614_701 * short,
    ]
    .map(|linear| (gamma_encoded(linear.clamp(0.0, 1.0)) * 255.0).round() as u8)
}

/// sRGB's transfer function, from light to code value, both 0 to 1.
fn gamma_encoded(linear: f64) -> f64 {
    if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}

/// Steps from no evidence to the scale: finer than the 256 values of a channel.
pub(crate) const STEPS: usize = 512;

/// The colours of all steps, as they are drawn: from the scale against the concept (or from none, if only positive
/// evidence is shown) to the scale for it.
pub(crate) fn step_colors(colors: ColorMap) -> impl Iterator<Item = [u8; 3]> {
    steps(colors.sign()).map(move |step| colors.color(step as f64 / STEPS as f64))
}

fn steps(sign: Sign) -> std::ops::RangeInclusive<i64> {
    let last = STEPS as i64;
    if sign == Sign::Both { -last..=last } else { 0..=last }
}

/// What a pixel's evidence does to it, looked up instead of computed.
pub(super) struct ColorTable {
    steps_per_logit: f32,
    /// Where no evidence is in `entries`, and half a step, so that cutting the fraction off rounds.
    zero: f32,
    /// From -STEPS (or 0, if only positive evidence is shown) to STEPS.
    entries: Vec<Entry>,
}

/// A colour and how much of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    /// The colour in sRGB.
    pub(super) color: [u8; 3],
    /// How much of the photo the colour hides, 0 to 256.
    pub(super) opacity: u16,
}

impl ColorTable {
    /// The colours for one scale, in logits and above 0.
    pub(super) fn new(options: &RenderOptions, scale: f32) -> Self {
        let steps = steps(options.colors.sign());
        let zero = -*steps.start() as f32 + 0.5;
        let entry = |step: i64| {
            let evidence = step as f64 / STEPS as f64;
            let opacity = f64::from(options.opacity) * evidence.abs().powf(f64::from(options.gamma));
            let opacity = if step == 0 { 0.0 } else { opacity.clamp(0.0, 1.0) };
            Entry { color: options.colors.color(evidence), opacity: (opacity * 256.0).round() as u16 }
        };
        Self { steps_per_logit: STEPS as f32 / scale, zero, entries: steps.map(entry).collect() }
    }

    /// The entry for some evidence in logits.
    pub(super) fn entry(&self, evidence: f32) -> Entry {
        // The cast takes everything below 0 to 0: `round` and `clamp` would cost more than all the rest.
        let index = (evidence * self.steps_per_logit + self.zero) as usize;
        self.entries[index.min(self.entries.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OKLab of an sRGB colour: the inverse of what the map is made with.
    fn oklab(color: [u8; 3]) -> [f64; 3] {
        let [r, g, b] = color.map(|code| {
            let code = f64::from(code) / 255.0;
            if code <= 0.04045 { code / 12.92 } else { ((code + 0.055) / 1.055).powf(2.4) }
        });
        let long = (0.412_221_470_8 * r + 0.536_332_536_3 * g + 0.051_445_992_9 * b).cbrt();
        let medium = (0.211_903_498_2 * r + 0.680_699_545_1 * g + 0.107_396_956_6 * b).cbrt();
        let short = (0.088_302_461_9 * r + 0.281_718_837_6 * g + 0.629_978_700_5 * b).cbrt();
        [
            0.210_454_255_3 * long + 0.793_617_785 * medium - 0.004_072_046_8 * short,
            1.977_998_495_1 * long - 2.428_592_205 * medium + 0.450_593_709_9 * short,
            0.025_904_037_1 * long + 0.782_771_766_2 * medium - 0.808_675_766 * short,
        ]
    }

    fn distance(a: [u8; 3], b: [u8; 3]) -> f64 {
        let (a, b) = (oklab(a), oklab(b));
        (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn the_diverging_map_has_equal_steps_on_both_sides() {
        let steps: Vec<f64> = (-10..10)
            .map(|i| distance(blue_orange(f64::from(i) / 10.0), blue_orange(f64::from(i + 1) / 10.0)))
            .collect();
        let mean = steps.iter().sum::<f64>() / steps.len() as f64;
        for step in &steps {
            assert!((step / mean - 1.0).abs() < 0.08, "{steps:?}");
        }
    }

    #[test]
    fn the_diverging_map_is_equally_dark_on_both_sides() {
        for i in 0..=10 {
            let t = f64::from(i) / 10.0;
            let (against, for_it) = (oklab(blue_orange(-t)), oklab(blue_orange(t)));
            assert!((against[0] - for_it[0]).abs() < 0.005, "at {t}");
        }
        assert_eq!(blue_orange(0.0)[0], blue_orange(0.0)[2], "the middle is grey");
    }

    #[test]
    fn the_ends_stay_apart_without_red_or_green_cones() {
        // Deuteranopia and protanopia after Machado, Oliveira and Fernandes (2009), in linear light.
        let deuteranopia = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]];
        let protanopia = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]];
        for matrix in [deuteranopia, protanopia] {
            let seen = |color: [u8; 3]| {
                let linear = color.map(|code| (f64::from(code) / 255.0).powf(2.2));
                matrix.map(|row: [f64; 3]| {
                    let light: f64 = row.iter().zip(linear).map(|(weight, light)| weight * light).sum();
                    (gamma_encoded(light.clamp(0.0, 1.0)) * 255.0) as u8
                })
            };
            assert!(distance(seen(blue_orange(-1.0)), seen(blue_orange(1.0))) > 0.2);
        }
    }

    #[test]
    fn no_evidence_is_transparent_and_the_scale_is_the_last_colour() {
        for options in [RenderOptions::default(), RenderOptions::signed()] {
            let table = ColorTable::new(&options, 2.0);
            assert_eq!(table.entry(0.0).opacity, 0);
            assert_eq!(table.entry(2.0).color, options.colors.color(1.0));
            assert_eq!(table.entry(f32::INFINITY), table.entry(2.0));
        }
        let positive = ColorTable::new(&RenderOptions::default(), 2.0);
        assert_eq!(positive.entry(-2.0).opacity, 0);
    }

    #[test]
    fn the_scale_comes_out_at_the_stated_opacity() {
        let options = RenderOptions { opacity: 0.5, gamma: 2.0, ..RenderOptions::default() };
        let table = ColorTable::new(&options, 1.0);
        assert_eq!(table.entry(1.0).opacity, 128);
        assert_eq!(table.entry(0.5).opacity, 32);
    }
}
