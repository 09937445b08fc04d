//! `POST /generate`, in the form of SGLang: by token ids, and for scoring.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BadField, Fields, PROMPTS_MAX, Prompt, SamplingFields, TextShape};

/// Most tokens that are reported for one position.
const TOP_LOGPROBS_MAX: usize = 256;
const FLAG: &str = "true or false";

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateRequest {
    /// What is to be continued or scored: at least one prompt.
    pub prompts: Vec<Prompt>,
    /// Whether the answer is a list, whatever their number.
    pub list: bool,
    /// How to draw.
    pub sampling: SamplingParams,
    /// Whether log-probabilities are wanted.
    pub return_logprob: bool,
    /// The first position of the prompt whose log-probability is wanted; `None` (or -1 on the
    /// wire) for none.
    pub logprob_start_len: Option<usize>,
    /// How many of the most probable tokens are wanted with each.
    pub top_logprobs: usize,
    /// Whether the answer is streamed: each event is the answer so far.
    pub stream: bool,
    /// The adapter that answers beside the base.
    pub adapter: Option<String>,
}

/// How to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Most tokens to draw; 0 only scores.
    pub max_new_tokens: u32,
    /// Replies wanted to each prompt, from 1.
    pub n: usize,
    /// The rest. The temperature, of the scores as well, is always said.
    pub fields: SamplingFields,
    /// What the text has to be, if that is not anything.
    pub shape: Option<TextShape>,
}

impl GenerateRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// The first field that is wrong or not supported.
    pub fn parse(body: Value) -> Result<Self, BadField> {
        let mut fields = Fields::of_body(body)?;
        let (prompts, list) = prompts(&mut fields)?;
        let sampling = sampling(fields.object("sampling_params")?)?;
        let start = fields.get::<i64>("logprob_start_len", "a whole number from -1")?;
        let start = match start.unwrap_or(-1) {
            -1 => None,
            start => Some(usize::try_from(start).map_err(|_| {
                let problem = format!("expected a whole number from -1, got {start}");
                fields.bad("logprob_start_len", &problem)
            })?),
        };
        let expected = "a whole number from 0 to 256";
        let top_logprobs = fields.get("top_logprobs_num", expected)?.unwrap_or_default();
        if top_logprobs > TOP_LOGPROBS_MAX {
            let problem = format!("expected {expected}, got {top_logprobs}");
            return Err(fields.bad("top_logprobs_num", &problem));
        }
        let lora_path = fields.get("lora_path", "the name of an adapter")?;
        let request = Self {
            prompts,
            list,
            sampling,
            return_logprob: fields.get("return_logprob", FLAG)?.unwrap_or_default(),
            logprob_start_len: start,
            top_logprobs,
            stream: fields.get("stream", FLAG)?.unwrap_or_default(),
            adapter: fields.get("adapter", "the name of an adapter")?.or(lora_path),
        };
        request.fits_together()
    }

    /// Refuses what cannot be had at the same time.
    fn fits_together(self) -> Result<Self, BadField> {
        let scores_only = self.sampling.max_new_tokens == 0;
        let replies = self.prompts.len() * self.sampling.n;
        let (param, problem) = if scores_only && self.sampling.n > 1 {
            ("sampling_params.n", "with `max_new_tokens` 0 there is nothing to draw".to_owned())
        } else if scores_only && self.stream {
            ("stream", "`max_new_tokens` 0 is answered whole only".to_owned())
        } else if replies > PROMPTS_MAX {
            let problem = format!("{replies} replies are wanted, at most {PROMPTS_MAX} can be");
            ("sampling_params.n", problem)
        } else {
            return Ok(self);
        };
        Err(BadField::new(param, problem))
    }
}

/// The prompts, and whether they came as a list.
fn prompts(fields: &mut Fields) -> Result<(Vec<Prompt>, bool), BadField> {
    let (ids, text) = (fields.raw("input_ids"), fields.raw("text"));
    let (key, value) = match (ids, text) {
        (Some(ids), None) => ("input_ids", ids),
        (None, Some(text)) => ("text", text),
        (Some(_), Some(_)) => return Err(fields.bad("text", "give either `text` or `input_ids`")),
        (None, None) => return Err(fields.bad("input_ids", "give either `input_ids` or `text`")),
    };
    let of_ids = key == "input_ids";
    let list = value.as_array().is_some_and(|array| !array.first().is_some_and(Value::is_number));
    let prompts = Prompt::several(value)
        .ok()
        .filter(|prompts| prompts.iter().all(|prompt| matches!(prompt, Prompt::Ids(_)) == of_ids));
    let prompts = prompts.ok_or_else(|| {
        let expected = match of_ids {
            true => "expected an array of token ids, or an array of such, none of them empty",
            false => "expected a string, or an array of strings, none of them empty",
        };
        fields.bad(key, expected)
    })?;
    if prompts.len() > PROMPTS_MAX {
        let problem = format!("holds {} prompts, at most {PROMPTS_MAX}", prompts.len());
        return Err(fields.bad(key, &problem));
    }
    Ok((prompts, list))
}

