//! `rollouts`.

use arrow::datatypes::UInt32Type;

use crate::rollout::{ClosedBy, Rated, Rating, Rollout, TurnKind};
use crate::store::columns::{Batch, Columns, Mismatch};
use crate::store::{Part, Record, Table};

impl Record for Rollout {
    fn encode(rows: &[Self]) -> Batch {
        let each = rows.iter();
        let rated = each.clone().map(|r| r.rated.as_ref());
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
            .optional_text("closed_by", each.clone().map(|r| r.closed_by.map(|by| by.label())))
            .optional_times("closed_at", each.clone().map(|r| r.closed_at_us))
            .optional_text("retry_of", each.clone().map(|r| r.retry_of.map(|id| id.to_string())))
            .numbers::<UInt32Type>("regenerated", each.clone().map(|r| r.regenerated))
            .flags("abandoned", each.clone().map(|r| r.abandoned))
            .optional_text("rating", rated.clone().map(|r| r.map(|r| r.rating.label())))
            .optional_text("rating_text", rated.clone().map(|r| r.and_then(|r| r.text.as_ref())))
            .optional_times("rated_at", rated.map(|r| r.map(|r| r.given_at_us)))
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
        let mut closed_by = columns.optional_labels("closed_by", ClosedBy::from_label)?;
        let mut closed_at = columns.optional_times("closed_at")?;
        let mut retry_of = columns.optional_turn_ids("retry_of")?;
        let mut regenerated = columns
            .since(3, "regenerated", 0, |columns, name| columns.numbers::<UInt32Type>(name))?;
        let mut abandoned = columns.since(3, "abandoned", false, Columns::flags)?;
        let mut rating = columns.since(3, "rating", None, |columns, name| {
            columns.optional_labels(name, Rating::from_label)
        })?;
        let mut rating_text = columns.since(3, "rating_text", None, Columns::optional_text)?;
        let mut rated_at = columns.since(3, "rated_at", None, Columns::optional_times)?;
        columns.rows(|| {
            let (rating, text) = (rating.take()?, rating_text.take()?);
            let given_at_us = rated_at.take()?.unwrap_or_default();
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
                regenerated: regenerated.take()?,
                abandoned: abandoned.take()?,
                rated: rating.map(|rating| Rated { rating, text, given_at_us }),
            })
        })
    }
}
