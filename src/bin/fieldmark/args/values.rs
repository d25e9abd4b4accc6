//! The values that options take by name: one parser for all of them, which lists the names in help texts, completions and
//! errors.

use std::{error::Error, ffi::OsStr, str::FromStr, sync::Arc};

use clap::{
    Arg, Command,
    builder::{PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser},
};
use fieldmark::{
    attribution::{Combination, METHODS},
    dataset::{Ask, Layout, Place},
    device::{DeviceChoice, Precision},
    evaluate::{
        Group, Metric,
        faithfulness::{Fill, Order, PRESETS, Score, Space},
    },
    geometry::Fit,
    named::Named,
    objective::references::By,
    refine::{Artifacts, Refinement, Tiles},
    regions::Threshold,
    render::ScaleRule,
    run::FileKind,
};

use super::{
    faithfulness::FaithfulnessArg,
    kinds::{self, Kind},
};

/// In place of the methods' names: every one of them.
pub const ALL_METHODS: &str = "all";

type Failure = Box<dyn Error + Send + Sync>;
type Read<T> = Arc<dyn Fn(&str) -> Result<T, Failure> + Send + Sync>;

/// Reads values of which some or all are listed.
#[derive(Clone)]
pub struct Values<T> {
    listed: Vec<PossibleValue>,
    /// Whether the list has forms with parameters, such as `share:X`, rather than every value.
    has_forms: bool,
    read: Read<T>,
}

impl<T: FromStr<Err: Into<Failure>> + 'static> Values<T> {
    /// Exactly these values.
    fn only(listed: impl IntoIterator<Item = PossibleValue>) -> Self {
        let read: Read<T> = Arc::new(|text| text.parse().map_err(Into::into));
        Self { listed: listed.into_iter().collect(), has_forms: false, read }
    }

    /// All values that can be read as text; these are listed.
    fn forms(listed: impl IntoIterator<Item = PossibleValue>) -> Self {
        Self { has_forms: true, ..Self::only(listed) }
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Values<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let read = Arc::clone(&self.read);
        let read = move |text: String| read(&text);
        if self.has_forms {
            return StringValueParser::new().try_map(read).parse_ref(command, arg, value);
        }
        PossibleValuesParser::new(self.listed.clone()).try_map(read).parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.listed.iter().cloned()))
    }
}

