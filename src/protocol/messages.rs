//! `POST /v1/messages`, in the form of Anthropic: the request, read into the form of OpenAI that
//! chat templates know and turns are kept in.

mod blocks;
mod reply;

use serde_json::{Map, Value, json};

use super::chat::called_is_known;
use super::{BadField, ChatRequest, Fields, SamplingFields, Session, TextShape, ToolChoice};

pub use reply::{
    BlockDelta, ContentBlock, Message, MessageDelta, MessageError, MessageErrorDetail,
    MessageEvent, MessageUsage, OutputTokensDetails,
};

const FLAG: &str = "true or false";

/// Reads the body of `POST /v1/messages`.
///
/// # Errors
/// The first field that is missing, wrong or not supported, by its name in the form of Anthropic.
pub fn parse_messages(body: Value) -> Result<ChatRequest, BadField> {
    parse(body, true)
}

/// Reads the body of `POST /v1/messages/count_tokens`: the same, without a limit of the reply.
///
/// # Errors
/// As [`parse_messages`].
pub fn parse_count_tokens(body: Value) -> Result<ChatRequest, BadField> {
    parse(body, false)
}

fn parse(body: Value, limit: bool) -> Result<ChatRequest, BadField> {
    let mut fields = Fields::of_body(body)?;
    let messages = blocks::conversation(&mut fields)?;
    let max_tokens = fields.positive("max_tokens")?;
    if limit && max_tokens.is_none() {
        return Err(fields.bad("max_tokens", "is required"));
    }
    let tools = tools(&mut fields)?;
    let (tool_choice, parallel_tool_calls) = tool_choice(&mut fields, tools.as_ref())?;
    let mut sampling = SamplingFields::openai(&mut fields)?;
    sampling.stop = fields.stops("stop_sequences")?;
    Ok(ChatRequest {
        model: fields.get("model", "a string")?,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls,
        shape: format(&mut fields)?,
        template: thinking(&mut fields)?,
        stream: fields.get("stream", FLAG)?.unwrap_or_default(),
        include_usage: true,
        n: 1,
        max_tokens,
        sampling,
        logprobs: false,
        top_logprobs: 0,
        return_token_ids: false,
        session: session(&mut fields)?,
    })
}

fn session(fields: &mut Fields) -> Result<Session, BadField> {
    let expected = "an object";
    let metadata = fields.get::<Map<String, Value>>("metadata", expected)?.unwrap_or_default();
    if metadata.get("user_id").is_some_and(|user| !user.is_string() && !user.is_null()) {
        return Err(fields.bad("metadata.user_id", "expected a string"));
    }
    Session::take(fields, &metadata)
}

/// Tools in the form of OpenAI.
fn tools(fields: &mut Fields) -> Result<Option<Value>, BadField> {
    let tools = fields.get::<Vec<Value>>("tools", "an array of tools")?.unwrap_or_default();
    let mut functions = Vec::with_capacity(tools.len());
    for (index, tool) in tools.into_iter().enumerate() {
        let at = |key: &str| format!("tools[{index}].{key}");
        if let Some(kind) = tool["type"].as_str().filter(|kind| *kind != "custom") {
            let problem = format!("`{kind}` is run by Anthropic's own servers; this one has none");
            return Err(BadField::new(at("type"), problem));
        }
        let Some(name) = tool["name"].as_str().filter(|name| !name.is_empty()) else {
            return Err(BadField::new(at("name"), "expected a name"));
        };
        let mut function = Map::from_iter([("name".to_owned(), Value::from(name))]);
        if let Some(description) = tool["description"].as_str() {
            function.insert("description".to_owned(), description.into());
        }
        match &tool["input_schema"] {
            schema @ Value::Object(_) => function.insert("parameters".to_owned(), schema.clone()),
            _ => {
                return Err(BadField::new(
                    at("input_schema"),
                    "expected a JSON schema (an object)",
                ));
            }
        };
        functions.push(json!({"type": "function", "function": function}));
    }
    Ok(Some(functions).filter(|tools| !tools.is_empty()).map(Value::Array))
}

/// Whether tools may be called, and whether several at once.
fn tool_choice(fields: &mut Fields, tools: Option<&Value>) -> Result<(ToolChoice, bool), BadField> {
    let mut choice = fields.object("tool_choice")?;
    let one = choice.get::<bool>("disable_parallel_tool_use", FLAG)?.unwrap_or_default();
    let kind = choice.get::<String>("type", "a string")?;
    let wanted = match kind.as_deref() {
        None | Some("auto") => ToolChoice::Auto,
        Some("none") => ToolChoice::None,
        Some("any") => ToolChoice::Required,
        Some("tool") => match choice.get::<String>("name", "a string")? {
            Some(name) => ToolChoice::Function(name),
            None => return Err(choice.bad("name", "is required")),
        },
        Some(_) => {
            let expected = "expected \"auto\", \"any\", \"tool\" or \"none\"";
            return Err(choice.bad("type", expected));
        }
    };
    let known = called_is_known(&wanted, tools);
    known.map_err(|problem| BadField::new("tool_choice", problem))?;
    Ok((wanted, !one))
}

