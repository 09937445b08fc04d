//! What users ask for, and whether a reply has it right.

use std::path::{Path, PathBuf};

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::EvalError;
use super::persona::{Persona, TaskKind};

const NAMES: [&str; 24] = [
    "Ana", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo", "Jonas", "Kim", "Lena",
    "Marco", "Nora", "Oscar", "Paula", "Rosa", "Sam", "Tina", "Viktor", "Wendy", "Zoe", "Bella",
    "Finn", "Julia",
];
const EVENTS: [&str; 12] = [
    "the meeting",
    "the dinner",
    "the lesson",
    "the visit",
    "the concert",
    "the game",
    "the party",
    "the trip",
    "the test",
    "the walk",
    "the lunch",
    "the rehearsal",
];
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Which of two parts of all problems: what one is asked about is never in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What sessions are held about.
    Sessions,
    /// What is measured by.
    HeldOut,
}

impl Part {
    /// The part of a calculation with two two-digit numbers. A tenth is held out: the tenth that
    /// the embedded model's maker keeps for its tests, which therefore is new to that model too
    /// (`split_of` in scripts/make_model/tasks.py). A sum and its mirror image belong together.
    fn of(a: u32, plus: bool, b: u32) -> Self {
        let (a, b) = if plus && b < a { (b, a) } else { (a, b) };
        let sign = if plus { '+' } else { '-' };
        let mixed = u64::from(a) * 2_654_435_761 + u64::from(b) * 40_503 + sign as u64 * 97;
        let place = (mixed % (1 << 32)) >> 8;
        if place.is_multiple_of(10) { Self::HeldOut } else { Self::Sessions }
    }
}

/// What a right reply says.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// This number comes last.
    Number(i64),
    /// It says so, or that it is not so.
    Verdict(bool),
    /// Whatever it says, nobody checks it.
    Open,
}

impl Answer {
    /// Whether a reply says it.
    pub fn is_given(&self, text: &str) -> bool {
        match self {
            Self::Number(right) => last_number(text) == Some(*right),
            Self::Verdict(right) => verdict(text) == Some(*right),
            Self::Open => true,
        }
    }
}

/// The last number of a text, if it is a whole one; a sign counts only where no digit or letter
/// stands before it.
fn last_number(text: &str) -> Option<i64> {
    let plain = text.replace(',', "").replace('\u{2212}', "-");
    let end = plain.rfind(|c: char| c.is_ascii_digit())? + 1;
    let before = plain[..end].trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = plain[before.len()..end].trim_start_matches('.');
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let number: i64 = whole.parse().ok().filter(|_| decimals.chars().all(|c| c == '0'))?;
    let before = before.strip_suffix('-');
    let signed = before.is_some_and(|before| !before.trim_end().ends_with(char::is_alphanumeric));
    Some(if signed { -number } else { number })
}

/// The first word of a text that says whether something is right.
fn verdict(text: &str) -> Option<bool> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphabetic());
    words.into_iter().find_map(|word| match word {
        "correct" | "right" | "yes" | "true" => Some(true),
        "wrong" | "incorrect" | "no" | "false" => Some(false),
        _ => None,
    })
}

/// One request, and what a right reply says.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The user's words.
    pub request: String,
    /// What they want to hear.
    pub answer: Answer,
}

/// Problems that somebody wrote down, in the form of GSM8K: JSON lines with `question` and
/// `answer`, of which the number after the last `####`, or the last number, counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Problems(Vec<Problem>);

#[derive(Deserialize)]
struct Line {
    question: String,
    answer: String,
}

impl Problems {
    /// The problems of a file.
    ///
    /// # Errors
    /// [`EvalError::Problems`]: it cannot be read, or a line is no problem.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let wrong = |reason: String| EvalError::Problems { path: PathBuf::from(path), reason };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let mut problems = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let at = at + 1;
            let line: Line =
                serde_json::from_str(line).map_err(|error| wrong(format!("line {at}: {error}")))?;
            let stated = line.answer.rsplit("####").next().unwrap_or_default();
            let number = last_number(stated)
                .ok_or_else(|| wrong(format!("line {at}: `answer` ends with no whole number")))?;
            problems.push(Problem { request: line.question, answer: Answer::Number(number) });
        }
        // One of them is held out, and one is not.
        if problems.len() < 2 {
            return Err(wrong(format!(
                "it holds {} problems, 2 at least are needed",
                problems.len()
            )));
        }
        Ok(Self(problems))
    }

    /// Those that are held out, each once.
    pub fn held_out(&self) -> Vec<Problem> {
        self.0.iter().step_by(5).cloned().collect()
    }

    /// One of a part: every fifth is held out.
    pub fn draw(&self, part: Part, random: &mut ChaCha8Rng) -> Problem {
        let held_out = self.0.len().div_ceil(5);
        let number = match part {
            Part::HeldOut => random.random_range(0..held_out) * 5,
            Part::Sessions => loop {
                let number = random.random_range(0..self.0.len());
                if !number.is_multiple_of(5) {
                    break number;
                }
            },
        };
        self.0[number].clone()
    }
}

