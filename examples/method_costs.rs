//! What each method costs: `cargo run --release --example method_costs -- MODEL [PHOTO] [ROUNDS]`.
//!
//! The time from the decoded photo to one map (tower and method, without text, decoding and drawing), the median of
//! several rounds in which all methods take turns, so that a machine's other work hits them alike. A method that takes
//! longer than ten times the first runs once.

#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use fieldmark::{Explainer, Photo, Query, Result, Settings, attribution::METHODS, geometry::Fit};

/// Methods that take so many times the first one's time run once.
const SLOW: f64 = 10.0;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().unwrap_or_else(|| "miniature".into());
    let photo = arguments.next().unwrap_or_else(|| "examples/images/red-winged-blackbird.png".into());
    let rounds: usize = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(9);
    let (explainer, photo) = (Explainer::load(&model)?, Photo::open(photo)?);
    let measure = |method: &str| -> Result<f64> {
        let settings = Settings::default().method(Some(method.into())).fit(Fit::Squash);
        let query = Query::new("red-winged blackbird shoulder").with(settings);
        let seconds = explainer.localize(&photo, &query)?.report.seconds;
        Ok(seconds.trunk + seconds.head)
    };
    // The first pass is slower: it opens the text tower and touches the weights for the first time.
    measure(METHODS[0].name())?;
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); METHODS.len()];
    for _ in 0..rounds.max(1) {
        for (index, method) in METHODS.iter().enumerate() {
            let first = times[0].first().copied().unwrap_or(f64::INFINITY);
            if times[index].first().is_none_or(|time| *time < SLOW * first) {
                times[index].push(measure(method.name())?);
            }
        }
    }
    let unit = median(&mut times[0]);
    println!("{model}, {} rounds; {} takes {:.0} ms", rounds, METHODS[0].name(), unit * 1000.0);
    for (method, times) in METHODS.iter().zip(&mut times) {
        let (runs, time) = (times.len(), median(times));
        println!("{:22} {:8.2} times, {:9.1} ms, {runs} runs", method.name(), time / unit, time * 1000.0);
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
