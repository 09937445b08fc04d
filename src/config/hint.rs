//! What `hint` can be told.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, Judge, JudgeConfig, Shard, require, require_url};

/// Which of the hints that may be accepted is taken, and how many are kept for the trainer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HintSelect {
    /// The longest; up to three are kept.
    #[default]
    Longest,
    /// The shortest; up to three are kept.
    Shortest,
    /// The longest; up to so many are kept.
    All(usize),
}

impl HintSelect {
    /// How many hints are kept.
    pub const fn kept(self) -> usize {
        match self {
            Self::Longest | Self::Shortest => 3,
            Self::All(kept) => kept,
        }
    }
}

/// Most hints of a turn that may be kept: each is a prompt of its own for the trainer.
const KEPT_MAX: usize = 16;

/// Most ids of a position that servers are asked for.
const TOP_K_MAX: u32 = 256;

impl TryFrom<String> for HintSelect {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let kept = || text.strip_prefix("all:")?.parse().ok();
        match (text.as_str(), kept()) {
            ("longest", _) => Ok(Self::Longest),
            ("shortest", _) => Ok(Self::Shortest),
            (_, Some(kept)) if (1..=KEPT_MAX).contains(&kept) => Ok(Self::All(kept)),
            _ => Err(ConfigError {
                key: "hint_select",
                got: text,
                expected: "`longest`, `shortest`, or `all:N` with 1 to 16",
            }),
        }
    }
}

impl From<HintSelect> for String {
    fn from(select: HintSelect) -> Self {
        select.to_string()
    }
}

impl fmt::Display for HintSelect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Longest => f.write_str("longest"),
            Self::Shortest => f.write_str("shortest"),
            Self::All(kept) => write!(f, "all:{kept}"),
        }
    }
}

/// Which hints of a judge may be taken, and which of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// Characters that a hint must exceed.
    pub chars_min: usize,
    /// Which of several is taken.
    pub select: HintSelect,
    /// Those that hand over the answer may be taken too.
    pub leaks: bool,
}

/// Configuration of the `hint` stage; `J` is as in [`JudgeConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, bound(deserialize = "J: Deserialize<'de> + Default"))]
pub struct HintConfig<J = Judge> {
    /// Stay and follow the store instead of handling what is there.
    pub follow: bool,
    /// Milliseconds between two looks at the store.
    pub poll_ms: u64,
    /// Address of the server that scores replies by ids; the policy's own by default.
    pub teacher: String,
    /// File that holds the teacher's API key.
    pub teacher_key_file: Option<PathBuf>,
    /// Characters that a hint must exceed to be accepted.
    pub hint_chars_min: usize,
    /// Which of the accepted hints is taken.
    pub hint_select: HintSelect,
    /// Take hints too that hand over the answer: that say what nobody had said before the reply
    /// was judged.
    pub keep_leaks: bool,
    /// How many of the teacher's likeliest ids are kept for each token of a reply, with the hint
    /// and without it, for `train --method topk`; 0 keeps none.
    #[serde(rename = "topk")]
    pub top_k: u32,
    /// The part of the turns that this process looks through; all if absent.
    pub shard: Option<Shard>,
    /// Who finds hints, and how.
    #[serde(flatten)]
    pub judge: JudgeConfig<J>,
}

impl<J: Default> Default for HintConfig<J> {
    fn default() -> Self {
        Self {
            follow: false,
            poll_ms: 250,
            teacher: "http://127.0.0.1:30000".to_owned(),
            teacher_key_file: None,
            hint_chars_min: 10,
            hint_select: HintSelect::default(),
            keep_leaks: false,
            top_k: 0,
            shard: None,
            judge: JudgeConfig::default(),
        }
    }
}

impl<J> HintConfig<J> {
    /// Which hints may be taken, and which of them is.
    pub const fn acceptance(&self) -> Acceptance {
        let (chars_min, select) = (self.hint_chars_min, self.hint_select);
        Acceptance { chars_min, select, leaks: self.keep_leaks }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        require(self.poll_ms > 0, "poll_ms", self.poll_ms, "a whole number above 0")?;
        require_url("teacher", &self.teacher)?;
        require(self.top_k <= TOP_K_MAX, "topk", self.top_k, "a whole number from 0 to 256")?;
        self.judge.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_of_hints_is_read_as_it_is_written() {
        for text in ["longest", "shortest", "all:1", "all:16"] {
            assert_eq!(String::from(HintSelect::try_from(text.to_owned()).unwrap()), text);
        }
        for text in ["", "all", "all:", "all:0", "all:17", "all:-1", "Longest", "3"] {
            let error = HintSelect::try_from(text.to_owned()).unwrap_err();
            assert!(error.to_string().contains("hint_select"), "{text}: {error}");
        }
    }
}
