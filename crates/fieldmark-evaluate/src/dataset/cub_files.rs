//! The forms that several files of CUB have: names by number, and lines that begin with a picture's number.

use std::{collections::HashMap, path::Path};

use super::{index::LineIndex, lines::Lines, passed_over::PassedOver};
use fieldmark_model::error::Result;

/// Reads a file whose lines are a number and a name.
pub(super) fn named(path: &Path, what: &str) -> Result<HashMap<u32, String>> {
    let mut names = HashMap::new();
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        let mut fields = line.fields()?;
        let number = fields.number(what, "a whole number")?;
        let name = fields.rest("name")?.to_owned();
        if names.insert(number, name).is_some() {
            return Err(fields
                .line
                .error(format!("{what}: expected each number once, found {number} again")));
        }
    }
    Ok(names)
}

/// Notes where the lines about each picture are; a line begins with the picture's number.
pub(super) fn index(path: &Path, positions: &HashMap<u32, usize>, odd: &PassedOver) -> Result<LineIndex> {
    let mut index = LineIndex::new(path);
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        let (offset, at) = (line.offset, line.number);
        let number = line.fields().and_then(|mut fields| fields.number::<u32>("image id", "a whole number"));
        match odd.unless(number)?.and_then(|number| positions.get(&number)) {
            Some(position) => index.add(*position, offset, at),
            None => index.skip(),
        }
    }
    Ok(index)
}
