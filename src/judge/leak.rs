//! Hints that hand over the answer.
//!
//! A hint says how a reply should have been made. One that names a fact which neither the
//! conversation nor the user's reaction holds (a number, a name, a path, quoted words) has it from
//! the judge, or from what a tool printed afterwards: with it in the prompt the teacher would copy
//! what nobody could know when the reply was made.

use std::collections::HashSet;

use super::Exchange;
use super::exchange::text_of;

/// Things of which a number may be asked without being an answer.
const MEASURES: [&str; 18] = [
    "word",
    "words",
    "sentence",
    "sentences",
    "line",
    "lines",
    "character",
    "characters",
    "chars",
    "bullet",
    "bullets",
    "point",
    "points",
    "paragraph",
    "paragraphs",
    "steps",
    "items",
    "tokens",
];
/// Names of languages and forms that a wish may be about.
const FORMS: [&str; 24] = [
    "english",
    "german",
    "french",
    "spanish",
    "italian",
    "portuguese",
    "dutch",
    "polish",
    "russian",
    "turkish",
    "chinese",
    "japanese",
    "korean",
    "arabic",
    "american",
    "british",
    "celsius",
    "fahrenheit",
    "markdown",
    "latex",
    "python",
    "javascript",
    "rust",
    "unicode",
];
/// Quotation marks, as pairs.
const QUOTES: [(char, char); 4] = [('`', '`'), ('"', '"'), ('“', '”'), ('«', '»')];

/// Everything that was said before the reply was judged, but for what tools printed after it.
pub struct Known {
    text: String,
    numbers: HashSet<String>,
}

impl Known {
    /// What the request, the reply, and the user's own words after it say.
    pub fn of(exchange: &Exchange) -> Self {
        let mut text = String::new();
        let reaction = exchange.reaction().iter().filter(|message| message["role"] != "tool");
        for message in exchange.messages.iter().chain([&exchange.reply]).chain(reaction) {
            text.push_str(&text_of(&message["content"]));
            text.push('\n');
            if message["tool_calls"].is_array() {
                text.push_str(&message["tool_calls"].to_string());
                text.push('\n');
            }
        }
        let text = plain(&text);
        let numbers = numbers(&text).into_iter().collect();
        Self { text, numbers }
    }

    /// The first thing that a hint names and nobody had said.
    pub fn lacks(&self, hint: &str) -> Option<String> {
        let quoted = quoted(hint).into_iter().find(|part| !self.text.contains(&plain(part)));
        quoted.map(str::to_owned).or_else(|| self.unknown_word(hint))
    }

    fn unknown_word(&self, hint: &str) -> Option<String> {
        let words: Vec<&str> = hint.split_whitespace().collect();
        let mut starts = true;
        for (at, raw) in words.iter().enumerate() {
            let word = trimmed(raw.trim_matches(|c: char| !is_part(c)));
            let next = words.get(at + 1).map(|next| plain(trimmed(next)));
            let measured = next.is_some_and(|next| MEASURES.contains(&next.as_str()));
            let unknown = |number: &String| number.len() >= 2 && !self.numbers.contains(number);
            let leaks = match word.chars().any(char::is_alphabetic) {
                true => {
                    let fact = is_code(word) || !starts && is_name(word);
                    fact && !self.text.contains(&plain(word))
                }
                false => !measured && numbers(word).iter().any(unknown),
            };
            if leaks {
                return Some(word.to_owned());
            }
            starts = raw.ends_with(['.', '!', '?', ':']);
        }
        None
    }
}

