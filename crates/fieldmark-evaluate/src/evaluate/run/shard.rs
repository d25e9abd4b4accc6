//! One of several parts of a data set, which machines that know nothing of each other can measure.

use std::{fmt, str::FromStr};

use fieldmark_model::{
    as_text,
    error::{Error, Result},
};

/// Which of a data set's pictures are measured: those whose place, from 0, leaves the part's index when it is divided by
/// the number of parts. As text, and in JSON: `0/4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

as_text!(Shard);

impl Shard {
    /// A part of so many, counted from 0 or from 1: the last of the one is the first of the other, since schedulers number
    /// their tasks in both ways.
    ///
    /// # Errors
    /// [`Error::Option`] if there is no such part.
    pub fn new(index: usize, count: usize) -> Result<Self> {
        if count > 0 && index <= count {
            return Ok(Self { index: index % count, count });
        }
        Err(refused(&format!("{index}/{count}")))
    }

    /// Which part it is, from 0.
    pub fn index(self) -> usize {
        self.index
    }

    /// How many parts there are.
    pub fn count(self) -> usize {
        self.count
    }

    /// Whether it has the picture at this place.
    pub fn has(self, picture: usize) -> bool {
        picture % self.count == self.index
    }
}

fn refused(found: &str) -> Error {
    let expected = "expected a part and the number of parts, from 0/4 to 3/4 or from 1/4 to 4/4 for instance";
    Error::Option { option: "shard", reason: format!("{expected}, found {found}") }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = || {
            let (index, count) = text.split_once('/')?;
            Some((index.parse().ok()?, count.parse().ok()?))
        };
        let (index, count) = numbers().ok_or_else(|| refused(text))?;
        Self::new(index, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_belongs_to_one_part() {
        let parts = ["0/3", "1/3", "2/3"].map(|text| text.parse::<Shard>().unwrap());
        for picture in 0..10 {
            assert_eq!(parts.iter().filter(|part| part.has(picture)).count(), 1);
        }
        assert_eq!(serde_json::to_string(&parts[1]).unwrap(), "\"1/3\"");
        assert_eq!(serde_json::from_str::<Shard>("\"1/3\"").unwrap(), parts[1]);
        assert_eq!("3/3".parse::<Shard>().unwrap(), parts[0], "counted from 1");
        for wrong in ["4/3", "1", "/", "-1/3", "0/0", "a/b"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
