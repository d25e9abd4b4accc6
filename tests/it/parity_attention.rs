//! The methods that look at attention, against what `make_attention.py` and `make_attention_pooled.py` compute from their
//! definitions, on the same weights and pixels.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;
use fieldmark::{
    Result,
    attribution::{self, METHODS, Needs, Targets},
    gradient::{Differentiation, LayerTrace},
};
use serde_json::Value;

use crate::parity::{Golden, cases, print, relative_difference, text};

/// The length of a map's difference over the length of the map.
const MAP_TOLERANCE: f32 = 1e-4;

/// Towers that end in a class token, that pool by attention, and one that takes the mean of its patches.
const CHECKPOINTS: [&str; 5] =
    ["tiny-quick-gelu", "tiny-gelu", "tiny-siglip", "tiny-siglip2", "open-clip-mean"];

/// The map of one case of the JSON, made as the pipeline makes it.
fn map(golden: &Golden, case: &Value, texts: &Tensor) -> Result<Tensor> {
    let method = attribution::method(text(&case["method"]))?;
    let vision = &golden.model.config().vision;
    let asked = case["layer"].as_i64().map(|layer| (vision.tower.layers as i64 + layer) as usize);
    let Needs { layer, recording } = method.needs(vision, asked)?;
    let pixels = &golden.tensors[&format!("pixels.{}", text(&case["fit"]))];
    let tower = golden.model.vision()?;
    let trace = LayerTrace::recording(tower, pixels, layer, Differentiation::Fastest, &recording)?;
    let extra: Result<Vec<_>> =
        method.extra_prompts().iter().map(|prompt| golden.model.tokenize_any(prompt)).collect();
    let extra = match extra?.as_slice() {
        [] => None,
        extra => Some(golden.model.embed_texts(extra)?),
    };
    let targets = golden.asked(case, texts, &trace)?.0.with_extra(extra);
    Ok(method.maps(&trace, &targets)?.get(0)?)
}

#[test]
fn maps_are_those_of_their_definitions() -> Result<()> {
    let mut table =
        String::from("\nparity with definitions in float64: largest relative difference of a raw map\n");
    for name in CHECKPOINTS {
        let golden = Golden::of(name, "attention")?;
        let texts = golden.compared()?;
        let mut worst: BTreeMap<&str, f32> = BTreeMap::new();
        for case in cases(&golden) {
            let found = map(&golden, case, &texts)?;
            let difference =
                relative_difference(&found, &golden.tensors[text(&case["tensor"])].flatten_all()?)?;
            assert!(difference < MAP_TOLERANCE, "{name} {}: {difference}", case["tensor"]);
            let entry = worst.entry(text(&case["method"])).or_default();
            *entry = entry.max(difference);
        }
        assert_eq!(worst.len(), 10, "methods");
        for (method, difference) in worst {
            table.push_str(&format!("  {name:16} {method:18} {difference:.1e}\n"));
        }
    }
    print(&table);
    Ok(())
}

#[test]
fn the_empty_text_has_the_embedding_of_the_reference() -> Result<()> {
    for name in CHECKPOINTS {
        let golden = Golden::of(name, "attention")?;
        let found = golden.model.embed_texts(&[golden.model.tokenize_any("")?])?.get(0)?;
        let difference = relative_difference(&found, &golden.tensors["empty"])?;
        assert!(difference < 1e-4, "{name}: {difference}");
    }
    Ok(())
}

#[test]
fn every_method_that_looks_at_attention_has_expected_maps() -> Result<()> {
    for name in CHECKPOINTS {
        let golden = Golden::of(name, "attention")?;
        let checked: BTreeSet<&str> = cases(&golden).iter().map(|case| text(&case["method"])).collect();
        let vision = &golden.model.config().vision;
        for method in METHODS {
            let recording = method.needs(vision, None)?.recording;
            let looks = !(recording.attention.is_empty() && recording.insides.is_empty());
            assert_eq!(looks, checked.contains(method.name()), "{name} {}", method.name());
        }
    }
    Ok(())
}

/// The maps of some mixes, a row each, of a picture that is all of one colour or of noise.
fn maps_of(
    golden: &Golden,
    name: &str,
    layer: Option<usize>,
    mixes: &[[f32; 3]],
    flat: bool,
) -> Result<Vec<Vec<f32>>> {
    let method = attribution::method(name)?;
    let vision = &golden.model.config().vision;
    let Needs { layer, recording } = method.needs(vision, layer)?;
    let pixels = &golden.tensors[&format!("pixels.{}", text(&cases(golden)[0]["fit"]))];
    let pixels = if flat { pixels.zeros_like()? } else { pixels.clone() };
    let trace =
        LayerTrace::recording(golden.model.vision()?, &pixels, layer, Differentiation::Fastest, &recording)?;
    let weights = Tensor::from_vec(mixes.concat(), (mixes.len(), 3), pixels.device())?;
    let texts = golden.compared()?.narrow(0, 0, 3)?;
    let targets = Targets::new(&trace.embedding()?, &texts, &weights, golden.model.logit_scale())?;
    let empty = golden.tensors["empty"].unsqueeze(0)?;
    Ok(method.maps(&trace, &targets.with_extra(Some(empty)))?.to_vec2()?)
}

#[test]
fn a_mix_of_nothing_and_a_picture_of_one_colour_give_numbers() -> Result<()> {
    for checkpoint in CHECKPOINTS {
        let golden = Golden::of(checkpoint, "attention")?;
        let names: BTreeSet<&str> = cases(&golden).iter().map(|case| text(&case["method"])).collect();
        for name in names {
            let maps = maps_of(&golden, name, None, &[[0.0; 3], [1.0, 0.0, 0.0]], true)?;
            assert!(maps.concat().iter().all(|value| value.is_finite()), "{checkpoint} {name}");
            // Rollout alone does not look at what is explained.
            let nothing = maps[0].iter().all(|value| *value == 0.0);
            assert_eq!(nothing, attribution::method(name)?.facts().discriminative, "{checkpoint} {name}");
            assert!(maps[1].iter().any(|value| *value != 0.0), "{checkpoint} {name}");
        }
    }
    Ok(())
}

#[test]
fn a_contrast_is_arithmetic_on_plain_maps_where_a_method_says_so() -> Result<()> {
    for checkpoint in CHECKPOINTS {
        let golden = Golden::of(checkpoint, "attention")?;
        for method in METHODS.iter().filter(|method| method.facts().linear) {
            for layer in 0..golden.model.config().vision.tower.layers {
                let mixes = [[1.0, -0.6, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
                let maps = maps_of(&golden, method.name(), Some(layer), &mixes, false)?;
                let largest = maps[1].iter().fold(0.0_f32, |top, value| top.max(value.abs()));
                for (contrast, (target, rival)) in maps[0].iter().zip(maps[1].iter().zip(&maps[2])) {
                    let off = (contrast - (target - 0.6 * rival)).abs();
                    assert!(off < 1e-4 * largest, "{checkpoint} {} {layer}: {off}", method.name());
                }
            }
        }
    }
    Ok(())
}
