//! `fieldmark download`: checkpoints from the Hub into the Hugging Face cache.

use std::path::PathBuf;

use anyhow::Result;
use fieldmark::model::source::{ModelSpec, locate};
use serde::Serialize;

use crate::{args::DownloadArgs, exit::Exit, output, terminal::Terminal};

/// A line of `download --json`.
#[derive(Serialize)]
struct Downloaded<'a> {
    model: &'a str,
    directory: PathBuf,
    commit: Option<String>,
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    name: String,
    bytes: u64,
}

pub fn run(args: &DownloadArgs, terminal: &Terminal) -> Result<Exit> {
    let (mut done, mut failed) = (0, 0);
    for model in &args.models {
        match one(model, args, terminal) {
            Ok(downloaded) => {
                print(&downloaded, args.json)?;
                done += 1;
            }
            Err(error) => {
                terminal.error(&error);
                failed += 1;
            }
        }
    }
    Ok(Exit::of(done, failed))
}

fn one<'a>(model: &'a str, args: &DownloadArgs, terminal: &Terminal) -> Result<Downloaded<'a>> {
    let spec = ModelSpec::parse(model)?;
    let found = locate(&spec, &super::hub_options(args.offline), terminal)?;
    let files = found.files.into_iter().map(|file| File { name: file.name, bytes: file.size });
    Ok(Downloaded { model, directory: found.directory, commit: found.commit, files: files.collect() })
}

fn print(downloaded: &Downloaded, json: bool) -> Result<()> {
    match json {
        true => output::json(downloaded),
        false => {
            let bytes = downloaded.files.iter().map(|file| file.bytes).sum();
            output::downloaded(downloaded.model, &downloaded.directory, downloaded.files.len(), bytes)
        }
    }
}
