//! What was typed wrongly, in clap's words. It repeats arguments as they were typed; here what could redraw the terminal
//! is spelled out in them.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, error::ErrorKind};

use crate::{args::Cli, output::shown};

/// Reads what was typed. What is wrong is explained with the usage of the command that it was typed for.
pub fn parse<A: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = A>) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    let name = matches.subcommand_name().map(str::to_owned);
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| {
        let asked = name.filter(|name| command.find_subcommand(name).is_some());
        match asked.and_then(|name| command.find_subcommand_mut(name)) {
            Some(asked) => error.format(asked),
            None => error,
        }
    })
}

/// Prints help, the version or what is wrong, and ends the program with the status that belongs to it.
pub fn end(error: &clap::Error) -> ! {
    // Help repeats nothing; neither does the complaint about arguments that are no text.
    if !error.use_stderr() || error.kind() == ErrorKind::InvalidUtf8 {
        error.exit();
    }
    cleaned(error, std::env::args_os()).exit()
}

/// The same complaint about the same arguments as they can be shown.
fn cleaned(error: &clap::Error, arguments: impl Iterator<Item = OsString>) -> clap::Error {
    let shown_arguments = arguments.map(|argument| shown(&argument.to_string_lossy()));
    match parse(shown_arguments) {
        Err(again) if again.kind() == error.kind() => again,
        // Spelled out, they are wrong in another way: the complaint without colours.
        _ => {
            let text = error.render().to_string();
            let lines: Vec<String> = text.lines().map(|line| shown(line) + "\n").collect();
            clap::Error::raw(error.kind(), lines.concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_repeated_as_text() {
        let complaint = |arguments: &[&str]| {
            let error = parse(arguments.iter().copied()).unwrap_err();
            cleaned(&error, arguments.iter().map(OsString::from)).render().to_string()
        };
        let hostile = "\u{1b}[31m\u{202e}x";
        for arguments in [
            &["fieldmark", hostile][..],
            &["fieldmark", "localize", "a", "b", &format!("--{hostile}")],
            &["fieldmark", "localize", "a", "b", "--fit", hostile],
            &["fieldmark", "localize", "a", "b", "--detail", hostile],
            &["fieldmark", "evaluate", hostile, "--shard", hostile, "--output", "o"],
        ] {
            let text = complaint(arguments);
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
            assert!(text.contains("\\u{1b}[31m\\u{202e}x"), "{text}");
        }
    }
}
