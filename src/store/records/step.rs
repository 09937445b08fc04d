//! `steps`.

use arrow::datatypes::{Float32Type, Float64Type, UInt32Type, UInt64Type};

use crate::rollout::{RejectedTurn, Rejection, Step, TrainedTurn, TrainingSignal, Version};
use crate::store::columns::{Batch, Columns, Mismatch};
use crate::store::{Part, Record, Table};

impl Record for Step {
    fn encode(rows: &[Self]) -> Batch {
        let each = rows.iter();
        Batch::new()
            .optional_numbers::<UInt64Type>(
                "version",
                each.clone().map(|r| r.version.map(|version| version.0)),
            )
            .numbers::<UInt64Type>("parent", each.clone().map(|r| r.parent.0))
            .text("method", each.clone().map(|r| &r.method))
            .struct_lists("trained", each.clone().map(|r| r.trained.as_slice()), |batch, turns| {
                batch
                    .text("turn_id", turns.iter().map(|t| t.turn_id.to_string()))
                    .text("signal", turns.iter().map(|t| t.signal.label()))
                    .numbers::<Float32Type>("reward", turns.iter().map(|t| t.reward))
                    .numbers::<UInt32Type>("tokens", turns.iter().map(|t| t.tokens))
            })
            .struct_lists(
                "rejected",
                each.clone().map(|r| r.rejected.as_slice()),
                |batch, turns| {
                    batch
                        .text("turn_id", turns.iter().map(|t| t.turn_id.to_string()))
                        .text("reason", turns.iter().map(|t| t.reason.label()))
                        .numbers::<UInt32Type>("revision", turns.iter().map(|t| t.revision))
                },
            )
            .struct_lists(
                "metrics",
                each.clone().map(|r| r.metrics.as_slice()),
                |batch, metrics| {
                    batch
                        .text("name", metrics.iter().map(|(name, _)| name))
                        .numbers::<Float64Type>("value", metrics.iter().map(|(_, value)| *value))
                },
            )
            .text("detail", each.clone().map(|r| &r.detail))
            .times("finished_at", each.map(|r| r.finished_at_us))
    }
}

impl Part for Step {
    const TABLE: Table = Table::Steps;

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut version = columns.optional_numbers::<UInt64Type>("version")?;
        let mut parent = columns.numbers::<UInt64Type>("parent")?;
        let mut method = columns.text("method")?;
        let mut trained = columns.struct_lists("trained", trained)?;
        let mut rejected = columns.struct_lists("rejected", rejected)?;
        let mut metrics = columns.struct_lists("metrics", |columns| {
            let mut name = columns.text("name")?;
            let mut value = columns.numbers::<Float64Type>("value")?;
            columns.rows(|| Ok((name.take()?, value.take()?)))
        })?;
        let mut detail =
            columns.since(4, "detail", String::new(), |columns, name| columns.text(name))?;
        let mut finished_at = columns.times("finished_at")?;
        columns.rows(|| {
            Ok(Self {
                version: version.take()?.map(Version),
                parent: Version(parent.take()?),
                method: method.take()?,
                trained: trained.take()?,
                rejected: rejected.take()?,
                metrics: metrics.take()?,
                detail: detail.take()?,
                finished_at_us: finished_at.take()?,
            })
        })
    }
}

fn trained(columns: &Columns<'_>) -> Result<Vec<TrainedTurn>, Mismatch> {
    let mut turn_id = columns.turn_ids("turn_id")?;
    let mut signal = columns.labels("signal", TrainingSignal::from_label)?;
    let mut reward = columns.numbers::<Float32Type>("reward")?;
    let mut tokens = columns.numbers::<UInt32Type>("tokens")?;
    columns.rows(|| {
        Ok(TrainedTurn {
            turn_id: turn_id.take()?,
            signal: signal.take()?,
            reward: reward.take()?,
            tokens: tokens.take()?,
        })
    })
}

fn rejected(columns: &Columns<'_>) -> Result<Vec<RejectedTurn>, Mismatch> {
    let mut turn_id = columns.turn_ids("turn_id")?;
    let mut reason = columns.labels("reason", Rejection::from_label)?;
    let mut revision =
        columns.since(3, "revision", 0, |columns, name| columns.numbers::<UInt32Type>(name))?;
    columns.rows(|| {
        Ok(RejectedTurn {
            turn_id: turn_id.take()?,
            reason: reason.take()?,
            revision: revision.take()?,
        })
    })
}
