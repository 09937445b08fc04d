//! Making one reply: from the engine's tokens to parts, and to a recorded turn. In which dialect
//! it is told is not known here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::conversation::{Answer, Conversation};
use super::errors::ApiError;
use super::served::{Outcome, Served};
use super::state::Server;
use super::stop::Stops;
use crate::engine::{Constraint, Emitted, Generation, SampledToken};
use crate::events::emit;
use crate::events::serve::{ReplyCancelled, ReplyFailed, TurnNotKept};
use crate::protocol::{AssistantMessage, FunctionCall, ToolCall};
use crate::render::{Detokenizer, ReplyOptions, ReplyParser, ReplyPart};
use crate::rollout::{FinishReason, Sampling, TurnId, TurnStatus, Version};

/// A reply that is wanted, ready for the engine.
pub(super) struct Asked {
    pub(super) turn_id: TurnId,
    /// `chat`, `messages`, `completions` or `generate`.
    pub(super) route: &'static str,
    pub(super) received: Instant,
    pub(super) prompt: Vec<u32>,
    pub(super) sampling: Sampling,
    pub(super) stops: Vec<String>,
    pub(super) stop_ids: Arc<[u32]>,
    pub(super) adapter: Option<Arc<str>>,
    /// How many of the most probable ids are wanted with each token.
    pub(super) top_logprobs: usize,
    pub(super) constraint: Option<Box<dyn Constraint>>,
    /// How the text is read; absent where it is told as it is.
    pub(super) reading: Option<ReplyOptions>,
    /// What the reply belongs to, if it is a conversation.
    pub(super) conversation: Option<Conversation>,
}

/// What the task of a reply tells its handler.
#[derive(Debug)]
pub(super) enum Piece {
    /// More of the reply, with the tokens sampled since the piece before.
    More { parts: Vec<ReplyPart>, tokens: Vec<SampledToken> },
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
    pub(super) tokens: Vec<SampledToken>,
    /// How many of the tokens came with no piece yet.
    pub(super) unsent: usize,
    pub(super) prompt_tokens: usize,
    /// Tokens of the prompt that did not have to be computed.
    pub(super) cached_tokens: usize,
    /// Tokens of the reasoning block.
    pub(super) reasoning_tokens: usize,
    pub(super) reason: FinishReason,
    /// The stop string that ended it.
    pub(super) stopped_by: Option<String>,
    pub(super) version: Option<Version>,
}

impl Finished {
    /// The tokens that came with no piece.
    pub(super) fn unsent(&self) -> &[SampledToken] {
        &self.tokens[self.tokens.len() - self.unsent..]
    }

    /// What OpenAI calls the weights that answered.
    pub(super) fn fingerprint(&self) -> Option<String> {
        self.version.map(|version| format!("weights-{version}"))
    }
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
    /// Which of the request's choices it is.
    index: usize,
    detokenizer: Detokenizer,
    stops: Stops,
    parser: Option<ReplyParser>,
    pieces: mpsc::Sender<(usize, Piece)>,
    message: AssistantMessage,
    tokens: Vec<SampledToken>,
    reasoning_tokens: usize,
    served: Served,
    /// How many of the tokens went out with a piece.
    sent: usize,
    told_at: tokio::time::Instant,
}

