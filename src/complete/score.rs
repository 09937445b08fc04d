//! Log-probabilities of given ids, through SGLang's `/generate`.

use serde_json::{Value, json};

use crate::rollout::Version;

use super::CompleteError;
use super::http::Http;

/// Log-probabilities by one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// One per id from `start`, in nats.
    pub logprobs: Vec<f32>,
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
) -> Result<Scored, CompleteError> {
    // The entry of the first position asked for is null on some servers: one more is asked for
    // and left out.
    let from = start.saturating_sub(1);
    let body = json!({
        "input_ids": ids,
        "sampling_params": {"max_new_tokens": 0, "temperature": f64::from(temperature)},
        "return_logprob": true,
        "logprob_start_len": from,
    });
    let (answer, _) = http.post("/generate", &body).await?;
    read(&answer, ids, start, from).map_err(|problem| http.malformed(problem))
}

fn read(answer: &Value, ids: &[u32], start: usize, from: usize) -> Result<Scored, String> {
    let answer = if answer.is_array() { &answer[0] } else { answer };
    let meta = &answer["meta_info"];
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
        match entry[0].as_f64() {
            Some(logprob) if logprob.is_finite() && logprob <= 1e-3 => {
                logprobs.push(logprob as f32);
            }
            _ => return Err(format!("{} is no log-probability at {position}", entry[0])),
        }
    }
    let weights = match &meta["weight_version"] {
        Value::String(name) if !name.is_empty() => name.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err("it has no `meta_info.weight_version`".to_owned()),
    };
    Ok(Scored { logprobs, weights })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(entries: Value) -> Value {
        json!({"meta_info": {"input_token_logprobs": entries, "weight_version": "3"}})
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
        let nameless = json!({"meta_info": {"input_token_logprobs": [[-0.1, 8], [-0.1, 9]]}});
        assert!(read(&nameless, &[7, 8, 9], 2, 1).is_err());
    }

    #[test]
    fn the_first_position_has_no_log_probability() {
        let entries = json!([[null, 7, null], [-0.5, 8, null]]);
        assert!(read(&answer(entries), &[7, 8], 0, 0).is_err());
    }
}
