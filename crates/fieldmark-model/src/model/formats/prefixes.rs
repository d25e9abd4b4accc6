//! The names in a file become the model's: what training wrapped around the model comes off.
//!
//! Wrappers put their own module before every name or in the middle of it: `module.` (DataParallel, DeepSpeed),
//! `_orig_mod.` (compiled models), `_fsdp_wrapped_module.`, `model.` (Lightning), `clip.`, `base_model.model.` (PEFT).
//! There is one rule for all of them. Those that no model has as a part come off wherever they are; then the model is
//! looked for under any prefix that its names have left, and found where the most of its tensors are.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    config::ClipConfig,
    names::{OpenClipNames, TensorNames, VitNames},
    weights::Weights,
};
use crate::{error::Result, model::build};

/// What wrappers of PyTorch put into names, at any depth; no model has modules of these names.
const WRAPPERS: [&str; 5] =
    ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"];
/// What is often put before all names: of several copies of a model, the one under these alone counts.
const USUAL: [&str; 3] = ["model", "clip", "base_model"];
/// The modules of adapters that were not merged: LoRA's and its kin's (`lora_A`), and what PEFT moves the trained layer
/// to.
const ADAPTERS: [&str; 5] = ["lora_", "hada_", "lokr_", "oft_", "ia3_"];
const MOVED: [&str; 3] = ["base_layer", "original_module", "modules_to_save"];
/// The most copies of a model that are looked for in one file.
const MOST_COPIES: usize = 64;

/// Where a model was found.
struct Found {
    names: TensorNames,
    prefix: String,
    /// How many of its tensors are there.
    tensors: usize,
    is_whole: bool,
}

/// Gives the tensors the names that the configuration has for them, and the configuration the form of names that the
/// file has.
///
/// # Errors
/// [`Error::Weights`](crate::Error::Weights) if the file has an adapter that was not merged into the model, or several
/// whole models of this kind.
pub(crate) fn agree(weights: &mut Weights, config: &mut ClipConfig) -> Result<()> {
    if let Some(name) = weights.names().find(|name| is_of_an_adapter(name)) {
        let reason =
            format!("tensor {name}: expected a whole model, found an adapter that is not merged into it");
        return Err(weights.error(reason));
    }
    // Of names that differ in their wrappers alone, the one without counts.
    let mut bare: BTreeMap<String, String> =
        weights.names().map(|name| (bare_name(name), name.to_owned())).collect();
    bare.extend(
        weights.names().filter(|name| !is_wrapped(name)).map(|name| (name.to_owned(), name.to_owned())),
    );
    let Some(found) = find(&bare, config).map_err(|reason| weights.error(reason))? else { return Ok(()) };
    config.names = found.names;
    let names = bare.into_iter().filter_map(|(bare, stored)| {
        let name = bare.strip_prefix(&found.prefix)?.to_owned();
        (!name.is_empty() && name != stored).then_some((stored, name))
    });
    let names: BTreeMap<String, String> = names.collect();
    if !names.is_empty() {
        weights.renamed(names, found.prefix);
    }
    Ok(())
}

fn is_of_an_adapter(name: &str) -> bool {
    name.split('.').any(|part| MOVED.contains(&part) || ADAPTERS.iter().any(|start| part.starts_with(start)))
}

fn is_wrapped(name: &str) -> bool {
    name.split('.').any(|part| WRAPPERS.contains(&part))
}

/// A name without wrappers.
fn bare_name(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
    parts.join(".")
}

/// The place where the most of a model's tensors are.
fn find(bare: &BTreeMap<String, String>, config: &ClipConfig) -> Result<Option<Found>, String> {
    let mut all: Vec<Found> =
        forms(config).into_iter().flat_map(|names| candidates(bare, config, names)).collect();
    all.retain(|found| found.tensors > 0);
    all.sort_by_key(|found| (std::cmp::Reverse(found.tensors), found.prefix.len(), found.prefix.clone()));
    let whole: Vec<usize> = (0..all.len()).filter(|index| all[*index].is_whole).collect();
    let usual: Vec<usize> = whole.iter().copied().filter(|index| is_usual(&all[*index].prefix)).collect();
    let chosen = match (whole.as_slice(), usual.as_slice()) {
        ([], _) => 0,
        ([only], _) | (_, [only]) => *only,
        // The one without any prefix is the first.
        ([first, ..], _) if all[*first].prefix.is_empty() => *first,
        ([first, second, ..], _) => {
            let (one, other) = (&all[*first].prefix, &all[*second].prefix);
            return Err(format!("expected one model, found one under {one:?} and one under {other:?}"));
        }
    };
    Ok(all.into_iter().nth(chosen))
}

/// Whether a prefix is empty or what is often put before all names.
fn is_usual(prefix: &str) -> bool {
    prefix.split_terminator('.').all(|part| USUAL.contains(&part))
}

