//! Properties that hold for any weights, through the library's public interface.

use std::path::{Path, PathBuf};

use fieldmark::{
    Explainer, Photo, Query, Result, Settings,
    attribution::{METHODS, Method},
    geometry::Fit,
    objective::Strength,
    progress::Warning,
};

const TARGET: &str = "red-winged blackbird shoulder";
const RIVALS: [&str; 3] = ["yellow-headed blackbird", "rusty blackbird", "house sparrow"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn explainer() -> Result<Explainer> {
    Explainer::load(fixture("models/tiny-gelu"))
}

fn photo() -> Result<Photo> {
    Photo::open(fixture("photos/shapes-96x64.png"))
}

fn settings(method: &str, layer: i64, strength: f64) -> Result<Settings> {
    let strength = Strength::new(strength)?;
    Ok(Settings::default().method(Some(method.into())).layer(Some(layer)).strength(strength))
}

/// Those of the last two layers that a method can explain.
fn layers(explainer: &Explainer, method: &dyn Method) -> Vec<i64> {
    let vision = &explainer.model().config().vision;
    let can = |layer: &i64| method.needs(vision, Some((vision.tower.layers as i64 + layer) as usize)).is_ok();
    let layers: Vec<i64> = [-1, -2].into_iter().filter(can).collect();
    assert!(layers.contains(&-1), "{}", method.name());
    layers
}

/// The map of the target against the rivals.
fn map(explainer: &Explainer, rivals: &[&str], settings: Settings) -> Result<Vec<f32>> {
    let query = Query::new(TARGET).against(rivals.iter().copied()).with(settings);
    Ok(explainer.localize(&photo()?, &query)?.map.values().to_vec())
}

fn assert_near(found: &[f32], expected: &[f32]) {
    let length = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
    let error = length(&mut found.iter().zip(expected).map(|(one, other)| one - other));
    let size = length(&mut expected.iter().copied());
    assert_eq!(found.len(), expected.len());
    assert!(error < 1e-4 * size, "off by {error} of {size}");
}

#[test]
fn strength_0_is_the_plain_map() -> Result<()> {
    let explainer = explainer()?;
    for method in METHODS {
        for layer in layers(&explainer, *method) {
            let plain = map(&explainer, &[], settings(method.name(), layer, 0.6)?)?;
            let contrasted = map(&explainer, &RIVALS, settings(method.name(), layer, 0.0)?)?;
            assert_near(&contrasted, &plain);
        }
    }
    Ok(())
}

#[test]
fn the_contrast_is_arithmetic_on_signed_plain_maps() -> Result<()> {
    // These methods are linear in the prompts, and the mean contrast is linear in the logits.
    let explainer = explainer()?;
    let prompts: Vec<String> = [TARGET].iter().chain(&RIVALS).map(|prompt| (*prompt).to_owned()).collect();
    for method in METHODS.iter().filter(|method| method.facts().linear) {
        for layer in layers(&explainer, *method) {
            let plain = explainer.compare(&photo()?, &prompts, &settings(method.name(), layer, 0.0)?)?.maps;
            let expected: Vec<f32> = (0..plain[0].values().len())
                .map(|cell| {
                    let rivals: f32 = plain[1..].iter().map(|map| map.values()[cell]).sum();
                    plain[0].values()[cell] - 0.6 * rivals / 3.0
                })
                .collect();
            let contrasted = map(&explainer, &RIVALS, settings(method.name(), layer, 0.6)?)?;
            assert_near(&contrasted, &expected);
        }
    }
    Ok(())
}

#[test]
fn compare_with_a_strength_is_localize_against_all_others() -> Result<()> {
    let explainer = explainer()?;
    let prompts: Vec<String> = [TARGET].iter().chain(&RIVALS).map(|prompt| (*prompt).to_owned()).collect();
    for aggregate in ["mean", "weighted"] {
        let settings = Settings::default().aggregate(aggregate.into());
        let compared = explainer.compare(&photo()?, &prompts, &settings)?;
        for (index, prompt) in prompts.iter().enumerate() {
            let others = prompts.iter().filter(|other| *other != prompt);
            let query = Query::new(prompt).against(others).with(settings.clone());
            let found = explainer.localize(&photo()?, &query)?;
            assert_near(compared.maps[index].values(), found.map.values());
            let (one, other) = (compared.report.prompts[index].objective, found.report.objective);
            assert!((one - other).abs() < 1e-6, "{prompt}: {one} and {other}");
        }
    }
    Ok(())
}

#[test]
fn the_order_of_rivals_does_not_matter_and_layers_count_from_both_ends() -> Result<()> {
    let explainer = explainer()?;
    let mut reversed = RIVALS;
    reversed.reverse();
    let forward = map(&explainer, &RIVALS, Settings::default())?;
    assert_near(&map(&explainer, &reversed, Settings::default())?, &forward);
    let last = explainer.model().config().vision.tower.layers as i64 - 1;
    assert_near(&map(&explainer, &RIVALS, settings("grad-cam", last, 0.6)?)?, &forward);
    assert!(map(&explainer, &RIVALS, settings("grad-cam", last + 1, 0.6)?).is_err());
    Ok(())
}

#[test]
fn several_templates_are_the_mean_of_their_embeddings() -> Result<()> {
    let explainer = explainer()?;
    let templates = |texts: &[&str]| -> Result<Settings> {
        let templates: Result<Vec<_>> =
            texts.iter().map(|text| fieldmark::prompt::Template::new(text)).collect();
        Ok(Settings::default().templates(templates?))
    };
    let one = map(&explainer, &[], templates(&["a photo of a {}"])?)?;
    assert_near(&map(&explainer, &[], templates(&["a photo of a {}", "a photo of a {}"])?)?, &one);
    let both = map(&explainer, &[], templates(&["a photo of a {}", "{}"])?)?;
    let difference: f32 = one.iter().zip(&both).map(|(one, both)| (one - both).abs()).sum();
    assert!(difference > 1e-6, "a second template changes the map");
    Ok(())
}

#[test]
fn a_target_among_its_rivals_and_empty_prompts_are_refused() -> Result<()> {
    let explainer = explainer()?;
    let ask = |query: Query| explainer.localize(&photo()?, &query).map(|_| ());
    assert!(ask(Query::new("house sparrow").against([" House  sparrow"])).is_err());
    assert!(ask(Query::new("  ")).is_err());
    assert!(ask(Query::new("house sparrow").against([""])).is_err());
    assert!(explainer.compare(&photo()?, &[], &Settings::default()).is_err());
    Ok(())
}

#[test]
fn grids_and_places_follow_the_fit() -> Result<()> {
    let explainer = explainer()?;
    for (fit, grid, whole) in
        [(Fit::Whole, [5, 7], true), (Fit::Squash, [6, 6], true), (Fit::Crop, [6, 6], false)]
    {
        let query = Query::new(TARGET).with(Settings::default().fit(fit));
        let report = explainer.localize(&photo()?, &query)?.report;
        assert_eq!(report.setup.grid, grid, "{fit:?}");
        assert_eq!(report.setup.covers == [0.0, 0.0, 96.0, 64.0], whole, "{fit:?}");
        assert_eq!(report.image_size, [96, 64]);
    }
    Ok(())
}

#[test]
fn a_prompt_that_is_too_long_is_cut_and_named() -> Result<()> {
    let explainer = explainer()?;
    let long = "a red bird and ".repeat(12);
    let found = explainer.localize(&photo()?, &Query::new(&long))?;
    let warning = found.warnings.first().map(ToString::to_string).unwrap_or_default();
    assert!(warning.contains(&long), "{warning}");
    Ok(())
}

#[test]
fn surgery_over_a_set_of_labels_is_a_contrast_that_strength_only_scales() -> Result<()> {
    let explainer = explainer()?;
    let surgery = |strength: f64| map(&explainer, &RIVALS, settings("clip-surgery", -2, strength)?);
    let (weak, strong) = (surgery(0.3)?, surgery(1.2)?);
    let expected: Vec<f32> = weak.iter().map(|value| value * (1.0 + 1.2 / 3.0) / (1.0 + 0.3 / 3.0)).collect();
    assert_near(&strong, &expected);
    Ok(())
}

#[test]
fn rivals_that_change_nothing_are_reported() -> Result<()> {
    let explainer = explainer()?;
    let rollout = Settings::default().method(Some("attention-rollout".into()));
    let alone = Query::new(TARGET).with(rollout.clone());
    let alone = explainer.localize(&photo()?, &alone)?;
    assert_eq!(alone.warnings, []);
    let contrasted =
        explainer.localize(&photo()?, &Query::new(TARGET).against(RIVALS).with(rollout.clone()))?;
    assert_eq!(contrasted.warnings, [Warning::PromptsIgnored { method: "attention-rollout" }]);
    assert_eq!(contrasted.map, alone.map);
    let prompts = [TARGET, RIVALS[0]].map(str::to_owned);
    let compared = explainer.compare(&photo()?, &prompts, &rollout)?;
    assert_eq!(compared.warnings, [Warning::PromptsIgnored { method: "attention-rollout" }]);
    Ok(())
}

#[test]
fn a_method_names_its_own_layer_in_the_report() -> Result<()> {
    let explainer = explainer()?;
    for (method, layer) in [("le-grad", -2), ("grad-cam", -1), ("attention-rollout", -3), ("gem", -3)] {
        let own = Settings::default().method(Some(method.into()));
        let query = Query::new(TARGET).with(own);
        assert_eq!(explainer.localize(&photo()?, &query)?.report.setup.layer, layer, "{method}");
    }
    Ok(())
}

#[test]
fn a_photo_is_the_same_to_the_last_bit_whatever_passes_with_it() -> Result<()> {
    let photos = ["photos/shapes-96x64.png", "photos/shapes-50x83.png", "photos/baseline_420.jpg"];
    let mut photos: Vec<Photo> =
        photos.iter().map(|name| Photo::open(fixture(name))).collect::<Result<_>>()?;
    // More than pass together.
    for _ in 0..3 {
        photos.push(photo()?);
    }
    let prompts = [TARGET, RIVALS[0]].map(str::to_owned);
    let checkpoints = ["tiny-gelu", "tiny-siglip"].map(|name| fixture("models").join(name));
    for name in checkpoints.iter().map(|path| path.to_string_lossy()).chain(["miniature".into()]) {
        let explainer = Explainer::load(&*name)?;
        for (method, layer) in [("grad-cam", -1), ("hires-cam", -2), ("attention-rollout", -1), ("game", -1)]
        {
            let settings = settings(method, layer, 0.4)?;
            let together = explainer.photos_together(&settings)?;
            assert_eq!(
                together,
                if matches!(method, "attention-rollout" | "game") { 1 } else { 4 },
                "{method}"
            );
            let query = Query::new(TARGET).against(RIVALS).with(settings.clone());
            for (photo, mut session) in photos.iter().zip(explainer.sessions(&photos, &settings)) {
                let (found, alone) = (session.localize(&query)?, explainer.localize(photo, &query)?);
                assert_eq!(found.map, alone.map, "{method} of {name}, {}", photo.path().display());
                assert_eq!(found.report.target, alone.report.target);
                assert_eq!(found.report.evidence, alone.report.evidence);
                let (found, alone) =
                    (session.compare(&prompts, &settings)?, explainer.compare(photo, &prompts, &settings)?);
                assert_eq!(found.maps, alone.maps, "{method} of {name}, {}", photo.path().display());
            }
        }
    }
    Ok(())
}

#[test]
fn a_photo_that_cannot_be_looked_at_says_so_when_it_is_asked() -> Result<()> {
    let explainer = explainer()?;
    let photos = [photo()?, Photo::open(fixture("photos/shapes-50x83.png"))?];
    let settings = Settings::default().detail(1e4);
    let query = Query::new(TARGET).with(settings.clone());
    for mut session in explainer.sessions(&photos, &settings) {
        let error = session.localize(&query).expect_err("too many tokens").to_string();
        assert!(error.contains("detail"), "{error}");
    }
    let settings = Settings::default().method(Some("no such".into()));
    assert!(explainer.photos_together(&settings).is_err());
    let query = Query::new(TARGET).with(settings.clone());
    for mut session in explainer.sessions(&photos, &settings) {
        assert!(session.localize(&query).is_err());
    }
    Ok(())
}
