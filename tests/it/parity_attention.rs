//! The methods that look at attention, against what `make_attention.py` computes from their definitions, on the same
//! weights and pixels.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;
use fieldmark::{
    Result,
    attribution::{self, METHODS, Needs, Targets},
    gradient::{Differentiation, LayerTrace},
};
use serde_json::Value;

use crate::parity::{Golden, MAP_TOLERANCE, print, relative_difference, text};

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
    for name in ["tiny-quick-gelu", "tiny-gelu"] {
        let golden = Golden::of(name, "attention")?;
        let texts = golden.compared()?;
        let mut worst: BTreeMap<&str, f32> = BTreeMap::new();
        for case in golden.cases["maps"].as_array().expect("a list") {
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
fn the_empty_text_has_the_embedding_of_transformers() -> Result<()> {
    for name in ["tiny-quick-gelu", "tiny-gelu"] {
        let golden = Golden::of(name, "attention")?;
        let found = golden.model.embed_texts(&[golden.model.tokenize_any("")?])?.get(0)?;
        let difference = relative_difference(&found, &golden.tensors["empty"])?;
        assert!(difference < 1e-4, "{name}: {difference}");
    }
    Ok(())
}

#[test]
fn every_method_that_looks_at_attention_has_expected_maps() -> Result<()> {
    let golden = Golden::of("tiny-gelu", "attention")?;
    let cases = golden.cases["maps"].as_array().expect("a list");
    let checked: BTreeSet<&str> = cases.iter().map(|case| text(&case["method"])).collect();
    let vision = &golden.model.config().vision;
    for method in METHODS {
        let recording = method.needs(vision, None)?.recording;
        let looks = !(recording.attention.is_empty() && recording.insides.is_empty());
        assert_eq!(looks, checked.contains(method.name()), "{}", method.name());
    }
    Ok(())
}

#[test]
fn a_mix_of_nothing_and_a_picture_of_one_colour_give_numbers() -> Result<()> {
    let golden = Golden::of("tiny-gelu", "attention")?;
    let (vision, texts) = (&golden.model.config().vision, golden.compared()?);
    let tower = golden.model.vision()?;
    let pixels = golden.tensors["pixels.wide"].zeros_like()?;
    let cases = golden.cases["maps"].as_array().expect("a list");
    let names: BTreeSet<&str> = cases.iter().map(|case| text(&case["method"])).collect();
    for name in names {
        let method = attribution::method(name)?;
        let Needs { layer, recording } = method.needs(vision, None)?;
        let trace = LayerTrace::recording(tower, &pixels, layer, Differentiation::Fastest, &recording)?;
        let weights = Tensor::new(&[[0.0_f32; 4], [1.0, 0.0, 0.0, 0.0]], pixels.device())?;
        let empty = golden.tensors["empty"].unsqueeze(0)?;
        let targets = Targets::new(&trace.embedding()?, &texts, &weights, golden.model.logit_scale())?;
        let maps = method.maps(&trace, &targets.with_extra(Some(empty)))?.to_vec2::<f32>()?;
        assert!(maps.concat().iter().all(|value| value.is_finite()), "{name}");
        // Rollout alone does not look at what is explained.
        let nothing = maps[0].iter().all(|value| *value == 0.0);
        assert_eq!(nothing, method.facts().discriminative, "{name}");
        assert!(maps[1].iter().any(|value| *value != 0.0), "{name}");
    }
    Ok(())
}
