//! `--faithfulness`: a paper's settings, and single ones in their place.

use std::str::FromStr;

use fieldmark::{Error, evaluate::faithfulness::Faithfulness};

/// Settings of faithfulness, such as `rise`, `rise,fill=black` or `fill=blur,step=0.1`.
#[derive(Clone, Debug, PartialEq)]
pub struct FaithfulnessArg(Faithfulness);

impl FaithfulnessArg {
    pub fn into_inner(self) -> Faithfulness {
        self.0
    }
}

impl FromStr for FaithfulnessArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.split(',').map(str::trim).peekable();
        let mut settings = match parts.next_if(|part| !part.contains('=')) {
            Some(preset) => Faithfulness::preset(preset)?,
            None => Faithfulness::default(),
        };
        parts.try_for_each(|part| set(&mut settings, part))?;
        Ok(Self(settings))
    }
}

/// Sets what `name=value` names.
fn set(settings: &mut Faithfulness, part: &str) -> Result<(), Error> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    match name {
        "fill" => settings.fill = value.parse()?,
        "insertion-fill" => settings.insertion_fill = value.parse()?,
        "order" => settings.order = value.parse()?,
        "step" => settings.step = share("step", value)?,
        "until" => settings.until = share("until", value)?,
        "score" => settings.score = value.parse()?,
        "space" => settings.space = value.parse()?,
        _ => {
            let names = "fill, insertion-fill, order, step, until, score or space";
            let reason = format!("expected settings such as fill=black, of {names}, found {part:?}");
            return Err(Error::Option { option: "faithfulness", reason });
        }
    }
    Ok(())
}

fn share(option: &'static str, value: &str) -> Result<f64, Error> {
    value.parse().map_err(|_| Error::Option { option, reason: format!("expected a share, found {value:?}") })
}

#[cfg(test)]
mod tests {
    use fieldmark::evaluate::faithfulness::{Fill, PRESETS};

    use super::*;

    fn read(text: &str) -> Result<Faithfulness, String> {
        text.parse().map(FaithfulnessArg::into_inner).map_err(|error: Error| error.to_string())
    }

    #[test]
    fn settings_take_the_place_of_a_presets() {
        for preset in PRESETS {
            assert_eq!(read(preset.name), Ok(Faithfulness::preset(preset.name).unwrap()));
        }
        let rise = Faithfulness::preset("rise").unwrap();
        assert_eq!(read("rise,fill=black"), Ok(rise.fill(Fill::Black)));
        let expected = Faithfulness::default().step(0.1).until(0.5);
        assert_eq!(read("step=0.1, until=0.5"), Ok(expected));
    }

    #[test]
    fn what_is_unknown_is_named() {
        for (text, part) in [
            ("", "expected one of torch-cam"),
            ("rice", "found \"rice\""),
            ("rise,black", "found \"black\""),
            ("rise,colour=red", "found \"colour=red\""),
            ("rise,fill=white", "mean, black, blur or noise"),
            ("rise,step=few", "step: expected a share, found \"few\""),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
