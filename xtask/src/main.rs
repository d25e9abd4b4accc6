//! Makes again what is generated in this repository: `cargo xtask --help`.
//!
//! Every task runs a command that also works by itself; here they have one name and one order.

use std::{
    env,
    ffi::OsString,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand};

/// Makes again what is generated in this repository.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The command reference in docs/reference and the help texts in tests/snapshots, from the program
    Reference,
    /// The JSON Schema of results in docs/schema, from the declarations of their types
    Schema {
        /// Compare with what is committed, and change nothing
        #[arg(long)]
        check: bool,
    },
    /// The expected values in tests/golden, with the Python packages that MANIFEST.md names
    Goldens {
        /// Compare with what is committed, and change nothing
        #[arg(long)]
        check: bool,
        /// Only these scripts, such as make_metrics; all by default
        scripts: Vec<String>,
    },
    /// The golden drawings in tests/golden/render: look at them before they are committed
    Drawings,
    /// The README's pictures in examples/images; the picture of the report needs Chromium
    Pictures,
    /// The tables of docs/evaluation, which takes an hour
    Evaluation,
}

/// The order in which the scripts of tests/golden run: later ones read what the earlier ones write.
const SCRIPTS: [&str; 13] = [
    "make_golden",
    "make_methods",
    "make_attention",
    "make_attention_pooled",
    "make_affinity",
    "make_metrics",
    "make_inventories",
    "make_miniature",
    "make_open_clip",
    "make_classifiers",
    "make_pickled",
    "make_preprocess",
    "make_resize",
];

/// Those that can compare.
const CHECKABLE: [&str; 7] = [
    "make_golden",
    "make_methods",
    "make_attention",
    "make_attention_pooled",
    "make_affinity",
    "make_metrics",
    "make_classifiers",
];

const SCENE: &str = "examples/images/red-winged-blackbird.png";
const TARGET: &str = "red-winged blackbird shoulder";

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "a program reports what went wrong")]
fn report(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Reference => updating_test("help::"),
        Task::Schema { check } => {
            let check: &[&str] = if check { &["--check"] } else { &[] };
            cargo(&[&["run", "--package", "fieldmark-schema", "--"], check].concat())
        }
        Task::Goldens { check, scripts } => goldens(check, &scripts),
        Task::Drawings => cargo(&["test", "--test", "it", "render::write_goldens", "--", "--ignored"]),
        Task::Pictures => pictures(),
        Task::Evaluation => finish(&mut command("docs/evaluation/make.sh", &[])),
    }
}

/// Runs tests that write what they would otherwise compare.
fn updating_test(filter: &str) -> Result<()> {
    finish(command(cargo_path(), &["test", "--test", "it", filter]).env("FIELDMARK_UPDATE", "1"))
}

fn goldens(check: bool, asked: &[String]) -> Result<()> {
    if let Some(unknown) = asked.iter().find(|name| !SCRIPTS.contains(&name.as_str())) {
        bail!("{unknown}: expected one of {}", SCRIPTS.join(", "));
    }
    let chosen = SCRIPTS.iter().filter(|name| asked.is_empty() || asked.iter().any(|asked| asked == *name));
    for script in chosen {
        let path = format!("tests/golden/{script}.py");
        if !check {
            finish(&mut command("python3", &[&path]))?;
        } else if CHECKABLE.contains(script) {
            finish(&mut command("python3", &[&path, "--check"]))?;
        } else {
            ensure!(asked.is_empty(), "{script} cannot compare; run it and look at the difference");
        }
    }
    Ok(())
}

/// The commands of examples/images/README.md.
fn pictures() -> Result<()> {
    cargo(&["run", "--release", "--package", "miniature", "--", "scenes", "--out", "examples/images"])?;
    fieldmark(&[
        "localize",
        TARGET,
        SCENE,
        "--against",
        "yellow-headed blackbird",
        "--against",
        "rusty blackbird",
    ])?;
    fieldmark(&["compare", SCENE, TARGET, "yellow head", "brown wing"])?;
    let page = env::temp_dir().join("fieldmark-report.html");
    let page = page.to_str().context("the temporary folder's name is not UTF-8")?;
    let rivals = ["yellow-headed blackbird", "rusty blackbird", "brown wing"];
    let options = ["--strength", "0.6", "--save", "none", "--report", page];
    fieldmark(&[&["compare", SCENE, TARGET][..], &rivals, &options].concat())?;
    let shot = format!("--screenshot={}", SCENE.replace(".png", ".report.png"));
    let address = format!("file://{page}#against=1,2");
    let size = ["--window-size=1240,800", "--virtual-time-budget=4000"];
    let quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"];
    finish(&mut command(chromium()?, &[&quiet[..], &size, &[&shot, &address]].concat()))
}

/// The first Chromium that starts.
fn chromium() -> Result<OsString> {
    let names = env::var_os("CHROMIUM").into_iter();
    let names = names.chain(["chromium", "chromium-browser", "google-chrome"].map(OsString::from));
    names
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok())
        .context("expected Chromium, by the variable CHROMIUM or on the path; found none")
}

fn fieldmark(arguments: &[&str]) -> Result<()> {
    let program = ["run", "--release", "--quiet", "--"];
    let everywhere = ["--model", "miniature", "--output", "examples/images"];
    cargo(&[&program[..], arguments, &everywhere].concat())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    finish(&mut command(cargo_path(), arguments))
}

fn cargo_path() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A command in the repository's root.
fn command(program: impl Into<OsString>, arguments: &[&str]) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let mut command = Command::new(program.into());
    command.args(arguments).current_dir(root);
    command
}

fn finish(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("{} cannot be started", command.get_program().display()))?;
    ensure!(status.success(), "{} ended with {status}", command.get_program().display());
    Ok(())
}
