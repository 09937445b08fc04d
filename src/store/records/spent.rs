//! What a vote took, as columns of the votes of `scores` and of `hints`.

use arrow::datatypes::UInt32Type;

use crate::rollout::Spent;
use crate::store::columns::{Batch, Column, Columns, Mismatch};

pub fn encode(batch: Batch, spent: impl Iterator<Item = Spent> + Clone) -> Batch {
    batch
        .optional_numbers::<UInt32Type>("latency_ms", spent.clone().map(|s| s.latency_ms))
        .optional_numbers::<UInt32Type>("prompt_tokens", spent.clone().map(|s| s.prompt_tokens))
        .optional_numbers::<UInt32Type>("completion_tokens", spent.map(|s| s.completion_tokens))
}

/// The columns came with schema 5.
pub fn decode(columns: &Columns<'_>) -> Result<Column<Spent>, Mismatch> {
    let counts = |name| {
        columns.since(5, name, None, |columns, name| columns.optional_numbers::<UInt32Type>(name))
    };
    let mut latency_ms = counts("latency_ms")?;
    let mut prompt_tokens = counts("prompt_tokens")?;
    let mut completion_tokens = counts("completion_tokens")?;
    let spent = columns.rows(|| {
        Ok(Spent {
            latency_ms: latency_ms.take()?,
            prompt_tokens: prompt_tokens.take()?,
            completion_tokens: completion_tokens.take()?,
        })
    })?;
    Ok(Column::of(spent))
}
