//! What a reply may be made of, where that is not everything: a grammar, known to the engine only
//! as the ids that may come next.

/// A grammar that one reply has to follow, at the place that it has reached.
pub trait Constraint: Send {
    /// Marks in `allowed` (all false on entry) which ids may come next. Where the grammar is
    /// complete these are ids that end the reply. At least one id is marked.
    ///
    /// # Errors
    /// The grammar can go nowhere from here, or took too long.
    fn allow(&mut self, allowed: &mut AllowedIds) -> Result<(), ConstraintError>;

    /// Goes on by one id, which was allowed.
    ///
    /// # Errors
    /// The id does not fit.
    fn accept(&mut self, id: u32) -> Result<(), ConstraintError>;
}

/// A grammar that could not be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the grammar could not be followed: {reason}")]
pub struct ConstraintError {
    /// What the grammar's machine said.
    pub reason: String,
}

/// A set of ids of one vocabulary, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedIds {
    words: Vec<u32>,
    vocab: usize,
}

impl AllowedIds {
    /// No id of a vocabulary of `vocab`.
    pub fn none(vocab: usize) -> Self {
        Self { words: vec![0; vocab.div_ceil(32)], vocab }
    }

    /// No id of a vocabulary of `vocab` again, whatever was there.
    pub fn reset(&mut self, vocab: usize) {
        self.words.clear();
        self.words.resize(vocab.div_ceil(32), 0);
        self.vocab = vocab;
    }

    /// Puts an id in; one beyond the vocabulary is ignored.
    pub fn insert(&mut self, id: u32) {
        if (id as usize) < self.vocab {
            self.words[id as usize / 32] |= 1 << (id % 32);
        }
    }

    /// Whether an id is in.
    pub fn contains(&self, id: u32) -> bool {
        self.words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
    }

    /// Puts in every id whose bit is set, id 0 in the lowest of the first word; bits beyond the
    /// vocabulary are ignored, words that are missing count as 0.
    pub fn insert_words(&mut self, words: &[u32]) {
        for (own, word) in self.words.iter_mut().zip(words) {
            *own |= word;
        }
        if let (Some(last), rest @ 1..) = (self.words.last_mut(), self.vocab % 32) {
            *last &= (1 << rest) - 1;
        }
    }

    /// The bits, id 0 in the lowest of the first word.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// How many ids are in.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bits() {
        let mut allowed = AllowedIds::none(70);
        assert!(allowed.is_empty());
        for id in [0, 31, 32, 69, 70, 1000] {
            allowed.insert(id);
        }
        assert_eq!(allowed.len(), 4);
        assert!(allowed.contains(69) && !allowed.contains(68) && !allowed.contains(70));
        allowed.reset(65);
        assert!(allowed.is_empty());
        allowed.insert_words(&[1 << 31, 0, u32::MAX, 1]);
        let ids: Vec<u32> = (0..200).filter(|id| allowed.contains(*id)).collect();
        assert_eq!(ids, [31, 64], "nothing beyond the vocabulary");
        allowed.insert_words(&[1]);
        assert_eq!(allowed.len(), 3, "missing words are 0");
    }
}
