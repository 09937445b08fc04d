//! Chat examples from a file, as targets: one JSON object a line, `{"messages": […], "tools": […]}`
//! in OpenAI's shape, whose last message is the assistant's.
//!
//! Rendered by the model's own template; what the assistant says is trained on, nothing else. The
//! order is the file's, or drawn from the seed and the number of times that the file was gone
//! through, so that a [`Cursor`] is all that it takes to go on. The file is read as it is needed;
//! of each line its place is kept.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::checkpoint::Cursor;
use super::samples::Sample;
use crate::fault::chain;
use crate::render::{RenderError, Renderer, Told};

/// A file of examples that cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum ExamplesError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line is no example.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// It holds no example.
    #[error("{} holds no example", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A file of examples, and how they are rendered.
#[derive(Debug)]
pub struct Examples {
    path: PathBuf,
    file: File,
    /// Where each line that is not blank begins, and its number.
    lines: Vec<(u64, usize)>,
    sha256: String,
    renderer: Renderer,
    tokens_max: usize,
    /// The order of the lines this time, and which time that is.
    order: Option<(Cursor, Vec<usize>)>,
}

/// The ids of a conversation, and the parts of them that the assistant says.
struct Rendered {
    tokens: Vec<u32>,
    spans: Vec<(usize, usize)>,
}

/// What a look at the file came to.
#[derive(Debug, Default)]
pub struct Taken {
    /// Samples, in order.
    pub samples: Vec<Sample>,
    /// Examples that are longer than a step may hold.
    pub too_long: usize,
}

impl Examples {
    /// Opens a file, to be rendered as the model of `dir` wants it.
    ///
    /// # Errors
    /// The file cannot be read, or holds no line.
    pub fn open(path: &Path, renderer: Renderer, tokens_max: usize) -> Result<Self, ExamplesError> {
        let fail = |source| ExamplesError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(fail)?;
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let (mut lines, mut hasher) = (Vec::new(), Sha256::new());
        let (mut at, mut number, mut line) = (0, 0, Vec::new());
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(fail)?;
            if read == 0 {
                break;
            }
            hasher.update(&line);
            number += 1;
            if !line.trim_ascii().is_empty() {
                lines.push((at, number));
            }
            at += read as u64;
        }
        if lines.is_empty() {
            return Err(ExamplesError::Empty { path: path.to_owned() });
        }
        let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        drop(reader);
        let path = path.to_owned();
        Ok(Self { path, file, lines, sha256, renderer, tokens_max, order: None })
    }

    /// Where to go on: at `known`, if that is a place in this file and this order.
    pub fn cursor(&self, known: Option<&Cursor>, seed: u64, in_order: bool) -> Cursor {
        let begin = Cursor { sha256: self.sha256.clone(), seed, in_order, epoch: 0, taken: 0 };
        let same = |known: &&Cursor| Cursor { epoch: 0, taken: 0, ..(*known).clone() } == begin;
        known.filter(same).cloned().unwrap_or(begin)
    }

    /// The next `size` examples of at most `epochs` times through the file, and the place after
    /// them; none at the end.
    ///
    /// # Errors
    /// A line that is no example.
    pub fn take(
        &mut self,
        cursor: &mut Cursor,
        size: usize,
        epochs: u64,
    ) -> Result<Taken, ExamplesError> {
        let mut taken = Taken::default();
        while taken.samples.len() < size && cursor.epoch < epochs {
            if cursor.taken as usize >= self.lines.len() {
                (cursor.epoch, cursor.taken) = (cursor.epoch + 1, 0);
                continue;
            }
            let place = self.place(cursor);
            let (at, number) = self.lines[place];
            match self.example(at, number)? {
                Some(sample) => taken.samples.push(sample),
                None => taken.too_long += 1,
            }
            cursor.taken += 1;
        }
        Ok(taken)
    }

    /// The line that stands at the cursor.
    fn place(&mut self, cursor: &Cursor) -> usize {
        if cursor.in_order {
            return cursor.taken as usize;
        }
        let same = |known: &Cursor| known.seed == cursor.seed && known.epoch == cursor.epoch;
        if !self.order.as_ref().is_some_and(|(known, _)| same(known)) {
            let mut order: Vec<usize> = (0..self.lines.len()).collect();
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&cursor.seed.to_le_bytes());
            seed[8..16].copy_from_slice(&cursor.epoch.to_le_bytes());
            order.shuffle(&mut rand_chacha::ChaCha8Rng::from_seed(seed));
            self.order = Some((cursor.clone(), order));
        }
        self.order.as_ref().map_or(0, |(_, order)| order[cursor.taken as usize])
    }

    /// The example of a line; nothing where it is too long.
    fn example(&mut self, at: u64, line: usize) -> Result<Option<Sample>, ExamplesError> {
        let fail = |source| ExamplesError::Io { path: self.path.clone(), source };
        self.file.seek(SeekFrom::Start(at)).map_err(fail)?;
        let mut text = Vec::new();
        let mut reader = BufReader::new((&self.file).take(u64::MAX));
        reader.read_until(b'\n', &mut text).map_err(fail)?;
        let wrong = |reason: String| ExamplesError::Line { path: self.path.clone(), line, reason };
        let example: Value =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let messages = example["messages"].as_array().filter(|messages| {
            messages.last().is_some_and(|message| message["role"] == "assistant")
        });
        let Some(messages) = messages.filter(|messages| messages.len() > 1) else {
            return Err(wrong("expected `messages` that end with the assistant's".to_owned()));
        };
        let Rendered { tokens, spans } = rendered(&self.renderer, messages, example.get("tools"))
            .map_err(|error| wrong(chain(&error)))?;
        let Some(&(response_start, _)) = spans.first() else {
            return Err(wrong("the template hides what the assistant says".to_owned()));
        };
        if tokens.len() > self.tokens_max {
            return Ok(None);
        }
        let is_said = |at: &usize| spans.iter().any(|(from, to)| (*from..*to).contains(at));
        let heard = (response_start..tokens.len()).filter(|at| !is_said(at));
        let forced = heard.map(|at| (at - response_start) as u32).collect();
        Ok(Some(Sample::target(tokens, response_start, forced)))
    }
}

