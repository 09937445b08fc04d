//! A reply as Anthropic tells it: blocks of content, each begun, continued and ended.

use axum::body::Bytes;
use serde_json::{Map, Value};

use super::detail;
use crate::engine::SampledToken;
use crate::protocol::{
    BlockDelta, ContentBlock, Message, MessageDelta, MessageEvent, MessageUsage,
    OutputTokensDetails, sse,
};
use crate::render::ReplyPart;
use crate::rollout::FinishReason;
use crate::stage::serve::chat::Begun;
use crate::stage::serve::choices::Choices;
use crate::stage::serve::errors::ApiError;
use crate::stage::serve::reply::Finished;
use crate::stage::serve::stream::Dialect;

/// The kinds of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Thinking,
    Text,
    /// A call, by its place among the calls.
    Call(usize),
}

/// A reply that is being told.
pub(super) struct Messages {
    id: String,
    model: String,
    prompt_tokens: usize,
    /// The block that is open, and its place.
    open: Option<(Kind, usize)>,
    /// Blocks that were begun.
    blocks: usize,
}

impl Messages {
    pub(super) fn new(begun: Begun) -> (Self, Choices) {
        let messages = Self {
            id: format!("msg_{}", begun.turn_id),
            model: begun.model,
            prompt_tokens: begun.prompt.len(),
            open: None,
            blocks: 0,
        };
        (messages, begun.choices)
    }

    /// The reply once it is complete.
    pub(super) fn whole(self, finished: &Finished) -> Message {
        let said = &finished.message;
        let thinking = said
            .reasoning_content
            .clone()
            .map(|thinking| ContentBlock::Thinking { thinking, signature: String::new() });
        let text = said.content.clone().filter(|text| !text.is_empty());
        let calls = said.tool_calls.iter().flatten().map(|call| ContentBlock::ToolUse {
            id: call.id.clone(),
            name: call.function.name.clone(),
            // A call that is told whole has been read whole.
            input: serde_json::from_str(&call.function.arguments).unwrap_or_else(|_| empty()),
        });
        let content = thinking
            .into_iter()
            .chain(text.map(|text| ContentBlock::Text { text }))
            .chain(calls)
            .collect();
        let MessageDelta { stop_reason, stop_sequence } = stop(finished);
        Message {
            id: self.id,
            kind: "message".to_owned(),
            role: "assistant".to_owned(),
            model: self.model,
            content,
            stop_reason,
            stop_sequence,
            usage: usage(finished),
        }
    }

    /// Ends the open block, and begins one of another kind; its place.
    fn begin(&mut self, kind: Kind, block: ContentBlock, frames: &mut Vec<u8>) -> usize {
        self.stop_block(frames);
        let index = self.blocks;
        self.blocks += 1;
        self.open = Some((kind, index));
        put(frames, &MessageEvent::ContentBlockStart { index, content_block: block });
        index
    }

    fn stop_block(&mut self, frames: &mut Vec<u8>) {
        if let Some((_, index)) = self.open.take() {
            put(frames, &MessageEvent::ContentBlockStop { index });
        }
    }

    /// The place of the open block, if it is of this kind.
    fn place(&self, kind: Kind) -> Option<usize> {
        self.open.filter(|(open, _)| *open == kind).map(|(_, index)| index)
    }

    fn part(&mut self, part: ReplyPart, frames: &mut Vec<u8>) {
        let (index, delta) = match part {
            ReplyPart::Content(text) => {
                let block = || ContentBlock::Text { text: String::new() };
                let index = self.place(Kind::Text);
                let index = index.unwrap_or_else(|| self.begin(Kind::Text, block(), frames));
                (index, BlockDelta::TextDelta { text })
            }
            ReplyPart::Reasoning(thinking) => {
                let (text, signature) = (String::new(), String::new());
                let block = ContentBlock::Thinking { thinking: text, signature };
                let index = self.place(Kind::Thinking);
                let index = index.unwrap_or_else(|| self.begin(Kind::Thinking, block, frames));
                (index, BlockDelta::ThinkingDelta { thinking })
            }
            ReplyPart::Call { index, id, name } => {
                let block = ContentBlock::ToolUse { id, name, input: empty() };
                self.begin(Kind::Call(index), block, frames);
                return;
            }
            ReplyPart::Arguments { index, text } => match self.place(Kind::Call(index)) {
                Some(place) => (place, BlockDelta::InputJsonDelta { partial_json: text }),
                None => return,
            },
        };
        put(frames, &MessageEvent::ContentBlockDelta { index, delta });
    }
}

impl Dialect for Messages {
    fn first(&mut self) -> Bytes {
        let message = Message {
            id: self.id.clone(),
            kind: "message".to_owned(),
            role: "assistant".to_owned(),
            model: self.model.clone(),
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage: MessageUsage { input_tokens: self.prompt_tokens, ..MessageUsage::default() },
        };
        let mut frames = Vec::new();
        put(&mut frames, &MessageEvent::MessageStart { message });
        frames.into()
    }

    fn more(&mut self, _: usize, parts: Vec<ReplyPart>, _: &[SampledToken]) -> Bytes {
        let mut frames = Vec::new();
        for part in parts {
            self.part(part, &mut frames);
        }
        frames.into()
    }

    fn alive(&mut self, _: usize) -> Bytes {
        let mut frames = Vec::new();
        put(&mut frames, &MessageEvent::Ping);
        frames.into()
    }

    fn end(&mut self, _: usize, finished: &Finished) -> Bytes {
        let mut frames = Vec::new();
        self.stop_block(&mut frames);
        let delta = stop(finished);
        put(&mut frames, &MessageEvent::MessageDelta { delta, usage: usage(finished) });
        frames.into()
    }

    fn last(&mut self) -> Bytes {
        let mut frames = Vec::new();
        put(&mut frames, &MessageEvent::MessageStop);
        frames.into()
    }

    fn failed(&mut self, error: &ApiError) -> Bytes {
        let mut frames = Vec::new();
        put(&mut frames, &MessageEvent::Error { error: detail(error) });
        frames.into()
    }
}

fn put(frames: &mut Vec<u8>, event: &MessageEvent) {
    frames.extend_from_slice(&sse::named_event(event.name(), event));
}

fn empty() -> Value {
    Value::Object(Map::new())
}

fn stop(finished: &Finished) -> MessageDelta {
    let reason = match (finished.reason, &finished.stopped_by) {
        (FinishReason::ToolCalls, _) => "tool_use",
        (FinishReason::Length, _) => "max_tokens",
        (_, Some(_)) => "stop_sequence",
        (_, None) => "end_turn",
    };
    let stop_sequence = finished.stopped_by.clone().filter(|_| reason == "stop_sequence");
    MessageDelta { stop_reason: Some(reason.to_owned()), stop_sequence }
}

fn usage(finished: &Finished) -> MessageUsage {
    MessageUsage {
        input_tokens: finished.prompt_tokens.saturating_sub(finished.cached_tokens),
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: finished.cached_tokens,
        output_tokens: finished.tokens.len(),
        output_tokens_details: OutputTokensDetails { thinking_tokens: finished.reasoning_tokens },
    }
}
