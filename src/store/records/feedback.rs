//! `feedback`.

use crate::rollout::{Feedback, Rated, Rating};
use crate::store::columns::{Batch, Columns, Mismatch};
use crate::store::{Part, Record, Table};

impl Record for Feedback {
    fn encode(rows: &[Self]) -> Batch {
        let each = rows.iter();
        Batch::new()
            .text("turn_id", each.clone().map(|r| r.turn_id.to_string()))
            .text("user", each.clone().map(|r| &r.user))
            .text("rating", each.clone().map(|r| r.rated.rating.label()))
            .optional_text("text", each.clone().map(|r| r.rated.text.as_ref()))
            .times("given_at", each.map(|r| r.rated.given_at_us))
    }
}

impl Part for Feedback {
    const TABLE: Table = Table::Feedback;

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut turn_id = columns.turn_ids("turn_id")?;
        let mut user = columns.text("user")?;
        let mut rating = columns.labels("rating", Rating::from_label)?;
        let mut text = columns.optional_text("text")?;
        let mut given_at = columns.times("given_at")?;
        columns.rows(|| {
            let (rating, text) = (rating.take()?, text.take()?);
            let rated = Rated { rating, text, given_at_us: given_at.take()? };
            Ok(Self { turn_id: turn_id.take()?, user: user.take()?, rated })
        })
    }
}
