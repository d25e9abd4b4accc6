//! Lines of JSON that wait until the last photo has its maps, and with it the scale of the run.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, Write},
};

use anyhow::{Context, Result};
use fieldmark::run::RunScale;
use serde::Serialize;

/// Lines of JSON that wait until their scale is known, on disk.
pub struct Lines(File);

impl Lines {
    pub fn new() -> Result<Self> {
        Ok(Self(tempfile::tempfile().context("results that wait for the scale: no temporary file")?))
    }

    pub fn push(&mut self, record: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(record)?;
        writeln!(self.0, "{line}").context("results that wait for the scale: cannot be written")
    }

    /// The lines in their order, with their scale.
    pub fn read(mut self, scale: RunScale) -> Result<impl Iterator<Item = Result<String>>> {
        const UNREADABLE: &str = "results that wait for the scale: cannot be read";
        self.0.rewind().context(UNREADABLE)?;
        // In a text of JSON, quotes are escaped: this can only be the field.
        let field = |scale: RunScale| -> Result<String> {
            Ok(format!("\"scale\":{}", serde_json::to_string(&scale.drawn())?))
        };
        let (unknown, known) = (field(RunScale::default())?, field(scale)?);
        let lines = BufReader::new(self.0).lines();
        Ok(lines.map(move |line| Ok(line.context(UNREADABLE)?.replacen(&unknown, &known, 1))))
    }
}

/// Lines that are added while photos are answered, and taken when the scale is known.
pub enum LaterLines {
    Waiting(Option<Lines>),
    Known(Box<dyn Iterator<Item = Result<String>>>),
}

impl From<Lines> for LaterLines {
    fn from(lines: Lines) -> Self {
        Self::Waiting(Some(lines))
    }
}

impl LaterLines {
    pub fn push(&mut self, record: &impl Serialize) -> Result<()> {
        match self {
            Self::Waiting(Some(lines)) => lines.push(record),
            _ => Ok(()),
        }
    }

    /// The next line; from the first one on, no line can be added.
    pub fn next(&mut self, scale: RunScale) -> Result<Option<String>> {
        if let Self::Waiting(lines) = self
            && let Some(lines) = lines.take()
        {
            *self = Self::Known(Box::new(lines.read(scale)?));
        }
        match self {
            Self::Known(lines) => lines.next().transpose(),
            Self::Waiting(_) => Ok(None),
        }
    }
}
