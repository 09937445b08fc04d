//! `POST /generate`, in the form of SGLang: by token ids, and for scoring.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BadField, Fields};

/// What is to be continued or scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Text, tokenised as it is (no template).
    Text(String),
    /// Ids.
    Ids(Vec<u32>),
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateRequest {
    /// What is to be continued or scored.
    pub prompt: Prompt,
    /// How to draw.
    pub sampling: SamplingParams,
    /// Whether log-probabilities are wanted.
    pub return_logprob: bool,
    /// The first position of the prompt whose log-probability is wanted; `None` (or -1 on the
    /// wire) for none.
    pub logprob_start_len: Option<usize>,
}

/// How to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Most tokens to draw; 0 only scores.
    pub max_new_tokens: u32,
    /// Softmax temperature, also of the scores.
    pub temperature: f32,
    /// Nucleus mass.
    pub top_p: f32,
    /// Most probable tokens kept; 0 keeps all.
    pub top_k: u32,
    /// Seed of the random stream.
    pub seed: Option<u64>,
    /// Texts that end the reply.
    pub stop: Vec<String>,
    /// Further ids that end the reply.
    pub stop_token_ids: Vec<u32>,
    /// Whether the model's own end-of-turn ids do not end the reply.
    pub ignore_eos: bool,
}

impl GenerateRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// The first field that is wrong or not supported.
    pub fn parse(body: Value) -> Result<Self, BadField> {
        let mut fields = Fields::of_body(body)?;
        let prompt = prompt(&mut fields)?;
        let sampling = sampling(fields.object("sampling_params")?)?;
        let flag = "true or false";
        if fields.get::<bool>("stream", flag)?.unwrap_or_default() {
            let problem = "only false is supported here; /v1/chat/completions streams";
            return Err(fields.bad("stream", problem));
        }
        fields.neutral("top_logprobs_num", 0.0)?;
        let start = fields.get::<i64>("logprob_start_len", "a whole number from -1")?;
        let start = match start.unwrap_or(-1) {
            -1 => None,
            start => Some(usize::try_from(start).map_err(|_| {
                let problem = format!("expected a whole number from -1, got {start}");
                fields.bad("logprob_start_len", &problem)
            })?),
        };
        let return_logprob = fields.get("return_logprob", flag)?.unwrap_or_default();
        Ok(Self { prompt, sampling, return_logprob, logprob_start_len: start })
    }
}

fn prompt(fields: &mut Fields) -> Result<Prompt, BadField> {
    let ids = fields.get::<Vec<u32>>("input_ids", "one array of token ids")?;
    let text = fields.get::<String>("text", "one string")?;
    match (ids, text) {
        (Some(ids), None) if ids.is_empty() => {
            Err(fields.bad("input_ids", "must hold at least one token id"))
        }
        (Some(ids), None) => Ok(Prompt::Ids(ids)),
        (None, Some(text)) if text.is_empty() => Err(fields.bad("text", "must not be empty")),
        (None, Some(text)) => Ok(Prompt::Text(text)),
        (Some(_), Some(_)) => Err(fields.bad("text", "give either `text` or `input_ids`")),
        (None, None) => Err(fields.bad("input_ids", "give either `input_ids` or `text`")),
    }
}

fn sampling(mut fields: Fields) -> Result<SamplingParams, BadField> {
    for (key, neutral) in [
        ("n", 1.0),
        ("min_p", 0.0),
        ("frequency_penalty", 0.0),
        ("presence_penalty", 0.0),
        ("repetition_penalty", 1.0),
        ("min_new_tokens", 0.0),
    ] {
        fields.neutral(key, neutral)?;
    }
    let whole = "a whole number from 0";
    let temperature = |t: f32| (0.0..=10.0).contains(&t);
    Ok(SamplingParams {
        max_new_tokens: fields.get("max_new_tokens", whole)?.unwrap_or(128),
        temperature: fields.number("temperature", "0 to 10", temperature)?.unwrap_or(1.0),
        top_p: fields
            .number("top_p", "above 0, at most 1", |p| p > 0.0 && p <= 1.0)?
            .unwrap_or(1.0),
        top_k: fields.top_k()?.unwrap_or_default(),
        seed: fields.seed("sampling_seed")?,
        stop: fields.stops("stop")?,
        stop_token_ids: fields.get("stop_token_ids", "an array of token ids")?.unwrap_or_default(),
        ignore_eos: fields.get("ignore_eos", "true or false")?.unwrap_or_default(),
    })
}

/// A log-probability (null where nothing stands before the token), the token's id, and its text
/// (always null here): `[-0.25, 17, null]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenScore(pub Option<f32>, pub u32, #[serde(default)] pub Option<String>);

/// The answer to a [`GenerateRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerateAnswer {
    /// What was written.
    pub text: String,
    /// The ids that were sampled, the end-of-turn token included.
    #[serde(default)]
    pub output_ids: Vec<u32>,
    /// The rest.
    pub meta_info: MetaInfo,
}

/// What is to be known about an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetaInfo {
    /// Name of the request.
    #[serde(default)]
    pub id: String,
    /// Why it ended; null where nothing was to be written.
    #[serde(default)]
    pub finish_reason: Option<FinishInfo>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens that were sampled.
    #[serde(default)]
    pub completion_tokens: usize,
    /// The one version that computed it.
    pub weight_version: String,
    /// From `logprob_start_len` on, if log-probabilities were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_token_logprobs: Option<Vec<TokenScore>>,
    /// Of the sampled tokens, if log-probabilities were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_token_logprobs: Option<Vec<TokenScore>>,
}

/// Why a reply ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishInfo {
    /// `stop` or `length`.
    #[serde(rename = "type")]
    pub kind: String,
}
