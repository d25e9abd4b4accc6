//! Parts of a run that other runs measured, as they are joined.

use std::path::{Path, PathBuf};

use super::{
    Description, Shard,
    evaluation::{Head, journal_path},
};
use fieldmark_explain::run::{Content, Journal, Reading};
use fieldmark_model::error::{Error, Result};

/// A part of a run, as it was left.
pub(super) struct Part {
    pub(super) folder: PathBuf,
    pub(super) description: Description,
    pub(super) journal: Journal<usize>,
}

impl Part {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let picture = |line: &str| Some(Content::Done(serde_json::from_str::<Head>(line).ok()?.picture));
        let description = Description::read(folder)?;
        let run = description.run_name()?;
        let journal = Journal::read(&journal_path(folder), Reading { run: &run, described: true }, picture)?;
        Ok(Self { folder: folder.into(), description, journal })
    }

    fn refused(&self, reason: String) -> Error {
        Error::Run { path: self.folder.clone(), reason }
    }

    pub(super) fn shard(&self) -> Result<Shard> {
        let whole = || self.refused("expected a part of a run, found a whole one".into());
        self.description.shard.ok_or_else(whole)
    }

    pub(super) fn check_belongs(&self, other: &Self) -> Result<()> {
        let (one, two) = (self.shard()?, other.shard()?);
        if one.count() != two.count() {
            return Err(other.refused(format!("expected one of {} parts, found {two}", one.count())));
        }
        let same = other.description.clone().shard(self.description.shard);
        same.check_same(&self.description, &other.folder, &format!("that of {}", self.folder.display()))
    }

    pub(super) fn check_whole(&self) -> Result<()> {
        let missing = self.description.own_pictures().filter(|picture| !self.journal.has(picture)).count();
        if missing == 0 {
            return Ok(());
        }
        let (size, shard) = (self.description.size(), self.shard()?);
        let left_out: String = self.journal.left_out().iter().map(|note| format!("; {note}")).collect();
        Err(self.refused(format!(
            "expected all {size} pictures of part {shard}, found {missing} of them missing{left_out}"
        )))
    }
}

/// The parts by their index, each of them once.
pub(super) fn by_index(parts: &[Part], count: usize) -> Result<Vec<&Part>> {
    let mut by_index: Vec<Option<&Part>> = vec![None; count];
    for part in parts {
        let shard = part.shard()?;
        if let Some(other) = by_index[shard.index()].replace(part) {
            let reason = format!("part {shard} appears twice, also in {}", other.folder.display());
            return Err(part.refused(reason));
        }
    }
    match by_index.iter().position(Option::is_none) {
        Some(index) => {
            Err(Error::Option { option: "parts", reason: format!("part {index}/{count} is missing") })
        }
        None => Ok(by_index.into_iter().flatten().collect()),
    }
}
