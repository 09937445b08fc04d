//! A turn placed in its session, with what came after it.

use super::{Rated, TurnId, labelled};

labelled! {
    /// Whether a turn is part of the conversation that teaches.
    TurnKind {
        /// A turn of the conversation itself.
        Main = "main",
        /// Housekeeping of the client (heartbeat, summary, title …); never trained on.
        Side = "side",
    }
}

labelled! {
    /// What closed a turn.
    ClosedBy {
        /// The next turn of the same session brought the next state.
        NextTurn = "next_turn",
        /// The client said that the session is over.
        SessionEnd = "session_end",
        /// A new generation of the session began.
        Generation = "generation",
        /// Nothing came for the idle time-out.
        IdleTimeout = "idle_timeout",
        /// Explicit feedback arrived.
        Feedback = "feedback",
        /// Side turns have no next state and close at once.
        Side = "side",
        /// The stage that waited for the next state was ended.
        Shutdown = "shutdown",
    }
}

/// A turn placed in its session: a row of the `rollouts` table.
///
/// A turn has a first row when it is placed and a further one, of a higher revision, whenever more
/// is known of it: it was closed, a next state or a rating came late.
///
/// It carries the conversation itself, so that a judge can work on this table alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// The turn that is placed.
    pub turn_id: TurnId,
    /// Rows of one turn are ordered by this; the highest one counts.
    pub revision: u32,
    /// The session that the turn belongs to.
    pub session_id: String,
    /// The generation within the session (a client's `/new`, `/reset` or compaction raises it).
    pub generation: String,
    /// Position among the turns of the generation, from 0.
    pub turn_index: u32,
    /// Main or side.
    pub kind: TurnKind,
    /// The name of the rule that placed it.
    pub placed_by: String,
    /// The request's messages, as JSON.
    pub messages: String,
    /// The assistant message that was answered, as JSON.
    pub reply: String,
    /// Every message between this reply and the next one of the session, as a JSON array;
    /// `None` if nothing followed, or nothing yet.
    pub next_state: Option<String>,
    /// What closed the turn; `None` while it waits for its next state.
    pub closed_by: Option<ClosedBy>,
    /// Microseconds since the Unix epoch at which it was closed, if it was.
    pub closed_at_us: Option<i64>,
    /// The turn that this one repeats: the client sent the same request again, by itself or
    /// because its user wanted another reply.
    pub retry_of: Option<TurnId>,
    /// How often the user asked for another reply in place of this one.
    pub regenerated: u32,
    /// The reply was not heard to its end, or the client left it out of its history.
    pub abandoned: bool,
    /// What the user said of the reply explicitly: the last word counts.
    pub rated: Option<Rated>,
}

impl Rollout {
    /// Whether something is known by which the reply can be judged.
    pub const fn has_evidence(&self) -> bool {
        self.next_state.is_some() || self.rated.is_some() || self.regenerated > 0
    }
}
