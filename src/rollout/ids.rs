//! Names of things: turns and weights versions.

use std::fmt;
use std::str::FromStr;

/// The identity of one answered request: a UUIDv7, so that ids sort by the time they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TurnId(pub u128);

/// A text that is no turn id, nor a reply's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a turn id (expected a UUID)")]
pub struct InvalidTurnId(pub String);

impl TurnId {
    /// The turn of a reply, by the id that the reply had on the wire (`chatcmpl-…`, `msg_…`), or by
    /// the turn's own id.
    ///
    /// # Errors
    /// A text that is neither.
    pub fn of_reply(id: &str) -> Result<Self, InvalidTurnId> {
        let known = ["chatcmpl-", "msg_"].iter().find_map(|prefix| id.trim().strip_prefix(prefix));
        known.unwrap_or(id.trim()).parse().map_err(|_| InvalidTurnId(id.to_owned()))
    }

    /// When it was made, in microseconds since the Unix epoch, to the millisecond.
    pub const fn made_at_us(self) -> i64 {
        ((self.0 >> 80) as i64) * 1000
    }

    /// A fresh id, stamped with the present time.
    pub fn now() -> Self {
        Self(uuid::Uuid::now_v7().as_u128())
    }

    /// The id of another of several replies to one request, of which this is the first: so that
    /// one id names them all.
    #[must_use]
    pub const fn choice(self, choice: usize) -> Self {
        Self(self.0.wrapping_add(choice as u128))
    }
}

impl fmt::Display for TurnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for TurnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TurnId({self})")
    }
}

impl FromStr for TurnId {
    type Err = InvalidTurnId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        uuid::Uuid::parse_str(text)
            .map(|id| Self(id.as_u128()))
            .map_err(|_| InvalidTurnId(text.to_owned()))
    }
}

/// A weights version. 0 is the base model; each optimizer step makes the next number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The base model, before any training.
    pub const BASE: Self = Self(0);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A run of consecutive response tokens that were sampled by one weights version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionSpan {
    /// Index of the first response token of the run.
    pub start: u32,
    /// The version that sampled it.
    pub version: Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_knows_when_it_was_made() {
        let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let made = TurnId::now().made_at_us() - before.as_micros() as i64;
        assert!((-1_000..60_000_000).contains(&made), "{made}");
    }

    #[test]
    fn a_replys_id_leads_to_its_turn() {
        let turn = TurnId::now();
        for text in [format!("chatcmpl-{turn}"), format!(" msg_{turn} "), turn.to_string()] {
            assert_eq!(TurnId::of_reply(&text), Ok(turn), "{text}");
        }
        for text in ["", "chatcmpl-", "msg_chatcmpl-x", "resp_1"] {
            assert_eq!(TurnId::of_reply(text), Err(InvalidTurnId(text.to_owned())));
        }
    }
}
