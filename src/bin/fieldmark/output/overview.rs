//! The settings of an evaluation side by side, and which of them is the best by each metric.

use comfy_table::Cell;
use fieldmark::evaluate::{Group, Metric, SettingSummary, Sides, Summary};

use super::{bare_table, right_cell, table_lines};

/// One line a setting; nothing where there is one setting.
pub fn overview(summary: &Summary) -> String {
    let settings = &summary.settings;
    if settings.len() < 2 {
        return String::new();
    }
    let measured = |metric: &Metric| settings.iter().any(|setting| means(setting, *metric).is_some());
    let metrics: Vec<Metric> = Metric::ALL.iter().copied().filter(measured).collect();
    let mut table = bare_table();
    let titles = metrics.iter().map(|metric| right_cell(metric.title()));
    table.set_header(std::iter::once(Cell::new("plain, contrasted")).chain(titles));
    for setting in settings {
        let cells = metrics.iter().map(|metric| {
            let means = means(setting, *metric);
            right_cell(
                &means
                    .map_or("-".into(), |Sides { plain, contrasted }| format!("{plain:.3}, {contrasted:.3}")),
            )
        });
        table.add_row(std::iter::once(Cell::new(name(setting))).chain(cells));
    }
    let mut lines = table_lines(&table);
    lines.push(String::new());
    // Sanity is no contest: a map may have as little to do with another one as any.
    for metric in metrics.into_iter().filter(|metric| metric.group() != Group::Sanity) {
        let better = summary.plan.better(metric);
        let best = |side: fn(Sides<f64>) -> f64| {
            let values = settings.iter().filter_map(|setting| Some((setting, side(means(setting, metric)?))));
            // Of equal ones the first, which is the simpler method.
            let best =
                values.reduce(|best, other| if better.prefers(other.1, best.1) { other } else { best });
            best.map_or("-".into(), |(setting, value)| format!("{} {value:.3}", name(setting)))
        };
        let (plain, contrasted) = (best(|sides| sides.plain), best(|sides| sides.contrasted));
        lines.push(format!("  best by {}: plain {plain}; contrasted {contrasted}", metric.title()));
    }
    format!("\n{}\n", lines.join("\n"))
}

fn means(setting: &SettingSummary, metric: Metric) -> Option<Sides<f64>> {
    let means = &setting.metrics.get(metric.name())?.means;
    Some(Sides { plain: means.plain.mean, contrasted: means.contrasted.mean })
}

fn name(summary: &SettingSummary) -> String {
    let setting = &summary.setting;
    format!("{}, {}, {} {}", setting.method, setting.layer_text(), setting.aggregate, setting.strength)
}