/// The ids of a conversation, and which of them the assistant says, the end of each of its turns
/// included. What stands after its last word is left out.
fn rendered(
    renderer: &Renderer,
    messages: &[Value],
    tools: Option<&Value>,
) -> Result<Rendered, RenderError> {
    let told = Told { begin_reply: false, template: &Map::new() };
    let mut tokens = renderer.prompt_told(messages, tools, told)?;
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        if index == 0 || message["role"] != "assistant" {
            continue;
        }
        let before = renderer.prompt(&messages[..index], tools)?;
        // Some templates show earlier turns otherwise than they were when they were said.
        if !tokens.starts_with(&before) {
            continue;
        }
        let rest = tokens[before.len()..].iter();
        let end = rest.clone().position(|id| renderer.stop_ids().contains(id));
        let end = before.len() + end.map_or(rest.len(), |at| at + 1);
        if end > before.len() && spans.last().is_none_or(|(_, to)| *to <= before.len()) {
            spans.push((before.len(), end));
        }
    }
    tokens.truncate(spans.last().map_or(0, |(_, to)| *to));
    Ok(Rendered { tokens, spans })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renderer() -> Renderer {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/model");
        Renderer::open(&dir).unwrap()
    }

    fn open(text: &str, tokens_max: usize) -> (tempfile::TempDir, Result<Examples, ExamplesError>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chats.jsonl");
        std::fs::write(&path, text).unwrap();
        let examples = Examples::open(&path, renderer(), tokens_max);
        (dir, examples)
    }

    fn chat(turns: &[&str]) -> String {
        let role = |at: usize| if at.is_multiple_of(2) { "user" } else { "assistant" };
        let messages: Vec<Value> = (turns.iter().enumerate())
            .map(|(at, text)| serde_json::json!({"role": role(at), "content": text}))
            .collect();
        format!("{}\n", serde_json::json!({"messages": messages}))
    }

    fn said(sample: &Sample) -> String {
        let response = &sample.tokens[sample.response_start..];
        let pairs = response.iter().zip(sample.mask());
        let ids: Vec<u32> = pairs.filter(|(_, mask)| *mask > 0.0).map(|(id, _)| *id).collect();
        renderer().decode_whole(&ids).unwrap()
    }

    #[test]
    fn only_what_the_assistant_says_is_trained_on() {
        let (_dir, examples) = open(&chat(&["hello", "hi there", "and now?", "bye"]), 1000);
        let mut examples = examples.unwrap();
        let mut cursor = examples.cursor(None, 1, false);
        let taken = examples.take(&mut cursor, 1, 1).unwrap();
        let said = said(&taken.samples[0]);
        assert!(said.contains("bye") && !said.contains("now") && !said.contains("hello"), "{said}");
        let last = taken.samples[0].tokens.last().unwrap();
        assert!(renderer().stop_ids().contains(last), "it learns to end");
    }

    #[test]
    fn a_cursor_is_enough_to_go_on() {
        let text: String = (0..7).map(|n| chat(&["say", &format!("number {n}")])).collect();
        let (_dir, examples) = open(&text, 1000);
        let mut examples = examples.unwrap();
        let mut all = Vec::new();
        let mut cursor = examples.cursor(None, 5, false);
        while let Some(sample) = examples.take(&mut cursor, 1, 2).unwrap().samples.pop() {
            all.push(said(&sample));
        }
        assert_eq!(all.len(), 14);
        let sorted = |half: &[String]| {
            let mut half = half.to_vec();
            half.sort();
            half
        };
        assert_eq!(sorted(&all[..7]), sorted(&all[7..]), "each once a time");
        assert_ne!(all[..7], all[7..], "in another order");
        let (_dir, again) = open(&text, 1000);
        let mut again = again.unwrap();
        let mut cursor = again.cursor(None, 5, false);
        again.take(&mut cursor, 9, 2).unwrap();
        let (_dir, resumed) = open(&text, 1000);
        let mut resumed = resumed.unwrap();
        let mut cursor = resumed.cursor(Some(&cursor), 5, false);
        let rest = resumed.take(&mut cursor, 9, 2).unwrap();
        let rest: Vec<String> = rest.samples.iter().map(said).collect();
        assert_eq!(rest, all[9..]);
        assert_eq!(resumed.cursor(Some(&cursor), 6, false).taken, 0, "another order begins anew");
        assert_eq!(resumed.cursor(Some(&cursor), 5, true).taken, 0, "and so does the file's own");
    }

    #[test]
    fn the_files_own_order_is_kept_each_time() {
        let text: String = (0..5).map(|n| chat(&["say", &format!("number {n}")])).collect();
        let (_dir, examples) = open(&text, 1000);
        let mut examples = examples.unwrap();
        let mut cursor = examples.cursor(None, 5, true);
        let taken = examples.take(&mut cursor, 7, 2).unwrap();
        let expected = [0, 1, 2, 3, 4, 0, 1].map(|n| format!("number {n}"));
        for (sample, expected) in taken.samples.iter().zip(expected) {
            assert!(said(sample).contains(&expected), "{expected}");
        }
        assert_eq!((cursor.epoch, cursor.taken), (1, 2));
    }

    #[test]
    fn what_is_no_example_is_named_and_what_is_too_long_is_counted() {
        let good = chat(&["hello", "hi"]);
        for (line, said) in [
            ("{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n", "assistant"),
            ("{\"messages\"\n", "EOF"),
            ("[]\n", "messages"),
        ] {
            let (_dir, examples) = open(&format!("{good}\n{line}"), 1000);
            let mut examples = examples.unwrap();
            let mut cursor = examples.cursor(None, 1, false);
            let error = examples.take(&mut cursor, 2, 1).unwrap_err().to_string();
            assert!(error.contains("line 3") && error.contains(said), "{error}");
        }
        let (_dir, none) = open("\n\n", 1000);
        assert!(matches!(none, Err(ExamplesError::Empty { .. })));
        let (_dir, short) = open(&good, 3);
        let mut short = short.unwrap();
        let mut cursor = short.cursor(None, 1, false);
        let taken = short.take(&mut cursor, 2, 1).unwrap();
        assert_eq!((taken.samples.len(), taken.too_long), (0, 1));
    }
}
