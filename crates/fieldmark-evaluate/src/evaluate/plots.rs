//! A summary as plots: every metric against the strength of the contrast, and the curves that metrics are made of; each
//! with the band of its intervals.
//!
//! Colours are those of Okabe and Ito, which people with any colour vision can distinguish, and lines are marked by shape as
//! well. All panels of a plot have the same axes, so that they can be compared.

use std::{ops::Range, sync::OnceLock};

use plotters::{
    coord::{Shift, cartesian::Cartesian2d, types::RangedCoordf64},
    drawing::DrawingAreaErrorKind,
    element::PathElement,
    prelude::{
        ChartBuilder, ChartContext, Circle, Color, Cross, DrawingArea, EmptyElement, IntoDrawingArea,
        IntoFont, LineSeries, Polygon, RGBColor, Rectangle, SVGBackend, Text, TriangleMarker, WHITE,
    },
    style::{FontStyle, TextStyle, register_font},
};

use super::{ComparedCurve, CurveKind, Estimate, Metric, Setting, SettingSummary, Summary};
use fieldmark_explain::render::FONT_FILE;
use fieldmark_model::error::{Error, Result};

/// A plot, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plot {
    /// A name for its file.
    pub name: String,
    /// The picture.
    pub svg: String,
}

/// All plots of a summary.
///
/// # Errors
/// If the font cannot be read.
pub fn plots(summary: &Summary) -> Result<Vec<Plot>> {
    let of_metrics = Metric::ALL.iter().filter_map(|metric| {
        let figure = against_strength(summary, *metric)?;
        Some((format!("strength-{}", metric.name()), figure))
    });
    let of_curves = summary.plan.curves().filter_map(|curve| {
        let figure = of_curve(summary, curve)?;
        Some((curve.name.to_owned(), figure))
    });
    let plot = |(name, figure): (String, Figure)| Ok(Plot { svg: figure.draw()?, name });
    of_metrics.chain(of_curves).map(plot).collect()
}

/// A metric over the strengths: a panel for each method, a line for each layer and objective. None where there is no
/// contrast.
fn against_strength(summary: &Summary, metric: Metric) -> Option<Figure> {
    let mut panels: Vec<Panel> = Vec::new();
    for found in summary.settings.iter().filter(|found| found.setting.strength > 0.0) {
        let Some(compared) = found.metrics.get(metric.name()) else { continue };
        let line = line_of(&mut panels, &found.setting.method, &line_name(summary, &found.setting));
        if line.points.is_empty() {
            line.points.push((0.0, compared.means.plain));
        }
        line.points.push((found.setting.strength, compared.means.contrasted));
    }
    for line in panels.iter_mut().flat_map(|panel| &mut panel.lines) {
        line.points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    (!panels.is_empty()).then(|| Figure {
        title: format!("{}: {} is better", metric.title(), summary.plan.better(metric).name()),
        notes: notes(summary),
        axes: ["strength of the contrast".into(), metric.title().into()],
        panels,
    })
}

/// A curve: a panel for each method and layer, a line for the plain map and each contrast.
fn of_curve(summary: &Summary, kind: &CurveKind) -> Option<Figure> {
    let mut panels: Vec<Panel> = Vec::new();
    for found in &summary.settings {
        let Some(curve) = found.curves.get(kind.name) else { continue };
        let SettingSummary { setting, .. } = found;
        let panel = format!("{}, layer {}", setting.method, setting.layer_text());
        let plain = line_of(&mut panels, &panel, "plain");
        if plain.points.is_empty() {
            plain.points = points(curve, &curve.means.plain);
        }
        if setting.strength > 0.0 {
            let contrast = format!("{}, strength {}", setting.aggregate, setting.strength);
            line_of(&mut panels, &panel, &contrast).points = points(curve, &curve.means.contrasted);
        }
    }
    (!panels.is_empty()).then(|| Figure {
        title: kind.title.into(),
        notes: notes(summary),
        axes: kind.axes.map(str::to_owned),
        panels,
    })
}

fn points(curve: &ComparedCurve, means: &[Estimate]) -> Vec<(f64, Estimate)> {
    curve.at.iter().copied().zip(means.iter().copied()).collect()
}

/// What distinguishes the lines of one method.
fn line_name(summary: &Summary, setting: &Setting) -> String {
    let several = summary.settings.iter().any(|other| other.setting.aggregate != setting.aggregate);
    let layer = format!("layer {}", setting.layer_text());
    if several { format!("{layer}, {}", setting.aggregate) } else { layer }
}

fn notes(summary: &Summary) -> String {
    let coverage = summary.bootstrap.coverage * 100.0;
    format!("{}, {} images; bands: {coverage:.0} % intervals", summary.plan.model, summary.counts.images)
}

/// The line of that name in the panel of that title; both are made where they are missing.
fn line_of<'p>(panels: &'p mut Vec<Panel>, title: &str, name: &str) -> &'p mut Line {
    let place = panels.iter().position(|panel| panel.title == title).unwrap_or_else(|| {
        panels.push(Panel { title: title.into(), lines: Vec::new() });
        panels.len() - 1
    });
    let lines = &mut panels[place].lines;
    let place = lines.iter().position(|line| line.name == name).unwrap_or_else(|| {
        lines.push(Line { name: name.into(), points: Vec::new() });
        lines.len() - 1
    });
    &mut lines[place]
}

