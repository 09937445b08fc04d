//! `turns`.

use arrow::datatypes::{Float32Type, UInt32Type, UInt64Type};

use crate::rollout::{FinishReason, Sampling, Turn, Version, VersionSpan};
use crate::store::columns::{Batch, Columns, Mismatch};
use crate::store::{Part, Record, Table};

impl Record for Turn {
    fn encode(rows: &[Self]) -> Batch {
        let each = rows.iter();
        let sampling = Batch::new()
            .numbers::<Float32Type>("temperature", each.clone().map(|r| r.sampling.temperature))
            .numbers::<Float32Type>("top_p", each.clone().map(|r| r.sampling.top_p))
            .numbers::<UInt32Type>("top_k", each.clone().map(|r| r.sampling.top_k))
            .numbers::<UInt64Type>("seed", each.clone().map(|r| r.sampling.seed))
            .numbers::<UInt32Type>("max_tokens", each.clone().map(|r| r.sampling.max_tokens));
        let spans = each.clone().map(|r| r.version_spans.as_slice());
        let logprobs = each.clone().map(|r| r.response_logprobs.as_slice());
        Batch::new()
            .text("turn_id", each.clone().map(|r| r.turn_id.to_string()))
            .times("received_at", each.clone().map(|r| r.received_at_us))
            .times("finished_at", each.clone().map(|r| r.finished_at_us))
            .text("user", each.clone().map(|r| &r.user))
            .text("policy", each.clone().map(|r| &r.policy))
            .text("model", each.clone().map(|r| &r.model))
            .text("session_keys", each.clone().map(|r| &r.session_keys))
            .text("messages", each.clone().map(|r| &r.messages))
            .text("tools", each.clone().map(|r| &r.tools))
            .text("reply", each.clone().map(|r| &r.reply))
            .number_lists::<UInt32Type>("prompt_ids", each.clone().map(|r| r.prompt_ids.as_slice()))
            .number_lists::<UInt32Type>(
                "response_ids",
                each.clone().map(|r| r.response_ids.as_slice()),
            )
            .number_lists::<Float32Type>("response_logprobs", logprobs)
            .struct_lists("version_spans", spans, |batch, spans| {
                batch
                    .numbers::<UInt32Type>("start", spans.iter().map(|s| s.start))
                    .numbers::<UInt64Type>("version", spans.iter().map(|s| s.version.0))
            })
            .group("sampling", sampling)
            .text("finish_reason", each.map(|r| r.finish_reason.label()))
    }
}

impl Part for Turn {
    const TABLE: Table = Table::Turns;

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut turn_id = columns.turn_ids("turn_id")?;
        let mut received_at = columns.times("received_at")?;
        let mut finished_at = columns.times("finished_at")?;
        let mut user = columns.text("user")?;
        let mut policy = columns.text("policy")?;
        let mut model = columns.text("model")?;
        let mut session_keys = columns.text("session_keys")?;
        let mut messages = columns.text("messages")?;
        let mut tools = columns.text("tools")?;
        let mut reply = columns.text("reply")?;
        let mut prompt_ids = columns.number_lists::<UInt32Type>("prompt_ids")?;
        let mut response_ids = columns.number_lists::<UInt32Type>("response_ids")?;
        let mut logprobs = columns.number_lists::<Float32Type>("response_logprobs")?;
        let mut version_spans = columns.struct_lists("version_spans", spans)?;
        let mut sampling = columns.group("sampling", sampling)?;
        let mut finish_reason = columns.labels("finish_reason", FinishReason::from_label)?;
        columns.rows(|| {
            Ok(Self {
                turn_id: turn_id.take()?,
                received_at_us: received_at.take()?,
                finished_at_us: finished_at.take()?,
                user: user.take()?,
                policy: policy.take()?,
                model: model.take()?,
                session_keys: session_keys.take()?,
                messages: messages.take()?,
                tools: tools.take()?,
                reply: reply.take()?,
                prompt_ids: prompt_ids.take()?,
                response_ids: response_ids.take()?,
                response_logprobs: logprobs.take()?,
                version_spans: version_spans.take()?,
                sampling: sampling.take()?,
                finish_reason: finish_reason.take()?,
            })
        })
    }
}

fn spans(columns: &Columns<'_>) -> Result<Vec<VersionSpan>, Mismatch> {
    let mut start = columns.numbers::<UInt32Type>("start")?;
    let mut version = columns.numbers::<UInt64Type>("version")?;
    columns.rows(|| Ok(VersionSpan { start: start.take()?, version: Version(version.take()?) }))
}

fn sampling(columns: &Columns<'_>) -> Result<Vec<Sampling>, Mismatch> {
    let mut temperature = columns.numbers::<Float32Type>("temperature")?;
    let mut top_p = columns.numbers::<Float32Type>("top_p")?;
    let mut top_k = columns.numbers::<UInt32Type>("top_k")?;
    let mut seed = columns.numbers::<UInt64Type>("seed")?;
    let mut max_tokens = columns.numbers::<UInt32Type>("max_tokens")?;
    columns.rows(|| {
        Ok(Sampling {
            temperature: temperature.take()?,
            top_p: top_p.take()?,
            top_k: top_k.take()?,
            seed: seed.take()?,
            max_tokens: max_tokens.take()?,
            ..Sampling::default()
        })
    })
}