/// The values of a choice, each with what it means, in the order of [`Named::ALL`].
fn choice<T: Named + FromStr<Err: Into<Failure>>>(helps: &[&'static str]) -> Values<T> {
    debug_assert_eq!(helps.len(), T::ALL.len(), "{}: every value is explained", T::CHOICE);
    Values::only(T::NAMES.iter().zip(helps).map(|(name, help)| PossibleValue::new(*name).help(*help)))
}

/// Names or forms, each with what it means.
fn explained<const N: usize>(values: [(&'static str, &'static str); N]) -> [PossibleValue; N] {
    values.map(|(name, help)| PossibleValue::new(name).help(help))
}

fn method_names() -> impl Iterator<Item = PossibleValue> {
    METHODS.iter().map(|method| PossibleValue::new(method.name()))
}

pub fn method() -> Values<String> {
    Values::only(method_names())
}

/// The methods, or all of them.
pub fn methods_or_all() -> Values<String> {
    Values::only(method_names().chain([PossibleValue::new(ALL_METHODS)]))
}

pub fn objective() -> Values<String> {
    Values::only(explained([
        ("mean", "Subtract their mean logit, as in the Finer-CAM paper"),
        ("weighted", "Weight each difference by the rival's softmax probability, as in pytorch-grad-cam"),
        ("softmax", "Explain the prompt's softmax probability among them, as in CLIP-ES"),
        ("logit", "Explain the prompt alone; rivals count for probability and verdict only"),
    ]))
}

/// The names of metrics and of their groups.
pub fn metric() -> Values<String> {
    Values::only(Group::NAMES.iter().chain(Metric::NAMES).map(|name| PossibleValue::new(*name)))
}

pub fn by() -> Values<By> {
    choice(&[
        "Their text is most similar to the prompt's: the same rivals for every photo",
        "They score highest on the photo, as in the Finer-CAM paper",
        "The prompt's parent groups in the list: \"blackbird\" for \"rusty blackbird\"",
    ])
}

pub fn fit() -> Values<Fit> {
    choice(&[
        "The whole photo at its own aspect ratio, on as many patches as the model was trained on",
        "The whole photo, squashed into the model's square",
        "The checkpoint's own preprocessing, which cuts off the edges",
    ])
}

pub fn combination() -> Values<Combination> {
    choice(&[
        "Their mean, which keeps sign and unit",
        "The product of their positive parts, each divided by its peak",
    ])
}

pub fn device() -> Values<DeviceChoice> {
    choice(&[
        "The best that was compiled in",
        "The processor",
        "The first NVIDIA GPU; needs a build with the feature cuda",
        "Apple's GPU; needs a build with the feature metal",
    ])
}

pub fn precision() -> Values<Precision> {
    choice(&[
        "f32",
        "32-bit floating point",
        "bfloat16: several times faster on CPUs with AMX or AVX-512 BF16; maps differ by a few percent",
    ])
}

pub fn tiles() -> Values<Tiles> {
    Values::forms(explained([
        ("off", "No tiles"),
        ("auto", "A number that follows from the photo's size"),
        ("N", "This many tiles along the shorter side"),
    ]))
}

pub fn artifacts() -> Values<Artifacts> {
    choice(&["Leave the evidence as it is", "Replace it by the evidence of the patches around"])
}

pub fn refinement() -> Values<Refinement> {
    choice(&["Share evidence between patches that attend to each other", "Follow the edges of the photo"])
}

pub fn threshold() -> Values<Threshold> {
    Values::forms(explained([
        ("peak:X", "At least X times the largest evidence, X from 0 to 1"),
        ("otsu", "Otsu's threshold between strong and weak evidence"),
        ("share:X", "The strongest evidence that makes up X of all positive evidence"),
    ]))
}

pub fn scale() -> Values<ScaleRule> {
    Values::forms(explained([
        ("own", "The largest evidence of the photo"),
        ("run", "The largest evidence of all photos; pictures are drawn when the last photo is done"),
        ("X", "This much evidence in the map's unit, above 0"),
    ]))
}

/// Files that some commands can write, or none.
pub fn kinds(is_offered: fn(FileKind) -> bool) -> Values<Kind> {
    let offered = FileKind::ALL.iter().copied().filter(|kind| is_offered(*kind));
    let listed = offered.map(|kind| PossibleValue::new(kind.name()).help(kinds::help(kind)));
    Values::only(listed.chain([PossibleValue::new(Kind::NONE).help("No files")]))
}

pub fn layout() -> Values<Layout> {
    Values::only(Layout::NAMES.iter().map(|name| PossibleValue::new(*name)))
}

pub fn ask() -> Values<Ask> {
    choice(&["The thing that is shown", "A part of it", "A property of it"])
}

pub fn place() -> Values<Place> {
    choice(&[
        "The finest that is known: its pixels, or else its box",
        "Its box, even where its pixels are known",
    ])
}

/// A preset, which settings can follow.
pub fn faithfulness() -> Values<FaithfulnessArg> {
    Values::forms(PRESETS.map(|preset| PossibleValue::new(preset.name)))
}

pub fn fill() -> Values<Fill> {
    choice(&[
        "The mean colour of the model's training images",
        "Black",
        "The photo, blurred",
        "Random colours",
    ])
}

pub fn order() -> Values<Order> {
    choice(&["Pixels with the largest values first", "Pixels with the smallest values first"])
}

pub fn score() -> Values<Score> {
    choice(&[
        "The prompt's probability among it and its rivals",
        "The prompt's logit",
        "The prompt's cosine with the picture",
    ])
}

pub fn space() -> Values<Space> {
    choice(&["Pixels of the model's input", "Whole patches of the model's input"])
}

#[cfg(test)]
mod tests {
    use fieldmark::objective::OBJECTIVES;

    use super::*;

    /// The names of listed values.
    fn names<T>(values: &Values<T>) -> Vec<&str> {
        values.listed.iter().map(PossibleValue::get_name).collect()
    }

    #[test]
    fn listed_values_are_all_that_can_be_read() {
        let objectives: Vec<_> = OBJECTIVES.iter().map(|objective| objective.name()).collect();
        assert_eq!(names(&objective()), objectives);
        assert_eq!(names(&fit()), Fit::NAMES);
        assert_eq!(names(&device()), DeviceChoice::NAMES);
        assert_eq!(names(&precision()), Precision::NAMES);
        assert_eq!(names(&by()), By::NAMES);
        assert_eq!(names(&artifacts()), Artifacts::NAMES);
        assert_eq!(names(&refinement()), Refinement::NAMES);
        assert_eq!(names(&combination()), Combination::NAMES);
        assert_eq!(names(&ask()), Ask::NAMES);
        assert_eq!(names(&place()), Place::NAMES);
        assert_eq!(names(&fill()), Fill::NAMES);
        assert_eq!(names(&order()), Order::NAMES);
        assert_eq!(names(&score()), Score::NAMES);
        assert_eq!(names(&space()), Space::NAMES);
    }

    #[test]
    fn listed_forms_can_be_read_with_their_parameters() {
        for form in names(&threshold()) {
            assert!(form.replace('X', "0.3").parse::<Threshold>().is_ok(), "{form}");
        }
        for form in names(&tiles()) {
            assert!(form.replace('N', "3").parse::<Tiles>().is_ok(), "{form}");
        }
        for form in names(&scale()) {
            assert!(form.replace('X', "12.5").parse::<ScaleRule>().is_ok(), "{form}");
        }
        for form in names(&faithfulness()) {
            assert!(form.parse::<FaithfulnessArg>().is_ok(), "{form}");
        }
    }
}
