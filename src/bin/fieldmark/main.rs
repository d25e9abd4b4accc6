//! The program: a thin user of the library.

#![allow(
    unreachable_pub,
    reason = "nothing reaches into a program: `pub` is what a file shows to the others"
)]

mod advice;
mod args;
mod checkpoint;
mod commands;
mod destination;
mod exit;
mod images;
mod later;
mod listing;
mod output;
mod output_folder;
mod preview;
mod signals;
mod terminal;
mod threads;
mod usage;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;

use anyhow::Result;
use fieldmark::guard::held_back;

use args::Command;
use exit::Exit;
use terminal::Terminal;

/// An allocator that keeps the memory of one tensor for the next one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = usage::parse(std::env::args_os()).unwrap_or_else(|error| usage::end(&error));
    let terminal = Terminal::new(cli.quiet);
    let started = || signals::take_over().and_then(|()| threads::start());
    let result = started().and_then(|()| loudly(|| run(&cli.command, &terminal)));
    // All output has been written by now.
    let result = result.and_then(|exit| output::check().map(|()| exit));
    let exit = result.unwrap_or_else(|error| {
        signals::wait_if_ending();
        if exit::is_broken_pipe(&error) {
            Exit::Done
        } else {
            terminal.error(&error);
            Exit::NothingDone
        }
    });
    exit.into()
}

/// A panic of the program that was held back on a thread which works for others is printed: nothing else would say why the
/// program ends.
fn loudly<T>(work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        if let Some(text) = held_back(panic.as_ref()) {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
        resume_unwind(panic)
    })
}

fn run(command: &Command, terminal: &Terminal) -> Result<Exit> {
    match command {
        Command::Localize(args) => commands::localize::run(args, terminal),
        Command::Compare(args) | Command::Report(args) => commands::compare::run(args, terminal),
        Command::Batch(args) => commands::batch::run(args, terminal),
        Command::Methods(args) => commands::methods::run(args),
        Command::Prompts(args) => commands::prompts::run(args),
        Command::Download(args) => commands::download::run(args, terminal),
        Command::Models(args) => commands::models::run(args, terminal),
        Command::Evaluate(args) => commands::evaluate::run(args, terminal),
        Command::Completions(args) => commands::completions::run(args),
        Command::Man(args) => commands::man::run(args),
    }
}
