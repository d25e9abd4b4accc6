//! The reference of the command line in Markdown, made of the same description as the help texts.

use std::fmt::{self, Display, Formatter, Write};

use clap::{Arg, Command};

/// What `fieldmark --help` ends with.
pub const LONG_END: &str = "\
Environment:
  FIELDMARK_CACHE     where embeddings of prompts are kept
  HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, HTTPS_PROXY and others
                      as in Python's huggingface_hub
  NO_COLOR            no colours
  RAYON_NUM_THREADS   how many threads compute

Exit status:
  0        all is done
  1        some inputs failed; each is named, the others are done
  2        wrong usage, a model that cannot be used, or nothing done
  128 + n  ended by signal n

`fieldmark COMMAND --help` shows all options of a command.";

const INTRODUCTION: &str = "\
# Command line

This page is made from the program's own help texts by `fieldmark man --markdown`; a test keeps both the same.

Options can stand anywhere, before or behind prompts and photos. Where several values are separated by commas, the option
can also be repeated. `--` ends the options: what follows is a prompt or a photo even if it begins with `-`.

";

/// Variables of the environment, and what they mean.
const ENVIRONMENT: [(&str, &str); 14] = [
    (
        "`FIELDMARK_CACHE`",
        "the folder in which the embeddings of prompts are kept; default: `fieldmark` in `XDG_CACHE_HOME`, or else in \
         `~/.cache` (on Windows in `LOCALAPPDATA`)",
    ),
    ("`HF_HOME`, `HF_HUB_CACHE`", "where checkpoints are kept; `~` and variables in the path are expanded"),
    (
        "`HF_TOKEN`, `HF_TOKEN_PATH`",
        "the access token, or the file with it; it is sent to the Hub's address and nowhere else",
    ),
    ("`HF_ENDPOINT`", "the address of another Hub or mirror; it may have a path"),
    ("`HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`", "never touch the network"),
    (
        "`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`",
        "the proxy: `http`, `https`, `socks4`, `socks4a`, `socks5` or `socks5h`",
    ),
    (
        "`NO_PROXY`",
        "hosts, domains and ranges of addresses, each optionally with a port, that are reached without the proxy",
    ),
    (
        "`REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, `SSL_CERT_FILE`",
        "certificates that are trusted in place of the system's",
    ),
    ("`HF_HUB_DISABLE_XET`", "fetch large files without the Hub's Xet storage"),
    ("`HF_HUB_DISABLE_SHARED_BLOBS`", "keep the files of each repository apart"),
    ("`RAYON_NUM_THREADS`", "how many threads compute; default: one per processor"),
    ("`NO_COLOR`", "if not empty, no colours, and no picture as coloured half blocks"),
    ("`TERM`, `TERM_PROGRAM`, `COLORTERM`", "which pictures the terminal can show (`--preview auto`)"),
    ("`COLUMNS`", "the width of help texts where standard output is no terminal"),
];

/// Exit statuses, and what they mean.
const STATUSES: [(&str, &str); 4] = [
    ("0", "all is done"),
    ("1", "some inputs failed; each is named on standard error, the others are done"),
    ("2", "wrong usage, a model that cannot be used, or nothing done"),
    ("128 + n", "ended by signal n: 130 by SIGINT (Ctrl-C), 143 by SIGTERM, 129 by SIGHUP"),
];

/// The whole page.
pub fn page(mut all: Command) -> Result<String, fmt::Error> {
    // What all commands have in common is entered into each of them.
    all.build();
    let mut page = INTRODUCTION.to_owned();
    let shown: Vec<&Command> = all.get_subcommands().filter(|command| is_shown(command)).collect();
    for command in &shown {
        let name = command.get_name();
        writeln!(page, "- [`fieldmark {name}`](#fieldmark-{name}): {}", Text(&about(command)))?;
    }
    writeln!(
        page,
        "- [Every command](#every-command), [environment](#environment), [exit status](#exit-status)"
    )?;
    for command in shown {
        write_command(&mut page, command)?;
    }
    writeln!(page, "\n## Every command\n")?;
    let general = all.get_arguments().filter(|arg| arg.is_global_set());
    general.into_iter().try_for_each(|arg| write_arg(&mut page, arg))?;
    write_table(&mut page, "Environment", "variable", &ENVIRONMENT)?;
    write_table(&mut page, "Exit status", "status", &STATUSES)?;
    while page.contains("\n\n\n") {
        page = page.replace("\n\n\n", "\n\n");
    }
    Ok(page)
}

