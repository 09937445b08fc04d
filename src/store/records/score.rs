//! `scores`.

use arrow::datatypes::{Int8Type, UInt32Type};

use super::spent;
use crate::rollout::{Score, ScoreStatus, Vote};
use crate::store::columns::{Batch, Columns, Mismatch};
use crate::store::{Part, Record, Table};

impl Record for Score {
    fn encode(rows: &[Self]) -> Batch {
        let each = rows.iter();
        Batch::new()
            .text("turn_id", each.clone().map(|r| r.turn_id.to_string()))
            .numbers::<UInt32Type>("revision", each.clone().map(|r| r.revision))
            .text("judge", each.clone().map(|r| &r.judge))
            .text("status", each.clone().map(|r| r.status.label()))
            .struct_lists("votes", each.clone().map(|r| r.votes.as_slice()), |batch, votes| {
                let batch = batch
                    .optional_numbers::<Int8Type>("value", votes.iter().map(|v| v.value))
                    .text("text", votes.iter().map(|v| &v.text));
                spent::encode(batch, votes.iter().map(|v| v.spent))
            })
            .numbers::<Int8Type>("score", each.clone().map(|r| r.score))
            .text("reasoning", each.clone().map(|r| &r.reasoning))
            .times("judged_at", each.map(|r| r.judged_at_us))
    }
}

impl Part for Score {
    const TABLE: Table = Table::Scores;

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut turn_id = columns.turn_ids("turn_id")?;
        let mut revision =
            columns.since(3, "revision", 0, |columns, name| columns.numbers::<UInt32Type>(name))?;
        let mut judge = columns.text("judge")?;
        let mut status = columns.labels("status", ScoreStatus::from_label)?;
        let mut votes = columns.struct_lists("votes", |columns| {
            let mut value = columns.optional_numbers::<Int8Type>("value")?;
            let mut text = columns.text("text")?;
            let mut spent = spent::decode(columns)?;
            columns.rows(|| {
                Ok(Vote { value: value.take()?, text: text.take()?, spent: spent.take()? })
            })
        })?;
        let mut score = columns.numbers::<Int8Type>("score")?;
        let mut reasoning = columns.text("reasoning")?;
        let mut judged_at = columns.times("judged_at")?;
        columns.rows(|| {
            Ok(Self {
                turn_id: turn_id.take()?,
                revision: revision.take()?,
                judge: judge.take()?,
                status: status.take()?,
                votes: votes.take()?,
                score: score.take()?,
                reasoning: reasoning.take()?,
                judged_at_us: judged_at.take()?,
            })
        })
    }
}