struct Figure {
    title: String,
    notes: String,
    /// What the axes say.
    axes: [String; 2],
    panels: Vec<Panel>,
}

struct Panel {
    title: String,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    points: Vec<(f64, Estimate)>,
}

/// Okabe and Ito's colours, without the yellow, which is lost on white.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(60, 60, 60),
];
const INK: RGBColor = RGBColor(35, 35, 35);
const FAINT: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(226, 226, 226);

const FONT: &str = "sans-serif";
const PANEL: (u32, u32) = (360, 290);
const MARGIN: i32 = 18;
const LEGEND_LINE: i32 = 22;

/// A part of a picture that is drawn as SVG.
type Area<'s> = DrawingArea<SVGBackend<'s>, Shift>;
type DrawingResult<T = ()> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

impl Figure {
    fn draw(&self) -> Result<String> {
        let error = |reason: String| Error::Numeric { what: "plot", reason };
        font().map_err(|()| error("the font cannot be read".into()))?;
        let mut svg = String::new();
        self.draw_on(&mut svg).map_err(|cause| error(cause.to_string()))?;
        Ok(svg)
    }

    fn draw_on(&self, svg: &mut String) -> DrawingResult {
        let columns = self.panels.len().clamp(1, 3);
        let rows = self.panels.len().div_ceil(columns);
        let width = (PANEL.0 * columns as u32).max(480);
        let legend = self.legend(width as i32 - 2 * MARGIN);
        let head = 58 + legend.len() as i32 * LEGEND_LINE;
        let size = (width, head as u32 + PANEL.1 * rows as u32);
        let root = SVGBackend::with_string(svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        root.draw(&Text::new(self.title.clone(), (MARGIN, 14), text(17, INK)))?;
        root.draw(&Text::new(self.notes.clone(), (MARGIN, 38), text(12, FAINT)))?;
        for (row, entries) in legend.iter().enumerate() {
            let y = 68 + row as i32 * LEGEND_LINE;
            for (index, x) in entries {
                self.draw_entry(&root, *index, (MARGIN + x, y))?;
            }
        }
        let (_, body) = root.split_vertically(head);
        for (panel, area) in self.panels.iter().zip(body.split_evenly((rows, columns))) {
            self.draw_panel(panel, &area)?;
        }
        root.present()
    }

    /// The lines' names, each once: their place says their colour and shape.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for line in self.panels.iter().flat_map(|panel| &panel.lines) {
            if !names.contains(&line.name.as_str()) {
                names.push(&line.name);
            }
        }
        names
    }

    /// Where each name stands: row by row, its place among the names and its distance from the left.
    fn legend(&self, width: i32) -> Vec<Vec<(usize, i32)>> {
        let mut rows: Vec<Vec<(usize, i32)>> = vec![Vec::new()];
        let mut x = 0;
        for (index, name) in self.names().into_iter().enumerate() {
            let long = 34 + name.chars().count() as i32 * 7 + 18;
            if x > 0 && x + long > width {
                rows.push(Vec::new());
                x = 0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((index, x));
            }
            x += long;
        }
        rows
    }

    fn draw_entry(&self, root: &Area, index: usize, (x, y): (i32, i32)) -> DrawingResult {
        let colour = colour(index);
        root.draw(&PathElement::new(vec![(x, y), (x + 24, y)], colour.stroke_width(2)))?;
        match index % 4 {
            0 => root.draw(&Circle::new((x + 12, y), 4, colour.filled()))?,
            1 => root.draw(&TriangleMarker::new((x + 12, y), 5, colour.filled()))?,
            2 => root.draw(&Rectangle::new([(x + 9, y - 3), (x + 15, y + 3)], colour.filled()))?,
            _ => root.draw(&Cross::new((x + 12, y), 4, colour.stroke_width(2)))?,
        }
        let name = self.names().get(index).copied().unwrap_or_default().to_owned();
        root.draw(&Text::new(name, (x + 31, y - 5), text(12, INK)))
    }

    fn draw_panel(&self, panel: &Panel, area: &Area) -> DrawingResult {
        let [x, y] = self.ranges();
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .margin_right(18)
            .caption(&panel.title, text(13, INK))
            .x_label_area_size(42)
            .y_label_area_size(58)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(WHITE)
            .axis_style(FAINT)
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .label_style(text(11, INK))
            .axis_desc_style(text(12, INK))
            .x_desc(&self.axes[0])
            .y_desc(&self.axes[1])
            .draw()?;
        let names = self.names();
        let index = |line: &Line| names.iter().position(|name| *name == line.name).unwrap_or(0);
        // Lines lie upon all bands, so that none is dimmed.
        for line in &panel.lines {
            chart.draw_series([line.band(colour(index(line)))])?;
        }
        panel.lines.iter().try_for_each(|line| draw_line(&mut chart, line, index(line)))
    }

    /// What all panels show, with some room around.
    fn ranges(&self) -> [Range<f64>; 2] {
        let points = || self.panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
        let x = points().map(|(x, _)| *x);
        let y = points().flat_map(|(_, found)| [found.low, found.high]);
        [around(x), around(y)]
    }
}

