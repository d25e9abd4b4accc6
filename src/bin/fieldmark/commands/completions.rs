//! `fieldmark completions`: a shell's script, made of the same description as the help texts.

use anyhow::Result;
use clap::CommandFactory;

use crate::{
    args::{Cli, CompletionsArgs},
    exit::Exit,
    output,
};

pub fn run(args: &CompletionsArgs) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "fieldmark", &mut script);
    output::bytes(&script)?;
    Ok(Exit::Done)
}
