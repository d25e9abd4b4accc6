//! `fieldmark reference`: all commands and options on one page, made of the same description as the help texts.

use anyhow::Result;
use clap::CommandFactory;

use crate::{
    args::{Cli, reference},
    exit::Exit,
    output,
};

pub fn run() -> Result<Exit> {
    output::bytes(reference::page(Cli::command())?.as_bytes())?;
    Ok(Exit::Done)
}
