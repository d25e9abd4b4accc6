//! Standard output: the only place that writes there. A result is a line of JSON or a block for people, both made
//! of the same record.

mod methods;
mod overview;

pub use fieldmark::files::shown;
pub use methods::{methods, methods_comparison};

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, Result};
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use fieldmark::{
    evaluate::{Compared, Estimate, Metric, SettingSummary, Summary, p_value},
    model::config::ProbabilityKind,
    objective::references::{By, Chosen},
    regions::{Place, Region},
    report::{Comparison, Evidence, Localization, MapUnit, Pair, Score},
    run::Entry,
    verdict::Verdict,
};
use image::RgbImage;
use serde::Serialize;

use crate::{
    commands::prompts::{ListLine, TemplateLine},
    exit::is_broken_pipe,
    preview::{Protocol, Room},
};

/// Writes text, as [`bytes`].
pub fn write(text: &str) -> Result<()> {
    bytes(text.as_bytes())
}

/// Why nothing is printed any more, if that is so.
static ENDED: OnceLock<std::io::Error> = OnceLock::new();

/// Writes bytes as they are. If they cannot be written, these and all later ones are dropped, so that files which were
/// asked for are still finished; [`check`] reports it at the end.
#[expect(clippy::unnecessary_wraps, reason = "what prints can fail, as far as callers are concerned")]
pub fn bytes(bytes: &[u8]) -> Result<()> {
    if ENDED.get().is_none() {
        let mut out = std::io::stdout().lock();
        if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
            let _ = ENDED.set(error);
        }
    }
    Ok(())
}

/// An error if standard output could not be written, or its reader left: for work without other results.
pub fn check_printed() -> Result<()> {
    let Some(error) = ENDED.get() else { return Ok(()) };
    let error = std::io::Error::new(error.kind(), error.to_string());
    Err(error).context("standard output: cannot be written")
}

/// An error if standard output could not be written. That its reader left, as `head` does, is none.
pub fn check() -> Result<()> {
    check_printed().or_else(|error| if is_broken_pipe(&error) { Ok(()) } else { Err(error) })
}

/// Whether people see what is written.
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Shows a picture in the terminal.
pub fn picture(picture: &RgbImage, protocol: Protocol) -> Result<()> {
    let room = terminal_size::terminal_size()
        .map(|(columns, rows)| Room { columns: columns.0.into(), rows: rows.0.into() });
    bytes(&protocol.show(picture, room.unwrap_or_default()))?;
    write("\n")
}

/// One JSON object on one line.
pub fn json(record: &impl Serialize) -> Result<()> {
    write(&format!("{}\n", serde_json::to_string(record)?))
}

/// Text as it is, on lines of its own.
pub fn text(text: &str) -> Result<()> {
    write(&format!("{text}\n"))
}

/// One photo's answer.
pub fn localization(found: &Localization) -> Result<()> {
    let mut lines = vec![format!("{}: {}", shown_path(&found.image), found.evidence.verdict)];
    lines.extend(competitor_lines(found));
    lines.extend(evidence_lines(&found.evidence, &found.place, found.setup.unit));
    lines.extend(file_lines(&found.files));
    write_block(&lines)
}

/// One photo's answers at several strengths.
pub fn strengths(answers: &[Localization]) -> Result<()> {
    let Some(first) = answers.first() else { return Ok(()) };
    let mut table = bare_table();
    let [objective, positive, negative, peak] = ["objective", "for it", "against it", "peak"].map(right_cell);
    table.set_header([right_cell("strength"), objective, positive, negative, peak, Cell::new("verdict")]);
    for found in answers {
        let peak = found.place.peak.map_or("none".into(), |peak| format!("{}, {}", peak.x, peak.y));
        table.add_row([
            right_cell(&found.setup.strength.to_string()),
            right_cell(&format!("{:.2}", found.objective)),
            right_cell(&amount(found.evidence.positive)),
            right_cell(&amount(found.evidence.negative)),
            right_cell(&peak),
            Cell::new(found.evidence.verdict),
        ]);
    }
    let mut lines = vec![shown_path(&first.image)];
    lines.extend(competitor_lines(first));
    lines.extend(table_lines(&table));
    let files: BTreeSet<_> = answers.iter().flat_map(|found| file_lines(&found.files)).collect();
    lines.extend(files);
    write_block(&lines)
}