/// The forms of names that a configuration allows: open_clip reads text towers with and without `text.` into either
/// model.
fn forms(config: &ClipConfig) -> Vec<TensorNames> {
    match config.names {
        TensorNames::OpenClip(names) => [names.custom_text, !names.custom_text]
            .map(|custom_text| TensorNames::OpenClip(OpenClipNames { custom_text, ..names }))
            .into(),
        TensorNames::TransformersVit(names) if !names.root.is_empty() => {
            let bare = VitNames { root: "", ..names };
            vec![config.names, TensorNames::TransformersVit(bare)]
        }
        others => vec![others],
    }
}

/// The places where a model may be: before any of a few names that every model has.
fn candidates(bare: &BTreeMap<String, String>, config: &ClipConfig, names: TensorNames) -> Vec<Found> {
    let config = ClipConfig { names, ..config.clone() };
    let expected: HashSet<String> =
        build::expected(&config).into_iter().map(|expected| expected.name).collect();
    let anchors = build::anchors(&config);
    let mut prefixes = BTreeSet::new();
    for name in bare.keys() {
        let before = anchors.iter().filter_map(|anchor| name.strip_suffix(anchor.as_str()));
        prefixes.extend(before.filter(|prefix| prefix.is_empty() || prefix.ends_with('.')));
    }
    let found = prefixes.into_iter().take(MOST_COPIES).map(|prefix| {
        let under = bare.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        let tensors = under.filter(|(name, _)| expected.contains(&name[prefix.len()..])).count();
        Found { names, prefix: prefix.into(), tensors, is_whole: tensors == expected.len() }
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::formats::weights::Expected;

    const CONFIG: &str = r#"{"model_type": "clip", "projection_dim": 2,
        "text_config": {"hidden_size": 2, "intermediate_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1,
            "vocab_size": 3, "max_position_embeddings": 2},
        "vision_config": {"hidden_size": 2, "intermediate_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1,
            "patch_size": 2, "image_size": 4}}"#;

    fn config() -> ClipConfig {
        ClipConfig::parse(CONFIG.as_bytes(), Path::new("config.json")).expect("is valid")
    }

    /// Where the model is found if its tensors have other names.
    fn found(rename: impl Fn(&str) -> Vec<String>) -> Result<Option<(String, bool)>, String> {
        let expected = build::expected(&config());
        let names = expected.iter().flat_map(|Expected { name, .. }| rename(name));
        let bare = names.map(|name| (bare_name(&name), name)).collect();
        Ok(find(&bare, &config())?.map(|found| (found.prefix, found.is_whole)))
    }

    #[test]
    fn one_model_is_found_under_any_prefix() {
        for (before, prefix) in [
            ("", ""),
            ("module.", ""),
            ("_orig_mod.module.", ""),
            ("module._orig_mod.model.clip.", "model.clip."),
            ("base_model.model.", "base_model.model."),
            ("_forward_module.model.", "model."),
            ("net.backbone.", "net.backbone."),
        ] {
            let place = found(|name| vec![format!("{before}{name}")]);
            assert_eq!(place, Ok(Some((prefix.to_owned(), true))), "{before}");
        }
        let inside = |name: &str| name.replace("layers.0.", "layers.0._checkpoint_wrapped_module.module.");
        assert_eq!(found(|name| vec![inside(name)]), Ok(Some((String::new(), true))));
    }

    #[test]
    fn of_several_models_the_usual_one_counts_and_others_are_refused() {
        let both = |one: &'static str, other: &'static str| {
            found(move |name| vec![format!("{one}{name}"), format!("{other}{name}")])
        };
        assert_eq!(both("model.", "ema."), Ok(Some(("model.".into(), true))));
        assert_eq!(both("", "teacher."), Ok(Some((String::new(), true))));
        assert!(both("model.", "clip.").is_err());
        let error = both("student.", "teacher.").expect_err("there are two");
        assert_eq!(error, "expected one model, found one under \"student.\" and one under \"teacher.\"");
    }

    #[test]
    fn a_part_of_a_model_is_found_and_what_is_none_is_not() {
        let without =
            |name: &str| if name.contains("layers.0.mlp") { vec![] } else { vec![format!("model.{name}")] };
        assert_eq!(found(without), Ok(Some(("model.".into(), false))));
        assert_eq!(found(|name| vec![format!("{name}s")]), Ok(None));
    }

    #[test]
    fn adapters_are_known_by_their_modules() {
        for name in [
            "a.q_proj.lora_A.default.weight",
            "a.base_layer.weight",
            "a.lora_magnitude_vector",
            "a.modules_to_save.x",
        ] {
            assert!(is_of_an_adapter(name), "{name}");
        }
        assert!(!is_of_an_adapter("base_model.model.visual.explorable_weights"));
    }
}