fn is_shown(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn write_command(page: &mut String, command: &Command) -> fmt::Result {
    writeln!(page, "\n## fieldmark {}\n", command.get_name())?;
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    writeln!(page, "{}\n", Text(&about.unwrap_or_default()))?;
    writeln!(page, "```text\n{}\n```", usage(command))?;
    if let Some(examples) = command.get_after_long_help() {
        let examples = examples.to_string();
        let (title, lines) = examples.split_once('\n').unwrap_or((&examples, ""));
        writeln!(page, "\n{title}\n\n```sh\n{}\n```", unindented(lines))?;
    }
    let (hidden, shown): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(|arg| !arg.is_global_set()).partition(|arg| arg.is_hide_set());
    let mut headings = vec![None];
    for heading in shown.iter().filter(|arg| !arg.is_positional()).map(|arg| arg.get_help_heading()) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for heading in headings {
        let args: Vec<&&Arg> = shown.iter().filter(|arg| arg.get_help_heading() == heading).collect();
        if !args.is_empty() {
            writeln!(page, "\n### {}: {}\n", command.get_name(), heading.unwrap_or("arguments"))?;
        }
        args.into_iter().try_for_each(|arg| write_arg(page, arg))?;
    }
    if !hidden.is_empty() {
        writeln!(page, "\n### {}: earlier names\n", command.get_name())?;
    }
    hidden.into_iter().try_for_each(|arg| write_arg(page, arg))
}

/// The lines of usage, without the word.
fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let lines = usage.lines().map(|line| line.trim_start_matches("Usage:").trim());
    lines.collect::<Vec<_>>().join("\n")
}

fn write_arg(page: &mut String, arg: &Arg) -> fmt::Result {
    let summary = summary(arg);
    // A default that depends on other options is a part of the text.
    let (meaning, default_in_text) = summary.split_once(" [default: ").unwrap_or((&summary, ""));
    write!(page, "- `{}`: {}", spelled(arg), Text(meaning))?;
    let aliases = arg.get_all_aliases().unwrap_or_default();
    if !aliases.is_empty() {
        let aliases: Vec<String> = aliases.iter().map(|alias| format!("`--{alias}`")).collect();
        write!(page, ". Also {}", aliases.join(", "))?;
    }
    let takes_value = arg.get_action().takes_values();
    let fixed =
        arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
    match default_in_text {
        "" if fixed.is_empty() || !takes_value => {}
        "" => write!(page, ". Default: `{fixed}`")?,
        text => write!(page, ". Default: {}", Text(text.trim_end_matches(']')))?,
    }
    writeln!(page)?;
    if let Some(details) = details(arg) {
        writeln!(page, "\n  {}\n", Text(&details).to_string().replace('\n', "\n  "))?;
    }
    let values = if takes_value { arg.get_possible_values() } else { Vec::new() };
    let values: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).collect();
    if values.iter().all(|value| value.get_help().is_none()) {
        let names: Vec<String> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        return if names.is_empty() { Ok(()) } else { writeln!(page, "  - {}", names.join(", ")) };
    }
    values.into_iter().try_for_each(|value| {
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(page, "  - `{}`: {}", value.get_name(), Text(&help))
    })
}

/// The option as it is typed, or the name of a position.
fn spelled(arg: &Arg) -> String {
    let names: Vec<String> =
        arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
    let value = names.join(" ");
    let several = if arg.get_num_args().is_some_and(|count| count.max_values() > 1) { "..." } else { "" };
    let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    match arg.get_long() {
        Some(long) if arg.get_action().takes_values() => format!("{short}--{long} {value}{several}"),
        Some(long) => format!("{short}--{long}"),
        None => format!("{value}{several}"),
    }
}

fn summary(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default()
}

/// What the long help says beyond the short one.
fn details(arg: &Arg) -> Option<String> {
    let long = arg.get_long_help()?.to_string();
    // Values are listed apart.
    let (long, _) = long.split_once("\n\n[possible values: ").unwrap_or((&long, ""));
    let rest = long.strip_prefix(&summary(arg)).unwrap_or(long).trim();
    (!rest.is_empty()).then(|| rest.to_owned())
}

fn unindented(lines: &str) -> String {
    lines.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn write_table(page: &mut String, title: &str, first: &str, rows: &[(&str, &str)]) -> fmt::Result {
    writeln!(page, "\n## {title}\n\n| {first} | meaning |\n|---|---|")?;
    rows.iter().try_for_each(|(name, meaning)| writeln!(page, "| {name} | {meaning} |"))
}

/// A help text in Markdown: placeholders in angle brackets are no HTML there.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (place, part) in self.0.split('`').enumerate() {
            // Between two backticks everything is as it stands.
            let is_code = place % 2 == 1;
            let text = if is_code { part.to_owned() } else { part.replace('<', "\\<").replace('*', "\\*") };
            write!(formatter, "{}{text}", if place > 0 { "`" } else { "" })?;
        }
        Ok(())
    }
}