/// One of some strings; empty where there are none.
pub fn one_of<'a, S: AsRef<str>>(lines: &'a [S], random: &mut ChaCha8Rng) -> &'a str {
    lines.choose(random).map(AsRef::as_ref).unwrap_or_default()
}

/// A request of a persona's own kind.
pub fn draw(persona: &Persona, part: Part, random: &mut ChaCha8Rng) -> Problem {
    let lines = match part {
        Part::Sessions => &persona.requests,
        Part::HeldOut => &persona.held_out,
    };
    let line = one_of(lines, random).to_owned();
    match persona.task {
        TaskKind::Arithmetic => arithmetic(&line, part, random),
        TaskKind::Grading => grading(&line, part, random),
        TaskKind::Note => note(&line, random),
        TaskKind::Own => {
            let fill = |text: String, (place, values): (&String, &Vec<String>)| {
                text.replace(&format!("{{{place}}}"), one_of(values, random))
            };
            let request = persona.places.iter().fold(line, fill);
            Problem { request, answer: Answer::Open }
        }
    }
}

/// A sum or a difference, none of them below 0.
pub fn arithmetic(line: &str, part: Part, random: &mut ChaCha8Rng) -> Problem {
    loop {
        let plus = random.random_bool(0.5);
        let (a, b) = (random.random_range(10..=99_u32), random.random_range(10..=99_u32));
        if Part::of(a, plus, b) != part || (!plus && b > a) {
            continue;
        }
        let (sign, result) = if plus { ('+', a + b) } else { ('-', a - b) };
        let request = line.replace("{term}", &format!("{a} {sign} {b}"));
        return Problem { request, answer: Answer::Number(i64::from(result)) };
    }
}

/// Somebody's sum, right or wrong.
fn grading(line: &str, part: Part, random: &mut ChaCha8Rng) -> Problem {
    loop {
        let (a, b) = (random.random_range(10..=60_u32), random.random_range(10..=30_u32));
        if Part::of(a, true, b) != part {
            continue;
        }
        let right = random.random_bool(0.5);
        let off = [-10_i64, -2, -1, 1, 2, 10].choose(random).copied().unwrap_or(1);
        let given = i64::from(a + b) + if right { 0 } else { off };
        let request = line
            .replace("{a}", &a.to_string())
            .replace("{b}", &b.to_string())
            .replace("{given}", &given.to_string())
            .replace("{name}", one_of(&NAMES, random));
        return Problem { request, answer: Answer::Verdict(right) };
    }
}

