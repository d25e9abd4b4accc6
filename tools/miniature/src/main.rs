//! The miniature: a world of drawn birds whose truth is known to the pixel, and the training of a small CLIP on it.
//!
//!     cargo run --release -p miniature -- train --seed 1 --steps 5000 --out target/miniature
//!
//! Every thread of the training has a shard of its own, so candle's and rayon's threads only get in the way: it is
//! faster with `CANDLE_NUM_THREADS=1 RAYON_NUM_THREADS=1`, with `MIMALLOC_PURGE_DELAY=-1`, which keeps memory from
//! going back to the kernel in every step, and when built with `RUSTFLAGS="-C target-cpu=native"`.

#![allow(unreachable_pub, reason = "modules of a program: `pub` says what the others may use")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program reports what it does")]
#![allow(clippy::expect_used, reason = "what is drawn and trained here is made by the program itself")]
#![allow(clippy::approx_constant, reason = "a constant changed would change every picture of the world")]
#![allow(clippy::type_complexity, reason = "tables of the grammar")]

mod average;
mod backdrop;
mod batch;
mod captions;
mod data_set;
mod draw;
mod export;
mod gallery;
mod held_out;
mod model;
mod ops;
mod tokenizer;
mod train;
mod world;

use clap::{Parser, Subcommand};

/// Many large tensors come and go in every step; the system's allocator would return each to the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Draws the miniature's world and trains its checkpoint")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train, or go on training where the output directory's state ends
    Train(train::Options),
    /// Average two checkpoints of one training
    Average(average::Options),
    /// Render a data set with masks for `fieldmark evaluate`
    Render(data_set::Options),
    /// Draw the scenes of examples/images
    Scenes(gallery::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Train(options) => train::run(options),
        Command::Average(options) => average::run(&options),
        Command::Render(options) => data_set::run(&options),
        Command::Scenes(options) => gallery::run(&options),
    }
}