/// Lower-case, with single spaces.
fn plain(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a word, a number or a path consists of.
fn is_part(c: char) -> bool {
    c.is_alphanumeric() || "._-/\\:+%@#$€".contains(c)
}

fn trimmed(word: &str) -> &str {
    let word = word.trim_matches(|c: char| ".,:;!?()[]'\"`".contains(c));
    word.strip_suffix("'s").unwrap_or(word)
}

/// The numbers in a text, without the commas between thousands.
fn numbers(text: &str) -> Vec<String> {
    let digits = |part: &&str| part.contains(|c: char| c.is_ascii_digit());
    text.split(|c: char| !c.is_ascii_digit() && c != ',' && c != '.')
        .filter(digits)
        .map(|part| part.trim_matches(['.', ',']).replace(',', ""))
        .collect()
}

/// A path, a file's name, or a name as in code.
fn is_code(word: &str) -> bool {
    let letters = word.chars().filter(|c| c.is_alphabetic()).count();
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let inner_capital = word.chars().zip(word.chars().skip(1));
    let camel = inner_capital.filter(|(a, b)| a.is_lowercase() && b.is_uppercase()).count();
    let dotted = word.split_once('.').is_some_and(|(stem, end)| {
        let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count();
        letters(stem) >= 2 && letters(end) >= 2
    });
    letters >= 2 && (digits > 0 || camel > 0 || dotted || word.contains(['_', '\\']))
        || letters >= 4 && word.matches('/').count() >= 2
}

/// A capitalised word that is no language, form or abbreviation.
fn is_name(word: &str) -> bool {
    let mut chars = word.chars();
    let first = chars.next().is_some_and(char::is_uppercase);
    let rest: Vec<char> = chars.collect();
    first
        && rest.len() >= 2
        && rest.iter().all(|c| c.is_lowercase())
        && !FORMS.contains(&word.to_lowercase().as_str())
}

/// The parts in quotation marks, if they hold three letters or digits.
fn quoted(hint: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (open, close) in QUOTES {
        let mut rest = hint;
        while let Some((_, after)) = rest.split_once(open) {
            let Some((inside, behind)) = after.split_once(close) else { break };
            if inside.chars().filter(|c| c.is_alphanumeric()).count() >= 3 {
                found.push(inside);
            }
            rest = behind;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lacks(next_state: Value, hint: &str) -> Option<String> {
        let messages = json!([{"role": "user", "content": "What is the capital of Australia? \
            And put 47 + 38 into notes/sums.txt, please."}]);
        let call = json!({"id": "a", "type": "function", "function": {"name": "write",
            "arguments": "{\"path\": \"notes/sum.txt\", \"content\": \"83\"}"}});
        let exchange = Exchange {
            messages: messages.as_array().unwrap().clone(),
            reply: json!({"role": "assistant", "content": "Sydney", "tool_calls": [call]}),
            next_state: next_state.as_array().unwrap().clone(),
            ..Exchange::default()
        };
        Known::of(&exchange).lacks(hint)
    }

    fn user(text: &str) -> Value {
        json!([{"role": "user", "content": text}])
    }

    #[test]
    fn what_nobody_had_said_is_a_leak() {
        for (said, hint, leak) in [
            ("That is wrong.", "Answer that the capital is Canberra.", "Canberra"),
            ("No, wrong.", "47 + 38 makes 85.", "85"),
            ("Wrong file!", "Write it to archive/2024/sums.txt instead.", "archive/2024/sums.txt"),
            ("Wrong!", "Call `sum_numbers` before answering.", "sum_numbers"),
            ("Wrong!", "Say \"the bush capital\" in the reply.", "the bush capital"),
            ("Wrong!", "Use parseInput for that.", "parseInput"),
            ("No.", "Look into config.yaml first.", "config.yaml"),
        ] {
            assert_eq!(lacks(user(said), hint).as_deref(), Some(leak), "{said}: {hint}");
        }
    }

    #[test]
    fn the_users_own_words_and_wishes_for_a_form_are_none() {
        for (said, hint) in [
            ("It is Canberra, not Sydney.", "Answer that the capital is Canberra, not Sydney."),
            ("85!", "The sum of 47 and 38 is 85."),
            ("shorter", "Keep the reply under 50 words. Use one sentence."),
            ("auf Deutsch bitte", "Answer in German, without Markdown."),
            ("wrong file", "Write to the file that the user named: notes/sums.txt."),
            ("no", "Check the sum before you write it. Name the capital, not the largest city."),
            ("no bold", "Don't use **bold** text; JSON isn't wanted either."),
            ("I said metres", "Use metres, e.g. 5 m, instead of feet."),
        ] {
            assert_eq!(lacks(user(said), hint), None, "{said}: {hint}");
        }
    }

    /// What a tool printed after the reply is hindsight; what it printed before was there.
    #[test]
    fn what_a_tool_printed_afterwards_was_not_known() {
        let printed = json!([{"role": "tool", "tool_call_id": "a",
            "content": "error: the port is 8443"}]);
        assert_eq!(lacks(printed, "Use port 8443.").as_deref(), Some("8443"));
    }
}
