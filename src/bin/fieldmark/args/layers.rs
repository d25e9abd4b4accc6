//! `--layers`: the blocks that are explained, in one spelling, and the options of before that said parts of it.

use std::str::FromStr;

use clap::Args;
use fieldmark::{Error, attribution::Combination, explain::Layers};

use super::values;

/// A value of `--layers`, such as `-1`, `9..11` or `9..11:product`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    layers: Layers,
    /// Whether it names how maps are combined.
    names_combination: bool,
}

impl FromStr for Typed {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(Self { layers: text.parse()?, names_combination: text.contains(':') })
    }
}

impl Typed {
    /// With the combination of `--layers-combine`, if it names none itself.
    fn with(&self, other: Option<Combination>) -> Layers {
        match (&self.layers, other) {
            (Layers::Several { blocks, .. }, Some(combination)) if !self.names_combination => {
                Layers::several(blocks.clone(), combination)
            }
            (layers, _) => layers.clone(),
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
    layers: Option<Typed>,

    /// The same as --layers with one block
    #[arg(long, value_name = "BLOCK", allow_negative_numbers = true, hide = true, conflicts_with = "layers")]
    layer: Option<i64>,

    /// The same as :mean or :product behind --layers
    #[arg(long, value_name = "NAME", value_parser = values::combination(), hide = true, requires = "layers")]
    layers_combine: Option<Combination>,
}

impl LayersArgs {
    /// Which blocks are explained.
    pub fn layers(&self) -> Layers {
        let typed = || self.layers.as_ref().map(|typed| typed.with(self.layers_combine));
        self.layer.map(Layers::One).or_else(typed).unwrap_or_default()
    }
}

/// Which blocks the maps of an evaluation explain.
#[derive(Debug, Args)]
#[command(next_help_heading = "Map")]
pub struct LayerGridArgs {
    /// The block to explain, or several; repeat it to compare them [default: the method's own, mostly the last]
    ///
    /// One block such as 9 or -1 (negative numbers count from the end), a range with both ends (9..11, -3..-1), or a list
    /// (2,5,8). The maps of several are averaged; 9..11:product multiplies their positive parts instead, each divided by
    /// its peak. `--layers -1 --layers -2` measures each of the two blocks; `--layers -1 --layers -3..-1` compares the last
    /// block with the mean of three.
    #[arg(long, value_name = "LAYERS", allow_hyphen_values = true, hide_short_help = true)]
    layers: Vec<Typed>,

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
    /// What is compared, each a block or several whose maps are combined.
    pub fn grid(&self) -> Vec<Layers> {
        let typed = self.layers.iter().map(|typed| typed.with(self.layers_combine));
        typed.chain(self.layer.iter().copied().map(Layers::One)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_option_fills_in_the_combination() {
        let read = |text: &str, option| text.parse::<Typed>().map(|typed| typed.with(option)).ok();
        let (mean, product) = (Combination::Mean, Combination::Product);
        assert_eq!(read("-1", Some(product)), Some(Layers::One(-1)));
        assert_eq!(read("9..11", None), Some(Layers::several([9, 10, 11], mean)));
        assert_eq!(read("2,5:product", None), Some(Layers::several([2, 5], product)));
        assert_eq!(read("-2..-1:mean", Some(product)), Some(Layers::several([-2, -1], mean)));
        assert_eq!(read("-2..-1", Some(product)), Some(Layers::several([-2, -1], product)));
    }
}
