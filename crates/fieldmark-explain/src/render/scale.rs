//! How much evidence gets the last colour of a picture.

use std::{fmt, str::FromStr};

use super::Sign;
use crate::attribution::ConceptMap;
use fieldmark_model::as_text;
use fieldmark_model::error::{Error, Result};

/// The evidence, in the map's unit, that gets the last colour of a colour map.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Scale {
    /// The map's own largest evidence (with a diverging colour map its largest absolute value). Several maps
    /// on one sheet: the largest of all.
    #[default]
    Own,
    /// The same for every map, so that pictures can be compared. Where it is not above 0, nothing is drawn.
    Shared(f32),
}

impl Scale {
    /// The scale of one map in its unit, shown in colours of some sign; none if there is nothing to draw.
    pub fn of(self, map: &ConceptMap, sign: Sign) -> Option<f32> {
        let top = match (self, sign) {
            (Self::Shared(top), _) => top,
            (Self::Own, Sign::Positive) => map.max(),
            (Self::Own, Sign::Both) => map.max_abs(),
        };
        (top > 0.0 && top.is_finite()).then_some(top)
    }
}

/// Which pictures share a scale.
///
/// As text: `own`, `run`, or a number such as `12.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ScaleRule {
    /// Every photo has a scale of its own.
    #[default]
    Own,
    /// All photos of a run have one scale: the largest evidence of all their maps.
    Run,
    /// All pictures have this scale, in the unit of their maps. It is above 0 and finite.
    Fixed(f32),
}

impl FromStr for ScaleRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_scale = |scale: &f32| *scale > 0.0 && scale.is_finite();
        match text {
            "own" => Ok(Self::Own),
            "run" => Ok(Self::Run),
            _ => text.parse().ok().filter(is_scale).map(Self::Fixed).ok_or_else(|| {
                let reason = format!("expected own, run or a number above 0, found {text:?}");
                Error::Option { option: "scale", reason }
            }),
        }
    }
}

impl fmt::Display for ScaleRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => write!(f, "own"),
            Self::Run => write!(f, "run"),
            Self::Fixed(scale) => write!(f, "{scale}"),
        }
    }
}

as_text!(ScaleRule);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        for text in ["own", "run", "12.5", "0.001", "1000000"] {
            assert_eq!(text.parse::<ScaleRule>().unwrap().to_string(), text);
        }
        assert_eq!("1e3".parse::<ScaleRule>().unwrap(), ScaleRule::Fixed(1000.0));
    }

    #[test]
    fn rejects_a_scale_that_is_not_above_0_and_finite() {
        // The last two are 0 and infinite as single precision.
        for text in ["0", "-0", "-1", "nan", "NaN", "inf", "-inf", "", " 1", "1,5", "Own", "1e-60", "1e60"] {
            let error = text.parse::<ScaleRule>().unwrap_err().to_string();
            assert!(
                error.contains("scale: expected own, run") && error.contains(&format!("{text:?}")),
                "{error}"
            );
        }
    }
}
