//! What is known of checkpoints becomes text for people, in 80 columns.

use fieldmark::model::{
    catalogue::Listed,
    inspect::{Blocks, Contents, Inspection},
};

use crate::{
    output::{shown, shown_path},
    terminal::bytes,
};

/// The column at which the values begin.
const INDENT: usize = 11;
/// Names of tensors that are listed; there may be hundreds.
const MOST_NAMES: usize = 8;

/// The checkpoints that are known to work, and those in the cache.
pub fn catalogue(listed: &[Listed]) -> String {
    let mut lines = vec![row(["checkpoint", "params", "input", "grid", "licence"], ' ')];
    let mut family = None;
    for checkpoint in listed {
        if family != Some(&checkpoint.family) {
            family = Some(&checkpoint.family);
            let title = match &checkpoint.family {
                Some(name) => format!("{name}: {}", checkpoint.purpose),
                None => "In the cache, but not in the catalogue".into(),
            };
            lines.extend([String::new(), title]);
        }
        lines.push(entry(checkpoint));
    }
    let cached: u64 = listed.iter().map(|checkpoint| checkpoint.cached_bytes).sum();
    lines.push(format!("\n* is ready to use; the cache has {} of these.", bytes(cached)));
    lines.push("A checkpoint without a licence here states it on its page, or not at all.".into());
    lines.push("`fieldmark models NAME` describes one, `fieldmark download NAME` fetches it.".into());
    lines.join("\n") + "\n"
}

fn entry(listed: &Listed) -> String {
    let checkpoint = &listed.checkpoint;
    let grid = format!("{0}x{0}", listed.grid);
    let licence = checkpoint.licence.as_deref().unwrap_or_default();
    let (parameters, input) = (count(checkpoint.parameters), checkpoint.image_size.to_string());
    let mark = if listed.ready { '*' } else { ' ' };
    row([&shown(&checkpoint.id), &parameters, &input, &grid, licence], mark)
}

fn row([id, parameters, input, grid, licence]: [&str; 5], mark: char) -> String {
    let line = format!("{mark} {id:<43} {parameters:>7} {input:>5} {grid:>5}  {licence}");
    line.trim_end().to_owned()
}

/// What was understood of a checkpoint.
pub fn inspection(found: &Inspection) -> String {
    let mut text = Groups(String::new());
    text.0.push_str(&format!("{}\n", shown(&found.model)));
    let weights = &found.weights;
    let size = format!("{} parameters, {}", count(weights.parameters), bytes(weights.bytes));
    text.group("format", &[found.format.into(), size]);
    text.group("vision", &vision(found));
    text.group("text", &text_tower(found));
    text.group("classes", &classes(found));
    text.group("score", &score(found));
    text.group("photo", &photo(found));
    text.group("prompt", &prompt(found));
    text.group("weights", &tensors(weights));
    text.group("files", &files(found));
    text.0
}

/// Lines under a label.
struct Groups(String);

impl Groups {
    fn group(&mut self, label: &str, lines: &[String]) {
        for (index, line) in lines.iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            self.0.push_str(format!("  {label:<width$}{line}", width = INDENT - 2).trim_end());
            self.0.push('\n');
        }
    }
}

fn blocks(blocks: &Blocks) -> [String; 2] {
    let Blocks { layers, width, heads, mlp_width, activation, layer_norm_epsilon, parameters } = blocks;
    [
        format!(
            "{layers} layers, width {width}, {heads} heads, MLP {mlp_width}, {} parameters",
            count(*parameters)
        ),
        format!("{activation}, layer norm epsilon {layer_norm_epsilon:e}"),
    ]
}

fn vision(found: &Inspection) -> Vec<String> {
    let vision = &found.vision;
    let [rows, columns] = vision.grid;
    let (side, patch) = (vision.image_size, vision.patch);
    let mut lines = blocks(&vision.blocks).to_vec();
    lines.push(format!("{side} x {side} pixels, patches of {patch}: a grid of {rows} x {columns}"));
    lines.push(format!("pooling: {}", vision.pooling));
    lines
}

fn text_tower(found: &Inspection) -> Vec<String> {
    let Some(text) = &found.text else {
        return vec!["none: classes, photos and vectors can be asked".into()];
    };
    let mut lines = blocks(&text.blocks).to_vec();
    lines.push(format!("{} attention; pooling: {}", text.attention, text.pooling));
    lines
}

fn classes(found: &Inspection) -> Vec<String> {
    let Some(classes) = &found.classifier else { return Vec::new() };
    let mut names: Vec<String> = classes.first.iter().map(|name| shown(name).to_string()).collect();
    if classes.count > names.len() {
        names.push("...".into());
    }
    vec![format!("{} on the feature {}: {}", classes.count, classes.feature, names.join(", "))]
}

