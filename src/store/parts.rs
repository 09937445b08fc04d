//! The few columns that counting needs, without the conversations.

use arrow::datatypes::UInt32Type;

use super::columns::{Columns, Mismatch};
use super::records::turn_status;
use super::{Part, Table};
use crate::rollout::{ClosedBy, FinishReason, Placement, TurnId, TurnKind, TurnStatus};

/// The identity of a turn row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnPart {
    /// The turn.
    pub turn_id: TurnId,
    /// Who answered, and whether the content was kept.
    pub status: TurnStatus,
}

impl Part for TurnPart {
    const TABLE: Table = Table::Turns;
    const COLUMNS: Option<&'static [&'static str]> = Some(&["turn_id", "status"]);

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut turn_id = columns.turn_ids("turn_id")?;
        let mut status = turn_status(columns)?;
        columns.rows(|| Ok(Self { turn_id: turn_id.take()?, status: status.take()? }))
    }
}

/// A turn row without its tokens: what places it in its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnText {
    /// The turn.
    pub turn_id: TurnId,
    /// Microseconds since the Unix epoch at which the request was read.
    pub received_at_us: i64,
    /// Microseconds since the Unix epoch at which the last token was sampled.
    pub finished_at_us: i64,
    /// Who asked.
    pub user: String,
    /// The headers and body fields that place it, as a JSON object.
    pub session_keys: String,
    /// The request's messages, as JSON.
    pub messages: String,
    /// The request's tools, as JSON; empty if there were none.
    pub tools: String,
    /// The assistant message that was answered, as JSON.
    pub reply: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Who answered, and whether the content was kept.
    pub status: TurnStatus,
}

impl Part for TurnText {
    const TABLE: Table = Table::Turns;
    const COLUMNS: Option<&'static [&'static str]> = Some(&[
        "turn_id",
        "received_at",
        "finished_at",
        "user",
        "session_keys",
        "messages",
        "tools",
        "reply",
        "finish_reason",
        "status",
    ]);

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut turn_id = columns.turn_ids("turn_id")?;
        let mut received_at = columns.times("received_at")?;
        let mut finished_at = columns.times("finished_at")?;
        let mut user = columns.text("user")?;
        let mut session_keys = columns.text("session_keys")?;
        let mut messages = columns.text("messages")?;
        let mut tools = columns.text("tools")?;
        let mut reply = columns.text("reply")?;
        let mut finish_reason = columns.labels("finish_reason", FinishReason::from_label)?;
        let mut status = turn_status(columns)?;
        columns.rows(|| {
            Ok(Self {
                turn_id: turn_id.take()?,
                received_at_us: received_at.take()?,
                finished_at_us: finished_at.take()?,
                user: user.take()?,
                session_keys: session_keys.take()?,
                messages: messages.take()?,
                tools: tools.take()?,
                reply: reply.take()?,
                finish_reason: finish_reason.take()?,
                status: status.take()?,
            })
        })
    }
}

/// What the state of a turn depends on in its rollout row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutPart {
    /// The turn.
    pub turn_id: TurnId,
    /// The session that it is of.
    pub session_id: String,
    /// The rule that placed it.
    pub placed_by: String,
    /// What counts of the row.
    pub placement: Placement,
    /// Whether there is a next state.
    pub has_next_state: bool,
    /// How often the user asked for another reply.
    pub regenerated: u32,
    /// Whether the reply was not heard to its end, or left out of the client's history.
    pub abandoned: bool,
    /// When the rating that stands in the row was given, if there is one.
    pub rated_at_us: Option<i64>,
}

impl Part for RolloutPart {
    const TABLE: Table = Table::Rollouts;
    const COLUMNS: Option<&'static [&'static str]> = Some(&[
        "turn_id",
        "session_id",
        "revision",
        "kind",
        "placed_by",
        "next_state",
        "closed_by",
        "retry_of",
        "regenerated",
        "abandoned",
        "rated_at",
    ]);

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut turn_id = columns.turn_ids("turn_id")?;
        let mut session_id = columns.text("session_id")?;
        let mut revision = columns.numbers::<UInt32Type>("revision")?;
        let mut kind = columns.labels("kind", TurnKind::from_label)?;
        let mut placed_by = columns.text("placed_by")?;
        let mut next_state = columns.optional_text("next_state")?;
        let mut closed_by = columns.optional_labels("closed_by", ClosedBy::from_label)?;
        let mut retry_of = columns.optional_text("retry_of")?;
        let mut regenerated = columns
            .since(3, "regenerated", 0, |columns, name| columns.numbers::<UInt32Type>(name))?;
        let mut abandoned = columns.since(3, "abandoned", false, Columns::flags)?;
        let mut rated_at = columns.since(3, "rated_at", None, Columns::optional_times)?;
        columns.rows(|| {
            let has_next_state = next_state.take()?.is_some();
            let (regenerated, rated_at_us) = (regenerated.take()?, rated_at.take()?);
            let placement = Placement {
                revision: revision.take()?,
                kind: kind.take()?,
                closed: closed_by.take()?.is_some(),
                has_evidence: has_next_state || regenerated > 0 || rated_at_us.is_some(),
                is_retry: retry_of.take()?.is_some(),
            };
            Ok(Self {
                turn_id: turn_id.take()?,
                session_id: session_id.take()?,
                placed_by: placed_by.take()?,
                placement,
                has_next_state,
                regenerated,
                abandoned: abandoned.take()?,
                rated_at_us,
            })
        })
    }
}
