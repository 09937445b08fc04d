//! A turn placed in its session, with what came after it.

use super::{TurnId, labelled};

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
    }
}

/// A turn placed in its session: a row of the `rollouts` table.
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
    /// `None` if nothing followed.
    pub next_state: Option<String>,
    /// What closed the turn.
    pub closed_by: ClosedBy,
    /// Microseconds since the Unix epoch at which it was closed.
    pub closed_at_us: i64,
    /// The turn that this one repeats, if the client retried.
    pub retry_of: Option<TurnId>,
}
