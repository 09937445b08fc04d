//! `POST /v1/chat/completions`, in the form of OpenAI: the request.

use serde_json::{Map, Value};

use super::{BadField, Fields, SamplingFields, Session, TextShape};

/// Most choices of one request.
pub const CHOICES_MAX: usize = 128;

/// Whether the model may call tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// It decides.
    Auto,
    /// It may not: the tools are not shown to it.
    None,
    /// It must call some.
    Required,
    /// It must call this one.
    Function(String),
}

/// A request. What is absent is `None`; the server knows the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The model's name.
    pub model: Option<String>,
    /// The conversation, as it came.
    pub messages: Vec<Value>,
    /// The tools, as they came: a non-empty array.
    pub tools: Option<Value>,
    /// Whether tools may be called.
    pub tool_choice: ToolChoice,
    /// Whether one reply may hold several calls.
    pub parallel_tool_calls: bool,
    /// What the content has to be, if that is not anything.
    pub shape: Option<TextShape>,
    /// What the chat template is told beside messages and tools.
    pub template: Map<String, Value>,
    /// Whether the reply is streamed.
    pub stream: bool,
    /// Whether a stream ends with its usage.
    pub include_usage: bool,
    /// Replies wanted, from 1.
    pub n: usize,
    /// Most tokens of a reply.
    pub max_tokens: Option<u32>,
    /// How to draw.
    pub sampling: SamplingFields,
    /// Whether log-probabilities of the sampled tokens are wanted.
    pub logprobs: bool,
    /// How many of the most probable tokens are wanted with each, at most 20.
    pub top_logprobs: usize,
    /// Whether token ids are wanted (as vLLM answers them).
    pub return_token_ids: bool,
    /// Who asks, in which conversation, and what may be kept of it.
    pub session: Session,
}

/// What templates are given by us, and no request may replace.
const TEMPLATE_OWN: &[&str] = &["messages", "tools", "add_generation_prompt"];
/// Most tokens that are reported for one position.
const TOP_LOGPROBS_MAX: usize = 20;
const FLAG: &str = "true or false";

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// The first field that is missing, wrong or not supported.
    pub fn parse(body: Value) -> Result<Self, BadField> {
        let mut fields = Fields::of_body(body)?;
        let messages = fields.get::<Vec<Value>>("messages", "an array of messages")?;
        let messages = messages.ok_or_else(|| fields.bad("messages", "is required"))?;
        if messages.is_empty() {
            return Err(fields.bad("messages", "must hold at least one message"));
        }
        if fields.raw("functions").is_some() {
            return Err(fields.bad("functions", "is not supported; `tools` are"));
        }
        let mut stream_options = fields.object("stream_options")?;
        let max_tokens = fields.positive("max_tokens")?;
        let tools = tools(&mut fields)?;
        let (logprobs, top_logprobs) = logprobs(&mut fields)?;
        let request = Self {
            model: fields.get("model", "a string")?,
            messages,
            tool_choice: tool_choice(&mut fields, tools.as_ref())?,
            tools,
            parallel_tool_calls: fields.get("parallel_tool_calls", FLAG)?.unwrap_or(true),
            shape: TextShape::openai(&mut fields)?,
            template: template(&mut fields)?,
            stream: fields.get("stream", FLAG)?.unwrap_or_default(),
            include_usage: stream_options.get("include_usage", FLAG)?.unwrap_or_default(),
            n: fields.choices("n")?,
            max_tokens: fields.positive("max_completion_tokens")?.or(max_tokens),
            sampling: SamplingFields::openai(&mut fields)?,
            logprobs,
            top_logprobs,
            return_token_ids: fields.get("return_token_ids", FLAG)?.unwrap_or_default(),
            session: Session::of_openai(&mut fields)?,
        };
        request.fits_together()
    }

    /// Refuses what cannot be had at the same time.
    fn fits_together(self) -> Result<Self, BadField> {
        let forced = matches!(self.tool_choice, ToolChoice::Required | ToolChoice::Function(_));
        if forced && self.shape.is_some() {
            let problem = "a reply that has to call a tool cannot have a format as well";
            return Err(BadField::new("response_format", problem));
        }
        Ok(self)
    }
}

fn logprobs(fields: &mut Fields) -> Result<(bool, usize), BadField> {
    let wanted: bool = fields.get("logprobs", FLAG)?.unwrap_or_default();
    let expected = "a whole number from 0 to 20";
    let top = fields.get::<usize>("top_logprobs", expected)?.unwrap_or_default();
    if top > TOP_LOGPROBS_MAX {
        return Err(fields.bad("top_logprobs", &format!("expected {expected}, got {top}")));
    }
    if top > 0 && !wanted {
        return Err(fields.bad("top_logprobs", "needs `logprobs`: true beside it"));
    }
    Ok((wanted, top))
}

fn tools(fields: &mut Fields) -> Result<Option<Value>, BadField> {
    let Some(tools) = fields.get::<Vec<Value>>("tools", "an array of tools")? else {
        return Ok(None);
    };
    for (index, tool) in tools.iter().enumerate() {
        if !tool["function"]["name"].is_string() {
            let param = format!("tools[{index}].function.name");
            return Err(BadField::new(param, "expected a function with a name"));
        }
    }
    Ok(Some(tools).filter(|tools| !tools.is_empty()).map(Value::Array))
}

fn tool_choice(fields: &mut Fields, tools: Option<&Value>) -> Result<ToolChoice, BadField> {
    let key = "tool_choice";
    let expected = "expected \"auto\", \"none\", \"required\" or \
                    {\"type\": \"function\", \"function\": {\"name\": …}}";
    let choice = match fields.raw(key) {
        None => return Ok(ToolChoice::Auto),
        Some(Value::String(choice)) => match choice.as_str() {
            "auto" => return Ok(ToolChoice::Auto),
            "none" => return Ok(ToolChoice::None),
            "required" => ToolChoice::Required,
            _ => return Err(fields.bad(key, expected)),
        },
        Some(choice) => match (&choice["type"], &choice["function"]["name"]) {
            (Value::String(kind), Value::String(name)) if kind == "function" => {
                ToolChoice::Function(name.clone())
            }
            _ => return Err(fields.bad(key, expected)),
        },
    };
    called_is_known(&choice, tools).map(|()| choice).map_err(|problem| fields.bad(key, &problem))
}

/// What has to be called must be there.
pub(super) fn called_is_known(choice: &ToolChoice, tools: Option<&Value>) -> Result<(), String> {
    let tools = tools.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    match choice {
        ToolChoice::Auto | ToolChoice::None => Ok(()),
        ToolChoice::Required if tools.is_empty() => Err("a call needs `tools`".to_owned()),
        ToolChoice::Required => Ok(()),
        ToolChoice::Function(name) => {
            let known = tools.iter().any(|tool| tool["function"]["name"] == name.as_str());
            known.then_some(()).ok_or_else(|| format!("there is no tool `{name}` in `tools`"))
        }
    }
}

pub(super) fn template(fields: &mut Fields) -> Result<Map<String, Value>, BadField> {
    let key = "chat_template_kwargs";
    let template = fields.get::<Map<String, Value>>(key, "an object")?.unwrap_or_default();
    match TEMPLATE_OWN.iter().find(|own| template.contains_key(**own)) {
        None => Ok(template),
        Some(own) => Err(fields.bad(&format!("{key}.{own}"), "cannot be set here")),
    }
}
