//! `--layers`: the blocks that are explained, in one spelling, and the options of before that said parts of it.

use std::str::FromStr;

use clap::Args;
use fieldmark::{Error, attribution::Combination, explain::Layers, named::Named};

use super::values;

/// Blocks whose maps become one, such as `-1`, `9..11` or `9..11:product`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    blocks: Vec<i64>,
    /// None if it was not said how.
    combination: Option<Combination>,
}

impl FromStr for Blocks {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (blocks, combination) = match text.rsplit_once(':') {
            Some((blocks, name)) => (blocks, Some(combination(name, text)?)),
            None => (text, None),
        };
        Ok(Self { blocks: blocks.parse::<Layers>()?.blocks, combination })
    }
}

/// How maps become one, by name; `text` is the value that it stands in.
fn combination(name: &str, text: &str) -> Result<Combination, Error> {
    let reason = || format!("expected mean or product behind the colon, found {text:?}");
    Combination::find(name).ok_or_else(|| Error::Option { option: "layers", reason: reason() })
}

impl Blocks {
    /// The block, if it is one.
    fn one(&self) -> Option<i64> {
        match (&self.blocks[..], self.combination) {
            ([block], None) => Some(*block),
            _ => None,
        }
    }

    fn with(&self, combination: Option<Combination>) -> Layers {
        Layers {
            blocks: self.blocks.clone(),
            combination: self.combination.or(combination).unwrap_or_default(),
        }
    }
}

/// Which blocks a map explains.
#[derive(Debug, Args)]
#[command(next_help_heading = "Map")]
pub struct LayersArgs {
    /// The block to explain, or several [default: the method's own, mostly the last]
    ///
    /// One block such as 9 or -1 (negative numbers count from the end), a range with both ends (9..11, -3..-1), or a list
    /// (2,5,8). The maps of several are averaged; 9..11:product multiplies their positive parts instead, each divided by
    /// its peak. Some methods explain all blocks from one on: for them, it is the first.
    #[arg(long, value_name = "LAYERS", allow_hyphen_values = true, hide_short_help = true)]
    layers: Option<Blocks>,

    /// The same as --layers with one block
    #[arg(long, value_name = "BLOCK", allow_negative_numbers = true, hide = true, conflicts_with = "layers")]
    layer: Option<i64>,

    /// The same as :mean or :product behind --layers
    #[arg(long, value_name = "NAME", value_parser = values::combination(), hide = true, requires = "layers")]
    layers_combine: Option<Combination>,
}

impl LayersArgs {
    /// The block, if it is one.
    pub fn block(&self) -> Option<i64> {
        self.layer.or_else(|| self.layers.as_ref()?.one())
    }

    /// Several blocks.
    pub fn several(&self) -> Option<Layers> {
        self.layers
            .as_ref()
            .filter(|blocks| blocks.one().is_none())
            .map(|blocks| blocks.with(self.layers_combine))
    }
}

/// Which blocks the maps of an evaluation explain.
#[derive(Debug, Args)]
#[command(next_help_heading = "Map")]
pub struct LayerGridArgs {
    /// The block to explain, or several; repeat it to compare blocks [default: the method's own, mostly the last]
    ///
    /// One block such as 9 or -1 (negative numbers count from the end), a range with both ends (9..11, -3..-1), or a list
    /// (2,5,8). The maps of several are averaged; 9..11:product multiplies their positive parts instead, each divided by
    /// its peak. `--layers -1 --layers -2` measures each of the two blocks.
    #[arg(long, value_name = "LAYERS", allow_hyphen_values = true, hide_short_help = true)]
    layers: Vec<Blocks>,

    /// Blocks to compare, separated by commas: the same as --layers, repeated
    #[arg(
        long,
        value_name = "BLOCKS",
        value_delimiter = ',',
        allow_hyphen_values = true,
        hide = true,
        conflicts_with = "layers"
    )]
    layer: Vec<i64>,

    /// The same as :mean or :product behind --layers
    #[arg(long, value_name = "NAME", value_parser = values::combination(), hide = true, requires = "layers")]
    layers_combine: Option<Combination>,
}

impl LayerGridArgs {
    /// The blocks that are compared, each alone, and the several whose maps become one: one of both.
    ///
    /// # Errors
    /// If several are to be compared with something else.
    pub fn grid(&self) -> Result<(Vec<i64>, Option<Layers>), Error> {
        if let Some(each) = self.layers.iter().map(Blocks::one).collect::<Option<Vec<_>>>() {
            return Ok(([&each[..], &self.layer].concat(), None));
        }
        match &self.layers[..] {
            [several] => Ok((Vec::new(), Some(several.with(self.layers_combine)))),
            _ => {
                let reason =
                    "expected single blocks to compare, or several blocks once, found both".to_owned();
                Err(Error::Option { option: "layers", reason })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_says_which_and_how() {
        let read = |text: &str| text.parse::<Blocks>().map_err(|error| error.to_string());
        let several = |text: &str, option| read(text).map(|blocks| (blocks.one(), blocks.with(option)));
        let layers = |blocks: &[i64], combination| Layers { blocks: blocks.into(), combination };
        let (mean, product) = (Combination::Mean, Combination::Product);
        assert_eq!(several("-1", None), Ok((Some(-1), layers(&[-1], mean))));
        assert_eq!(several("9..11", None), Ok((None, layers(&[9, 10, 11], mean))));
        assert_eq!(several("2,5:product", None), Ok((None, layers(&[2, 5], product))));
        assert_eq!(several("-2..-1:mean", Some(product)), Ok((None, layers(&[-2, -1], mean))));
        assert_eq!(several("-2..-1", Some(product)), Ok((None, layers(&[-2, -1], product))));
        assert!(read("9..11:max").unwrap_err().contains("expected mean or product"));
        assert!(read("3..1").is_err() && read(":mean").is_err() && read("1:mean:mean").is_err());
    }
}
