//! What every line of a journal ends in: which run it is of, and a checksum over all that comes before it.
//!
//! ```text
//! {"picture":3,...,"run":"0123456789abcdef","check":"fedcba9876543210"}
//! ```
//!
//! `run` is the beginning of the SHA-256 of all that decides a result: settings, checkpoint and the program's version.
//! `check` is the beginning of the SHA-256 of the line's bytes up to the comma before it, with all that is between the
//! braces of `"seconds":{...}` left out: runs that differ only in their times have equal checksums.

use fieldmark_model::digest::{Hasher, hexadecimal};

const CHECK: &str = ",\"check\":\"";
const RUN: &str = ",\"run\":\"";
/// Hexadecimal digits of a hash; the rest of one would only make lines longer.
const DIGITS: usize = 16;
const END: &str = "\"}";
/// How long things took is no result.
const SECONDS: &str = "\"seconds\":{";

/// The name of a run in its journal, by the record of all that decides its results: sixteen hexadecimal digits of the
/// record's SHA-256.
pub fn run_name(record: &str) -> String {
    short_hash(record)
}

fn short_hash(text: &str) -> String {
    let mut hasher = Hasher::new();
    let mut rest = text;
    // Inside a JSON string the quotes would be escaped.
    while let Some((before, times)) = rest.split_once(SECONDS) {
        hasher.update(before.as_bytes());
        hasher.update(SECONDS.as_bytes());
        rest = times.find('}').map_or("", |end| &times[end..]);
    }
    hasher.update(rest.as_bytes());
    hexadecimal(&hasher.finish()[..DIGITS / 2])
}

/// A JSON object with its run and checksum. One that has some already gets new ones.
pub(super) fn sealed(line: &str, run: &str) -> String {
    let body = match split(line) {
        Some((body, ..)) => body,
        None => line.strip_suffix('}').unwrap_or(line),
    };
    let checked = format!("{body}{RUN}{run}\"");
    let check = short_hash(&checked);
    format!("{checked}{CHECK}{check}{END}")
}

/// What a line's end says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal<'l> {
    /// It is whole, and of this run.
    Whole { run: &'l str },
    /// Its bytes are not those that were written.
    Broken,
    /// It has none: an earlier version of the program wrote it, or it is no line of a journal.
    Missing,
}

/// Reads the end of a line.
pub(super) fn seal(line: &str) -> Seal<'_> {
    match split(line) {
        Some((_, run, checked, check)) if short_hash(checked) == check => Seal::Whole { run },
        Some(_) => Seal::Broken,
        None => Seal::Missing,
    }
}

/// The parts of a line with a seal: the object without its end, the run, all that is checked, and the checksum.
fn split(line: &str) -> Option<(&str, &str, &str, &str)> {
    let (checked, check) = hash_after(line.strip_suffix(END)?, CHECK)?;
    let (body, run) = hash_after(checked.strip_suffix('"')?, RUN)?;
    Some((body, run, checked, check))
}

/// A text that ends in a mark and a hash, split there.
fn hash_after<'l>(text: &'l str, mark: &str) -> Option<(&'l str, &'l str)> {
    let (before, hash) = text.split_at_checked(text.len().checked_sub(DIGITS)?)?;
    Some((before.strip_suffix(mark)?, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_fields_and_knows_its_run() {
        let run = run_name("settings");
        let line = sealed(r#"{"picture":1}"#, &run);
        let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&fields["picture"], fields["run"].as_str()), (&1.into(), Some(&run[..])));
        assert_eq!(seal(&line), Seal::Whole { run: &run });
        assert!(line.ends_with(&format!("\"check\":\"{}\"}}", fields["check"].as_str().unwrap())));
        assert_eq!(sealed(&line, &run), line, "sealed once");
        assert_eq!(seal(&sealed(&line, &run_name("others"))), Seal::Whole { run: &run_name("others") });
    }

    #[test]
    fn the_checksum_is_that_of_the_documentation() {
        // printf '%s' '{"picture":1,"run":"0123456789abcdef"' | sha256sum
        let line = sealed(r#"{"picture":1}"#, "0123456789abcdef");
        assert_eq!(line, r#"{"picture":1,"run":"0123456789abcdef","check":"778a031ac53d3a7b"}"#);
    }

    #[test]
    fn times_do_not_count_and_all_else_does() {
        let check = |line: &str| sealed(line, "0123456789abcdef").rsplit_once(CHECK).unwrap().1.to_owned();
        let one = check(r#"{"picture":1,"seconds":{"load":0.5,"tower":2.0},"words":"\"seconds\":{x}"}"#);
        assert_eq!(one, check(r#"{"picture":1,"seconds":{"load":0.25},"words":"\"seconds\":{x}"}"#));
        assert_ne!(one, check(r#"{"picture":1,"seconds":{"load":0.5},"words":"\"seconds\":{y}"}"#));
        assert_ne!(one, check(r#"{"picture":1,"seconds":{"load":0.5}}"#));
    }

    #[test]
    fn a_change_of_any_bit_shows() {
        let line = sealed(r#"{"picture":1,"answer":"é"}"#, &run_name("settings"));
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut bytes = line.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                // What is no text is damaged.
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                assert!(!matches!(seal(&changed), Seal::Whole { .. }), "{changed}");
            }
        }
        for length in 0..line.len() {
            let Some(cut) = line.get(..length) else { continue };
            assert!(!matches!(seal(cut), Seal::Whole { .. }), "{cut}");
        }
    }

    #[test]
    fn other_texts_have_none() {
        for text in ["", "{}", "\"}", "{\"check\":\"0123456789abcdef\"}", "é\"}", "nonsense"] {
            assert_eq!(seal(text), Seal::Missing, "{text}");
        }
    }
}
