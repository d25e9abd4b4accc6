//! `fieldmark methods`: what each method shows, what it costs, and who describes it.

use anyhow::Result;
use fieldmark::attribution::{Facts, METHODS};
use serde::Serialize;

use crate::{args::MethodsArgs, exit::Exit, output};

/// A line of `methods --json`.
#[derive(Serialize)]
struct Line {
    method: &'static str,
    #[serde(flatten)]
    facts: Facts,
}

pub fn run(args: &MethodsArgs) -> Result<Exit> {
    if args.json {
        for method in METHODS {
            output::json(&Line { method: method.name(), facts: method.facts() })?;
        }
    } else {
        output::methods(METHODS)?
    }
    Ok(Exit::Done)
}
