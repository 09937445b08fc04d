//! Anthropic's messages and their content blocks, in the form of OpenAI.

use serde_json::{Map, Value, json};

use crate::protocol::{BadField, Fields};

/// The messages of a request, its system prompt first.
pub(super) fn conversation(fields: &mut Fields) -> Result<Vec<Value>, BadField> {
    let messages = fields.get::<Vec<Value>>("messages", "an array of messages")?;
    let messages = messages.ok_or_else(|| fields.bad("messages", "is required"))?;
    if messages.is_empty() {
        return Err(fields.bad("messages", "must hold at least one message"));
    }
    let mut turned = Vec::with_capacity(messages.len() + 1);
    if let Some(system) = fields.raw("system") {
        turned.push(json!({"role": "system", "content": text_of("system", &system)?}));
    }
    let last = messages.len() - 1;
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        let content = format!("{at}.content");
        match message["role"].as_str() {
            Some("system") => {
                let text = text_of(&content, &message["content"])?;
                turned.push(json!({"role": "system", "content": text}));
            }
            Some("user") => user(&content, &message["content"], &mut turned)?,
            Some("assistant") if index == last => {
                let problem = "the last message must be the user's: a reply cannot be begun for \
                               the model";
                return Err(BadField::new(at, problem));
            }
            Some("assistant") => turned.push(assistant(&content, &message["content"])?),
            _ => {
                let problem = "expected \"user\", \"assistant\" or \"system\"";
                return Err(BadField::new(format!("{at}.role"), problem));
            }
        }
    }
    Ok(turned)
}

/// The blocks of a content, each with its path.
fn blocks<'a>(at: &str, content: &'a Value) -> Result<Vec<(String, &'a Value)>, BadField> {
    let Value::Array(blocks) = content else {
        return Err(BadField::new(at, "expected a string or an array of content blocks"));
    };
    Ok(blocks.iter().enumerate().map(|(i, block)| (format!("{at}[{i}]"), block)).collect())
}

/// Content of which nothing but text is expected: a string, or parts of text.
fn text_of(at: &str, content: &Value) -> Result<Value, BadField> {
    match content {
        Value::String(_) => Ok(content.clone()),
        Value::Null => Ok(Value::from("")),
        content => {
            let parts = blocks(at, content)?;
            let parts = parts.into_iter().map(|(at, block)| match kind(block) {
                "text" => part(&at, block),
                other => Err(unsupported(&at, other)),
            });
            parts.collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
    }
}

fn kind(block: &Value) -> &str {
    block["type"].as_str().unwrap_or_default()
}

fn string<'a>(at: &str, block: &'a Value, key: &str) -> Result<&'a str, BadField> {
    block[key].as_str().ok_or_else(|| BadField::new(format!("{at}.{key}"), "expected a string"))
}

fn part(at: &str, block: &Value) -> Result<Value, BadField> {
    Ok(json!({"type": "text", "text": string(at, block, "text")?}))
}

fn unsupported(at: &str, kind: &str) -> BadField {
    let problem = format!("content of type `{kind}` is not supported: this model reads text only");
    BadField::new(format!("{at}.type"), problem)
}

/// What a user's message says, and what the tools gave that stand in it, in their order.
fn user(at: &str, content: &Value, turned: &mut Vec<Value>) -> Result<(), BadField> {
    if content.is_string() {
        turned.push(json!({"role": "user", "content": content}));
        return Ok(());
    }
    let mut said: Vec<Value> = Vec::new();
    let all = blocks(at, content)?;
    let empty = all.is_empty();
    for (at, block) in all {
        match kind(block) {
            "text" => said.push(part(&at, block)?),
            "tool_result" => {
                if !said.is_empty() {
                    turned.push(json!({"role": "user", "content": std::mem::take(&mut said)}));
                }
                let content = text_of(&format!("{at}.content"), &block["content"])?;
                let id = string(&at, block, "tool_use_id")?;
                let mut result = json!({"role": "tool", "tool_call_id": id, "content": content});
                if block["is_error"] == true {
                    result["is_error"] = true.into();
                }
                turned.push(result);
            }
            other => return Err(unsupported(&at, other)),
        }
    }
    if !said.is_empty() || empty {
        turned.push(json!({"role": "user", "content": said}));
    }
    Ok(())
}

