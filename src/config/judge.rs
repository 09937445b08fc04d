//! The judge that `score` and `hint` ask.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ConfigError, require, require_url};

/// Who judges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Judge {
    /// Deterministic rules over explicit feedback (docs/judging.md).
    #[default]
    Rules,
    /// A model.
    Model(Servers),
    /// The rules where they decide, a model for the rest.
    RulesAndModel(Servers),
}

/// OpenAI-compatible addresses (`http://host:port/v1`) of one model, which share the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers(Vec<String>);

impl Servers {
    /// The addresses; there is at least one.
    pub fn addresses(&self) -> &[String] {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, ConfigError> {
        let one = |address: &str| {
            let address = address.trim();
            require_url("judge", address).map(|()| address.trim_end_matches('/').to_owned())
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl Judge {
    /// A model at one address.
    pub fn at(url: impl Into<String>) -> Self {
        Self::Model(Servers(vec![url.into()]))
    }

    /// The model's addresses; none if the rules judge alone.
    pub fn addresses(&self) -> &[String] {
        match self {
            Self::Rules => &[],
            Self::Model(servers) | Self::RulesAndModel(servers) => servers.addresses(),
        }
    }
}

/// What stands before a model that is asked where the rules decide nothing.
const RULES_AND: &str = "rules+";

impl FromStr for Judge {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "rules" {
            return Ok(Self::Rules);
        }
        let (rest, judge): (_, fn(Servers) -> Self) = match text.strip_prefix(RULES_AND) {
            Some(rest) => (rest, Self::RulesAndModel),
            None => (text, Self::Model),
        };
        Servers::parse(rest).map(judge).map_err(|error| ConfigError {
            expected: match rest {
                BASE => "`rules` or an address (`base` is for `run`, which serves that model)",
                _ => {
                    "`rules`, an address such as http://127.0.0.1:30001/v1 (several: with commas), \
                     or `rules+` and addresses"
                }
            },
            ..error
        })
    }
}

/// The base model's name among the judges of the loop.
const BASE: &str = "base";

/// Who judges where the whole loop is started, which can serve a judge of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RunJudge {
    /// The base model, as it was before it was trained.
    #[default]
    Base,
    /// The rules where they decide, the base model for the rest.
    RulesAndBase,
    /// A judge that is there without the loop.
    Other(Judge),
}

impl TryFrom<String> for RunJudge {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == BASE {
            return Ok(Self::Base);
        }
        if text.strip_prefix(RULES_AND) == Some(BASE) {
            return Ok(Self::RulesAndBase);
        }
        let judge = text.parse().map(Self::Other);
        judge.map_err(|error: ConfigError| ConfigError {
            expected: "`base`, `rules`, `rules+base`, or an address such as \
                       http://127.0.0.1:30001/v1 (several: with commas)",
            ..error
        })
    }
}

impl From<RunJudge> for String {
    fn from(judge: RunJudge) -> Self {
        match judge {
            RunJudge::Base => BASE.to_owned(),
            RunJudge::RulesAndBase => format!("{RULES_AND}{BASE}"),
            RunJudge::Other(judge) => judge.into(),
        }
    }
}

impl TryFrom<String> for Judge {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Judge> for String {
    fn from(judge: Judge) -> Self {
        judge.to_string()
    }
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules => f.write_str("rules"),
            Self::Model(servers) => f.write_str(&servers.0.join(",")),
            Self::RulesAndModel(servers) => write!(f, "{RULES_AND}{}", servers.0.join(",")),
        }
    }
}

/// How a judge's server is told what a vote must look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JudgeConstraint {
    /// It is not: a vote without a verdict does not count.
    #[default]
    None,
    /// By a regular expression, as SGLang takes it.
    Sglang,
    /// By a regular expression, as vLLM takes it.
    Vllm,
}

/// How the judge is asked: a [`Judge`], or a [`RunJudge`] where the loop is started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeConfig<J = Judge> {
    /// Who is asked.
    pub judge: J,
    /// The model name to ask for.
    pub judge_model: String,
    /// File that holds the judge's API key.
    pub judge_key_file: Option<PathBuf>,
    /// Votes per turn (m).
    pub votes: usize,
    /// Sampling temperature of the votes.
    pub judge_temperature: f32,
    /// Most tokens of one vote.
    pub judge_tokens: usize,
    /// About how many tokens of the exchange are shown to the judge.
    pub judge_prompt_tokens: usize,
    /// How the server is told that a vote must end in a verdict, if it can be told.
    pub judge_constraint: JudgeConstraint,
    /// Later messages of the user or of tools that a model judge sees besides what came next, and
    /// that are waited for as long as the session goes on.
    pub horizon: usize,
    /// Let the very model judge that is being trained.
    pub judge_may_be_trained: bool,
    /// Turns judged at the same time.
    pub concurrency: usize,
    /// Tries per vote before it counts as lost.
    pub tries: usize,
    /// Seconds that one try may take.
    pub timeout_s: u64,
}

impl<J: Default> Default for JudgeConfig<J> {
    fn default() -> Self {
        Self {
            judge: J::default(),
            judge_model: "judge".to_owned(),
            judge_key_file: None,
            votes: 3,
            judge_temperature: 0.6,
            judge_tokens: 1_024,
            judge_prompt_tokens: 9_000,
            judge_constraint: JudgeConstraint::default(),
            horizon: 0,
            judge_may_be_trained: false,
            concurrency: 4,
            tries: 4,
            timeout_s: 120,
        }
    }
}

impl<J> JudgeConfig<J> {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        require((1..=64).contains(&self.votes), "votes", self.votes, "1 to 64")?;
        let temperature = self.judge_temperature;
        require((0.0..=10.0).contains(&temperature), "judge_temperature", temperature, "0 to 10")?;
        require(self.judge_tokens > 0, "judge_tokens", self.judge_tokens, "above 0")?;
        let shown = self.judge_prompt_tokens;
        require((400..=1_000_000).contains(&shown), "judge_prompt_tokens", shown, "400 or more")?;
        require(self.horizon <= 100, "horizon", self.horizon, "0 to 100")?;
        require(
            (1..=256).contains(&self.concurrency),
            "concurrency",
            self.concurrency,
            "1 to 256",
        )?;
        require((1..=32).contains(&self.tries), "tries", self.tries, "1 to 32")?;
        require(self.timeout_s > 0, "timeout_s", self.timeout_s, "seconds above 0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_judges_the_loop_and_is_refused_elsewhere() {
        assert_eq!(RunJudge::default(), RunJudge::Base);
        for text in [
            "base",
            "rules",
            "rules+base",
            "http://127.0.0.1:1/v1",
            "http://127.0.0.1:1/v1,https://judge.example:2",
            "rules+http://127.0.0.1:1/v1",
        ] {
            let judge = RunJudge::try_from(text.to_owned()).unwrap();
            assert_eq!(String::from(judge), text);
        }
        let error = "base".parse::<Judge>().unwrap_err();
        assert!(error.to_string().contains("is for `run`"), "{error}");
        for text in ["rules+", "rules+rules", "http://a,", ",", "rules+base", "http://"] {
            let error = text.parse::<Judge>().unwrap_err();
            assert!(error.to_string().contains("an address"), "{text}: {error}");
        }
        let several: Judge = "http://a/, http://b/v1".parse().unwrap();
        assert_eq!(several.addresses(), ["http://a", "http://b/v1"]);
        let error = RunJudge::try_from("bases".to_owned()).unwrap_err();
        assert!(error.to_string().contains("`base`, `rules`"), "{error}");
    }
}
