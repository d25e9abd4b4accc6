//! `fieldmark download`: checkpoints from the Hub into the Hugging Face cache.

use std::ffi::OsStr;

use anyhow::{Result, bail};
use fieldmark::model::hub::{self, ModelSpec};
use serde::Serialize;

use crate::{args::DownloadArgs, checkpoint, exit::Exit, output, terminal::Terminal};

/// A line of `download --json`.
#[derive(Serialize)]
struct Downloaded {
    model: String,
    directory: String,
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

fn one(model: &OsStr, args: &DownloadArgs, terminal: &Terminal) -> Result<Downloaded> {
    let spec = ModelSpec::parse(model)?;
    if let ModelSpec::Directory(path) | ModelSpec::WeightsFile(path) = &spec {
        bail!("{}: is a local path, so there is nothing to fetch", path.display());
    }
    let found = hub::download(&spec, &checkpoint::hub_options(args.offline), terminal)?;
    let files = found.files.into_iter().map(|file| File { name: file.name, bytes: file.size });
    let directory = found.directory.to_string_lossy().into_owned();
    let model = model.to_string_lossy().into_owned();
    Ok(Downloaded { model, directory, commit: found.commit, files: files.collect() })
}

fn print(downloaded: &Downloaded, json: bool) -> Result<()> {
    if json {
        output::json(downloaded)
    } else {
        let bytes = downloaded.files.iter().map(|file| file.bytes).sum();
        output::downloaded(&downloaded.model, downloaded.directory.as_ref(), downloaded.files.len(), bytes)
    }
}
