//! Making one reply: from the engine's tokens to parts, and to a recorded turn.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::drawn::Drawn;
use super::errors::ApiError;
use super::state::Server;
use super::stop::Stops;
use crate::engine::{Emitted, Generation};
use crate::events::serve::{ReplyCancelled, ReplyFailed, TurnNotKept};
use crate::events::{emit, now_us};
use crate::protocol::{AssistantMessage, FunctionCall, ToolCall};
use crate::render::{Detokenizer, ReplyParser, ReplyPart};
use crate::rollout::{ConstraintKind, FinishReason, Sampling, Turn, TurnId, Version, VersionSpan};

/// Pieces that may wait for a slow reader; one more holds this reply's task (not the engine).
pub(super) const PIECES_MAX: usize = 64;
/// A reader that takes nothing for this long has gone away.
const READER_MAX: Duration = Duration::from_secs(300);
/// A stream that had nothing to say for this long shows that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// A request, ready for the engine.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) turn_id: TurnId,
    pub(super) received_at_us: i64,
    pub(super) user: String,
    pub(super) model: String,
    /// JSON.
    pub(super) session_keys: String,
    /// JSON.
    pub(super) messages: String,
    /// JSON, or empty.
    pub(super) tools: String,
    pub(super) prompt: Vec<u32>,
    pub(super) sampling: Sampling,
    /// The grammar that the reply has to follow, if there is one.
    pub(super) constraint: Option<ConstraintKind>,
    pub(super) stops: Vec<String>,
    /// Whether the turn goes to the store.
    pub(super) keep: bool,
}

/// A sampled token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sampled {
    pub(super) id: u32,
    pub(super) logprob: f32,
}

/// What the task of a reply tells its handler.
#[derive(Debug)]
pub(super) enum Piece {
    /// More of the reply, with the tokens sampled since the piece before.
    More { parts: Vec<ReplyPart>, tokens: Vec<Sampled> },
    /// Nothing yet.
    Alive,
    /// The reply is complete, and durable if it is to be.
    End(Box<Finished>),
    /// The reply could not be completed.
    Failed(ApiError),
}

/// A complete reply.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) message: AssistantMessage,
    pub(super) tokens: Vec<Sampled>,
    /// How many of the tokens came with no piece yet.
    pub(super) unsent: usize,
    pub(super) prompt_tokens: usize,
    pub(super) reason: FinishReason,
    pub(super) version: Option<Version>,
}

/// How the making of a reply ended.
enum Ending {
    Complete(FinishReason),
    /// The client went away.
    Cancelled,
    Failed(ApiError),
}

/// Makes one reply.
pub(super) struct Reply {
    server: Arc<Server>,
    asked: Asked,
    detokenizer: Detokenizer,
    stops: Stops,
    parser: ReplyParser,
    pieces: mpsc::Sender<Piece>,
    content: String,
    reasoning: String,
    calls: Vec<ToolCall>,
    tokens: Vec<Sampled>,
    spans: Vec<VersionSpan>,
    drawn: Drawn,
    /// How many of the tokens went out with a piece.
    sent: usize,
}

impl Reply {
    /// A reply to `asked`, told piece by piece.
    pub(super) fn new(server: Arc<Server>, asked: Asked, pieces: mpsc::Sender<Piece>) -> Self {
        let renderer = &server.renderer;
        let tools = !asked.tools.is_empty();
        let options = renderer.reply_options(&asked.prompt, tools, asked.turn_id.to_string());
        Self {
            detokenizer: renderer.detokenizer(),
            stops: Stops::new(asked.stops.clone()),
            parser: ReplyParser::new(options),
            server,
            asked,
            pieces,
            content: String::new(),
            reasoning: String::new(),
            calls: Vec::new(),
            tokens: Vec::new(),
            spans: Vec::new(),
            drawn: Drawn::default(),
            sent: 0,
        }
    }

    /// Takes the engine's tokens to the end, records the turn, and tells the handler.
    pub(super) async fn run(mut self, mut generation: Generation) {
        let ending = self.make(&mut generation).await;
        // What stopped at a stop string or was cancelled gives its place back now.
        drop(generation);
        match ending {
            Ending::Complete(reason) => self.complete(reason).await,
            Ending::Cancelled => self.cancelled().await,
            Ending::Failed(error) => {
                let turn = self.asked.turn_id.to_string();
                emit(ReplyFailed { turn, reason: error.message().to_owned() });
                // The client may have gone away meanwhile.
                drop(self.pieces.send_timeout(Piece::Failed(error), READER_MAX).await);
            }
        }
    }

    async fn make(&mut self, generation: &mut Generation) -> Ending {
        loop {
            let emitted = tokio::select! {
                biased;
                () = self.pieces.closed() => return Ending::Cancelled,
                emitted = generation.next() => emitted,
                () = tokio::time::sleep(ALIVE_EVERY) => {
                    // A full channel has enough to say.
                    drop(self.pieces.try_send(Piece::Alive));
                    continue;
                }
            };
            match emitted {
                Some(Emitted::Begun { .. }) => {}
                Some(Emitted::Token(token)) => {
                    self.drawn.push(&token);
                    let (parts, stopped) = self.token(token.id, token.logprob, token.version);
                    if !self.tell(parts).await {
                        return Ending::Cancelled;
                    }
                    if stopped {
                        return Ending::Complete(FinishReason::Stop);
                    }
                }
                Some(Emitted::Done { reason }) => return Ending::Complete(reason),
                Some(Emitted::Failed(error)) => return Ending::Failed(error.into()),
                None => return Ending::Failed(ApiError::internal("the reply has no end")),
            }
        }
    }

