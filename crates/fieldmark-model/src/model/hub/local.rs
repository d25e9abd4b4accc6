//! What lies in a local directory of a checkpoint.

use std::path::{Path, PathBuf};

use super::{
    ModelFile, ModelFiles,
    selection::{self, CONFIG, is_known, may_be_weights, without_foreign},
};
use crate::{
    error::{Error, Result},
    model::config,
};

/// The names of the files in a directory that a checkpoint may be made of. Where there are configurations of both forms
/// and the one of transformers' form is foreign, it is left out.
///
/// # Errors
/// [`Error::Read`] if the directory cannot be read.
pub(in crate::model) fn listing(directory: &Path) -> Result<Vec<String>> {
    let fail = |source| Error::Read { path: directory.into(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        // A name that is no text is none that is looked for.
        let Ok(name) = entry.map_err(fail)?.file_name().into_string() else { continue };
        if selection::is_of_interest(&name) && directory.join(&name).exists() {
            names.push(name);
        }
    }
    names.sort();
    without_foreign(names, || Ok(config::is_foreign(&directory.join(CONFIG))))
}

/// The checkpoint of a file of weights: all that may belong to it beside it, but no other weights.
///
/// # Errors
/// [`Error::Read`] if the directory cannot be read.
pub(super) fn beside(file: &Path) -> Result<ModelFiles> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut names = listing(&directory)?;
    names.retain(|name| is_known(name) && !may_be_weights(name));
    let mut files =
        names.into_iter().map(|name| describe(directory.join(&name), name)).collect::<Result<Vec<_>>>()?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let shards = if name.ends_with(".json") {
        selection::shards(&crate::model::formats::read_text_file(file)?).unwrap_or_default()
    } else {
        Vec::new()
    };
    for name in shards.into_iter().filter(|name| directory.join(name).is_file()) {
        files.push(describe(directory.join(&name), name)?);
    }
    // Its name need not be UTF-8.
    files.push(describe(file.to_path_buf(), name)?);
    Ok(ModelFiles { directory, commit: None, files })
}

fn describe(path: PathBuf, name: String) -> Result<ModelFile> {
    match path.metadata() {
        Ok(metadata) => Ok(ModelFile { name, size: metadata.len(), path }),
        Err(source) => Err(Error::Read { path, source }),
    }
}
