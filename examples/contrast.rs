//! What contrast does to a map: the same question at growing strength, and the same maps by arithmetic.
//!
//!     cargo run --example contrast [MODEL PHOTO TARGET RIVAL]
//!
//! Without arguments it runs on the tiny checkpoint of the tests, whose weights are random.

#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use fieldmark::{Explainer, Photo, Query, Result, Settings, objective::Strength};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let explainer = Explainer::load(argument("tests/fixtures/models/tiny-quick-gelu"))?;
    let photo = Photo::open(argument("tests/fixtures/photos/shapes-96x64.png"))?;
    let (target, rival) = (argument("red square"), argument("blue circle"));

    // At strength 0 every prompt has its plain map; all of them cost little more than one.
    let plain = Settings::default().strength(Strength::new(0.0)?);
    let apart = explainer.compare(&photo, &[target.clone(), rival.clone()], &plain)?;

    for strength in [0.0, 0.6, 1.0] {
        let settings = Settings::default().strength(Strength::new(strength)?);
        let query = Query::new(&target).against([&rival]).with(settings);
        let found = explainer.localize(&photo, &query)?;

        // Grad-CAM and HiResCAM are linear in the gradient, so the contrasted map is the plain maps' difference.
        let pairs = apart.maps[0].values().iter().zip(apart.maps[1].values());
        let by_hand = pairs.map(|(target, rival)| target - strength as f32 * rival);
        let difference = by_hand.zip(found.map.values()).map(|(one, other)| (one - other).abs());

        let evidence = found.report.evidence;
        println!("{target} - {strength} x {rival}: objective {:.3} logits", found.report.objective);
        println!("   evidence {:+.3} and {:+.3} logits", evidence.positive, evidence.negative);
        println!("   off from the arithmetic by {:.1e}", difference.fold(0.0, f32::max));
    }
    Ok(())
}