    /// Takes a token; the parts that are certain now, and whether a stop string was found.
    fn token(&mut self, id: u32, logprob: f32, version: Version) -> (Vec<ReplyPart>, bool) {
        if self.spans.last().is_none_or(|span| span.version != version) {
            self.spans.push(VersionSpan { start: self.tokens.len() as u32, version });
        }
        self.tokens.push(Sampled { id, logprob });
        if self.server.renderer.stop_ids().contains(&id) {
            return (Vec::new(), false);
        }
        let text = self.detokenizer.push(id).unwrap_or_default();
        let (text, stopped) = self.stops.push(&text);
        (self.parser.push(&text), stopped)
    }

    /// The parts that only the end makes certain.
    fn rest(&mut self) -> Vec<ReplyPart> {
        let text = self.detokenizer.finish().unwrap_or_default();
        let (mut text, _) = self.stops.push(&text);
        text.push_str(&self.stops.finish());
        let mut parts = self.parser.push(&text);
        parts.extend(self.parser.finish());
        parts
    }

    /// Takes the parts into the message, and tells the handler; `false` if it is gone.
    async fn tell(&mut self, parts: Vec<ReplyPart>) -> bool {
        if parts.is_empty() {
            return true;
        }
        for part in &parts {
            self.take(part);
        }
        let tokens = self.tokens[self.sent..].to_vec();
        self.sent = self.tokens.len();
        self.pieces.send_timeout(Piece::More { parts, tokens }, READER_MAX).await.is_ok()
    }

    fn take(&mut self, part: &ReplyPart) {
        match part {
            ReplyPart::Content(text) => self.content.push_str(text),
            ReplyPart::Reasoning(text) => self.reasoning.push_str(text),
            ReplyPart::ToolCall { id, name, arguments, .. } => self.calls.push(ToolCall {
                id: id.clone(),
                kind: "function".to_owned(),
                function: FunctionCall { name: name.clone(), arguments: arguments.clone() },
            }),
        }
    }

    async fn complete(mut self, reason: FinishReason) {
        let parts = self.rest();
        // A client that goes away now has had its reply made all the same: it is no cancellation.
        self.tell(parts).await;
        let reason = match reason {
            FinishReason::Stop if !self.calls.is_empty() => FinishReason::ToolCalls,
            reason => reason,
        };
        let message = self.message();
        self.keep(reason, &message).await;
        let finished = Finished {
            message,
            unsent: self.tokens.len() - self.sent,
            tokens: self.tokens,
            prompt_tokens: self.asked.prompt.len(),
            reason,
            version: self.spans.last().map(|span| span.version),
        };
        drop(self.pieces.send_timeout(Piece::End(Box::new(finished)), READER_MAX).await);
    }

    async fn cancelled(mut self) {
        emit(ReplyCancelled { turn: self.asked.turn_id.to_string(), tokens: self.tokens.len() });
        for part in self.rest() {
            self.take(&part);
        }
        // A reply of which nothing was sampled is no turn.
        if !self.tokens.is_empty() {
            let message = self.message();
            self.keep(FinishReason::Cancelled, &message).await;
        }
    }

    fn message(&self) -> AssistantMessage {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let content = some(&self.content);
        AssistantMessage {
            role: "assistant".to_owned(),
            content: if self.calls.is_empty() { content.or(Some(String::new())) } else { content },
            reasoning_content: some(&self.reasoning),
            tool_calls: Some(self.calls.clone()).filter(|calls| !calls.is_empty()),
        }
    }

    /// Makes the turn durable, if it is to be kept.
    async fn keep(&self, reason: FinishReason, message: &AssistantMessage) {
        let asked = &self.asked;
        if !asked.keep {
            emit(TurnNotKept { turn: asked.turn_id.to_string() });
            return;
        }
        let turn = Turn {
            turn_id: asked.turn_id,
            received_at_us: asked.received_at_us,
            finished_at_us: now_us(),
            user: asked.user.clone(),
            policy: "default".to_owned(),
            model: asked.model.clone(),
            session_keys: asked.session_keys.clone(),
            messages: asked.messages.clone(),
            tools: asked.tools.clone(),
            reply: serde_json::to_value(message).unwrap_or(Value::Null).to_string(),
            prompt_ids: asked.prompt.clone(),
            response_ids: self.tokens.iter().map(|token| token.id).collect(),
            response_logprobs: self.tokens.iter().map(|token| token.logprob).collect(),
            drawn_logprobs: self.drawn.logprobs(),
            forced: self.drawn.forced(),
            constraint: asked.constraint,
            version_spans: self.spans.clone(),
            sampling: asked.sampling.clone(),
            finish_reason: reason,
        };
        self.server.recorder.record(turn).await;
    }
}
