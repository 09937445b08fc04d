//! Who talks: what a simulated user asks for, what they want of a reply, and how they say it.
//!
//! A persona is a TOML file; the three that come with the program are in `personas/`, and
//! docs/eval.md explains the form to those who write one of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::EvalError;
use super::wants::Wants;

/// The personas that come with the program.
const BUILT_IN: [(&str, &str); 3] = [
    ("student", include_str!("personas/student.toml")),
    ("grader", include_str!("personas/grader.toml")),
    ("teacher", include_str!("personas/teacher.toml")),
];

/// What a persona's requests are about: it says what stands in the places of a phrasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// A sum or a difference of two numbers up to 99: `{term}`.
    Arithmetic,
    /// Whether somebody's sum is right: `{name}`, `{a}`, `{b}`, `{given}`.
    Grading,
    /// A note to somebody: `{name}`, `{event}`, `{day}`, `{hour}`.
    Note,
    /// Whatever the requests say, with the places of `[places]`.
    Own,
}

impl TaskKind {
    /// The places that a request of this kind may have.
    pub const fn places(self) -> &'static [&'static str] {
        match self {
            Self::Arithmetic => &["term"],
            Self::Grading => &["name", "a", "b", "given"],
            Self::Note => &["name", "event", "day", "hour"],
            Self::Own => &[],
        }
    }
}

/// A simulated user.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persona {
    /// What it is called in tables.
    pub name: String,
    /// What it wants, in words: for people, and for a model that plays it.
    pub about: String,
    /// What its requests are about.
    pub task: TaskKind,
    /// The rules that a reply must meet.
    pub wants: Wants,
    /// What may stand in a place of its own requests (`task = "own"`).
    #[serde(default)]
    pub places: BTreeMap<String, Vec<String>>,
    /// Requests, as they are made in sessions.
    pub requests: Vec<String>,
    /// Requests in other words, for replies that nothing is learned from.
    pub held_out: Vec<String>,
    /// Said when a reply was as it should be.
    pub thanks: Vec<String>,
    /// Said before the next request when a reply was as it should be, and not worth a word.
    pub goes_on: Vec<String>,
    /// Said when a reply was not as it should be, without a word of what is missing.
    pub again: Vec<String>,
    /// Said when a reply was not as it should be: what should have been done.
    pub directives: Vec<String>,
    /// The same, where it was said before.
    pub insists: Vec<String>,
}

impl Persona {
    /// One that comes with the program, or the one in a file.
    ///
    /// # Errors
    /// [`EvalError::Persona`]: there is no such file, or no persona in it.
    pub fn open(which: &str) -> Result<Self, EvalError> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(name, _)| *name == which) {
            return Self::read(text, Path::new(which));
        }
        let path = PathBuf::from(which);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let names = BUILT_IN.map(|(name, _)| name).join(", ");
            let reason = format!("{error} (built in are {names})");
            EvalError::Persona { path: path.clone(), reason }
        })?;
        Self::read(&text, &path)
    }

    fn read(text: &str, path: &Path) -> Result<Self, EvalError> {
        let wrong = |reason: String| EvalError::Persona { path: path.to_owned(), reason };
        let persona: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        persona.check().map_err(wrong)?;
        Ok(persona)
    }

    /// Whether it can be played.
    fn check(&self) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("`name` is empty".to_owned());
        }
        self.wants.check()?;
        let lists = [
            ("requests", &self.requests),
            ("held_out", &self.held_out),
            ("thanks", &self.thanks),
            ("goes_on", &self.goes_on),
            ("again", &self.again),
            ("directives", &self.directives),
            ("insists", &self.insists),
        ];
        for (name, lines) in lists {
            if lines.is_empty() {
                return Err(format!("`{name}` is empty: it needs one line at least"));
            }
        }
        if let Some(twice) = self.held_out.iter().find(|line| self.requests.contains(line)) {
            return Err(format!("{twice:?} stands in both `requests` and `held_out`"));
        }
        if let Some((name, _)) = self.places.iter().find(|(_, values)| values.is_empty()) {
            return Err(format!("`places.{name}` is empty: it needs one value at least"));
        }
        if self.task != TaskKind::Own && !self.places.is_empty() {
            return Err("`places` are for `task = \"own\"`".to_owned());
        }
        for line in self.requests.iter().chain(&self.held_out) {
            for place in places(line) {
                let known = self.task.places().contains(&place) || self.places.contains_key(place);
                if !known {
                    return Err(format!("nothing can stand for `{{{place}}}` in {line:?}"));
                }
            }
        }
        Ok(())
    }
}

/// The names between braces.
pub fn places(line: &str) -> impl Iterator<Item = &str> {
    line.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_persona_can_be_played() {
        for (name, _) in BUILT_IN {
            let persona = Persona::open(name).unwrap();
            assert_eq!(persona.name, name);
            let needed = persona.task.places();
            for line in persona.requests.iter().chain(&persona.held_out) {
                let told = places(line).filter(|place| *place != "name").count();
                let due = needed.iter().filter(|place| **place != "name").count();
                assert_eq!(told, due, "{line}: a problem is told whole, and once");
            }
        }
    }

    #[test]
    fn a_persona_that_cannot_be_played_is_named_with_the_reason() {
        let right = include_str!("personas/student.toml");
        let path = Path::new("mine.toml");
        for (from, to, reason) in [
            ("task = \"arithmetic\"", "task = \"own\"", "nothing can stand for `{term}`"),
            ("task = \"arithmetic\"", "task = \"cooking\"", "unknown variant"),
            ("name = \"student\"", "name = \"\"", "`name` is empty"),
            ("name = \"student\"", "nmae = \"student\"", "unknown field `nmae`"),
            ("\"bold\", \"list\", \"box\"", "", "`wants` says nothing"),
            ("[wants]", "[places]\nx = [\"1\"]\n[wants]", "`places` are for"),
        ] {
            assert!(right.contains(from), "{from}");
            let error = Persona::read(&right.replacen(from, to, 1), path).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(reason) && text.contains("mine.toml"), "{text}");
        }
        let error = Persona::open("nobody.toml").unwrap_err().to_string();
        assert!(error.contains("nobody.toml") && error.contains("student"), "{error}");
    }
}
