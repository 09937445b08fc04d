//! Log-probabilities of given ids, through SGLang's `/generate`.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::rollout::{Likeliest, Version};

use super::CompleteError;
use super::http::Http;

/// Log-probabilities by one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// One per id from `start`, in nats.
    pub logprobs: Vec<f32>,
    /// The likeliest ids from `start`; empty where they were not asked for.
    pub top: Likeliest,
    /// What the server calls the weights that gave them.
    pub weights: String,
}

impl Scored {
    /// The weights' version, where the server calls it by its number.
    pub fn version(&self) -> Option<Version> {
        self.weights.parse().ok().map(Version)
    }
}

pub async fn score(
    http: &Http,
    ids: &[u32],
    start: usize,
    temperature: f32,
    top_k: usize,
) -> Result<Scored, CompleteError> {
    // The entry of the first position asked for is null on some servers: one more is asked for
    // and left out.
    let from = start.saturating_sub(1);
    let mut body = json!({
        "input_ids": ids,
        "sampling_params": {"max_new_tokens": 0, "temperature": f64::from(temperature)},
        "return_logprob": true,
        "logprob_start_len": from,
    });
    if top_k > 0 {
        body["top_logprobs_num"] = json!(top_k);
    }
    let (answer, _) = http.post("/generate", &body).await?;
    let meta = if answer.is_array() { &answer[0]["meta_info"] } else { &answer["meta_info"] };
    let whole = || -> Result<Scored, String> {
        let mut scored = read(meta, ids, start, from)?;
        if top_k > 0 {
            scored.top = read_top(meta, ids.len() - from, start - from, top_k)?;
        }
        Ok(scored)
    };
    whole().map_err(|problem| http.malformed(problem))
}

fn read(meta: &Value, ids: &[u32], start: usize, from: usize) -> Result<Scored, String> {
    let entries = meta["input_token_logprobs"].as_array();
    let entries = entries.ok_or("it has no `meta_info.input_token_logprobs`")?;
    let (expected, got) = (ids.len().saturating_sub(from), entries.len());
    if got != expected {
        return Err(format!("{got} log-probabilities where {expected} belong"));
    }
    let mut logprobs = Vec::with_capacity(ids.len().saturating_sub(start));
    for (position, entry) in (from..).zip(entries).skip(start - from) {
        let id = entry[1].as_u64();
        if id != Some(u64::from(ids[position])) {
            return Err(format!("id {id:?} at position {position}, expected {}", ids[position]));
        }
        let problem = || format!("{} is no log-probability at {position}", entry[0]);
        logprobs.push(logprob(&entry[0]).ok_or_else(problem)?);
    }
    let weights = match &meta["weight_version"] {
        Value::String(name) if !name.is_empty() => name.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err("it has no `meta_info.weight_version`".to_owned()),
    };
    Ok(Scored { logprobs, top: Likeliest::default(), weights })
}

/// The likeliest ids of `positions` positions, without those of the first `skipped`.
fn read_top(
    meta: &Value,
    positions: usize,
    skipped: usize,
    top_k: usize,
) -> Result<Likeliest, String> {
    let rows = meta["input_top_logprobs"].as_array();
    let rows = rows.ok_or("it has no `meta_info.input_top_logprobs`")?;
    if rows.len() != positions {
        return Err(format!("{} lists of likeliest ids where {positions} belong", rows.len()));
    }
    let mut top = Likeliest::default();
    for row in &rows[skipped..] {
        let entries = row.as_array().map_or(&[][..], Vec::as_slice);
        if entries.len() < top_k {
            return Err(format!("{} likeliest ids where {top_k} belong", entries.len()));
        }
        let mut read: Vec<(f32, u32)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let id = entry[1].as_u64().and_then(|id| u32::try_from(id).ok());
            let problem = || format!("{entry} is no log-probability and id");
            read.push(logprob(&entry[0]).zip(id).ok_or_else(problem)?);
        }
        read.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut known = HashSet::new();
        if let Some((_, twice)) = read.iter().find(|(_, id)| !known.insert(*id)) {
            return Err(format!("id {twice} is twice among the likeliest of one position"));
        }
        for (logprob, id) in read.into_iter().take(top_k) {
            top.logprobs.push(logprob);
            top.ids.push(id);
        }
    }
    Ok(top)
}

/// A log-probability; a server that rounds may end a hair above 0.
fn logprob(value: &Value) -> Option<f32> {
    let logprob = value.as_f64().filter(|logprob| logprob.is_finite() && *logprob <= 1e-3)?;
    Some(logprob as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(entries: Value) -> Value {
        json!({"input_token_logprobs": entries, "weight_version": "3"})
    }

    #[test]
    fn entries_are_those_from_start_on() {
        let entries = json!([[null, 8, null], [-0.5, 9, null]]);
        let scored = read(&answer(entries), &[7, 8, 9], 2, 1).unwrap();
        assert_eq!(scored.logprobs, [-0.5]);
        assert_eq!(scored.version(), Some(Version(3)));
    }

    #[test]
    fn an_incomplete_answer_is_an_error() {
        for entries in [
            json!([[-0.1, 8, null]]),
            json!([[-0.1, 8, null], [-0.5, 9, null], [-0.5, 9, null]]),
            json!([[-0.1, 8, null], [null, 9, null]]),
            json!([[-0.1, 8, null], [-0.5, 4, null]]),
            json!([[-0.1, 8, null], [0.5, 9, null]]),
            json!([[-0.1, 8, null], ["-0.5", 9, null]]),
            json!([[-0.1, 8, null], []]),
            json!("no"),
        ] {
            assert!(read(&answer(entries.clone()), &[7, 8, 9], 2, 1).is_err(), "{entries}");
        }
        let nameless = json!({"input_token_logprobs": [[-0.1, 8], [-0.1, 9]]});
        assert!(read(&nameless, &[7, 8, 9], 2, 1).is_err());
    }

    #[test]
    fn the_likeliest_ids_are_those_from_start_on_likeliest_first() {
        let of = |rows: Value| read_top(&json!({"input_top_logprobs": rows}), 3, 1, 2);
        let row = json!([[-2.0, 5, null], [-0.5, 9, null], [-4.0, 1, null]]);
        let top = of(json!([null, row, [[-0.1, 3, null], [-3.0, 4, null]]])).unwrap();
        assert_eq!((top.ids, top.logprobs), (vec![9, 5, 3, 4], vec![-0.5, -2.0, -0.1, -3.0]));
        for rows in [
            json!([null, row]),
            json!([null, row, null]),
            json!([null, row, [[-0.1, 3, null]]]),
            json!([null, row, [[-0.1, 3, null], [-2.1, 3, null]]]),
            json!([null, row, [[-0.1, 3, null], [null, 4, null]]]),
            json!([null, row, [[-0.1, 3, null], [-1.0, -4, null]]]),
            json!([null, row, [[-0.1, 3, null], [-1.0, 5e9, null]]]),
            json!("no"),
        ] {
            assert!(of(rows.clone()).is_err(), "{rows}");
        }
    }

    #[test]
    fn the_first_position_has_no_log_probability() {
        let entries = json!([[null, 7, null], [-0.5, 8, null]]);
        assert!(read(&answer(entries), &[7, 8], 0, 0).is_err());
    }
}
