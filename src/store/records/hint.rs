//! `hints`.

use arrow::datatypes::{Float32Type, Int8Type, UInt32Type, UInt64Type};

use super::spent;
use crate::rollout::{Hint, HintCandidate, HintStatus, HintVote, Likeliest, Splice, Version};
use crate::store::columns::{Batch, Column, Columns, Mismatch};
use crate::store::{Part, Record, Table};

impl Record for Hint {
    fn encode(rows: &[Self]) -> Batch {
        let each = rows.iter();
        let teacher = each.clone().map(|r| r.teacher_logprobs.as_slice());
        let student = each.clone().map(|r| r.student_logprobs.as_slice());
        Batch::new()
            .text("turn_id", each.clone().map(|r| r.turn_id.to_string()))
            .numbers::<UInt32Type>("revision", each.clone().map(|r| r.revision))
            .text("judge", each.clone().map(|r| &r.judge))
            .text("status", each.clone().map(|r| r.status.label()))
            .struct_lists("votes", each.clone().map(|r| r.votes.as_slice()), |batch, votes| {
                let each = votes.iter();
                let batch = batch
                    .optional_numbers::<Int8Type>("value", each.clone().map(|v| v.value))
                    .optional_text("hint", each.clone().map(|v| v.hint.as_ref()))
                    .text("text", each.clone().map(|v| &v.text))
                    .flags("leak", each.clone().map(|v| v.leak));
                spent::encode(batch, each.map(|v| v.spent))
            })
            .text("hint", each.clone().map(|r| &r.hint))
            .optional_numbers::<UInt64Type>(
                "scored_by",
                each.clone().map(|r| r.scored_by.map(|version| version.0)),
            )
            .number_lists::<Float32Type>("teacher_logprobs", teacher)
            .number_lists::<Float32Type>("student_logprobs", student)
            .numbers::<UInt32Type>("top_k", each.clone().map(|r| r.top_k))
            .number_lists::<UInt32Type>(
                "teacher_top_ids",
                each.clone().map(|r| r.teacher_top.ids.as_slice()),
            )
            .number_lists::<Float32Type>(
                "teacher_top_logprobs",
                each.clone().map(|r| r.teacher_top.logprobs.as_slice()),
            )
            .number_lists::<UInt32Type>(
                "student_top_ids",
                each.clone().map(|r| r.student_top.ids.as_slice()),
            )
            .number_lists::<Float32Type>(
                "student_top_logprobs",
                each.clone().map(|r| r.student_top.logprobs.as_slice()),
            )
            .struct_lists(
                "candidates",
                each.clone().map(|r| r.candidates.as_slice()),
                |batch, candidates| {
                    let each = candidates.iter();
                    batch
                        .text("hint", each.clone().map(|c| &c.hint))
                        .numbers::<UInt32Type>("head", each.clone().map(|c| c.prompt.head))
                        .numbers::<UInt32Type>("tail", each.clone().map(|c| c.prompt.tail))
                        .number_lists::<UInt32Type>("ids", each.map(|c| c.prompt.ids.as_slice()))
                },
            )
            .text("detail", each.clone().map(|r| &r.detail))
            .times("hinted_at", each.map(|r| r.hinted_at_us))
    }
}

impl Part for Hint {
    const TABLE: Table = Table::Hints;

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut turn_id = columns.turn_ids("turn_id")?;
        let mut revision =
            columns.since(3, "revision", 0, |columns, name| columns.numbers::<UInt32Type>(name))?;
        let mut judge = columns.text("judge")?;
        let mut status = columns.labels("status", HintStatus::from_label)?;
        let mut votes = columns.struct_lists("votes", |columns| {
            let mut value = columns.optional_numbers::<Int8Type>("value")?;
            let mut hint = columns.optional_text("hint")?;
            let mut text = columns.text("text")?;
            let mut leak = columns.since(5, "leak", false, Columns::flags)?;
            let mut spent = spent::decode(columns)?;
            columns.rows(|| {
                Ok(HintVote {
                    value: value.take()?,
                    hint: hint.take()?,
                    text: text.take()?,
                    leak: leak.take()?,
                    spent: spent.take()?,
                })
            })
        })?;
        let mut hint = columns.text("hint")?;
        let mut scored_by = columns.optional_numbers::<UInt64Type>("scored_by")?;
        let mut teacher = columns.number_lists::<Float32Type>("teacher_logprobs")?;
        let mut student = columns.number_lists::<Float32Type>("student_logprobs")?;
        let mut top_k =
            columns.since(5, "top_k", 0, |columns, name| columns.numbers::<UInt32Type>(name))?;
        let mut teacher_top = likeliest(columns, "teacher_top_ids", "teacher_top_logprobs")?;
        let mut student_top = likeliest(columns, "student_top_ids", "student_top_logprobs")?;
        let mut candidates = columns.since(4, "candidates", Vec::new(), |columns, name| {
            columns.struct_lists(name, candidates)
        })?;
        let mut detail = columns.text("detail")?;
        let mut hinted_at = columns.times("hinted_at")?;
        columns.rows(|| {
            Ok(Self {
                turn_id: turn_id.take()?,
                revision: revision.take()?,
                judge: judge.take()?,
                status: status.take()?,
                votes: votes.take()?,
                hint: hint.take()?,
                scored_by: scored_by.take()?.map(Version),
                teacher_logprobs: teacher.take()?,
                student_logprobs: student.take()?,
                top_k: top_k.take()?,
                teacher_top: teacher_top.take()?,
                student_top: student_top.take()?,
                candidates: candidates.take()?,
                detail: detail.take()?,
                hinted_at_us: hinted_at.take()?,
            })
        })
    }
}

/// The two columns of a row of likeliest ids.
fn likeliest(
    columns: &Columns<'_>,
    ids: &str,
    logprobs: &str,
) -> Result<Column<Likeliest>, Mismatch> {
    let mut ids = columns.since(5, ids, Vec::new(), Columns::number_lists::<UInt32Type>)?;
    let mut logprobs =
        columns.since(5, logprobs, Vec::new(), Columns::number_lists::<Float32Type>)?;
    let rows = columns.rows(|| Ok(Likeliest { ids: ids.take()?, logprobs: logprobs.take()? }))?;
    Ok(Column::of(rows))
}

fn candidates(columns: &Columns<'_>) -> Result<Vec<HintCandidate>, Mismatch> {
    let mut hint = columns.text("hint")?;
    let mut head = columns.numbers::<UInt32Type>("head")?;
    let mut tail = columns.numbers::<UInt32Type>("tail")?;
    let mut ids = columns.number_lists::<UInt32Type>("ids")?;
    columns.rows(|| {
        let hint = hint.take()?;
        let prompt = Splice { head: head.take()?, tail: tail.take()?, ids: ids.take()? };
        Ok(HintCandidate { hint, prompt })
    })
}
