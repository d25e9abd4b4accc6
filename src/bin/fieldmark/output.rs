//! Standard output: the only place that writes there. A result is a line of JSON or a block for people, both made
//! of the same record.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use fieldmark::{
    evaluate::{Compared, Estimate, METRICS, SettingSummary, Summary},
    report::{Comparison, Evidence, Localization, Place, Score},
};
use serde::Serialize;

/// Writes text, and tells at once if nobody reads it.
fn write(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
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
    let mut text = format!("{}: {}\n{table}\n", shown(&found.image), found.evidence.verdict);
    text.push_str(&evidence_line(&found.evidence, &found.place));
    text.push_str(&file_lines(&found.files));
    write(&format!("{text}\n"))
}

/// Several prompts on one photo.
pub fn comparison(compared: &Comparison) -> Result<()> {
    let mut table = score_table();
    for prompt in &compared.prompts {
        table.add_row(score_row(&prompt.score, ""));
    }
    let mut text = format!("{}\n{table}\n", shown(&compared.image));
    for prompt in &compared.prompts {
        text.push_str(&format!("{}: {}\n", prompt.score.prompt, prompt.evidence.verdict));
        text.push_str(&evidence_line(&prompt.evidence, &prompt.place));
        text.push_str(&file_lines(&prompt.files));
    }
    text.push_str(&file_lines(&compared.files));
    write(&format!("{text}\n"))
}

/// A checkpoint's files, after a download.
pub fn downloaded(model: &str, directory: &Path, files: usize, bytes: u64) -> Result<()> {
    let size = indicatif::HumanBytes(bytes);
    write(&format!("{model}: {files} files, {size}\n  {}\n", shown(directory)))
}

/// A data set's figures.
pub fn evaluation(summary: &Summary) -> Result<()> {
    let counts = &summary.counts;
    let mut text = format!("{}: {} images, {} lines", shown(&summary.dataset), counts.images, counts.lines);
    text.push_str(&format!(" ({} with the concept, {} without)\n", counts.present, counts.absent));
    if !summary.failed.is_empty() {
        let lines: usize = summary.failed.iter().map(|failure| failure.lines.len()).sum();
        text.push_str(&format!(
            "   {} images with {lines} lines could not be measured\n",
            summary.failed.len()
        ));
    }
    if let Some(accuracy) = &summary.pair_accuracy {
        let fits = format!("the prompt fits better than its rivals: {}", estimate(accuracy));
        text.push_str(&format!("   {fits} of {} lines\n", counts.with_rivals));
    }
    for setting in &summary.settings {
        text.push_str(&setting_block(setting));
    }
    let (coverage, rounds) = (summary.bootstrap.coverage * 100.0, summary.bootstrap.rounds);
    text.push_str(&format!(
        "\nin brackets: {coverage:.0} % intervals, {rounds} bootstrap rounds over the images\n"
    ));
    write(&text)
}

fn setting_block(summary: &SettingSummary) -> String {
    let setting = &summary.setting;
    let (method, layer, strength) = (&setting.method, setting.layer, setting.strength);
    let mut table = bare_table();
    let [plain, contrasted, difference, lines] =
        ["plain", "contrasted", "difference", "lines"].map(right_cell);
    table.set_header([Cell::new("  metric"), plain, contrasted, difference, lines]);
    for metric in METRICS {
        add_compared(&mut table, metric.title(), summary.metrics.get(metric.name()));
    }
    add_compared(&mut table, "present, but called absent", summary.present_called_absent.as_ref());
    add_compared(&mut table, "absent, and called absent", summary.absent_called_absent.as_ref());
    format!("\n{method}, layer {layer}, strength {strength}, {} of rivals\n{table}\n", setting.aggregate)
}

fn add_compared(table: &mut Table, title: &str, compared: Option<&Compared>) {
    let Some(compared) = compared else { return };
    let (plain, contrasted) = (&compared.means.plain, &compared.means.contrasted);
    table.add_row([
        Cell::new(format!("  {title}")),
        right_cell(&estimate(plain)),
        right_cell(&estimate(contrasted)),
        right_cell(&signed_estimate(&compared.difference)),
        right_cell(&compared.lines.to_string()),
    ]);
}

fn estimate(estimate: &Estimate) -> String {
    let Estimate { mean, low, high } = estimate;
    format!("{mean:.3} [{low:.3}, {high:.3}]")
}

fn signed_estimate(estimate: &Estimate) -> String {
    let Estimate { mean, low, high } = estimate;
    format!("{mean:+.3} [{low:+.3}, {high:+.3}]")
}

fn bare_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn right_cell(text: &str) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn score_table() -> Table {
    let mut table = bare_table();
    let [similarity, logit, softmax] = ["similarity", "logit", "softmax"].map(right_cell);
    table.set_header([Cell::new("  prompt"), similarity, logit, softmax]);
    table
}

fn score_row(score: &Score, before: &str) -> [Cell; 4] {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    [
        Cell::new(format!("  {before}{}", score.prompt)),
        right(format!("{:.4}", score.similarity)),
        right(format!("{:.2}", score.logit)),
        right(format!("{:.1} %", score.probability * 100.0)),
    ]
}

fn evidence_line(evidence: &Evidence, place: &Place) -> String {
    let sums = format!("   evidence {:+.2} and {:+.2} logits", evidence.positive, evidence.negative);
    let Some(peak) = place.peak else {
        return format!("{sums}; no positive evidence, so the overlay is blank\n");
    };
    let region = place.regions.first().map(|region| {
        let (width, height, share) = (region.width, region.height, region.share * 100.0);
        format!("; {share:.0} % of it within {width} x {height} at {}, {}", region.x, region.y)
    });
    format!("{sums}, peak at {}, {}{}\n", peak.x, peak.y, region.unwrap_or_default())
}

fn file_lines(files: &BTreeMap<String, PathBuf>) -> String {
    files.values().map(|path| format!("   {}\n", shown(path))).collect()
}

/// A path as it can be shown: control characters could redraw the terminal.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