/// The scores of the target and its rivals, and what was passed over.
fn competitor_lines(found: &Localization) -> Vec<String> {
    let kind = found.probability_kind;
    let mut table = bare_table();
    let mut header = score_header(kind);
    header.extend(found.against.iter().any(|rival| rival.chosen.is_some()).then(|| Cell::new("chosen by")));
    table.set_header(header);
    table.add_row(score_row(&found.target, kind, ""));
    for rival in &found.against {
        let mut row = score_row(&rival.score, kind, "against ");
        row.extend(rival.chosen.map(|chosen| Cell::new(shown_choice(&chosen))));
        table.add_row(row);
    }
    let passed_over = found.passed_over.iter().map(|other| {
        let (prompt, similarity) = (shown(&other.prompt), other.similarity);
        format!("   passed over as a synonym: {prompt} (text {similarity:.3})")
    });
    table_lines(&table).into_iter().chain(passed_over).collect()
}

fn shown_choice(chosen: &Chosen) -> String {
    let Chosen { by, similarity, rank } = chosen;
    match by {
        By::Text => format!("text {similarity:.3}, rank {rank}"),
        By::Image => format!("photo, rank {rank}, text {similarity:.3}"),
        by => format!("{by}, text {similarity:.3}"),
    }
}

/// The prompts on one photo, the best first, and what there is to say of those with a map.
pub fn comparison(compared: &Comparison) -> Result<()> {
    let kind = compared.probability_kind;
    let mut table = bare_table();
    let header = std::iter::once(right_cell("rank")).chain(score_header(kind));
    table.set_header(header);
    for ranked in &compared.ranking {
        let rank = right_cell(&ranked.rank.to_string());
        table.add_row(std::iter::once(rank).chain(score_row(&ranked.score, kind, "")));
    }
    let mut lines = vec![shown_path(&compared.image)];
    lines.extend(table_lines(&table));
    for prompt in &compared.prompts {
        lines.push(format!("   {}: {}", shown(&prompt.score.prompt), prompt.evidence.verdict));
        let details = evidence_lines(&prompt.evidence, &prompt.place, compared.setup.unit).into_iter();
        lines.extend(details.chain(file_lines(&prompt.files)).map(|line| format!("   {line}")));
    }
    lines.extend(pair_lines(&compared.matrix));
    lines.extend(file_lines(&compared.files));
    write_block(&lines)
}

/// How often each prompt was found in a run's photos, and where the results are.
pub fn batch(prompts: &[String], entries: &[Entry], page: &Path) -> Result<()> {
    let mut table = bare_table();
    let answers = || entries.iter().flat_map(|entry| &entry.result.prompts);
    let has_unknown = answers().any(|answer| answer.verdict == Verdict::Unknown);
    let verdicts: Vec<Verdict> =
        Verdict::ALL.iter().copied().filter(|verdict| has_unknown || *verdict != Verdict::Unknown).collect();
    let head = verdicts.iter().map(|verdict| right_cell(&verdict.to_string()));
    table.set_header(std::iter::once(Cell::new("prompt")).chain(head));
    for (index, prompt) in prompts.iter().enumerate() {
        let found = |verdict: Verdict| {
            let answers = entries.iter().filter_map(|entry| entry.result.prompts.get(index));
            right_cell(&answers.filter(|answer| answer.verdict == verdict).count().to_string())
        };
        table.add_row(std::iter::once(Cell::new(shown(prompt))).chain(verdicts.iter().copied().map(found)));
    }
    let mut lines = vec![format!("{} photos", entries.len())];
    lines.extend(table_lines(&table));
    lines.push(format!("   {}", shown_path(page)));
    write_block(&lines)
}

/// The difference between every two prompts: one line per pair, the better-fitting prompt first.
fn pair_lines(pairs: &[Pair]) -> Vec<String> {
    if pairs.is_empty() {
        return Vec::new();
    }
    let mut table = bare_table();
    let [difference, positive, peak] = ["by logits", "evidence", "peak"].map(right_cell);
    table.set_header([Cell::new("prompt"), Cell::new("against"), difference, positive, peak]);
    for pair in pairs.iter().filter(|pair| pair.difference > 0.0) {
        let peak = pair.peak.map_or("none".into(), |peak| format!("{}, {}", peak.x, peak.y));
        table.add_row([
            Cell::new(shown(&pair.prompt)),
            Cell::new(shown(&pair.against)),
            right_cell(&format!("{:+.2}", pair.difference)),
            right_cell(&format!("{:+.2}", pair.positive)),
            right_cell(&peak),
        ]);
    }
    table_lines(&table)
}

