//! `fieldmark completions`: a shell's script, made of the same description as the help texts.

use anyhow::Result;
use clap::{Arg, Command, CommandFactory, builder::PossibleValuesParser};

use crate::{
    args::{Cli, CompletionsArgs},
    exit::Exit,
    output,
};

pub fn run(args: &CompletionsArgs) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut offered(&Cli::command()), "fieldmark", &mut script);
    output::bytes(&script)?;
    Ok(Exit::Done)
}

/// The command with what help texts show: hidden options go on working, but are not offered.
fn offered(command: &Command) -> Command {
    let shown = Command::new(lasting(command.get_name()))
        .about(command.get_about().cloned().unwrap_or_default())
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(command.get_arguments().filter(|arg| !arg.is_hide_set()).map(completed));
    shown.subcommands(command.get_subcommands().filter(|command| !command.is_hide_set()).map(offered))
}

/// What scripts need of an option: without its conflicts, which name hidden options, and without values that cannot be
/// typed as they stand, such as `peak:X`.
fn completed(arg: &Arg) -> Arg {
    let completed = Arg::new(arg.get_id().clone())
        .short(arg.get_short())
        .long(arg.get_long().map(lasting))
        .help(arg.get_help().cloned().unwrap_or_default())
        .action(arg.get_action().clone())
        .value_hint(arg.get_value_hint())
        .global(arg.is_global_set());
    if !arg.get_action().takes_values() {
        return completed;
    }
    let is_form = |name: &str| name.contains(|letter: char| letter.is_ascii_uppercase());
    let mut values = arg.get_possible_values();
    values.retain(|value| !is_form(value.get_name()));
    let names = arg.get_value_names().unwrap_or_default().to_vec();
    let completed = completed
        .value_names(names)
        .value_delimiter(arg.get_value_delimiter())
        .num_args(arg.get_num_args().unwrap_or_default());
    if values.is_empty() { completed } else { completed.value_parser(PossibleValuesParser::new(values)) }
}

/// clap takes static names alone; there are some hundred of them, and the program ends with this command.
fn lasting(name: &str) -> &'static str {
    name.to_owned().leak()
}