impl Reply {
    /// A reply to `asked`, told piece by piece.
    pub(super) fn new(
        server: Arc<Server>,
        mut asked: Asked,
        index: usize,
        pieces: mpsc::Sender<(usize, Piece)>,
    ) -> Self {
        Self {
            detokenizer: server.renderer.detokenizer(),
            stops: Stops::new(std::mem::take(&mut asked.stops)),
            parser: asked.reading.take().map(ReplyParser::new),
            served: Served::new(
                asked.route,
                asked.received,
                asked.prompt.len(),
                asked.sampling.max_tokens,
            ),
            server,
            asked,
            index,
            pieces,
            message: AssistantMessage {
                role: "assistant".to_owned(),
                content: None,
                reasoning_content: None,
                tool_calls: None,
            },
            tokens: Vec::new(),
            reasoning_tokens: 0,
            sent: 0,
            told_at: tokio::time::Instant::now(),
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
                self.ended(Outcome::Failed);
                // The client may have gone away meanwhile.
                self.send(Piece::Failed(error)).await;
            }
        }
    }

    async fn make(&mut self, generation: &mut Generation) -> Ending {
        // A stream that had nothing to say for this long shows that it lives.
        let alive_every = Duration::from_millis(self.server.config.alive_every_ms);
        loop {
            let emitted = tokio::select! {
                biased;
                () = self.pieces.closed() => return Ending::Cancelled,
                () = tokio::time::sleep_until(self.told_at + alive_every) => {
                    // A full channel has enough to say.
                    drop(self.pieces.try_send((self.index, Piece::Alive)));
                    self.told_at = tokio::time::Instant::now();
                    continue;
                }
                emitted = generation.next() => emitted,
            };
            match emitted {
                Some(Emitted::Begun { cached_tokens }) => {
                    self.served.begun(cached_tokens);
                    self.served.queued = generation.queued();
                }
                Some(Emitted::Token(token)) => {
                    self.served.token();
                    let (parts, stopped) = self.token(token);
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
    fn token(&mut self, token: SampledToken) -> (Vec<ReplyPart>, bool) {
        let id = token.id;
        self.tokens.push(token);
        if self.asked.stop_ids.contains(&id) {
            return (Vec::new(), false);
        }
        let text = self.detokenizer.push(id).unwrap_or_default();
        let (text, stopped) = self.stops.push(&text);
        let thinking = self.is_thinking();
        let parts = self.read(text);
        self.reasoning_tokens += usize::from(thinking || self.is_thinking());
        (parts, stopped)
    }

    fn is_thinking(&self) -> bool {
        self.parser.as_ref().is_some_and(ReplyParser::is_thinking)
    }

    fn read(&mut self, text: String) -> Vec<ReplyPart> {
        match &mut self.parser {
            Some(parser) => parser.push(&text),
            None if text.is_empty() => Vec::new(),
            None => vec![ReplyPart::Content(text)],
        }
    }

    /// The parts that only the end makes certain.
    fn rest(&mut self) -> Vec<ReplyPart> {
        let text = self.detokenizer.finish().unwrap_or_default();
        let (mut text, _) = self.stops.push(&text);
        text.push_str(&self.stops.finish());
        let mut parts = self.read(text);
        parts.extend(self.parser.as_mut().map(ReplyParser::finish).unwrap_or_default());
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
        self.told_at = tokio::time::Instant::now();
        self.send(Piece::More { parts, tokens }).await
    }

    async fn send(&mut self, piece: Piece) -> bool {
        // A reader that takes nothing for this long has gone away.
        let reader_max = Duration::from_millis(self.server.config.reader_timeout_ms);
        self.pieces.send_timeout((self.index, piece), reader_max).await.is_ok()
    }

    fn take(&mut self, part: &ReplyPart) {
        let message = &mut self.message;
        match part {
            ReplyPart::Content(text) => {
                message.content.get_or_insert_default().push_str(text);
            }
            ReplyPart::Reasoning(text) => {
                message.reasoning_content.get_or_insert_default().push_str(text);
            }
            ReplyPart::Call { id, name, .. } => {
                message.tool_calls.get_or_insert_default().push(ToolCall {
                    id: id.clone(),
                    kind: "function".to_owned(),
                    function: FunctionCall { name: name.clone(), arguments: String::new() },
                });
            }
            ReplyPart::Arguments { text, .. } => {
                let call = message.tool_calls.as_mut().and_then(|calls| calls.last_mut());
                if let Some(call) = call {
                    call.function.arguments.push_str(text);
                }
            }
        }
    }

    async fn complete(mut self, reason: FinishReason) {
        let parts = self.rest();
        // A client that goes away now has had its reply made all the same: it is no cancellation.
        self.tell(parts).await;
        let reason = match reason {
            FinishReason::Stop if self.message.tool_calls.is_some() => FinishReason::ToolCalls,
            reason => reason,
        };
        self.settle_message();
        self.keep(reason).await;
        self.ended(Outcome::Finished(reason));
        let finished = Finished {
            message: self.message.clone(),
            unsent: self.tokens.len() - self.sent,
            version: self.tokens.last().map(|token| token.version),
            tokens: std::mem::take(&mut self.tokens),
            prompt_tokens: self.served.prompt_tokens,
            cached_tokens: self.served.cached_tokens,
            reasoning_tokens: self.reasoning_tokens,
            reason,
            stopped_by: self.stops.found().map(ToOwned::to_owned),
        };
        self.send(Piece::End(Box::new(finished))).await;
    }

    async fn cancelled(mut self) {
        emit(ReplyCancelled { turn: self.asked.turn_id.to_string(), tokens: self.tokens.len() });
        for part in self.rest() {
            self.take(&part);
        }
        // A reply of which nothing was sampled is no turn.
        if !self.tokens.is_empty() {
            self.settle_message();
            self.keep(FinishReason::Cancelled).await;
        }
        self.ended(Outcome::Finished(FinishReason::Cancelled));
    }

    /// A message that calls nothing has content, be it empty.
    fn settle_message(&mut self) {
        if self.message.tool_calls.is_none() {
            self.message.content.get_or_insert_default();
        }
    }

    /// Makes the turn durable, if it is to be kept.
    async fn keep(&mut self, reason: FinishReason) {
        let asked = &mut self.asked;
        let Some(conversation) = asked.conversation.take() else { return };
        let answer = Answer {
            status: TurnStatus::Answered,
            prompt_ids: std::mem::take(&mut asked.prompt),
            sampling: asked.sampling.clone(),
            tokens: &self.tokens,
            message: &self.message,
            finish_reason: reason,
        };
        match conversation.turn(asked.turn_id, answer) {
            Some(turn) => drop(self.server.recorder.record(turn).await),
            None => emit(TurnNotKept { turn: asked.turn_id.to_string() }),
        }
    }

    /// The one place where a reply is counted.
    fn ended(&mut self, outcome: Outcome) {
        let malformed = self.parser.as_ref().map_or(0, ReplyParser::malformed);
        self.served.end(outcome, malformed);
        self.server.served(&self.served);
    }
}