/// The lists of concepts and the templates that ship.
pub fn prompts(lists: &[ListLine], sets: &[TemplateLine]) -> Result<()> {
    let mut table = bare_table();
    let [count, groups] = ["concepts", "groups"].map(right_cell);
    table.set_header([Cell::new("list"), count, groups, Cell::new("about"), Cell::new("example")]);
    for list in lists {
        table.add_row([
            Cell::new(list.list),
            right_cell(&list.count.to_string()),
            right_cell(&list.groups.to_string()),
            Cell::new(list.about.unwrap_or_default()),
            Cell::new(&list.example),
        ]);
    }
    // Names and numbers stay whole in a narrow window; sentences are broken.
    for column in table.column_iter_mut().take(3) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    let mut templates = bare_table();
    templates.set_header([
        Cell::new("templates"),
        right_cell("texts"),
        Cell::new("about"),
        Cell::new("the first"),
    ]);
    for set in sets {
        templates.add_row([
            Cell::new(set.template),
            right_cell(&set.count.to_string()),
            Cell::new(set.about),
            Cell::new(set.texts.first().copied().unwrap_or_default()),
        ]);
    }
    let use_them =
        "use them with --concepts LIST and --template TEMPLATES; `fieldmark prompts NAME` shows one";
    let blocks =
        [table_lines(&table).join("\n"), table_lines(&templates).join("\n"), format!("  {use_them}")];
    text(&blocks.join("\n\n"))
}

/// A checkpoint's files, after a download.
pub fn downloaded(model: &str, directory: &Path, files: usize, bytes: u64) -> Result<()> {
    let size = crate::terminal::bytes(bytes);
    write(&format!("{model}: {files} files, {size}\n  {}\n", shown_path(directory)))
}

/// A data set's figures.
pub fn evaluation(summary: &Summary) -> Result<()> {
    let counts = &summary.counts;
    let data_set = shown_path(&summary.dataset);
    let mut text = format!("{data_set}: {} images, {} lines", counts.images, counts.lines);
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
    text.push_str(&overview::overview(summary));
    let (coverage, rounds) = (summary.bootstrap.coverage * 100.0, summary.bootstrap.rounds);
    text.push_str(&format!(
        "\nin brackets: {coverage:.0} % intervals, {rounds} bootstrap rounds over the images; p: sign-flip test of the \
         images' differences, corrected for the settings that are compared\n"
    ));
    write(&text)
}

fn setting_block(summary: &SettingSummary) -> String {
    let setting = &summary.setting;
    let (method, strength) = (&setting.method, setting.strength);
    let layer = setting.layer_text();
    let mut table = bare_table();
    let [plain, contrasted, difference, p, lines] =
        ["plain", "contrasted", "difference", "p", "lines"].map(right_cell);
    table.set_header([Cell::new("metric"), plain, contrasted, difference, p, lines]);
    for metric in Metric::ALL.iter().copied() {
        add_compared(&mut table, metric.title(), summary.metrics.get(metric.name()));
    }
    add_compared(&mut table, "present, but called absent", summary.present_called_absent.as_ref());
    add_compared(&mut table, "absent, and called absent", summary.absent_called_absent.as_ref());
    let lines = table_lines(&table).join("\n");
    format!("\n{method}, layer {layer}, strength {strength}, {} of rivals\n{lines}\n", setting.aggregate)
}

fn add_compared(table: &mut Table, title: &str, compared: Option<&Compared>) {
    let Some(compared) = compared else { return };
    let (plain, contrasted) = (&compared.means.plain, &compared.means.contrasted);
    table.add_row([
        Cell::new(title),
        right_cell(&estimate(plain)),
        right_cell(&estimate(contrasted)),
        right_cell(&signed_estimate(&compared.difference)),
        right_cell(&compared.p_holm.map_or("-".into(), p_value)),
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
    // Long prompts are wrapped at the terminal's width, less the indentation.
    if let Some(width) = table.width() {
        table.set_width(width.saturating_sub(2));
    }
    table
}

fn right_cell(text: &str) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn score_header(kind: ProbabilityKind) -> Vec<Cell> {
    let [similarity, logit, probability] = ["similarity", "logit", kind.name()].map(right_cell);
    vec![Cell::new("prompt"), similarity, logit, probability]
}

fn score_row(score: &Score, kind: ProbabilityKind, before: &str) -> Vec<Cell> {
    vec![
        Cell::new(format!("{before}{}", shown(&score.prompt))),
        right_cell(&format!("{:.4}", score.similarity)),
        right_cell(&format!("{:.2}", score.logit)),
        right_cell(&score.percent(kind)),
    ]
}

fn evidence_lines(evidence: &Evidence, place: &Place, unit: MapUnit) -> Vec<String> {
    let unit = match unit {
        MapUnit::None => String::new(),
        unit => format!(" {}", unit.words()),
    };
    let Evidence { positive, negative, .. } = evidence;
    let sums = format!("   evidence {}{unit} for it, {} against it", amount(*positive), amount(*negative));
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

/// A number with its sign: two digits behind the point, or more where it is small.
fn amount(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || size >= 0.01 => format!("{value:+.2}"),
        _ => format!("{value:+.1e}"),
    }
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

pub fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy())
}
