//! The list of methods, and several methods' answers, for people.

use anyhow::Result;
use comfy_table::Cell;
use fieldmark::{
    attribution::{Facts, Method, Unit},
    report::{Compared, Comparison},
};

use super::{
    bare_table, file_lines, right_cell, score_header, score_row, shown, shown_path, table_lines, write_block,
};

/// Several prompts on one photo, by several methods.
pub fn methods_comparison(all: &[Comparison]) -> Result<()> {
    let Some(first) = all.first() else { return Ok(()) };
    let mut scores = bare_table();
    scores.set_header(score_header(first.probability_kind));
    for prompt in &first.prompts {
        scores.add_row(score_row(&prompt.score, first.probability_kind, ""));
    }
    let mut peaks = bare_table();
    let titles =
        first.prompts.iter().map(|prompt| right_cell(&format!("peak: {}", shown(&prompt.score.prompt))));
    peaks.set_header(std::iter::once(Cell::new("method")).chain(titles));
    for compared in all {
        let peak = |prompt: &Compared| match prompt.place.peak {
            Some(peak) => right_cell(&format!("{}, {}", peak.x, peak.y)),
            None => right_cell("none"),
        };
        let name = Cell::new(&compared.setup.method);
        peaks.add_row(std::iter::once(name).chain(compared.prompts.iter().map(peak)));
    }
    let mut lines = vec![shown_path(&first.image)];
    lines.extend(table_lines(&scores));
    lines.push(String::new());
    lines.extend(table_lines(&peaks));
    lines.extend(file_lines(&first.files));
    write_block(&lines)
}

/// What each method shows, what it costs, and who describes it.
pub fn methods(methods: &[&dyn Method]) -> Result<()> {
    let mut table = bare_table();
    table.set_width(table.width().unwrap_or(WIDEST_TABLE).min(WIDEST_TABLE));
    let mut sources = bare_table();
    sources.set_width(WIDEST_TABLE).set_header(["method", "source"]);
    table.set_header(["method", "cost", "sign", "linear", "unit", "shows"]);
    for method in methods {
        let Facts { measures, unit, signed, linear, cost, paper, .. } = method.facts();
        sources.add_row([method.name(), paper]);
        table.add_row([
            Cell::new(method.name()),
            right_cell(&cost.map_or("-".into(), times)),
            Cell::new(if signed { "±" } else { "+" }),
            Cell::new(if linear { "yes" } else { "no" }),
            Cell::new(match unit {
                Unit::Objective => "logits",
                Unit::Activations => "activ.",
                Unit::None => "none",
            }),
            Cell::new(measures),
        ]);
    }
    let mut lines = table_lines(&table);
    lines.push(String::new());
    lines.extend(METHODS_KEY.lines().map(|line| format!("   {line}")));
    lines.push(String::new());
    lines.extend(table_lines(&sources));
    write_block(&lines)
}

/// People read no lines of more than 100 characters, of which some are the indentation.
const WIDEST_TABLE: u16 = 96;

const METHODS_KEY: &str = "\
cost    time from decoded photo to map, grad-cam's being 1 (one prompt, ViT-B/16, a processor)
sign    ±: below 0 is evidence against, or the other side of an average; +: never below 0
linear  a contrast's map is the same contrast of plain maps: strengths can be changed afterwards
unit    what values count; logits become probability with --aggregate softmax";

/// A multiple: two digits.
fn times(factor: f64) -> String {
    match factor {
        factor if factor >= 10.0 => format!("{factor:.0}"),
        factor => format!("{factor:.1}"),
    }
}
