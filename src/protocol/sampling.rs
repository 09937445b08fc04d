//! How a reply is to be drawn, as OpenAI's, vLLM's and SGLang's requests say it.

use serde_json::{Map, Value};

use super::{BadField, Fields};

/// Most ids that one request may bias, or name as ends of its reply.
const IDS_MAX: usize = 1024;

/// How a reply is to be drawn. What is absent is `None`; the server knows the defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SamplingFields {
    /// Softmax temperature.
    pub temperature: Option<f32>,
    /// Nucleus mass.
    pub top_p: Option<f32>,
    /// Most probable tokens kept; 0 keeps all.
    pub top_k: Option<u32>,
    /// Least probability of a token, relative to the most probable one.
    pub min_p: Option<f32>,
    /// Divides the logits of ids that were there before.
    pub repetition_penalty: Option<f32>,
    /// Taken off the logit of an id that the reply holds.
    pub presence_penalty: Option<f32>,
    /// Taken off the logit of an id for each time that the reply holds it.
    pub frequency_penalty: Option<f32>,
    /// Added to the logits of these ids.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the random stream.
    pub seed: Option<u64>,
    /// Texts that end the reply.
    pub stop: Vec<String>,
    /// Further ids that end the reply.
    pub stop_token_ids: Vec<u32>,
    /// Whether the model's own end-of-turn ids do not end the reply.
    pub ignore_eos: bool,
    /// Before so many tokens nothing ends the reply but a stop string.
    pub min_tokens: u32,
}

impl SamplingFields {
    /// Takes the fields of OpenAI, with those that vLLM adds.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn openai(fields: &mut Fields) -> Result<Self, BadField> {
        Self::take(fields, "seed", "min_tokens")
    }

    /// Takes the fields of SGLang's `sampling_params`.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn sglang(fields: &mut Fields) -> Result<Self, BadField> {
        Self::take(fields, "sampling_seed", "min_new_tokens")
    }

    fn take(fields: &mut Fields, seed: &str, min_tokens: &str) -> Result<Self, BadField> {
        let penalty = |penalty: f32| (-2.0..=2.0).contains(&penalty);
        Ok(Self {
            temperature: fields
                .number("temperature", "a number from 0 to 10", |t| (0.0..=10.0).contains(&t))?,
            top_p: fields
                .number("top_p", "a number above 0, at most 1", |p| p > 0.0 && p <= 1.0)?,
            top_k: fields.top_k()?,
            min_p: fields.number("min_p", "a number from 0 to 1", |p| (0.0..=1.0).contains(&p))?,
            repetition_penalty: fields.number(
                "repetition_penalty",
                "a number from 0.1 to 10",
                |penalty| (0.1..=10.0).contains(&penalty),
            )?,
            presence_penalty: fields.number(
                "presence_penalty",
                "a number from -2 to 2",
                penalty,
            )?,
            frequency_penalty: fields.number(
                "frequency_penalty",
                "a number from -2 to 2",
                penalty,
            )?,
            logit_bias: logit_bias(fields)?,
            seed: fields.seed(seed)?,
            stop: fields.stops("stop")?,
            stop_token_ids: stop_token_ids(fields)?,
            ignore_eos: fields.get("ignore_eos", "true or false")?.unwrap_or_default(),
            min_tokens: fields.get(min_tokens, "a whole number from 0")?.unwrap_or_default(),
        })
    }
}

fn stop_token_ids(fields: &mut Fields) -> Result<Vec<u32>, BadField> {
    let key = "stop_token_ids";
    let ids = fields.get::<Vec<u32>>(key, "an array of token ids")?.unwrap_or_default();
    if ids.len() > IDS_MAX {
        return Err(fields.bad(key, &format!("holds {} ids, at most {IDS_MAX}", ids.len())));
    }
    Ok(ids)
}

/// A map from token ids, as text, to what is added to their logits.
fn logit_bias(fields: &mut Fields) -> Result<Vec<(u32, f32)>, BadField> {
    let key = "logit_bias";
    let map = fields.get::<Map<String, Value>>(key, "an object of token ids and numbers")?;
    let map = map.unwrap_or_default();
    if map.len() > IDS_MAX {
        return Err(fields.bad(key, &format!("holds {} ids, at most {IDS_MAX}", map.len())));
    }
    let at = fields.path(key);
    let entry = |(id, bias): (String, Value)| {
        let place = || format!("{at}.{id}");
        let number = id.parse::<u32>().map_err(|_| BadField::new(place(), "is no token id"))?;
        let bias = bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias));
        let bias = bias.ok_or_else(|| BadField::new(place(), "expected a number from -100 to 100"));
        Ok((number, bias? as f32))
    };
    map.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn openai(body: Value) -> Result<SamplingFields, BadField> {
        SamplingFields::openai(&mut Fields::of_body(body)?)
    }

    #[test]
    fn what_is_not_said_stays_open() {
        assert_eq!(openai(json!({"min_p": null, "stop": null})), Ok(SamplingFields::default()));
    }

    #[test]
    fn every_field_is_read() {
        let body = json!({"temperature": 0, "top_p": 0.5, "top_k": -1, "min_p": 0.1,
            "repetition_penalty": 1.5, "presence_penalty": -2, "frequency_penalty": 2,
            "logit_bias": {"7": -100, "9": 0.5}, "seed": 3, "stop": "x", "stop_token_ids": [4],
            "ignore_eos": true, "min_tokens": 5});
        let fields = openai(body).unwrap();
        assert_eq!(
            (fields.temperature, fields.top_k, fields.min_p),
            (Some(0.0), Some(0), Some(0.1))
        );
        assert_eq!(fields.repetition_penalty, Some(1.5));
        assert_eq!((fields.presence_penalty, fields.frequency_penalty), (Some(-2.0), Some(2.0)));
        assert_eq!(fields.logit_bias, [(7, -100.0), (9, 0.5)]);
        assert_eq!((fields.seed, fields.stop_token_ids.as_slice()), (Some(3), &[4][..]));
        assert!(fields.ignore_eos && fields.min_tokens == 5);
        let sglang = json!({"sampling_seed": 3, "min_new_tokens": 5, "seed": "ignored"});
        let fields = SamplingFields::sglang(&mut Fields::of_body(sglang).unwrap()).unwrap();
        assert_eq!((fields.seed, fields.min_tokens), (Some(3), 5));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, at) in [
            (json!({"min_p": 1.5}), "min_p"),
            (json!({"presence_penalty": 2.1}), "presence_penalty"),
            (json!({"repetition_penalty": 0}), "repetition_penalty"),
            (json!({"logit_bias": [1]}), "logit_bias"),
            (json!({"logit_bias": {"x": 1}}), "logit_bias.x"),
            (json!({"logit_bias": {"7": 101}}), "logit_bias.7"),
            (json!({"logit_bias": {"7": "1"}}), "logit_bias.7"),
            (json!({"stop_token_ids": [-1]}), "stop_token_ids"),
            (json!({"stop_token_ids": vec![1; 1025]}), "stop_token_ids"),
            (json!({"min_tokens": -1}), "min_tokens"),
            (json!({"ignore_eos": 1}), "ignore_eos"),
        ] {
            assert_eq!(openai(body).unwrap_err().param, at);
        }
    }
}
