//! `POST /v1/completions`, in the form of OpenAI: text or ids continued as they are.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BadField, Fields, Prompt, SamplingFields, TextShape, Usage};

/// Most prompts of one request.
pub const PROMPTS_MAX: usize = 128;
/// Most tokens that are reported for one position.
const LOGPROBS_MAX: usize = 20;
const FLAG: &str = "true or false";

/// A request. What is absent is `None`; the server knows the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionRequest {
    /// The model's name.
    pub model: Option<String>,
    /// What is to be continued: at least one prompt.
    pub prompts: Vec<Prompt>,
    /// Replies wanted to each, from 1.
    pub n: usize,
    /// Most tokens of a reply; 0 only with `echo`.
    pub max_tokens: u32,
    /// Whether the prompt stands before the reply.
    pub echo: bool,
    /// How many of the most probable tokens are wanted with each, if log-probabilities are.
    pub logprobs: Option<usize>,
    /// Whether the replies are streamed.
    pub stream: bool,
    /// Whether a stream ends with its usage.
    pub include_usage: bool,
    /// What the text has to be, if that is not anything.
    pub shape: Option<TextShape>,
    /// How to draw.
    pub sampling: SamplingFields,
    /// Whether token ids are wanted (as vLLM answers them).
    pub return_token_ids: bool,
}

impl CompletionRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// The first field that is missing, wrong or not supported.
    pub fn parse(body: Value) -> Result<Self, BadField> {
        let mut fields = Fields::of_body(body)?;
        let prompts = prompts(&mut fields)?;
        fields.neutral("best_of", 1.0)?;
        if fields.raw("suffix").is_some_and(|suffix| suffix != "") {
            return Err(fields.bad("suffix", "is not supported: nothing can follow the reply"));
        }
        let mut stream_options = fields.object("stream_options")?;
        let expected = "a whole number from 0 to 20";
        let logprobs = fields.get::<usize>("logprobs", expected)?;
        if let Some(count) = logprobs.filter(|count| *count > LOGPROBS_MAX) {
            return Err(fields.bad("logprobs", &format!("expected {expected}, got {count}")));
        }
        let request = Self {
            model: fields.get("model", "a string")?,
            prompts,
            n: fields.choices("n")?,
            max_tokens: fields.get("max_tokens", "a whole number from 0")?.unwrap_or(16),
            echo: fields.get("echo", FLAG)?.unwrap_or_default(),
            logprobs,
            stream: fields.get("stream", FLAG)?.unwrap_or_default(),
            include_usage: stream_options.get("include_usage", FLAG)?.unwrap_or_default(),
            shape: TextShape::openai(&mut fields)?,
            sampling: SamplingFields::openai(&mut fields)?,
            return_token_ids: fields.get("return_token_ids", FLAG)?.unwrap_or_default(),
        };
        request.fits_together()
    }

    /// Refuses what cannot be had at the same time.
    fn fits_together(self) -> Result<Self, BadField> {
        let replies = self.prompts.len() * self.n;
        let (param, problem) = if self.max_tokens == 0 && !self.echo {
            ("max_tokens", "0 needs `echo`: there would be nothing to answer".to_owned())
        } else if self.max_tokens == 0 && self.n > 1 {
            ("n", "with `max_tokens` 0 there is one answer to a prompt".to_owned())
        } else if self.stream && self.echo && self.logprobs.is_some() {
            ("stream", "`echo` with `logprobs` is answered whole only".to_owned())
        } else if self.stream && self.max_tokens == 0 {
            ("stream", "`max_tokens` 0 is answered whole only".to_owned())
        } else if replies > PROMPTS_MAX {
            let problem = format!("{replies} replies are wanted, at most {PROMPTS_MAX} can be");
            ("n", problem)
        } else {
            return Ok(self);
        };
        Err(BadField::new(param, problem))
    }
}

/// A string, an array of ids, or an array of either.
fn prompts(fields: &mut Fields) -> Result<Vec<Prompt>, BadField> {
    let expected = "expected a string, an array of strings, an array of token ids, or an array of \
                    such arrays, none of them empty";
    let Some(value) = fields.raw("prompt") else {
        return Err(fields.bad("prompt", "is required"));
    };
    let prompts = Prompt::several(value).map_err(|_| fields.bad("prompt", expected))?;
    if prompts.len() > PROMPTS_MAX {
        let problem = format!("holds {} prompts, at most {PROMPTS_MAX}", prompts.len());
        return Err(fields.bad("prompt", &problem));
    }
    Ok(prompts)
}

/// Whole replies, or a piece of a streamed one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// `cmpl-<id>`.
    pub id: String,
    /// `text_completion`.
    pub object: String,
    /// Seconds since the Unix epoch.
    pub created: i64,
    /// The model's name, as it was asked for.
    pub model: String,
    /// The replies to the first prompt, then those to the second …
    pub choices: Vec<CompletionChoice>,
    /// Token counts; in a stream in its last piece, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// `weights-<version>` of the version that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
}

/// One reply, or a piece of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletionChoice {
    /// Its place.
    pub index: usize,
    /// The text.
    pub text: String,
    /// Of its tokens, if they were asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// `stop` or `length`, once it has ended.
    pub finish_reason: Option<String>,
    /// The sampled ids, the end token included, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
    /// The prompt's ids, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
}

/// Tokens and their log-probabilities, as four lists of one length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompletionLogprobs {
    /// Where each token begins, in characters.
    pub text_offset: Vec<usize>,
    /// Of each token; null where nothing stands before it.
    pub token_logprobs: Vec<Option<f32>>,
    /// The tokens' texts.
    pub tokens: Vec<String>,
    /// The most probable texts of each position, the token's own included.
    pub top_logprobs: Vec<Option<Map<String, Value>>>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_prompt_has_four_forms() {
        let read = |prompt: Value| {
            CompletionRequest::parse(json!({"prompt": prompt})).map(|request| request.prompts)
        };
        let text = |text: &str| Prompt::Text(text.to_owned());
        assert_eq!(read(json!("a")), Ok(vec![text("a")]));
        assert_eq!(read(json!(["a", "b"])), Ok(vec![text("a"), text("b")]));
        assert_eq!(read(json!([1, 2])), Ok(vec![Prompt::Ids(vec![1, 2])]));
        assert_eq!(read(json!([[1], [2]])), Ok(vec![Prompt::Ids(vec![1]), Prompt::Ids(vec![2])]));
        for wrong in [json!(""), json!([]), json!([[]]), json!([1, "a"]), json!(3), json!(null)] {
            assert_eq!(read(wrong).unwrap_err().param, "prompt");
        }
    }

    #[test]
    fn what_cannot_be_had_together_is_refused() {
        for (body, at) in [
            (json!({"prompt": "a", "max_tokens": 0}), "max_tokens"),
            (json!({"prompt": "a", "max_tokens": 0, "echo": true, "n": 2}), "n"),
            (json!({"prompt": "a", "suffix": "b"}), "suffix"),
            (json!({"prompt": "a", "best_of": 2}), "best_of"),
            (json!({"prompt": "a", "logprobs": 21}), "logprobs"),
            (json!({"prompt": "a", "echo": true, "logprobs": 0, "stream": true}), "stream"),
            (json!({"prompt": ["a", "b"], "n": 65}), "n"),
            (json!({"prompt": vec!["a"; 129]}), "prompt"),
        ] {
            assert_eq!(CompletionRequest::parse(body).unwrap_err().param, at);
        }
    }
}
