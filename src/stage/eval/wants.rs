//! What a user wants of a reply, as rules that a program can check.

use serde::Deserialize;

/// A form that a reply may take in Markdown or LaTeX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `**…**` or `__…__`.
    Bold,
    /// A line that begins with `1.`, `1)`, `-`, `*` or `•`.
    List,
    /// `\boxed{…}`.
    Box,
    /// A line that begins with `#`.
    Heading,
    /// A fence of three backticks.
    Code,
    /// A line that begins and ends with `|`.
    Table,
}

impl Form {
    /// Whether `text` has it.
    fn is_in(self, text: &str) -> bool {
        let any_line = |holds: fn(&str) -> bool| text.lines().any(|line| holds(line.trim()));
        match self {
            Self::Bold => text.contains("**") || text.contains("__"),
            Self::List => any_line(is_item),
            Self::Box => text.contains("\\boxed"),
            Self::Heading => any_line(|line| {
                line.trim_start_matches('#').starts_with(' ') && line.starts_with('#')
            }),
            Self::Code => text.contains("```"),
            Self::Table => {
                any_line(|line| line.len() > 1 && line.starts_with('|') && line.ends_with('|'))
            }
        }
    }
}

/// Whether a line is an item of a list.
fn is_item(line: &str) -> bool {
    let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = digits.len() < line.len() && digits.starts_with(['.', ')']);
    let rest = if numbered { &digits[1..] } else { line.trim_start_matches(['-', '*', '•']) };
    rest.len() < line.len() && rest.starts_with(' ')
}

/// Whether `words` stand in `text` where a word begins.
fn says(text: &str, words: &str) -> bool {
    let begins = |at: usize| !text[..at].ends_with(char::is_alphanumeric);
    text.match_indices(words).any(|(at, _)| begins(at))
}

/// A reply as a user sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Its text.
    pub text: String,
    /// Its tokens, as the server counts them, without those of its reasoning.
    pub tokens: usize,
    /// It came to its end: it was not cut off.
    pub is_whole: bool,
}

/// What must hold of a reply, all of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wants {
    /// Forms that it must not take.
    pub without: Vec<Form>,
    /// Fewest tokens.
    pub tokens_min: Option<usize>,
    /// Most tokens.
    pub tokens_max: Option<usize>,
    /// Beginnings of words or phrases of which one at least must stand in it, in any case: `kind`
    /// stands in "Kindly", and not in "mankind".
    pub words_any: Vec<String>,
    /// Beginnings of words or phrases of which none may stand in it.
    pub words_none: Vec<String>,
}

impl Wants {
    /// Whether a reply is as it should be. One that says nothing, or was cut off, never is.
    pub fn are_met(&self, reply: &Seen) -> bool {
        let text = reply.text.to_lowercase();
        let says = |words: &String| says(&text, &words.to_lowercase());
        reply.is_whole
            && !text.trim().is_empty()
            && !self.without.iter().any(|form| form.is_in(&reply.text))
            && self.tokens_min.is_none_or(|least| reply.tokens >= least)
            && self.tokens_max.is_none_or(|most| reply.tokens <= most)
            && (self.words_any.is_empty() || self.words_any.iter().any(says))
            && !self.words_none.iter().any(says)
    }

    /// Whether it wants anything at all.
    pub(super) fn check(&self) -> Result<(), String> {
        if *self == Self::default() {
            return Err("`wants` says nothing: every reply would do".to_owned());
        }
        match (self.tokens_min, self.tokens_max) {
            (Some(least), Some(most)) if least > most => {
                Err(format!("`wants`: no reply has {least} tokens at least and {most} at most"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str, tokens: usize) -> Seen {
        Seen { text: text.to_owned(), tokens, is_whole: true }
    }

    #[test]
    fn forms_are_known_by_their_marks() {
        for (form, with, without) in [
            (Form::Bold, vec!["It is **7**.", "__7__"], vec!["7 * 7 * 2", "It is 7."]),
            (
                Form::List,
                vec!["1. Add.\n2. Done.", "so:\n - this", "* that", "2) yes", "• a"],
                vec!["It is 7.5 metres.", "-7", "3.14 is pi", "7", "**7** is bold"],
            ),
            (Form::Box, vec!["\\boxed{7}"], vec!["a box"]),
            (Form::Heading, vec!["# Title", "a\n## b"], vec!["#7", "no. # 7"]),
            (Form::Code, vec!["```\nx\n```"], vec!["`x`"]),
            (Form::Table, vec!["| a | b |"], vec!["a | b", "|"]),
        ] {
            for text in with {
                assert!(form.is_in(text), "{form:?}: {text}");
            }
            for text in without {
                assert!(!form.is_in(text), "{form:?}: {text}");
            }
        }
    }

    #[test]
    fn all_of_it_must_hold() {
        let wants = Wants {
            without: vec![Form::Bold],
            tokens_min: Some(2),
            tokens_max: Some(9),
            words_any: vec!["Dear".to_owned(), "kind".to_owned()],
            words_none: vec!["sorry".to_owned()],
        };
        assert!(wants.are_met(&seen("dear Ana, it is Monday", 7)));
        for (text, tokens) in [
            ("Dear **Ana**", 5),
            ("Dear Ana", 1),
            ("Dear Ana", 10),
            ("Ana, it is Monday", 6),
            ("Dear Ana, Sorry", 5),
            (" ", 5),
        ] {
            assert!(!wants.are_met(&seen(text, tokens)), "{text}");
        }
        let short = Wants { tokens_max: Some(9), ..Wants::default() };
        assert!(short.are_met(&seen("Yes.", 2)) && !short.are_met(&seen("", 0)));
        assert!(!short.are_met(&Seen { is_whole: false, ..seen("Yes, yes, yes", 8) }), "cut off");
        for (text, expected) in [("Kindly", true), ("Be kind.", true), ("mankind", false)] {
            assert_eq!(says(&text.to_lowercase(), "kind"), expected, "{text}");
        }
    }

    #[test]
    fn wishes_that_nothing_or_everything_meets_are_refused() {
        assert!(Wants::default().check().is_err());
        let crossed = Wants { tokens_min: Some(9), tokens_max: Some(3), ..Wants::default() };
        assert!(crossed.check().unwrap_err().contains("9 tokens"));
        assert_eq!(Wants { tokens_min: Some(3), ..Wants::default() }.check(), Ok(()));
    }
}
