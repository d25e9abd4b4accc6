//! `fieldmark man`: a manual page, or the reference of all commands, made of the same description as the help texts.

use anyhow::{Result, bail};
use clap::CommandFactory;
use clap_mangen::Man;

use crate::{
    args::{Cli, ManArgs, reference},
    exit::Exit,
    output,
};

pub fn run(args: &ManArgs) -> Result<Exit> {
    if args.markdown {
        output::bytes(reference::page(Cli::command())?.as_bytes())?;
        return Ok(Exit::Done);
    }
    let mut all = Cli::command();
    // What all commands have in common is entered into each of them.
    all.build();
    let page = match &args.command {
        None => all,
        Some(name) => match all.find_subcommand(name) {
            Some(command) => command.clone(),
            None => {
                let names: Vec<_> = all.get_subcommands().map(clap::Command::get_name).collect();
                bail!("{name}: expected one of {}", names.join(", "));
            }
        },
    };
    let mut text = Vec::new();
    Man::new(page).render(&mut text)?;
    output::bytes(&text)?;
    Ok(Exit::Done)
}
