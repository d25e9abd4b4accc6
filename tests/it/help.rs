//! Holds the help of every command, in both lengths, to files in tests/snapshots, and the reference of the command line
//! to docs/reference. After a change that is meant, `cargo xtask reference` writes them anew.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Every command; the empty name is the program's own help.
const COMMANDS: [&str; 13] = [
    "",
    "localize",
    "compare",
    "report",
    "batch",
    "evaluate",
    "serve",
    "methods",
    "prompts",
    "models",
    "download",
    "completions",
    "man",
];

/// The headings of options, in their order.
const HEADINGS: [&str; 8] = ["Prompts", "Data set", "Metrics", "Rivals", "Map", "Model", "Output", "Run"];

/// What the program prints on a terminal of 80 columns.
fn output(arguments: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_fieldmark"));
    program.args(arguments).env("COLUMNS", "80").stdin(Stdio::null()).stderr(Stdio::piped());
    let run = program.output().expect("it starts");
    assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("it is text")
}

fn help(command: &str, length: &str) -> String {
    let arguments: Vec<&str> = [command, length].into_iter().filter(|part| !part.is_empty()).collect();
    output(&arguments)
}

/// Compares a text with a file of the repository, or writes it there if it is to be updated.
fn assert_is(text: &str, file: impl AsRef<Path>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("FIELDMARK_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder can be made");
        std::fs::write(&path, text).expect("it can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == expected,
        "{} is not what the program prints; `cargo xtask reference` writes it anew. \
         The program prints:\n{text}",
        path.display()
    );
}

fn snapshot(command: &str, length: &str) -> PathBuf {
    let name = if command.is_empty() { "fieldmark" } else { command };
    Path::new("tests/snapshots/help").join(format!("{name}{length}.txt"))
}

#[test]
fn the_help_of_every_command_is_as_recorded() {
    for command in COMMANDS {
        for length in ["-h", "--help"] {
            assert_is(&help(command, length), snapshot(command, length));
        }
    }
}

#[test]
fn the_reference_is_made_from_the_program() {
    assert_is(&output(&["man", "--markdown"]), "docs/reference/command-line.md");
}

#[test]
fn the_snapshots_are_of_all_commands() {
    let overview = help("", "--help");
    let (_, commands) = overview.split_once("Commands:\n").expect("a list of commands");
    let listed =
        commands.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("     "));
    let listed: Vec<&str> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    let known: Vec<&str> = COMMANDS.into_iter().filter(|name| !name.is_empty()).chain(["help"]).collect();
    assert_eq!(listed, known);
}

/// The lines below each heading of a help text, by heading.
fn sections(help: &str) -> Vec<(&str, Vec<&str>)> {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in help.lines() {
        match line.strip_suffix(':').filter(|title| !title.starts_with(' ')) {
            Some(title) => sections.push((title, Vec::new())),
            None => sections.iter_mut().rev().take(1).for_each(|(_, lines)| lines.push(line)),
        }
    }
    sections
}

/// The long options that begin lines.
fn options<'h>(lines: &[&'h str]) -> Vec<&'h str> {
    let starts = lines.iter().map(|line| line.trim_start()).filter(|line| line.starts_with('-'));
    let names = starts.filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--")));
    names.filter(|name| name.len() > 2).collect()
}

#[test]
fn every_option_stands_under_the_heading_of_its_subject() {
    let expected = [
        ("--prompt", "Prompts"),
        ("--template", "Prompts"),
        ("--against", "Rivals"),
        ("--concepts", "Rivals"),
        ("--strength", "Rivals"),
        ("--aggregate", "Rivals"),
        ("--seed", "Metrics"),
        ("--limit", "Data set"),
        ("--method", "Map"),
        ("--layers", "Map"),
        ("--threshold", "Map"),
        ("--model", "Model"),
        ("--save", "Output"),
        ("--report", "Output"),
        ("--coco", "Output"),
        ("--preview", "Output"),
        ("--resume", "Run"),
        ("--quiet", "General"),
        ("--pixel-limit", "General"),
        ("--help", "General"),
        ("--version", "General"),
    ];
    for command in ["localize", "compare", "report", "batch", "evaluate"] {
        let help = help(command, "--help");
        let sections = sections(&help);
        let titles: Vec<&str> = sections.iter().map(|(title, _)| *title).collect();
        assert!(!titles.contains(&"Options"), "{command}: {titles:?}");
        let places = |title: &&str| HEADINGS.iter().position(|heading| heading == title);
        let places: Vec<usize> = titles.iter().filter_map(places).collect();
        assert!(places.is_sorted(), "{command}: {titles:?}");
        for (title, lines) in sections.iter().filter(|(title, _)| !title.starts_with("Example")) {
            for option in options(lines) {
                // Of `compare`, the concepts are prompts that compete; a data set brings its own prompts.
                let others = [("--concepts", "Prompts"), ("--template", "Data set")];
                let is_other = others.contains(&(option, *title));
                let known = expected.iter().find(|(name, _)| *name == option && !is_other);
                assert!(
                    known.is_none_or(|(_, heading)| heading == title),
                    "{command}: {option} under {title}"
                );
            }
        }
    }
}

#[test]
fn short_help_fits_on_a_screen_and_points_to_the_long_one() {
    for command in ["localize", "compare", "report", "batch", "evaluate"] {
        let (short, long) = (help(command, "-h"), help(command, "--help"));
        let own = |help: &str| {
            let sections = sections(help);
            let own = |title: &str| title != "General" && !title.starts_with("Example");
            let sections = sections.iter().filter(|(title, _)| own(title));
            sections.flat_map(|(_, lines)| options(lines)).map(str::to_owned).collect::<Vec<_>>()
        };
        let (few, all) = (own(&short), own(&long));
        assert!((10..=14).contains(&few.len()), "{command} -h has {}: {few:?}", few.len());
        assert!(few.iter().all(|option| all.contains(option)) && all.len() > 20, "{command}: {all:?}");
        assert!(short.lines().count() <= 62, "{command} -h has {} lines", short.lines().count());
        let last = short.lines().last().unwrap_or_default();
        assert!(last.starts_with(&format!("`fieldmark {command} --help` shows all options")), "{last}");
    }
    for command in COMMANDS {
        for line in help(command, "-h").lines() {
            assert!(line.chars().count() <= 80, "{command} -h: {line}");
        }
    }
}

#[test]
fn help_explains_every_option_and_names_every_value_in_upper_case() {
    for command in COMMANDS {
        let help = help(command, "--help");
        for (_, lines) in sections(&help) {
            for line in lines.iter().filter(|line| line.trim_start().starts_with('-')) {
                let Some((_, placeholder)) = line.split_once(" <") else { continue };
                let (placeholder, _) = placeholder.split_once('>').expect("a closed placeholder");
                let is_upper = |letter: char| letter.is_ascii_uppercase() || "_=/".contains(letter);
                assert!(placeholder.chars().all(is_upper), "{command}: {line}");
            }
        }
        for word in ["tell ", "whatever"] {
            assert!(!help.contains(word), "{command}: {word}");
        }
    }
}
