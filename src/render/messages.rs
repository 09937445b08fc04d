//! One canonical form of a conversation, whatever dialect the client speaks.

use serde_json::{Map, Value};

use super::RenderError;
use crate::client;

/// What stands between the user's message and the hint.
const HINT_HEADING: &str = "\n\n[What the user wants from this reply]\n";

/// The messages as the templates expect them: `content` is always text (text parts joined by a
/// newline, null as empty), `developer` is `system`, tool-call arguments are objects.
///
/// # Errors
/// [`RenderError::Request`] with the path of the first message that cannot be rendered.
pub(super) fn canonical(messages: &[Value]) -> Result<Vec<Value>, RenderError> {
    messages.iter().enumerate().map(|(index, message)| canonical_message(index, message)).collect()
}

fn canonical_message(index: usize, message: &Value) -> Result<Value, RenderError> {
    let at = format!("messages[{index}]");
    let Value::Object(message) = message else {
        return Err(RenderError::request(at, "expected an object"));
    };
    let mut message = message.clone();
    let role = match message.get("role") {
        Some(Value::String(role)) => role.clone(),
        Some(_) => return Err(RenderError::request(format!("{at}.role"), "expected a string")),
        None => return Err(RenderError::request(format!("{at}.role"), "is required")),
    };
    match role.as_str() {
        "developer" => {
            message.insert("role".into(), "system".into());
        }
        "system" | "user" | "assistant" | "tool" => {}
        other => {
            let problem = format!(
                "unknown role `{other}`; supported are system, developer, user, assistant, tool"
            );
            return Err(RenderError::request(format!("{at}.role"), problem));
        }
    }
    let content = text(&format!("{at}.content"), message.get("content"))?;
    message.insert("content".into(), content.into());
    adopt_reasoning(&mut message);
    tool_calls(&at, &mut message)?;
    Ok(Value::Object(message))
}

/// The text of a `content` value.
fn text(at: &str, content: Option<&Value>) -> Result<String, RenderError> {
    match content {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().enumerate().map(|(i, part)| part_text(at, i, part));
            Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
        Some(_) => {
            Err(RenderError::request(at, "expected a string, null or an array of text parts"))
        }
    }
}

fn part_text<'a>(at: &str, index: usize, part: &'a Value) -> Result<&'a str, RenderError> {
    if let Value::String(text) = part {
        return Ok(text);
    }
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    let key = match kind {
        "text" | "input_text" | "output_text" => "text",
        "refusal" => "refusal",
        other => {
            let problem =
                format!("content of type `{other}` is not supported: this model reads text only");
            return Err(RenderError::request(format!("{at}[{index}].type"), problem));
        }
    };
    part.get(key)
        .and_then(Value::as_str)
        .ok_or_else(|| RenderError::request(format!("{at}[{index}].{key}"), "expected a string"))
}

/// Templates read `reasoning_content`; some clients send the same as `reasoning`.
fn adopt_reasoning(message: &mut Map<String, Value>) {
    if !message.get("reasoning_content").is_some_and(Value::is_string) {
        message.remove("reasoning_content");
        if let Some(reasoning @ Value::String(_)) = message.get("reasoning").cloned() {
            message.insert("reasoning_content".into(), reasoning);
        }
    }
}

/// Arguments come as JSON text and templates expect the object; what does not parse stays text.
fn tool_calls(at: &str, message: &mut Map<String, Value>) -> Result<(), RenderError> {
    let calls = match message.get_mut("tool_calls") {
        None => return Ok(()),
        Some(Value::Null) => {
            message.remove("tool_calls");
            return Ok(());
        }
        Some(Value::Array(calls)) => calls,
        Some(_) => {
            return Err(RenderError::request(format!("{at}.tool_calls"), "expected an array"));
        }
    };
    for (index, call) in calls.iter_mut().enumerate() {
        let at = format!("{at}.tool_calls[{index}].function");
        let Some(Value::Object(function)) = call.get_mut("function") else {
            return Err(RenderError::request(at, "expected an object"));
        };
        if !function.get("name").is_some_and(Value::is_string) {
            return Err(RenderError::request(format!("{at}.name"), "expected a string"));
        }
        let parsed = match function.get("arguments") {
            None | Some(Value::Null) => Some(Value::Object(Map::new())),
            Some(Value::String(text)) if text.trim().is_empty() => Some(Value::Object(Map::new())),
            Some(Value::String(text)) => serde_json::from_str(text).ok().filter(Value::is_object),
            Some(Value::Object(_)) => None,
            Some(_) => {
                let problem = "expected a string that holds a JSON object";
                return Err(RenderError::request(format!("{at}.arguments"), problem));
            }
        };
        if let Some(parsed) = parsed {
            function.insert("arguments".into(), parsed);
        }
    }
    Ok(())
}

/// The messages with `hint` at the end of the last real user message: one that is not the
/// client's internal context. Where there is none, the last user message of any kind takes it;
/// without any user message the messages come back as they are.
pub fn with_hint(messages: &[Value], hint: &str) -> Vec<Value> {
    let mut messages = messages.to_vec();
    let is_user = |message: &Value| message.get("role").and_then(Value::as_str) == Some("user");
    let real = messages.iter().rposition(|message| is_user(message) && !is_internal(message));
    let Some(index) = real.or_else(|| messages.iter().rposition(is_user)) else {
        return messages;
    };
    let addition = format!("{HINT_HEADING}{}", hint.trim());
    if let Some(message) = messages[index].as_object_mut() {
        let content = message.entry("content").or_insert(Value::Null);
        append(content, &addition);
    }
    messages
}

fn append(content: &mut Value, addition: &str) {
    match content {
        Value::String(text) => text.push_str(addition),
        Value::Array(parts) => {
            let last = parts.iter_mut().rev().find_map(|part| match part {
                Value::String(text) => Some(text),
                part => match part.get_mut("text") {
                    Some(Value::String(text)) => Some(text),
                    _ => None,
                },
            });
            match last {
                Some(text) => text.push_str(addition),
                None => parts.push(serde_json::json!({"type": "text", "text": addition})),
            }
        }
        other => *other = Value::String(addition.to_owned()),
    }
}

/// Whether a message is the client's internal context.
fn is_internal(message: &Value) -> bool {
    let text = text("content", message.get("content")).unwrap_or_default();
    client::is_internal(&text)
}
