//! What a request demands of its reply's form, compiled.

use super::errors::ApiError;
use super::state::Server;
use crate::protocol::{ChatRequest, TextShape, ToolChoice};
use crate::render::{Grammar, Reasoning, Shape};

/// The grammar of a reply to a conversation, if it has one. Compiling takes milliseconds: for
/// threads that may block.
pub(super) fn of_chat(
    server: &Server,
    request: &ChatRequest,
    prompt: &[u32],
) -> Result<Option<Grammar>, ApiError> {
    let named = match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::None => {
            return of_text(server, request.shape.as_ref(), server.renderer.reasoning(prompt));
        }
        ToolChoice::Required => None,
        ToolChoice::Function(name) => Some(name.as_str()),
    };
    let tools = request.tools.clone().unwrap_or_default();
    let shape = Shape::tool_calls(&tools, named, request.parallel_tool_calls)?;
    Ok(Some(server.grammars.compile(&shape, server.renderer.reasoning(prompt))?))
}

/// The grammar of a text that is continued, if it has one.
pub(super) fn of_text(
    server: &Server,
    shape: Option<&TextShape>,
    reasoning: Reasoning,
) -> Result<Option<Grammar>, ApiError> {
    let shape = match shape {
        None => return Ok(None),
        Some(TextShape::JsonObject) => Shape::JsonObject,
        Some(TextShape::JsonSchema { schema, strict }) => {
            Shape::JsonSchema { schema: schema.clone(), strict: *strict }
        }
        Some(TextShape::Regex(regex)) => Shape::Regex(regex.clone()),
        Some(TextShape::Choice(choices)) => Shape::Choice(choices.clone()),
    };
    Ok(Some(server.grammars.compile(&shape, reasoning)?))
}
