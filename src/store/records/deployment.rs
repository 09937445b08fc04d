//! `deployments`.

use arrow::datatypes::UInt64Type;

use crate::rollout::{Deployment, DeploymentEvent, Version};
use crate::store::columns::{Batch, Columns, Mismatch};
use crate::store::{Part, Record, Table};

impl Record for Deployment {
    fn encode(rows: &[Self]) -> Batch {
        let each = rows.iter();
        let retired: Vec<Vec<u64>> =
            rows.iter().map(|r| r.retired.iter().map(|version| version.0).collect()).collect();
        Batch::new()
            .text("event", each.clone().map(|r| r.event.label()))
            .numbers::<UInt64Type>("version", each.clone().map(|r| r.version.0))
            .optional_numbers::<UInt64Type>(
                "previous",
                each.clone().map(|r| r.previous.map(|version| version.0)),
            )
            .number_lists::<UInt64Type>("retired", retired.iter().map(Vec::as_slice))
            .text_lists("servers", each.clone().map(|r| r.servers.as_slice()))
            .text("gate", each.clone().map(|r| &r.gate))
            .times("deployed_at", each.map(|r| r.deployed_at_us))
    }
}

impl Part for Deployment {
    const TABLE: Table = Table::Deployments;

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut event = columns.labels("event", DeploymentEvent::from_label)?;
        let mut version = columns.numbers::<UInt64Type>("version")?;
        let mut previous = columns.optional_numbers::<UInt64Type>("previous")?;
        let mut retired = columns.number_lists::<UInt64Type>("retired")?;
        let mut servers = columns.text_lists("servers")?;
        let mut gate = columns.text("gate")?;
        let mut deployed_at = columns.times("deployed_at")?;
        columns.rows(|| {
            Ok(Self {
                event: event.take()?,
                version: Version(version.take()?),
                previous: previous.take()?.map(Version),
                retired: retired.take()?.into_iter().map(Version).collect(),
                servers: servers.take()?,
                gate: gate.take()?,
                deployed_at_us: deployed_at.take()?,
            })
        })
    }
}