impl Line {
    /// What lies between the ends of the intervals.
    fn band(&self, colour: RGBColor) -> Polygon<(f64, f64)> {
        let lower = self.points.iter().map(|(x, found)| (*x, found.low));
        let upper = self.points.iter().rev().map(|(x, found)| (*x, found.high));
        Polygon::new(lower.chain(upper).collect::<Vec<_>>(), colour.mix(0.16))
    }
}

/// A panel's coordinates.
type Plane = Cartesian2d<RangedCoordf64, RangedCoordf64>;

fn draw_line(chart: &mut ChartContext<SVGBackend<'_>, Plane>, line: &Line, index: usize) -> DrawingResult {
    let colour = colour(index);
    let means: Vec<_> = line.points.iter().map(|(x, found)| (*x, found.mean)).collect();
    chart.draw_series(LineSeries::new(means.clone(), colour.stroke_width(2)))?;
    let means = means.into_iter();
    let square = |at| EmptyElement::at(at) + Rectangle::new([(-3, -3), (3, 3)], colour.filled());
    match index % 4 {
        0 => chart.draw_series(means.map(|at| Circle::new(at, 3, colour.filled()))).map(drop),
        1 => chart.draw_series(means.map(|at| TriangleMarker::new(at, 4, colour.filled()))).map(drop),
        2 => chart.draw_series(means.map(square)).map(drop),
        _ => chart.draw_series(means.map(|at| Cross::new(at, 3, colour.stroke_width(2)))).map(drop),
    }
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

fn text(size: u32, colour: RGBColor) -> TextStyle<'static> {
    let mut style = TextStyle::from((FONT, size).into_font());
    style.color = colour.to_backend_color();
    style
}

/// The font by which room is measured. Viewers show the same text in a font of their own.
fn font() -> Result<(), ()> {
    static FOUND: OnceLock<Result<(), ()>> = OnceLock::new();
    *FOUND.get_or_init(|| register_font(FONT, FontStyle::Normal, FONT_FILE).map_err(drop))
}

/// The range of some numbers and a twentieth of it on either side; never empty.
fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    match high - low {
        room if room > 0.0 => low - room / 20.0..high + room / 20.0,
        _ if low.is_finite() => low - 0.5..low + 0.5,
        _ => 0.0..1.0,
    }
}

/// A number at an axis, without digits that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".into() } else { short.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_never_empty() {
        assert_eq!(around([1.0, 3.0].into_iter()), 0.9..3.1);
        assert_eq!(around([2.0].into_iter()), 1.5..2.5);
        assert_eq!(around(std::iter::empty()), 0.0..1.0);
    }

    #[test]
    fn axes_show_no_empty_digits() {
        let shown = [0.25, 1.0, -0.0, 0.0004, 100.0].map(number);
        assert_eq!(shown, ["0.25", "1", "0", "0", "100"]);
    }

    #[test]
    fn a_figure_shows_its_lines_and_escapes_its_texts() -> Result<()> {
        let point = |x: f64, mean: f64| (x, Estimate { mean, low: mean - 0.1, high: mean + 0.1 });
        let line = |name: &str| Line { name: name.into(), points: vec![point(0.0, 0.4), point(0.6, 0.5)] };
        let panel = |title: &str| Panel { title: title.into(), lines: vec![line("plain"), line("mean")] };
        let figure = Figure {
            title: "pointing game".into(),
            notes: "model <b> & more".into(),
            axes: ["strength".into(), "share".into()],
            panels: vec![panel("grad-cam"), panel("hires-cam")],
        };
        let svg = figure.draw()?;
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!((svg.matches("grad-cam").count(), svg.matches("<polygon").count() >= 4), (1, true));
        assert!(svg.contains("&lt;b&gt; &amp; more") && !svg.contains("<b>"));
        assert_eq!(svg, figure.draw()?);
        Ok(())
    }
}