/// What the assistant said, thought and called.
fn assistant(at: &str, content: &Value) -> Result<Value, BadField> {
    if content.is_string() {
        return Ok(json!({"role": "assistant", "content": content}));
    }
    let (mut said, mut thought, mut calls) = (Vec::new(), String::new(), Vec::new());
    for (at, block) in blocks(at, content)? {
        match kind(block) {
            "text" => said.push(part(&at, block)?),
            "thinking" => thought.push_str(string(&at, block, "thinking")?),
            // Nobody but its writer can read it.
            "redacted_thinking" => {}
            "tool_use" => {
                let input = match &block["input"] {
                    input @ Value::Object(_) => input.to_string(),
                    Value::Null => "{}".to_owned(),
                    _ => return Err(BadField::new(format!("{at}.input"), "expected an object")),
                };
                let function = json!({"name": string(&at, block, "name")?, "arguments": input});
                let id = string(&at, block, "id")?;
                calls.push(json!({"id": id, "type": "function", "function": function}));
            }
            other => return Err(unsupported(&at, other)),
        }
    }
    let mut message = Map::from_iter([("role".to_owned(), Value::from("assistant"))]);
    let content = if said.is_empty() { Value::Null } else { Value::Array(said) };
    message.insert("content".to_owned(), content);
    if !thought.is_empty() {
        message.insert("reasoning_content".to_owned(), thought.into());
    }
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), calls.into());
    }
    Ok(Value::Object(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(body: Value) -> Result<Vec<Value>, BadField> {
        conversation(&mut Fields::of_body(body)?)
    }

    #[test]
    fn blocks_become_messages_in_their_order() {
        let messages = turned(json!({
            "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": "look"},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "On it."},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"at": [1]}},
                    {"type": "tool_use", "id": "t2", "name": "g"},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "a door"},
                    {"type": "tool_result", "tool_use_id": "t2", "is_error": true,
                        "content": [{"type": "text", "text": "no"}]},
                    {"type": "text", "text": "and now?"},
                ]},
            ],
        }))
        .unwrap();
        let part = |text: &str| json!([{"type": "text", "text": text}]);
        assert_eq!(messages[0], json!({"role": "system", "content": part("a")}));
        assert_eq!(messages[2]["content"], part("On it."));
        assert_eq!(messages[2]["reasoning_content"], "hm");
        assert_eq!(messages[2]["tool_calls"][0]["function"]["arguments"], "{\"at\":[1]}");
        assert_eq!(messages[2]["tool_calls"][1]["function"]["arguments"], "{}");
        let result = json!({"role": "tool", "tool_call_id": "t1", "content": "a door"});
        assert_eq!(messages[3], result);
        assert_eq!(
            (&messages[4]["is_error"], &messages[4]["content"]),
            (&json!(true), &part("no"))
        );
        assert_eq!(messages[5], json!({"role": "user", "content": part("and now?")}));
        assert_eq!(messages.len(), 6);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
        for (body, at) in [
            (json!({}), "messages"),
            (json!({"messages": []}), "messages"),
            (json!({"messages": [{"role": "robot", "content": "x"}]}), "messages[0].role"),
            (json!({"messages": [{"role": "assistant", "content": "x"}]}), "messages[0]"),
            (user(json!(3)), "messages[0].content"),
            (user(json!([{"type": "image", "source": {}}])), "messages[0].content[0].type"),
            (user(json!([{"type": "text"}])), "messages[0].content[0].text"),
            (user(json!([{"type": "tool_result"}])), "messages[0].content[0].tool_use_id"),
            (
                user(json!([{"type": "tool_result", "tool_use_id": "a",
                    "content": [{"type": "image"}]}])),
                "messages[0].content[0].content[0].type",
            ),
        ] {
            assert_eq!(turned(body).unwrap_err().param, at);
        }
    }
}