fn format(fields: &mut Fields) -> Result<Option<TextShape>, BadField> {
    let mut config = fields.object("output_config")?;
    let (at, format) = match config.raw("format") {
        Some(format) => ("output_config.format", Some(format)),
        None => ("output_format", fields.raw("output_format")),
    };
    match format {
        None => Ok(None),
        Some(format) => match (format["type"].as_str(), &format["schema"]) {
            (Some("json_schema"), schema @ Value::Object(_)) => {
                Ok(Some(TextShape::JsonSchema { schema: schema.clone(), strict: true }))
            }
            _ => {
                let expected = "expected {\"type\": \"json_schema\", \"schema\": {…}}";
                Err(BadField::new(at, expected))
            }
        },
    }
}

/// What the template is told of thinking, where the request says something.
fn thinking(fields: &mut Fields) -> Result<Map<String, Value>, BadField> {
    let mut thinking = fields.object("thinking")?;
    let enabled = match thinking.get::<String>("type", "a string")?.as_deref() {
        None => return Ok(Map::new()),
        Some("enabled" | "adaptive" | "between_tools") => true,
        Some("disabled") => false,
        Some(_) => {
            let expected = "expected \"enabled\", \"adaptive\", \"between_tools\" or \"disabled\"";
            return Err(thinking.bad("type", expected));
        }
    };
    Ok(Map::from_iter([("enable_thinking".to_owned(), enabled.into())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(more: Value) -> Value {
        let mut body = json!({"model": "m", "max_tokens": 9,
            "messages": [{"role": "user", "content": "hi"}]});
        let (Value::Object(fields), Value::Object(more)) = (&mut body, more) else {
            panic!("two objects")
        };
        fields.extend(more);
        body
    }

    #[test]
    fn a_request_becomes_one_of_chat() {
        let request = parse_messages(body(json!({
            "system": "Be kind.", "stop_sequences": ["END"], "temperature": 0.5, "top_k": 5,
            "metadata": {"user_id": "ann"}, "session_id": "s", "thinking": {"type": "disabled"},
            "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
        })))
        .unwrap();
        assert_eq!(request.messages[0], json!({"role": "system", "content": "Be kind."}));
        assert_eq!(request.messages[1], json!({"role": "user", "content": "hi"}));
        let tool = json!([{"type": "function",
            "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}]);
        assert_eq!(request.tools, Some(tool));
        assert_eq!(request.tool_choice, ToolChoice::Function("f".into()));
        assert!(!request.parallel_tool_calls);
        assert_eq!(request.sampling.stop, ["END"]);
        assert_eq!((request.max_tokens, request.sampling.top_k), (Some(9), Some(5)));
        assert_eq!(request.session.fields, [("user", "ann".into()), ("session_id", "s".into())]);
        assert_eq!(request.template["enable_thinking"], false);
    }

    #[test]
    fn what_is_wrong_is_named_as_anthropic_names_it() {
        let tool = json!({"name": "f", "input_schema": {}});
        for (more, at) in [
            (json!({"max_tokens": null}), "max_tokens"),
            (json!({"stop_sequences": [""]}), "stop_sequences"),
            (json!({"tools": [{"name": "f"}]}), "tools[0].input_schema"),
            (json!({"tools": [{"input_schema": {}}]}), "tools[0].name"),
            (json!({"tools": [{"type": "bash_20250124", "name": "bash"}]}), "tools[0].type"),
            (json!({"tool_choice": {"type": "any"}}), "tool_choice"),
            (json!({"tools": [tool.clone()], "tool_choice": {"type": "x"}}), "tool_choice.type"),
            (json!({"tools": [tool.clone()], "tool_choice": {"type": "tool"}}), "tool_choice.name"),
            (json!({"tools": [tool], "tool_choice": {"type": "tool", "name": "g"}}), "tool_choice"),
            (json!({"thinking": {"type": 1}}), "thinking.type"),
            (json!({"output_config": {"format": {"type": "xml"}}}), "output_config.format"),
        ] {
            assert_eq!(parse_messages(body(more)).unwrap_err().param, at);
        }
        assert!(parse_count_tokens(body(json!({"max_tokens": null}))).is_ok());
    }
}
