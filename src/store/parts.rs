//! The few columns that counting needs, without the conversations.

use arrow::datatypes::UInt32Type;

use super::columns::{Columns, Mismatch};
use super::{Part, Table};
use crate::rollout::{Placement, TurnId, TurnKind};

/// The identity of a turn row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnPart {
    /// The turn.
    pub turn_id: TurnId,
}

impl Part for TurnPart {
    const TABLE: Table = Table::Turns;
    const COLUMNS: Option<&'static [&'static str]> = Some(&["turn_id"]);

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut turn_id = columns.turn_ids("turn_id")?;
        columns.rows(|| Ok(Self { turn_id: turn_id.take()? }))
    }
}

/// What the state of a turn depends on in its rollout row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloutPart {
    /// The turn.
    pub turn_id: TurnId,
    /// What counts of the row.
    pub placement: Placement,
}

impl Part for RolloutPart {
    const TABLE: Table = Table::Rollouts;
    const COLUMNS: Option<&'static [&'static str]> =
        Some(&["turn_id", "revision", "kind", "next_state", "retry_of"]);

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut turn_id = columns.turn_ids("turn_id")?;
        let mut revision = columns.numbers::<UInt32Type>("revision")?;
        let mut kind = columns.labels("kind", TurnKind::from_label)?;
        let mut next_state = columns.optional_text("next_state")?;
        let mut retry_of = columns.optional_text("retry_of")?;
        columns.rows(|| {
            let placement = Placement {
                revision: revision.take()?,
                kind: kind.take()?,
                has_next_state: next_state.take()?.is_some(),
                is_retry: retry_of.take()?.is_some(),
            };
            Ok(Self { turn_id: turn_id.take()?, placement })
        })
    }
}
