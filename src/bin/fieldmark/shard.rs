//! `--shard I/N`: one of several parts of a data set, which machines that know nothing of each other can measure.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Which of a data set's pictures are measured: those whose place, from 0, leaves this remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    pub index: usize,
    pub count: usize,
}

impl Shard {
    /// Whether it has the picture at this place.
    pub fn has(self, picture: usize) -> bool {
        picture % self.count == self.index
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            let (index, count): (usize, usize) = (index.parse().ok()?, count.parse().ok()?);
            // Schedulers number their tasks from 0 or from 1; the last of the one is the first of the other.
            (count > 0 && index <= count).then(|| Self { index: index % count, count })
        });
        let expected =
            "expected a part and the number of parts, from 0/4 to 3/4 or from 1/4 to 4/4 for instance";
        numbers.ok_or_else(|| format!("{expected}, found {text}"))
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
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
        assert_eq!(parts[1].to_string(), "1/3");
        assert_eq!("3/3".parse::<Shard>().unwrap(), parts[0], "counted from 1");
        for wrong in ["4/3", "1", "/", "-1/3", "0/0", "a/b"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
