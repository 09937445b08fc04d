//! `rollouts`.

use arrow::datatypes::UInt32Type;

use crate::rollout::{ClosedBy, Rollout, TurnKind};
use crate::store::columns::{Batch, Columns, Mismatch};
use crate::store::{Part, Record, Table};

impl Record for Rollout {
    fn encode(rows: &[Self]) -> Batch {
        let each = rows.iter();
        Batch::new()
            .text("turn_id", each.clone().map(|r| r.turn_id.to_string()))
            .numbers::<UInt32Type>("revision", each.clone().map(|r| r.revision))
            .text("session_id", each.clone().map(|r| &r.session_id))
            .text("generation", each.clone().map(|r| &r.generation))
            .numbers::<UInt32Type>("turn_index", each.clone().map(|r| r.turn_index))
            .text("kind", each.clone().map(|r| r.kind.label()))
            .text("placed_by", each.clone().map(|r| &r.placed_by))
            .text("messages", each.clone().map(|r| &r.messages))
            .text("reply", each.clone().map(|r| &r.reply))
            .optional_text("next_state", each.clone().map(|r| r.next_state.as_ref()))
            .text("closed_by", each.clone().map(|r| r.closed_by.label()))
            .times("closed_at", each.clone().map(|r| r.closed_at_us))
            .optional_text("retry_of", each.map(|r| r.retry_of.map(|id| id.to_string())))
    }
}

impl Part for Rollout {
    const TABLE: Table = Table::Rollouts;

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut turn_id = columns.turn_ids("turn_id")?;
        let mut revision = columns.numbers::<UInt32Type>("revision")?;
        let mut session_id = columns.text("session_id")?;
        let mut generation = columns.text("generation")?;
        let mut turn_index = columns.numbers::<UInt32Type>("turn_index")?;
        let mut kind = columns.labels("kind", TurnKind::from_label)?;
        let mut placed_by = columns.text("placed_by")?;
        let mut messages = columns.text("messages")?;
        let mut reply = columns.text("reply")?;
        let mut next_state = columns.optional_text("next_state")?;
        let mut closed_by = columns.labels("closed_by", ClosedBy::from_label)?;
        let mut closed_at = columns.times("closed_at")?;
        let mut retry_of = columns.optional_turn_ids("retry_of")?;
        columns.rows(|| {
            Ok(Self {
                turn_id: turn_id.take()?,
                revision: revision.take()?,
                session_id: session_id.take()?,
                generation: generation.take()?,
                turn_index: turn_index.take()?,
                kind: kind.take()?,
                placed_by: placed_by.take()?,
                messages: messages.take()?,
                reply: reply.take()?,
                next_state: next_state.take()?,
                closed_by: closed_by.take()?,
                closed_at_us: closed_at.take()?,
                retry_of: retry_of.take()?,
            })
        })
    }
}
