//! Where one photo shows one concept.
//!
//!     cargo run --example localize [MODEL [PHOTO [PROMPT]]]
//!
//! Without arguments it runs on the tiny checkpoint of the tests: its weights are random, so its map means nothing,
//! but nothing has to be fetched. MODEL may be a directory or an id of the Hub.

#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::{error::Error, path::Path};

use fieldmark::{
    Explainer, Photo, Query,
    explain::LoadOptions,
    files::{Names, path_of, prepare_folder, save_png},
    model::hub::HubOptions,
    progress::Silent,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let model = argument("tests/fixtures/models/tiny-quick-gelu");
    let photo = Photo::open(argument("tests/fixtures/photos/shapes-96x64.png"))?;
    let query = Query::new(argument("red square"));

    // The library reads no environment variables. Handed over, they mean what they mean to Python's huggingface_hub.
    let hub = HubOptions::from_environment(&|name| std::env::var(name).ok());
    let options = LoadOptions::default().hub(hub);
    let explainer = Explainer::load_with(&model, &options, &Silent)?;
    let found = explainer.localize(&photo, &query)?;

    let report = &found.report;
    println!("{}: similarity {:.4}", report.target.prompt, report.target.similarity);
    println!("verdict: {}", report.evidence.verdict);
    println!("evidence: {:+.2} and {:+.2} logits", report.evidence.positive, report.evidence.negative);
    for region in &report.place.regions {
        let (x, y, share) = (region.x, region.y, region.share * 100.0);
        println!("  {} x {} pixels at {x}, {y}: {share:.0} % of the evidence", region.width, region.height);
    }

    let folder = Path::new("fieldmark-out");
    prepare_folder(folder)?;
    let path = path_of(folder, &Names::new().for_prompt(photo.path(), &query.target), "overlay", "png");
    save_png(&path, &found.overlay(&photo).into())?;
    println!("{}", path.display());
    Ok(())
}
