//! An earlier result, read back from its JSON line, and the question that it answers.

use std::{
    ffi::OsString,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use fieldmark::{
    Error, Query, Settings,
    explain::Rivals,
    files::{read_bounded, unescaped},
    prompt::ConceptList,
    report::{Localization, RivalsUsed, SCHEMA},
};

/// The most bytes of a line: one with ten thousand rivals takes 2 MB.
const LONGEST_LINE: u64 = 64 << 20;

/// The result in a file, or in line N of one that is typed as FILE:N.
pub fn read(file: &Path) -> Result<Localization> {
    let (path, number) = place(file);
    if let (None, Some(only)) = (number, whole(&path)) {
        return checked(only, &path.display().to_string());
    }
    let open = |source| Error::Read { path: path.clone(), source };
    let mut lines = Lines { file: BufReader::new(File::open(&path).map_err(open)?), number: 0 };
    let shown = path.display();
    let Some(number) = number else {
        let Some(first) = lines.next_result(&path)? else { bail!("{shown}: expected a result, found none") };
        if lines.next_result(&path)?.is_some() {
            bail!("{shown}: expected one result, found several; {shown}:N means the one in line N");
        }
        return parse(&first, &format!("{shown}"));
    };
    while let Some(line) = lines.next_result(&path)? {
        if lines.number == number {
            return parse(&line, &format!("{shown}:{number}"));
        }
    }
    bail!("{shown}:{number}: expected a result, found no such line")
}

/// The result of a file that holds no other, however it is laid out.
fn whole(path: &Path) -> Option<Localization> {
    serde_json::from_slice(&read_bounded(path, LONGEST_LINE).ok()?).ok()
}

/// A file and perhaps the number of a line. A file that is there under the whole name is meant by it.
fn place(typed: &Path) -> (PathBuf, Option<usize>) {
    let whole = || (typed.to_owned(), None);
    if typed.exists() {
        return whole();
    }
    let Some((file, number)) = typed.to_str().and_then(|typed| typed.rsplit_once(':')) else {
        return whole();
    };
    number.parse().map_or_else(|_| whole(), |number| (file.into(), Some(number)))
}

/// The lines of a file that are not blank.
struct Lines {
    file: BufReader<File>,
    /// The number of the line that was read last, from 1.
    number: usize,
}

impl Lines {
    fn next_result(&mut self, path: &Path) -> Result<Option<String>> {
        loop {
            let mut line = Vec::new();
            let fail = |source| Error::Read { path: path.into(), source };
            let read =
                self.file.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut line).map_err(fail)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 > LONGEST_LINE {
                bail!("{}:{}: expected a line of at most 64 MiB, found more", path.display(), self.number);
            }
            let Ok(line) = String::from_utf8(line) else {
                bail!("{}:{}: expected UTF-8 text", path.display(), self.number)
            };
            if !line.trim().is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

fn parse(line: &str, place: &str) -> Result<Localization> {
    let record: Localization = serde_json::from_str(line)
        .with_context(|| format!("{place}: expected a line of `localize --json`, found something else"))?;
    checked(record, place)
}

/// A result whose form this program knows.
fn checked(record: Localization, place: &str) -> Result<Localization> {
    if record.origin.schema > SCHEMA {
        let found = record.origin.schema;
        bail!("{place}: expected schema {SCHEMA} or an earlier one, found {found}, of a later program");
    }
    Ok(record)
}

/// The question that a result answers.
pub fn query(record: &Localization) -> Result<Query> {
    let given = record.against.iter().filter(|rival| rival.chosen.is_none());
    let query = Query::new(&record.target.prompt)
        .against(given.map(|rival| &rival.score.prompt))
        .with(Settings::try_from(&record.setup)?);
    let is_found = record.against.iter().any(|rival| rival.chosen.is_some());
    match &record.concepts {
        Some(used) => Ok(query.with_rivals(rivals(used)?)),
        None if is_found => bail!("the result does not say in which list its rivals were found"),
        None => Ok(query),
    }
}

/// Rivals from the list of the result, which must be as it was.
fn rivals(used: &RivalsUsed) -> Result<Rivals> {
    let Some(name) = &used.list.list else { bail!("concepts: the list of the result has no name") };
    let concepts = ConceptList::open(name)?;
    if concepts.sha256() != used.list.sha256 {
        bail!("concepts: {name} is not the list of the result, or was changed since");
    }
    let RivalsUsed { by, nearest: count, synonym_threshold, .. } = *used;
    Ok(Rivals::among(concepts)
        .by(by)
        .count(count)
        .synonym_threshold(synonym_threshold)
        .list(Some(name.clone())))
}

/// The checkpoint of a result, as it was typed.
pub fn model(record: &Localization) -> OsString {
    let name = || record.model.clone().into();
    record.model_bytes.as_ref().map_or_else(name, |bytes| unescaped(bytes).into())
}
