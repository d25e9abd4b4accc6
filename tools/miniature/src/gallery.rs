//! The scenes of `examples/images`: posed by hand, drawn by the same code as the training's pictures.

use crate::data_set::save_picture;
use crate::draw::draw;
use crate::world::{Bird, Colour, Part, Pose, Scene};
use anyhow::{Context, Result};
use std::path::PathBuf;

/// Where to draw.
#[derive(clap::Args)]
pub struct Options {
    /// Pixels of the scenes' height
    #[arg(long, default_value_t = 720)]
    height: u32,
    /// The directory to fill; it is made if missing
    #[arg(long)]
    out: PathBuf,
}

/// Draws every scene.
pub fn run(options: &Options) -> Result<()> {
    std::fs::create_dir_all(&options.out).with_context(|| format!("making {}", options.out.display()))?;
    for (name, scene) in scenes() {
        let path = options.out.join(format!("{name}.png"));
        save_picture(&draw(&scene, options.height), &path)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// One colour all over, but for some marks.
fn bird(base: Colour, marks: &[(Part, Colour)], pose: Pose, detail_seed: u64) -> Bird {
    let mut colours = [base; 8];
    for &(part, colour) in marks {
        colours[part as usize] = colour;
    }
    Bird { colours, pose, detail_seed }
}

/// A bird at ease; facing right, or left when flipped.
fn at(x: f32, y: f32, unit: f32, flipped: bool, turn: f32) -> Pose {
    Pose { centre: [x, y], unit, turn, flipped, wing_lift: 0.0, tail_lift: 4.0, crest: 0.0, beak: 1.0 }
}

fn scenes() -> Vec<(&'static str, Scene)> {
    use Colour::{Black, Blue, Brown, Green, Grey, Orange, Purple, Red, White, Yellow};
    use Part::{Beak, Breast, Crown, Head, Shoulder, Tail, Wing};
    let red_winged = |pose| bird(Black, &[(Shoulder, Red), (Beak, Grey)], pose, 11);
    let rusty = |pose| bird(Black, &[(Wing, Brown), (Shoulder, Brown), (Beak, Grey)], pose, 12);
    let yellow_headed = |pose| bird(Black, &[(Head, Yellow), (Crown, Yellow), (Beak, Grey)], pose, 13);
    let scene = |birds: Vec<Bird>, backdrop_seed| Scene {
        aspect: 4.0 / 3.0,
        birds,
        backdrop_seed,
        reed_in_front: false,
    };
    vec![
        (
            "red-winged-blackbird",
            scene(
                vec![
                    yellow_headed(at(1.0, 0.33, 0.155, true, 4.0)),
                    rusty(at(0.33, 0.3, 0.15, false, -4.0)),
                    red_winged(at(0.66, 0.73, 0.2, false, -3.0)),
                ],
                103,
            ),
        ),
        (
            "two-blackbirds",
            scene(
                vec![rusty(at(0.36, 0.36, 0.185, false, -5.0)), red_winged(at(0.93, 0.66, 0.2, true, 5.0))],
                109,
            ),
        ),
        (
            "cardinal-and-goldfinch",
            scene(
                vec![
                    bird(
                        Red,
                        &[(Beak, Orange)],
                        Pose { crest: 1.0, ..at(0.38, 0.38, 0.185, false, -4.0) },
                        21,
                    ),
                    bird(
                        Yellow,
                        &[(Wing, Black), (Shoulder, White), (Beak, Orange)],
                        at(0.95, 0.68, 0.19, true, 3.0),
                        22,
                    ),
                ],
                115,
            ),
        ),
        (
            "bluebird",
            scene(
                vec![bird(
                    Blue,
                    &[(Breast, Orange), (Beak, Yellow)],
                    Pose { tail_lift: 14.0, ..at(0.66, 0.55, 0.31, true, 6.0) },
                    31,
                )],
                121,
            ),
        ),
        (
            "bird-of-many-colours",
            scene(
                vec![bird(
                    Green,
                    &[
                        (Crown, Red),
                        (Beak, Yellow),
                        (Breast, White),
                        (Wing, Blue),
                        (Shoulder, Orange),
                        (Tail, Purple),
                    ],
                    Pose { crest: 0.7, ..at(0.66, 0.55, 0.31, false, -5.0) },
                    41,
                )],
                127,
            ),
        ),
    ]
}