fn note(line: &str, random: &mut ChaCha8Rng) -> Problem {
    let request = line
        .replace("{name}", one_of(&NAMES, random))
        .replace("{event}", one_of(&EVENTS, random))
        .replace("{day}", one_of(&DAYS, random))
        .replace("{hour}", &random.random_range(1..=12_u32).to_string());
    Problem { request, answer: Answer::Open }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::persona::places;
    use super::*;

    #[test]
    fn the_last_number_of_a_reply_is_its_answer() {
        for (text, number) in [
            ("34 + 58 = 92", Some(92)),
            ("The answer is **92**.", Some(92)),
            ("\\boxed{7}", Some(7)),
            ("1. 3 + 4 = 7\n2. The answer is 7.", Some(7)),
            ("1,234 apples", Some(1234)),
            ("It costs $18.00.", Some(18)),
            ("It is 2.5 km.", None),
            ("So ...7", Some(7)),
            ("\u{2212}4", Some(-4)),
            ("3 - 5 = -2", Some(-2)),
            ("9 -5", Some(5)),
            ("Chapter-3", Some(3)),
            ("(-4)", Some(-4)),
            ("日本7語", Some(7)),
            ("none", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(last_number(text), number, "{text}");
        }
    }

    #[test]
    fn the_first_word_that_decides_is_the_verdict() {
        for (text, expected) in [
            ("**Correct**. We add 3 and 4 and get 7.", Some(true)),
            ("Wrong. It is 7. The right answer is 7.", Some(false)),
            ("No, that is not right.", Some(false)),
            ("It is 7.", None),
        ] {
            assert_eq!(verdict(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_measured_by_is_never_talked_about() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut told = std::collections::HashSet::new();
        for part in [Part::Sessions, Part::HeldOut] {
            for name in ["student", "grader", "teacher"] {
                let persona = Persona::open(name).unwrap();
                for _ in 0..300 {
                    let request = draw(&persona, part, &mut random).request;
                    assert_eq!(places(&request).count(), 0, "{request}");
                    let mut numbers: Vec<u32> = request
                        .split(|c: char| !c.is_ascii_digit())
                        .filter_map(|word| word.parse().ok())
                        .collect();
                    // of a sum and its mirror image one; of what was given, whatever it is
                    numbers.truncate(2);
                    numbers.sort_unstable();
                    let sum = (name, request.contains(" - "), numbers);
                    match part {
                        _ if name == "teacher" => {}
                        Part::Sessions => drop(told.insert(sum)),
                        Part::HeldOut if name == "student" => assert!(!told.contains(&sum)),
                        Part::HeldOut => {}
                    }
                }
            }
        }
        // The lines of the grader name the numbers in any order.
        for part in [Part::Sessions, Part::HeldOut] {
            for _ in 0..300 {
                let request = grading("{a} {b} {given}", part, &mut random).request;
                let numbers: Vec<u32> =
                    request.split(' ').map(|word| word.parse().unwrap()).collect();
                assert_eq!(Part::of(numbers[0], true, numbers[1]), part, "{request}");
            }
        }
        let of = |part: Part, random: &mut ChaCha8Rng| -> Vec<String> {
            (0..500).map(|_| arithmetic("{term}", part, random).request).collect()
        };
        let (one, other) = (of(Part::Sessions, &mut random), of(Part::HeldOut, &mut random));
        assert!(other.iter().all(|term| !one.contains(term)));
    }

    /// As `split_of` of the maker says it: these are the tenth that its model has not seen.
    #[test]
    fn held_out_sums_are_those_of_the_makers_tests() {
        let held_out = |a, plus, b| Part::of(a, plus, b) == Part::HeldOut;
        for (a, plus, b, expected) in SPLIT {
            assert_eq!(held_out(a, plus, b), expected, "{a} {plus} {b}");
        }
        let share = (10..100).flat_map(|a| (10..100).map(move |b| (a, b)));
        let count = share.filter(|(a, b)| held_out(*a, true, *b)).count();
        assert!((650..970).contains(&count), "a tenth of 8,100: {count}");
    }

    const SPLIT: [(u32, bool, u32, bool); 8] = [
        (27, true, 82, false),
        (42, false, 25, false),
        (67, false, 70, false),
        (36, false, 22, false),
        (64, true, 13, true),
        (57, true, 72, true),
        (70, false, 15, true),
        (23, true, 42, true),
    ];

    #[test]
    fn problems_of_a_file_are_parted_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.jsonl");
        let line = |n: usize| {
            format!(
                "{{\"question\": \"What is {n}?\", \"answer\": \"It is 1 more.\\n#### {n}\"}}\n"
            )
        };
        std::fs::write(&path, (0..12).map(line).collect::<String>() + "\n").unwrap();
        let problems = Problems::read(&path).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let Answer::Number(n) = problems.draw(Part::HeldOut, &mut random).answer else {
                panic!()
            };
            assert_eq!(n % 5, 0);
            let problem = problems.draw(Part::Sessions, &mut random);
            let Answer::Number(n) = problem.answer else { panic!() };
            assert!(n % 5 != 0 && problem.request == format!("What is {n}?"));
            assert!(problem.answer.is_given(&format!("I say {n}.")));
        }
        for (text, reason) in [
            ("{\"question\": \"x\", \"answer\": \"none\"}", "line 1: `answer` ends with no whole"),
            ("{\"question\": \"x\"}", "missing field `answer`"),
            ("", "0 problems"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Problems::read(&path).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(Problems::read(dir.path()).is_err());
    }
}
