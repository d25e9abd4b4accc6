//! A summary as a page of Markdown: one table for each metric, a line for each setting.

use std::fmt::Write;

use super::{Compared, Estimate, Metric, Setting, SettingSummary, Summary};

impl Summary {
    /// The summary as Markdown, ending in a line feed.
    pub fn markdown(&self) -> String {
        let mut page = String::new();
        // Writing to a text cannot fail.
        let _ = self.write_markdown(&mut page);
        page
    }

    fn write_markdown(&self, page: &mut String) -> std::fmt::Result {
        let Self { counts, plan, bootstrap, .. } = self;
        writeln!(page, "# {} on {}\n", cell(&plan.model), cell(&self.dataset.to_string_lossy()))?;
        writeln!(
            page,
            "{} images, {} lines: {} with the concept ({} of them with rivals), {} without.",
            counts.images, counts.lines, counts.present, counts.with_rivals, counts.absent
        )?;
        if !self.failed.is_empty() {
            writeln!(page, "{} images could not be measured; they are in no figure.", self.failed.len())?;
        }
        if let Some(accuracy) = &self.pair_accuracy {
            writeln!(page, "The prompt fits better than its rivals: {}.", estimate(accuracy))?;
        }
        writeln!(
            page,
            "In brackets: {:.0} % intervals, {} bootstrap rounds over the images. p: sign-flip permutation test of the \
             images' differences from the plain map, corrected by Holm for the settings of a table; in bold where it is \
             below 0.05.",
            bootstrap.coverage * 100.0,
            bootstrap.rounds
        )?;
        for metric in Metric::ALL.iter().copied() {
            let title = format!("{} ({} is better)", metric.title(), plan.better(metric).name());
            self.table(page, &title, &|setting| setting.metrics.get(metric.name()))?;
        }
        self.table(page, "present, but called absent", &|setting| setting.present_called_absent.as_ref())?;
        self.table(page, "absent, and called absent", &|setting| setting.absent_called_absent.as_ref())
    }

    /// Nothing where the measure was not taken.
    fn table(
        &self,
        page: &mut String,
        title: &str,
        of: &dyn Fn(&SettingSummary) -> Option<&Compared>,
    ) -> std::fmt::Result {
        let known = || self.settings.iter().filter_map(|setting| Some((&setting.setting, of(setting)?)));
        if known().next().is_none() {
            return Ok(());
        }
        writeln!(page, "\n## {title}\n")?;
        writeln!(
            page,
            "| method | layer | rivals | strength | plain | contrasted | difference | p | images |"
        )?;
        writeln!(page, "|---|--:|---|--:|--:|--:|--:|--:|--:|")?;
        for (setting, compared) in known() {
            writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                cell(&setting.method),
                setting.layer_text(),
                cell(&setting.aggregate),
                setting.strength,
                estimate(&compared.means.plain),
                estimate(&compared.means.contrasted),
                signed_estimate(compared),
                compared.p_holm.map_or("-".into(), p_value),
                compared.images
            )?;
        }
        Ok(())
    }
}

impl Setting {
    /// The layer, or the layers and how their maps became one.
    pub fn layer_text(&self) -> String {
        match self.layers_combine {
            Some(combination) => {
                let layers: Vec<String> = self.layers.iter().map(ToString::to_string).collect();
                format!("{} of {}", combination.name(), layers.join(", "))
            }
            None => self.layer.to_string(),
        }
    }
}

/// A mean with its interval.
fn estimate(estimate: &Estimate) -> String {
    let Estimate { mean, low, high } = estimate;
    format!("{mean:.3} [{low:.3}, {high:.3}]")
}

/// A difference: bold where chance alone hardly makes one.
fn signed_estimate(compared: &Compared) -> String {
    let Estimate { mean, low, high } = compared.difference;
    let text = format!("{mean:+.3} [{low:+.3}, {high:+.3}]");
    if compared.p_holm.is_some_and(|p| p < 0.05) { format!("**{text}**") } else { text }
}

/// A p value for people.
pub fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

/// A text as it can stand in a table or heading: what comes from outside makes no markup.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            _ if letter.is_control() => cell.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '&' => cell.extend(['\\', letter]),
            _ => cell.push(letter),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_makes_no_markup() {
        assert_eq!(cell("a|b\n<i>_c_"), "a\\|b \\<i\\>\\_c\\_");
    }

    #[test]
    fn small_p_values_are_not_shown_as_zero() {
        assert_eq!([0.0004, 0.0123, 1.0].map(p_value), ["< 0.001", "0.012", "1.000"]);
    }
}
