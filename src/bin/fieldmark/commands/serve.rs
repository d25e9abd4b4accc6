//! `fieldmark serve`: a page on the user's own machine.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};
use fieldmark::{
    PhotoOptions,
    serve::{ServeOptions, Server},
};

use crate::{args::ServeArgs, exit::Exit, images, output, terminal::Terminal};

/// The shortest token: 16 characters can hold 64 bits.
const SHORTEST_TOKEN: usize = 16;

pub fn run(args: &ServeArgs, terminal: &Terminal) -> Result<Exit> {
    let options = options(args, terminal)?;
    let has_token = options.token.is_some() || !options.host.is_loopback();
    // The port first: a model takes longer.
    let server = Server::bind(options)?;
    let (explainer, _) = super::load(&args.model, terminal)?;
    output::write(&format!("{}\n", server.url()))?;
    terminal.note("Ctrl-C ends the server");
    if has_token {
        terminal.note("open the address above, which holds the token, in a browser");
    } else if !args.no_open && !open(&server.url()) {
        terminal.note("no browser could be opened: open the address above in one");
    }
    server.run(&explainer)?;
    Ok(Exit::Done)
}

fn options(args: &ServeArgs, terminal: &Terminal) -> Result<ServeOptions> {
    let mut photos = Vec::new();
    for photo in images::expand(&args.photos, terminal).files {
        photos.push(photo.map_err(|error| images::named(error, None))?);
    }
    if photos.iter().any(|photo| images::is_standard_input(photo)) {
        bail!("-: expected photos and directories, found standard input");
    }
    let token =
        args.token.clone().or_else(|| std::env::var("FIELDMARK_TOKEN").ok()).filter(|text| !text.is_empty());
    if let Some(token) = &token {
        let is_plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
        if token.len() < SHORTEST_TOKEN || !is_plain {
            bail!("token: expected at least {SHORTEST_TOKEN} letters, digits or -_.~");
        }
    }
    let mut options = ServeOptions::default()
        .port(args.port)
        .token(token)
        .photos(photos)
        .photo(PhotoOptions::default().pixel_limit(args.pixel_limit))
        .memory(args.memory << 20)
        .model_arguments(model_arguments(args));
    if let Some(host) = args.host {
        options = options.host(host);
    }
    Ok(options)
}

/// The options that name the checkpoint, for the command that gives a result again.
fn model_arguments(args: &ServeArgs) -> Vec<String> {
    let mut arguments = vec!["--model".into(), Path::new(&args.model.model).to_string_lossy().into_owned()];
    let precision = args.model.precision;
    if precision != fieldmark::device::Precision::default() {
        arguments.extend(["--precision".into(), precision.name().into()]);
    }
    arguments
}

/// Opens an address in the browser of the desktop; whether there is a program for it. The system's own program is asked,
/// so that the user's choice of a browser counts.
fn open(address: &str) -> bool {
    let (program, arguments): (&str, &[&str]) = if cfg!(windows) {
        ("cmd", &["/c", "start", ""])
    } else if cfg!(target_os = "macos") {
        ("open", &[])
    } else {
        ("xdg-open", &[])
    };
    let mut command = Command::new(program);
    command.args(arguments).arg(address);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut browser) = command.spawn() else { return false };
    // Its end is waited for, so that it does not stay a zombie.
    std::thread::Builder::new().name("browser".into()).spawn(move || browser.wait()).is_ok()
}
