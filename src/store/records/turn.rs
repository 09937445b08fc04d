//! `turns`.

use arrow::datatypes::{Float32Type, UInt32Type, UInt64Type};

use crate::rollout::{
    ConstraintKind, FinishReason, Sampling, Turn, TurnStatus, Version, VersionSpan,
};
use crate::store::columns::{Batch, Column, Columns, Mismatch};
use crate::store::{Part, Record, Table};

impl Record for Turn {
    fn encode(rows: &[Self]) -> Batch {
        let each = rows.iter();
        let sampling = encode_sampling(each.clone().map(|r| &r.sampling));
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
            .number_lists::<Float32Type>(
                "drawn_logprobs",
                each.clone().map(|r| r.drawn_logprobs.as_slice()),
            )
            .number_lists::<UInt32Type>("forced", each.clone().map(|r| r.forced.as_slice()))
            .optional_text("constraint", each.clone().map(|r| r.constraint.map(|c| c.label())))
            .group("sampling", sampling)
            .text("finish_reason", each.clone().map(|r| r.finish_reason.label()))
            .text("status", each.map(|r| r.status.label()))
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
        let mut drawn_logprobs =
            columns.since(2, "drawn_logprobs", Vec::new(), |columns, name| {
                columns.number_lists::<Float32Type>(name)
            })?;
        let mut forced = columns.since(2, "forced", Vec::new(), |columns, name| {
            columns.number_lists::<UInt32Type>(name)
        })?;
        let mut constraint = columns.since(2, "constraint", None, |columns, name| {
            columns.optional_labels(name, ConstraintKind::from_label)
        })?;
        let mut version_spans = columns.struct_lists("version_spans", spans)?;
        let mut sampling = columns.group("sampling", sampling)?;
        let mut finish_reason = columns.labels("finish_reason", FinishReason::from_label)?;
        let mut status = turn_status(columns)?;
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
                drawn_logprobs: drawn_logprobs.take()?,
                forced: forced.take()?,
                constraint: constraint.take()?,
                version_spans: version_spans.take()?,
                sampling: sampling.take()?,
                finish_reason: finish_reason.take()?,
                status: status.take()?,
            })
        })
    }
}

fn spans(columns: &Columns<'_>) -> Result<Vec<VersionSpan>, Mismatch> {
    let mut start = columns.numbers::<UInt32Type>("start")?;
    let mut version = columns.numbers::<UInt64Type>("version")?;
    columns.rows(|| Ok(VersionSpan { start: start.take()?, version: Version(version.take()?) }))
}

fn encode_sampling<'a>(each: impl Iterator<Item = &'a Sampling> + Clone) -> Batch {
    let bias = each.clone().map(|s| s.logit_bias.as_slice());
    Batch::new()
        .numbers::<Float32Type>("temperature", each.clone().map(|s| s.temperature))
        .numbers::<Float32Type>("top_p", each.clone().map(|s| s.top_p))
        .numbers::<UInt32Type>("top_k", each.clone().map(|s| s.top_k))
        .numbers::<Float32Type>("min_p", each.clone().map(|s| s.min_p))
        .numbers::<Float32Type>("repetition_penalty", each.clone().map(|s| s.repetition_penalty))
        .numbers::<Float32Type>("presence_penalty", each.clone().map(|s| s.presence_penalty))
        .numbers::<Float32Type>("frequency_penalty", each.clone().map(|s| s.frequency_penalty))
        .struct_lists("logit_bias", bias, |batch, entries| {
            batch
                .numbers::<UInt32Type>("id", entries.iter().map(|(id, _)| *id))
                .numbers::<Float32Type>("bias", entries.iter().map(|(_, bias)| *bias))
        })
        .numbers::<UInt64Type>("seed", each.clone().map(|s| s.seed))
        .numbers::<UInt32Type>("max_tokens", each.clone().map(|s| s.max_tokens))
        .numbers::<UInt32Type>("min_tokens", each.map(|s| s.min_tokens))
}

fn sampling(columns: &Columns<'_>) -> Result<Vec<Sampling>, Mismatch> {
    let none = Sampling::default();
    let since_2 = |name: &str, default: f32| {
        columns.since(2, name, default, |columns, name| columns.numbers::<Float32Type>(name))
    };
    let mut min_p = since_2("min_p", none.min_p)?;
    let mut repetition_penalty = since_2("repetition_penalty", none.repetition_penalty)?;
    let mut presence_penalty = since_2("presence_penalty", none.presence_penalty)?;
    let mut frequency_penalty = since_2("frequency_penalty", none.frequency_penalty)?;
    let mut logit_bias = columns.since(2, "logit_bias", none.logit_bias, |columns, name| {
        columns.struct_lists(name, biases)
    })?;
    let mut min_tokens = columns.since(2, "min_tokens", none.min_tokens, |columns, name| {
        columns.numbers::<UInt32Type>(name)
    })?;
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
            min_p: min_p.take()?,
            repetition_penalty: repetition_penalty.take()?,
            presence_penalty: presence_penalty.take()?,
            frequency_penalty: frequency_penalty.take()?,
            logit_bias: logit_bias.take()?,
            seed: seed.take()?,
            max_tokens: max_tokens.take()?,
            min_tokens: min_tokens.take()?,
        })
    })
}

fn biases(columns: &Columns<'_>) -> Result<Vec<(u32, f32)>, Mismatch> {
    let mut id = columns.numbers::<UInt32Type>("id")?;
    let mut bias = columns.numbers::<Float32Type>("bias")?;
    columns.rows(|| Ok((id.take()?, bias.take()?)))
}

/// The column `status`, which every turn had not got before version 3.
pub(in crate::store) fn turn_status(columns: &Columns<'_>) -> Result<Column<TurnStatus>, Mismatch> {
    columns.since(3, "status", TurnStatus::Answered, |columns, name| {
        columns.labels(name, TurnStatus::from_label)
    })
}
