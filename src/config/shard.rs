//! A part of the work on one store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Part `index` of `of` parts, counted from 1: each turn belongs to exactly one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: u32,
    of: u32,
}

/// Most parts.
const PARTS_MAX: u32 = 1024;

impl Shard {
    /// Whether the turn with this id belongs to this part. The low bits of an id are random.
    pub const fn holds(self, turn: u128) -> bool {
        turn % self.of as u128 == (self.index - 1) as u128
    }
}

impl FromStr for Shard {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = || {
            let (index, of) = text.split_once('/')?;
            Some((index.parse().ok()?, of.parse().ok()?))
        };
        match numbers() {
            Some((index, of)) if (1..=of).contains(&index) && of <= PARTS_MAX => {
                Ok(Self { index, of })
            }
            _ => Err(ConfigError {
                key: "shard",
                got: text.to_owned(),
                expected: "a part and the number of parts, such as 1/4",
            }),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_belongs_to_one_part() {
        let parts: Vec<Shard> = (1..=4).map(|at| format!("{at}/4").parse().unwrap()).collect();
        for turn in (0..1_000).map(|at| at * 7919) {
            assert_eq!(parts.iter().filter(|part| part.holds(turn)).count(), 1);
        }
        for text in ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "1/2000", "a/b"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        assert_eq!(String::from("2/3".parse::<Shard>().unwrap()), "2/3");
    }
}
