//! What was looked at already.

use std::collections::HashMap;

use crate::rollout::{Rollout, TurnId, TurnKind};

/// The revision of each turn's rollout that was looked at last.
#[derive(Debug, Default)]
pub struct Looked(HashMap<TurnId, u32>);

impl Looked {
    /// Remembers that a revision was looked at.
    pub fn at(&mut self, turn: TurnId, revision: u32) {
        let known = self.0.entry(turn).or_default();
        *known = revision.max(*known);
    }

    /// Whether a rollout is to be judged, now that there is this revision of it: a closed main
    /// turn with evidence that was not looked at before. If so, it is remembered.
    pub fn is_news(&mut self, rollout: &Rollout) -> bool {
        let news = is_wanted(rollout)
            && self.0.get(&rollout.turn_id).is_none_or(|known| *known < rollout.revision);
        if news {
            self.at(rollout.turn_id, rollout.revision);
        }
        news
    }

    /// Number of turns.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Whether a rollout is one that is judged.
fn is_wanted(rollout: &Rollout) -> bool {
    rollout.kind == TurnKind::Main && rollout.closed_by.is_some() && rollout.has_evidence()
}