fn score(found: &Inspection) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or("unknown".to_owned(), |value| format!("{value:.2}"));
    let bias = match found.logit_bias {
        Some(0.0) => String::new(),
        bias => format!(" + ({})", number(bias)),
    };
    let scale = number(found.logit_scale);
    let mut lines = vec![
        format!("logit = {scale} x cosine of embeddings of {} numbers{bias}", found.embedding),
        format!("probability: {}", found.probability_kind.name()),
    ];
    lines.extend(
        found.recommended_method.iter().map(|method| format!("recommended method: {}", shown(method))),
    );
    lines
}

fn photo(found: &Inspection) -> Vec<String> {
    let pixels = &found.preprocess;
    let size: Vec<String> = pixels.size.iter().map(u32::to_string).collect();
    let size = size.join(" x ");
    let resize = match pixels.resize {
        "none" => "not resized".to_owned(),
        "both" => format!("squashed to {size}, {}", pixels.interpolation),
        side => format!("{side} side to {size}, {}", pixels.interpolation),
    };
    let crop = pixels.crop.map(|[width, height]| format!("; {width} x {height} from the middle"));
    let numbers = |values: [f32; 3]| values.map(|value| format!("{value:.4}")).join(" ");
    vec![
        format!("{resize}{}", crop.unwrap_or_default()),
        format!("mean {}, std {}", numbers(pixels.mean), numbers(pixels.std)),
    ]
}

fn prompt(found: &Inspection) -> Vec<String> {
    let Some(tokenizer) = &found.tokenizer else { return Vec::new() };
    let ids = |ids: &[u32]| match ids {
        [] => "none".to_owned(),
        ids => ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "),
    };
    let case = if tokenizer.lowercases { "lower-cased" } else { "case kept" };
    let pad = tokenizer.pad.map_or("not padded".to_owned(), |pad| format!("pad {pad}"));
    vec![
        format!("{}, {} tokens, {case}, context {}", tokenizer.kind, tokenizer.vocabulary, tokenizer.context),
        format!("start {}, end {}, {pad}", ids(&tokenizer.start), ids(&tokenizer.end)),
    ]
}

fn tensors(weights: &Contents) -> Vec<String> {
    let types: Vec<String> =
        weights.dtypes.iter().map(|(dtype, numbers)| format!("{} {dtype}", count(*numbers))).collect();
    let mut lines = vec![types.join(", ")];
    lines.extend(names("missing", &weights.missing));
    let misshapen: Vec<String> = weights
        .misshapen
        .iter()
        .map(|(name, expected, found)| format!("{name}: expected {expected:?}, found {found:?}"))
        .collect();
    lines.extend(names("of another shape", &misshapen));
    lines.extend(names("unused", &weights.unused));
    if lines.len() == 1 {
        lines.push("nothing missing, nothing unused".into());
    }
    lines.extend(weights.hint.iter().map(|hint| shown(hint)));
    lines.extend(names("beside the model, not used", &weights.extra));
    if !weights.prefix.is_empty() {
        lines.push(format!("names begin with {}", shown(&weights.prefix)));
    }
    lines.extend(names("ignored", &weights.ignored));
    lines
}

/// A heading and the first of these names.
fn names(heading: &str, names: &[String]) -> Vec<String> {
    if names.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("{heading}: {}", names.len())];
    lines.extend(names.iter().take(MOST_NAMES).map(|name| format!("  {}", shown(name))));
    if names.len() > MOST_NAMES {
        lines.push(format!("  and {} more (--json has all)", names.len() - MOST_NAMES));
    }
    lines
}

fn files(found: &Inspection) -> Vec<String> {
    let Some(directory) = &found.directory else { return vec!["part of the program".into()] };
    let mut lines = vec![shown_path(directory)];
    lines.extend(found.commit.iter().map(|commit| format!("commit {}", shown(commit))));
    let widest = found.files.iter().map(|file| file.name.chars().count()).max().unwrap_or(0);
    let line = |name: &str, size: u64| format!("  {name:<widest$}  {:>10}", bytes(size));
    lines.extend(found.files.iter().map(|file| line(&shown(&file.name), file.bytes)));
    lines
}

/// A large number for people: `150 M`.
fn count(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{:.0} k", number as f64 / 1e3),
        1_000_000..10_000_000 => format!("{:.1} M", number as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0} M", number as f64 / 1e6),
        _ => format!("{:.2} G", number as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_or_fewer() {
        let cases = [(7, "7"), (1_365_505, "1.4 M"), (149_620_737, "150 M"), (2_539_567_105, "2.54 G")];
        for (number, expected) in cases {
            assert_eq!(count(number), expected);
        }
    }

    #[test]
    fn long_lists_of_names_are_cut() {
        let many: Vec<String> = (0..10).map(|index| format!("t{index}")).collect();
        let lines = names("missing", &many);
        assert_eq!((lines.len(), lines[0].as_str()), (10, "missing: 10"));
        assert_eq!(lines[9], "  and 2 more (--json has all)");
        assert!(names("missing", &[]).is_empty());
    }
}
