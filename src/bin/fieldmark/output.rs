//! Standard output: the only place that writes there. A result is a line of JSON or a block for people, both made
//! of the same record.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use fieldmark::{
    regions::Region,
    report::{Comparison, Evidence, Localization, Place, Score},
};
use serde::Serialize;

/// Writes text, and tells at once if nobody reads it.
fn write(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("standard output: cannot be written")
}

/// One JSON object on one line.
pub fn json(record: &impl Serialize) -> Result<()> {
    write(&format!("{}\n", serde_json::to_string(record)?))
}

/// One photo's answer.
pub fn localization(found: &Localization) -> Result<()> {
    let mut table = score_table();
    table.add_row(score_row(&found.target, ""));
    for reference in &found.against {
        table.add_row(score_row(reference, "against "));
    }
    let mut lines = vec![format!("{}: {}", shown_path(&found.image), found.evidence.verdict)];
    lines.extend(table_lines(&table));
    lines.extend(evidence_lines(&found.evidence, &found.place));
    lines.extend(file_lines(&found.files));
    write_block(&lines)
}

/// Several prompts on one photo.
pub fn comparison(compared: &Comparison) -> Result<()> {
    let mut table = score_table();
    for prompt in &compared.prompts {
        table.add_row(score_row(&prompt.score, ""));
    }
    let mut lines = vec![shown_path(&compared.image)];
    lines.extend(table_lines(&table));
    for prompt in &compared.prompts {
        lines.push(format!("   {}: {}", shown(&prompt.score.prompt), prompt.evidence.verdict));
        let details = evidence_lines(&prompt.evidence, &prompt.place).into_iter();
        lines.extend(details.chain(file_lines(&prompt.files)).map(|line| format!("   {line}")));
    }
    lines.extend(file_lines(&compared.files));
    write_block(&lines)
}

/// A checkpoint's files, after a download.
pub fn downloaded(model: &str, directory: &Path, files: usize, bytes: u64) -> Result<()> {
    let size = crate::terminal::bytes(bytes);
    write(&format!("{model}: {files} files, {size}\n  {}\n", shown_path(directory)))
}

fn score_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    // Long prompts are wrapped at the terminal's width, less the indentation.
    if let Some(width) = table.width() {
        table.set_width(width.saturating_sub(2));
    }
    let right = |text: &str| Cell::new(text).set_alignment(CellAlignment::Right);
    table.set_header([Cell::new("prompt"), right("similarity"), right("logit"), right("softmax")]);
    table
}

fn score_row(score: &Score, before: &str) -> [Cell; 4] {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    [
        Cell::new(format!("{before}{}", shown(&score.prompt))),
        right(format!("{:.4}", score.similarity)),
        right(format!("{:.2}", score.logit)),
        right(format!("{:.1} %", score.probability * 100.0)),
    ]
}

fn evidence_lines(evidence: &Evidence, place: &Place) -> Vec<String> {
    let sums =
        format!("   evidence {:+.2} logits for it, {:+.2} against it", evidence.positive, evidence.negative);
    let Some(peak) = place.peak else {
        return vec![sums, "   no positive evidence: there is no peak, and the overlay is blank".into()];
    };
    let region = place.regions.first().map(|region| {
        let (width, height, share) = (region.width, region.height, region.share * 100.0);
        let Region { x, y, .. } = region;
        format!("; main region {width} x {height} pixels at {x}, {y}, {share:.0} % of the evidence for it")
    });
    vec![sums, format!("   peak at {}, {}{}", peak.x, peak.y, region.unwrap_or_default())]
}

fn file_lines(files: &BTreeMap<String, PathBuf>) -> Vec<String> {
    files.values().map(|path| format!("   {}", shown_path(path))).collect()
}

/// The table, indented, without the blanks that fill its lines up.
fn table_lines(table: &Table) -> Vec<String> {
    table.lines().map(|line| format!("  {}", line.trim_end())).collect()
}

/// Writes lines and a blank one, at once: two programs that share a terminal must not mix them.
fn write_block(lines: &[String]) -> Result<()> {
    write(&format!("{}\n\n", lines.join("\n")))
}

fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

/// A text as it can be shown on one line: control characters could redraw the terminal.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
