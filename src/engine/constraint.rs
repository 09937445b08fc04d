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

/// A set of token ids, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedIds {
    words: Vec<u32>,
}

impl AllowedIds {
    /// No id of a vocabulary of `vocab`.
    pub fn none(vocab: usize) -> Self {
        Self { words: vec![0; vocab.div_ceil(32)] }
    }

    /// Takes every id out.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Puts an id in; one beyond the vocabulary is ignored.
    pub fn insert(&mut self, id: u32) {
        if let Some(word) = self.words.get_mut(id as usize / 32) {
            *word |= 1 << (id % 32);
        }
    }

    /// Whether an id is in.
    pub fn contains(&self, id: u32) -> bool {
        self.words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
    }

    /// The bits, id 0 in the lowest of the first word: for grammars that work on whole words.
    pub fn words_mut(&mut self) -> &mut [u32] {
        &mut self.words
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
        for id in [0, 31, 32, 69, 1000] {
            allowed.insert(id);
        }
        assert_eq!(allowed.len(), 4);
        assert!(allowed.contains(69) && !allowed.contains(68) && !allowed.contains(1000));
        assert_eq!(allowed.words_mut()[0], 1 | 1 << 31);
        allowed.clear();
        assert!(allowed.is_empty());
    }
}
