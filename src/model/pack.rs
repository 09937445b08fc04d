//! Several sequences as one batch of rows, in which what they have in common stands once.
//!
//! The tokens that sequences begin with form a trie. Each of its nodes is one row: a token whose
//! ancestors are all the tokens before it, and whose place in its sequence is its depth. Rows lie
//! in depth-first order, so that a branch is a run of rows ([`Segment`]) that attends to itself
//! and to runs of the branches that it grew from. Everything but attention sees a flat batch.
//!
//! A token is predicted by the row of the token before it. The last token of a sequence predicts
//! nothing and has no row, unless another sequence goes on from it.

use std::ops::Range;

use super::{ModelConfig, ModelError};

/// One sample: a prompt and the reply whose log-probabilities are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    tokens: Vec<u32>,
    response_start: usize,
}

fn refuse<T>(what: &'static str, found: String, expected: String) -> Result<T, ModelError> {
    Err(ModelError::Sequence { what, found, expected })
}

impl Sequence {
    /// Checks tokens against the model that will see them.
    ///
    /// # Errors
    /// [`ModelError::Sequence`] if there is no response, nothing before it, a token id that the
    /// model does not have, or more tokens than it has positions.
    pub fn new(
        config: &ModelConfig,
        tokens: Vec<u32>,
        response_start: usize,
    ) -> Result<Self, ModelError> {
        let (len, max) = (tokens.len(), config.positions_max);
        if len > max {
            let expected = format!("at most {max} tokens (max_position_embeddings)");
            return refuse("the sequence's length", len.to_string(), expected);
        }
        if response_start == 0 || response_start >= len {
            let expected = format!("at least 1 and below the sequence's length {len}");
            return refuse("the response's start", response_start.to_string(), expected);
        }
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= config.vocab_size) {
            let expected = format!("below the vocabulary's size {}", config.vocab_size);
            return refuse("a token id", token.to_string(), expected);
        }
        Ok(Self { tokens, response_start })
    }

    /// Prompt and response.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Index of the first response token; at least 1.
    pub fn response_start(&self) -> usize {
        self.response_start
    }

    /// The response's tokens.
    pub fn response(&self) -> &[u32] {
        &self.tokens[self.response_start..]
    }

    /// The tokens that something is predicted from.
    fn seen(&self) -> &[u32] {
        &self.tokens[..self.tokens.len() - 1]
    }
}

/// A run of rows, one after the other in their sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its own rows.
    pub(super) rows: Range<usize>,
    /// The rows of all tokens before the first, in the order of their places.
    pub(super) past: Vec<Range<usize>>,
}

impl Segment {
    /// All rows that it attends to, in the order of their places, as few ranges as it takes.
    pub(super) fn keys(&self) -> Vec<Range<usize>> {
        let mut keys = self.past.clone();
        match keys.last_mut() {
            Some(last) if last.end == self.rows.start => last.end = self.rows.end,
            _ => keys.push(self.rows.clone()),
        }
        keys
    }
}

/// Sequences laid out so that each distinct beginning is computed once.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Token of each row.
    pub(super) tokens: Vec<u32>,
    /// Place of each row in its sequence.
    pub(super) positions: Vec<u32>,
    pub(super) segments: Vec<Segment>,
    /// Of each response token, sample after sample: the row that predicts it.
    pub(super) predicting: Vec<u32>,
    /// Of each response token: its id.
    pub(super) targets: Vec<u32>,
    /// Of each response token: what scores are divided by.
    pub(super) temperatures: Vec<f32>,
}

impl Pack {
    /// Lays out sequences, each with the temperature of its log-probabilities: those of
    /// log-softmax(logits / T), and of the plain logits at T = 0 (greedy decoding).
    ///
    /// # Errors
    /// [`ModelError::Sequence`] if there is none, a temperature is missing, negative or not
    /// finite, or a sequence was made for a larger model.
    pub fn new(
        config: &ModelConfig,
        sequences: &[Sequence],
        temperatures: &[f32],
    ) -> Result<Self, ModelError> {
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by(|&a, &b| sequences[a].seen().cmp(sequences[b].seen()));
        Layout::default().lay_out(config, sequences, temperatures, &order, common)
    }

    /// The same with rows of its own for each sequence: the slow, obvious way.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn unshared(
        config: &ModelConfig,
        sequences: &[Sequence],
        temperatures: &[f32],
    ) -> Result<Self, ModelError> {
        let order: Vec<usize> = (0..sequences.len()).collect();
        Layout::default().lay_out(config, sequences, temperatures, &order, |_, _| 0)
    }

    /// Tokens that are computed.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Response tokens of all samples, R: samples one after the other, in the order given.
    pub fn response_tokens(&self) -> usize {
        self.targets.len()
    }
}

