//! Renders a data set directory for `fieldmark evaluate`: pictures, masks and a manifest of questions.

use crate::batch::{Example, Pointed, pointed};
use crate::captions::{Caption, Truth};
use crate::draw::Picture;
use crate::world::{Scene, picture_rng};
use anyhow::{Context, Result};
use rand::Rng;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What to render.
#[derive(clap::Args)]
pub struct Options {
    /// Seed of the world; the training's is 1, its own held-out figures use 2
    #[arg(long)]
    seed: u64,
    /// Number of pictures
    #[arg(long, default_value_t = 500)]
    count: usize,
    /// Pixels of a picture's shorter side
    #[arg(long, default_value_t = 192)]
    side: u32,
    /// The directory to fill; it is made if missing
    #[arg(long)]
    out: PathBuf,
}

/// Widths over heights of the pictures: square ones, and those of landscape and portrait photographs.
const ASPECTS: [f32; 5] = [1.0, 1.0, 4.0 / 3.0, 0.75, 1.5];

/// Renders pictures until `count` of them have a part that differs from the rest of its bird.
pub fn run(options: &Options) -> Result<()> {
    for folder in ["images", "masks"] {
        let path = options.out.join(folder);
        std::fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
    }
    let mut lines = Vec::new();
    let mut index = 0;
    let mut rendered = 0;
    while rendered < options.count {
        let mut rng = picture_rng(options.seed, index);
        index += 1;
        let aspect = ASPECTS[rng.random_range(0..ASPECTS.len())];
        let height = (options.side as f32 * (1.0 / aspect).max(1.0)).round() as u32;
        let example = Example::drawn(Scene::sample(&mut rng, aspect), height);
        let Some(question) = pointed(&mut rng, &example) else { continue };
        rendered += 1;
        lines.push(write_question(&options.out, rendered, &example, &question)?);
        if let Some(absent) = absent(&mut rng, &example) {
            let image = format!("images/{rendered:04}.png");
            lines.push(json!({"image": image, "prompt": absent.text(), "present": false}));
        }
    }
    let path = options.out.join("manifest.jsonl");
    let mut manifest = std::fs::File::create(&path).with_context(|| format!("writing {}", path.display()))?;
    for line in &lines {
        writeln!(manifest, "{line}").with_context(|| format!("writing {}", path.display()))?;
    }
    println!("{rendered} pictures and {} questions in {}", lines.len(), options.out.display());
    Ok(())
}

/// Writes picture and mask, and says the manifest's line.
fn write_question(folder: &Path, number: usize, example: &Example, question: &Pointed) -> Result<Value> {
    let image = format!("images/{number:04}.png");
    let mask = format!("masks/{number:04}.{}.png", question.part.name());
    save_picture(&example.picture, &folder.join(&image))?;
    let inside =
        example.picture.labels.iter().map(|label| if question.labels.contains(label) { 255 } else { 0 });
    let (width, height) = (example.picture.width as u32, example.picture.height as u32);
    let pixels = image::GrayImage::from_raw(width, height, inside.collect()).context("a label per pixel")?;
    pixels.save(folder.join(&mask)).with_context(|| format!("writing {mask}"))?;
    Ok(
        json!({"image": image, "prompt": question.caption.text(), "against": [question.rival.text()], "mask": mask,
              "part": question.part.name(), "present": true}),
    )
}

/// Writes a picture as PNG or, by its name, JPEG.
pub fn save_picture(picture: &Picture, path: &Path) -> Result<()> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    let pixels =
        image::RgbImage::from_raw(width, height, picture.rgb.clone()).context("three bytes a pixel")?;
    pixels.save(path).with_context(|| format!("writing {}", path.display()))
}

/// Something that would be said of another picture and is untrue of this one.
fn absent(rng: &mut impl Rng, example: &Example) -> Option<Caption> {
    (0..50).find_map(|_| {
        let other = Scene::sample(rng, 1.0);
        let caption = Caption::about(rng, other.birds.first()?, &[true; 8]);
        (example.truth(&caption) == Truth::False).then_some(caption)
    })
}
