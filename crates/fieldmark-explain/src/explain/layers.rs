//! Which blocks a map explains.

use std::{ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::attribution::Combination;
use fieldmark_model::{
    error::{Error, Result},
    named::Named,
};

/// Which blocks a map explains.
///
/// In JSON, one block is `layer`; several are `layers`, with `layers_combine` beside them, and are used where both are
/// given. As text, one block is `-1`, several are `9..11`, `2,5,8` or `9..11:product`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Fields", into = "Fields")]
#[non_exhaustive]
pub enum Layers {
    /// The method's own choice: the last block for most methods.
    #[default]
    Own,
    /// One block, or the first of several where the method explains all blocks from one on; negative counts from the end.
    One(i64),
    /// Several blocks, whose maps are combined into one.
    Several {
        /// The blocks, at least one; negative counts from the end. A block that is listed twice counts once.
        blocks: Vec<i64>,
        /// How their maps are combined.
        combination: Combination,
    },
}

impl Layers {
    /// Several blocks, whose maps are combined into one.
    pub fn several(blocks: impl Into<Vec<i64>>, combination: Combination) -> Self {
        Self::Several { blocks: blocks.into(), combination }
    }

    /// The blocks by number; none where the method chooses.
    pub fn blocks(&self) -> &[i64] {
        match self {
            Self::Own => &[],
            Self::One(block) => std::slice::from_ref(block),
            Self::Several { blocks, .. } => blocks,
        }
    }

    /// How the maps of several blocks are combined; none of one block.
    pub fn combination(&self) -> Option<Combination> {
        match self {
            Self::Several { combination, .. } => Some(*combination),
            Self::Own | Self::One(_) => None,
        }
    }
}

impl From<Option<i64>> for Layers {
    fn from(block: Option<i64>) -> Self {
        block.map_or(Self::Own, Self::One)
    }
}

impl From<i64> for Layers {
    fn from(block: i64) -> Self {
        Self::One(block)
    }
}

/// The JSON of [`Layers`], whose fields stand among those of the settings.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Fields {
    /// The block that is explained, or the first of several where the method explains more than one; negative counts from
    /// the end. None: the method's own choice, which is the last block for most of them.
    #[serde(default)]
    layer: Option<i64>,
    #[serde(default)]
    layers: Option<Vec<i64>>,
    #[serde(default)]
    layers_combine: Combination,
}

impl From<Fields> for Layers {
    fn from(Fields { layer, layers, layers_combine }: Fields) -> Self {
        match layers {
            Some(blocks) => Self::several(blocks, layers_combine),
            None => layer.into(),
        }
    }
}

impl From<Layers> for Fields {
    fn from(layers: Layers) -> Self {
        let (mut fields, layers_combine) = (
            Self { layer: None, layers: None, layers_combine: Combination::default() },
            layers.combination(),
        );
        match layers {
            Layers::Own => {}
            Layers::One(block) => fields.layer = Some(block),
            Layers::Several { blocks, .. } => fields.layers = Some(blocks),
        }
        Self { layers_combine: layers_combine.unwrap_or_default(), ..fields }
    }
}

/// More blocks than any tower has.
const MOST_BLOCKS: u64 = 1000;

impl FromStr for Layers {
    type Err = Error;

    /// Reads one block, such as `9` or `-1`, or several: `9..11` (both ends included), `-3..-1`, `9,10,11`, or `2,-3..-1`.
    /// Their maps are averaged, unless `:product` follows.
    fn from_str(text: &str) -> Result<Self> {
        let error = |expected: &str| {
            let reason = format!("expected {expected}, found {text:?}");
            Error::Option { option: "layers", reason }
        };
        let (list, name) = text.rsplit_once(':').map_or((text, None), |(list, name)| (list, Some(name)));
        let combination = name.map(|name| {
            let names = fieldmark_model::named::alternatives(Combination::NAMES);
            Combination::find(name).ok_or_else(|| error(&format!("{names} behind the colon")))
        });
        let combination = combination.transpose()?;
        let mut blocks = Vec::new();
        for part in list.split(',') {
            let blocks_of_part = range(part.trim());
            blocks.extend(blocks_of_part.ok_or_else(|| error("blocks such as 9..11, -3..-1 or 9,10,11"))?);
        }
        Ok(match (&blocks[..], combination) {
            ([block], None) => Self::One(*block),
            _ => Self::several(blocks, combination.unwrap_or_default()),
        })
    }
}

/// The blocks from one to another; none if they are not numbers, count from different ends, or go backwards.
fn range(text: &str) -> Option<RangeInclusive<i64>> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) = (first.trim().parse::<i64>().ok()?, last.trim().parse::<i64>().ok()?);
    let fits = (first < 0) == (last < 0) && first <= last && last.abs_diff(first) < MOST_BLOCKS;
    fits.then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_one_block_ranges_with_both_ends_or_lists() {
        let read = |text: &str| text.parse::<Layers>().ok();
        let mean = |blocks: &[i64]| Some(Layers::several(blocks, Combination::Mean));
        assert_eq!(read("-1"), Some(Layers::One(-1)));
        assert_eq!(read("9..9"), Some(Layers::One(9)));
        assert_eq!(read("9..11"), mean(&[9, 10, 11]));
        assert_eq!(read("-3..-1"), mean(&[-3, -2, -1]));
        assert_eq!(read(" 9, 10 ,11"), mean(&[9, 10, 11]));
        assert_eq!(read("0,-2..-1:mean"), mean(&[0, -2, -1]));
        assert_eq!(read("2,5:product"), Some(Layers::several([2, 5], Combination::Product)));
        assert_eq!(read("-1:product"), Some(Layers::several([-1], Combination::Product)));
        for wrong in ["", "a", "1..", "..2", "-1..2", "3..1", "1,,2", "0..999999999999", "1...3", "1..=3"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        let error = |text: &str| text.parse::<Layers>().unwrap_err().to_string();
        let expected = "layers: expected mean or product behind the colon, found \"9..11:max\"";
        assert_eq!(error("9..11:max"), expected);
        assert!(error("3..1").starts_with("layers: expected blocks such as"));
        assert!(read(":mean").is_none() && read("1:mean:mean").is_none());
    }

    #[test]
    fn json_has_one_block_or_several() {
        let (mean, product) = (Combination::Mean, Combination::Product);
        let cases = [
            (Layers::Own, r#"{"layer":null,"layers":null,"layers_combine":"mean"}"#),
            (Layers::One(-2), r#"{"layer":-2,"layers":null,"layers_combine":"mean"}"#),
            (
                Layers::several([9, 10], product),
                r#"{"layer":null,"layers":[9,10],"layers_combine":"product"}"#,
            ),
        ];
        for (layers, json) in cases {
            assert_eq!(serde_json::to_string(&layers).unwrap(), json);
            assert_eq!(serde_json::from_str::<Layers>(json).unwrap(), layers);
        }
        let read = |json: &str| serde_json::from_str::<Layers>(json).unwrap();
        assert_eq!(read("{}"), Layers::Own);
        assert_eq!(read(r#"{"layer": -1, "layers": [0, 1]}"#), Layers::several([0, 1], mean));
    }
}