/// Number of tokens that both begin with.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A pack that is being laid out.
#[derive(Default)]
struct Layout {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    segments: Vec<Segment>,
    /// Of the sequence laid out last: the row of each of its tokens.
    path: Vec<u32>,
}

impl Layout {
    /// `shared` says how many tokens of a sequence, given after the one laid out before it, need
    /// no rows of their own.
    fn lay_out(
        mut self,
        config: &ModelConfig,
        sequences: &[Sequence],
        temperatures: &[f32],
        order: &[usize],
        shared: fn(&[u32], &[u32]) -> usize,
    ) -> Result<Pack, ModelError> {
        check(config, sequences, temperatures)?;
        let mut predicting: Vec<Vec<u32>> = vec![Vec::new(); sequences.len()];
        let mut before: &[u32] = &[];
        for &index in order {
            let sequence = &sequences[index];
            self.add(sequence.seen(), shared(before, sequence.seen()));
            before = sequence.seen();
            predicting[index] = self.path[sequence.response_start - 1..].to_vec();
        }
        let (mut targets, mut divisors) = (Vec::new(), Vec::new());
        for (sequence, &temperature) in sequences.iter().zip(temperatures) {
            let divisor = if temperature == 0.0 { 1.0 } else { temperature };
            targets.extend_from_slice(sequence.response());
            divisors.extend(sequence.response().iter().map(|_| divisor));
        }
        let Self { tokens, positions, segments, .. } = self;
        let (predicting, temperatures) = (predicting.concat(), divisors);
        Ok(Pack { tokens, positions, segments, predicting, targets, temperatures })
    }

    /// Adds rows for all but the first `shared` tokens, which stand on the path.
    fn add(&mut self, tokens: &[u32], shared: usize) {
        self.path.truncate(shared);
        if tokens.len() == shared {
            return;
        }
        let first = self.tokens.len();
        let rows = first..first + tokens.len() - shared;
        self.segments.push(Segment { rows: rows.clone(), past: runs(&self.path) });
        self.path.extend(rows.map(|row| row as u32));
        self.tokens.extend_from_slice(&tokens[shared..]);
        self.positions.extend(shared as u32..tokens.len() as u32);
    }
}

/// Consecutive rows as ranges.
fn runs(rows: &[u32]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for &row in rows {
        let row = row as usize;
        match runs.last_mut() {
            Some(run) if run.end == row => run.end += 1,
            _ => runs.push(row..row + 1),
        }
    }
    runs
}

fn check(
    config: &ModelConfig,
    sequences: &[Sequence],
    temperatures: &[f32],
) -> Result<(), ModelError> {
    if sequences.is_empty() {
        return refuse("the number of sequences", "0".to_owned(), "at least 1".to_owned());
    }
    if sequences.len() != temperatures.len() {
        let found = temperatures.len().to_string();
        let expected = format!("one for each of {} sequences", sequences.len());
        return refuse("the number of temperatures", found, expected);
    }
    if let Some(t) = temperatures.iter().find(|t| !t.is_finite() || **t < 0.0) {
        return refuse("a temperature", t.to_string(), "finite and at least 0".to_owned());
    }
    for Sequence { tokens, response_start } in sequences {
        Sequence::new(config, tokens.clone(), *response_start)?;
    }
    Ok(())
}

/// Which samples to compute together: those that begin alike next to each other, and no more than
/// `rows_max` rows in a pack, unless one sample alone has more.
///
/// Samples that share at least half of the shorter one are kept in one pack where they fit.
/// Every sample is in one pack. The result depends on the samples and their order, nothing else.
pub fn plan(sequences: &[Sequence], rows_max: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by(|&a, &b| sequences[a].seen().cmp(sequences[b].seen()));
    let seen = |index: usize| sequences[index].seen();
    let alike =
        |&a: &usize, &b: &usize| 2 * common(seen(a), seen(b)) >= seen(a).len().min(seen(b).len());
    let mut packs: Vec<Vec<usize>> = Vec::new();
    let mut rows = rows_max;
    for family in order.chunk_by(alike) {
        let together = family.windows(2).fold(seen(family[0]).len(), |rows, pair| {
            rows + seen(pair[1]).len() - common(seen(pair[0]), seen(pair[1]))
        });
        let fits = together <= rows_max;
        for (place, &index) in family.iter().enumerate() {
            let before = packs.last().and_then(|pack| pack.last());
            let own = seen(index).len() - before.map_or(0, |&b| common(seen(b), seen(index)));
            let needed = if fits && place == 0 { together } else { own };
            match packs.last_mut() {
                Some(pack) if rows + needed <= rows_max || (fits && place > 0) => {
                    pack.push(index);
                    rows += own;
                }
                _ => {
                    packs.push(vec![index]);
                    rows = seen(index).len();
                }
            }
        }
    }
    packs
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
