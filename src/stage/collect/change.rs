//! What the core tells of a turn.

use crate::rollout::{ClosedBy, Rated, Rollout, TurnId};

/// What became known of a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Everything that is known of the turn so far. Its revision says nothing: who writes the row
    /// numbers it.
    Row(Rollout),
    /// Something that came for a turn whose text is not held any more.
    Late(Late),
}

impl Change {
    /// The turn that it is about.
    pub const fn turn_id(&self) -> TurnId {
        match self {
            Self::Row(row) => row.turn_id,
            Self::Late(late) => late.turn_id,
        }
    }
}

/// Evidence for a turn whose text is not held any more: it is to be added to the turn's last row,
/// which may stand before it in the same list of changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Late {
    /// The turn.
    pub turn_id: TurnId,
    /// What followed its reply.
    pub next_state: Option<String>,
    /// How often another reply was asked for in its place, all in all.
    pub regenerated: u32,
    /// The client left the reply out of its history.
    pub abandoned: bool,
    /// What the user said of it explicitly.
    pub rated: Option<Rated>,
}

impl Late {
    /// Nothing about this turn.
    pub const fn about(turn_id: TurnId) -> Self {
        Self { turn_id, next_state: None, regenerated: 0, abandoned: false, rated: None }
    }

    /// Adds what is new to the turn's row; whether there was anything.
    pub fn apply(self, row: &mut Rollout) -> bool {
        let mut changed = false;
        if row.next_state.is_none() && self.next_state.is_some() {
            row.next_state = self.next_state;
            row.abandoned = self.abandoned || row.abandoned && row.regenerated > 0;
            changed = true;
        }
        if self.regenerated > row.regenerated {
            row.regenerated = self.regenerated;
            changed = true;
        }
        if self.abandoned && !row.abandoned && row.next_state.is_none() {
            row.abandoned = true;
            changed = true;
        }
        match self.rated {
            Some(rated) => rate(row, rated) || changed,
            None => changed,
        }
    }
}

/// Adds a rating to a row, unless a later one stands there; closes the row if it is open. Whether
/// anything changed.
pub fn rate(row: &mut Rollout, rated: Rated) -> bool {
    let order = |rated: &Rated| (rated.given_at_us, rated.rating, rated.text.clone());
    if row.rated.as_ref().is_some_and(|known| order(known) >= order(&rated)) {
        return false;
    }
    if row.closed_by.is_none() {
        row.closed_by = Some(ClosedBy::Feedback);
        row.closed_at_us = Some(rated.given_at_us);
    }
    row.rated = Some(rated);
    true
}