fn sampling(mut fields: Fields) -> Result<SamplingParams, BadField> {
    let mut drawn = SamplingFields::sglang(&mut fields)?;
    // The form has defaults of its own: the plain distribution.
    drawn.temperature.get_or_insert(1.0);
    drawn.top_p.get_or_insert(1.0);
    drawn.top_k.get_or_insert(0);
    drawn.min_p.get_or_insert(0.0);
    drawn.repetition_penalty.get_or_insert(1.0);
    Ok(SamplingParams {
        max_new_tokens: fields.get("max_new_tokens", "a whole number from 0")?.unwrap_or(128),
        n: fields.choices("n")?,
        fields: drawn,
        shape: TextShape::sglang(&mut fields)?,
    })
}

/// A log-probability (null where nothing stands before the token), the token's id, and its text
/// (always null here): `[-0.25, 17, null]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenScore(pub Option<f32>, pub u32, #[serde(default)] pub Option<String>);

/// The most probable tokens of each position; null where nothing stands before it.
pub type TopScores = Vec<Option<Vec<TokenScore>>>;

/// The answer to one prompt of a [`GenerateRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerateAnswer {
    /// What was written.
    pub text: String,
    /// The ids that were sampled, the end-of-turn token included.
    #[serde(default)]
    pub output_ids: Vec<u32>,
    /// The rest.
    pub meta_info: MetaInfo,
    /// Its place among the answers, in a stream of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
}

/// What is to be known about an answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetaInfo {
    /// Name of the request.
    #[serde(default)]
    pub id: String,
    /// Why it ended; null where nothing was to be written, or more follows.
    #[serde(default)]
    pub finish_reason: Option<FinishInfo>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens that were sampled.
    #[serde(default)]
    pub completion_tokens: usize,
    /// Tokens of the prompt that did not have to be computed.
    #[serde(default)]
    pub cached_tokens: usize,
    /// The one version that computed it.
    pub weight_version: String,
    /// From `logprob_start_len` on, if log-probabilities were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_token_logprobs: Option<Vec<TokenScore>>,
    /// Of the sampled tokens, if log-probabilities were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_token_logprobs: Option<Vec<TokenScore>>,
    /// For each of `input_token_logprobs`, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_top_logprobs: Option<TopScores>,
    /// For each of `output_token_logprobs`, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_top_logprobs: Option<TopScores>,
}

/// Why a reply ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishInfo {
    /// `stop` or `length`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The stop string, or the id, that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<Value>,
    /// The number of tokens that it was not to exceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prompts_come_alone_or_in_lists() {
        let read = |body: Value| GenerateRequest::parse(body).map(|r| (r.prompts.len(), r.list));
        assert_eq!(read(json!({"text": "a"})), Ok((1, false)));
        assert_eq!(read(json!({"text": ["a"]})), Ok((1, true)));
        assert_eq!(read(json!({"input_ids": [1, 2]})), Ok((1, false)));
        assert_eq!(read(json!({"input_ids": [[1, 2], [3]]})), Ok((2, true)));
        for (body, at) in [
            (json!({}), "input_ids"),
            (json!({"text": "a", "input_ids": [1]}), "text"),
            (json!({"text": [1]}), "text"),
            (json!({"text": []}), "text"),
            (json!({"input_ids": ["a"]}), "input_ids"),
            (json!({"input_ids": [[1], []]}), "input_ids"),
        ] {
            assert_eq!(read(body).unwrap_err().param, at);
        }
    }

    #[test]
    fn what_is_said_of_sampling_is_read_and_the_rest_is_plain() {
        let body = json!({"text": "a", "lora_path": "x", "sampling_params": {"min_new_tokens": 3,
            "max_new_tokens": 9, "n": 2, "json_schema": "{\"type\": \"object\"}"}});
        let request = GenerateRequest::parse(body).unwrap();
        let sampling = request.sampling;
        assert_eq!((sampling.max_new_tokens, sampling.n), (9, 2));
        assert_eq!((sampling.fields.min_tokens, sampling.fields.temperature), (3, Some(1.0)));
        let shape = TextShape::JsonSchema { schema: json!({"type": "object"}), strict: false };
        assert_eq!(sampling.shape, Some(shape));
        assert_eq!(request.adapter.as_deref(), Some("x"));
        let wrong = |sampling: Value| {
            let body = json!({"text": "a", "sampling_params": sampling});
            GenerateRequest::parse(body).unwrap_err().param
        };
        assert_eq!(wrong(json!({"n": 0})), "sampling_params.n");
        assert_eq!(wrong(json!({"n": 2, "max_new_tokens": 0})), "sampling_params.n");
        assert_eq!(wrong(json!({"ebnf": "x"})), "sampling_params.ebnf");
        assert_eq!(wrong(json!({"json_schema": "x"})), "sampling_params.json_schema");
        assert_eq!(wrong(json!({"regex": "x", "json_schema": {}})), "sampling_params.regex");
    }
}
