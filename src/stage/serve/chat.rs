//! `POST /v1/chat/completions`.

mod dialect;

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::asker::{self, Asker};
use super::choices::Choices;
use super::command::{self, Command};
use super::conversation::{Conversation, Keep};
use super::errors::ApiError;
use super::reply::Asked;
use super::router::{blocking, json};
use super::state::Server;
use super::{draw, grammar, stream};
use crate::events::now_us;
use crate::protocol::{BadField, ChatRequest, ToolChoice};
use crate::render::{Grammar, ReplyOptions, Told};
use crate::rollout::TurnId;
use dialect::Chat;

/// Answers a conversation.
pub(super) async fn completions(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let begun = begin(&server, headers, body, "chat", ChatRequest::parse).await?;
    let stream = begun.request.stream;
    let (chat, choices) = Chat::new(begun, Arc::clone(&server.renderer));
    match stream {
        true => Ok(stream::respond(chat, choices)),
        false => Ok(Json(chat.whole(choices.whole().await?)).into_response()),
    }
}

/// A conversation whose replies are being made.
pub(super) struct Begun {
    pub(super) request: ChatRequest,
    /// The first of its replies.
    pub(super) turn_id: TurnId,
    /// Seconds since the Unix epoch.
    pub(super) created_s: i64,
    /// The model's name, as it was asked for.
    pub(super) model: String,
    pub(super) prompt: Vec<u32>,
    pub(super) choices: Choices,
}

/// Reads a request in whatever dialect, and has its replies made.
pub(super) async fn begin(
    server: &Arc<Server>,
    headers: HeaderMap,
    body: Bytes,
    route: &'static str,
    read: fn(Value) -> Result<ChatRequest, BadField>,
) -> Result<Begun, ApiError> {
    let (received, received_at_us) = (Instant::now(), now_us());
    let reading = Arc::clone(server);
    // Reading and tokenising a long conversation takes milliseconds.
    let (mut request, wanted) = blocking(move || {
        let request = read(json(&body)?)?;
        let conversation = conversation(&reading, &request, &headers, received_at_us);
        let wanted = match command(&reading, &request)? {
            Some(command) => Wanted::Command(command, Box::new(conversation)),
            None => Wanted::Replies(ask(&reading, &request, conversation, (route, received))?),
        };
        Ok::<_, ApiError>((request, wanted))
    })
    .await??;
    let model = request.model.clone().unwrap_or_else(|| server.config.model_name.clone());
    let created_s = received_at_us / 1_000_000;
    let (turn_id, prompt, choices) = match wanted {
        Wanted::Command(command, conversation) => {
            request.n = 1;
            let turn_id = TurnId::now();
            let choices = command::answer(server, turn_id, command, *conversation).await?;
            (turn_id, Vec::new(), choices)
        }
        Wanted::Replies(asked) => {
            let first = asked.first();
            let first = first.ok_or_else(|| ApiError::internal("no reply was asked for"))?;
            let (turn_id, prompt) = (first.turn_id, first.prompt.clone());
            (turn_id, prompt, Choices::start(server, asked)?)
        }
    };
    Ok(Begun { request, turn_id, created_s, model, prompt, choices })
}

/// What a request wants: replies of the model, or one of the server.
enum Wanted {
    Replies(Vec<Asked>),
    Command(Command, Box<Conversation>),
}

/// The command that a request is, if it is one and they are heeded.
fn command(server: &Server, request: &ChatRequest) -> Result<Option<Command>, ApiError> {
    let config = &server.config;
    let heeded = config.records() && config.chat_commands;
    let command = Some(&request.messages).filter(|_| heeded);
    let command = command.and_then(|messages| Command::of(messages));
    if command.is_some() {
        server.doors.check_messages(&request.messages)?;
    }
    Ok(command)
}

/// What is kept of the request, if its turn is to be kept.
fn conversation(
    server: &Server,
    request: &ChatRequest,
    headers: &HeaderMap,
    received_at_us: i64,
) -> Conversation {
    let config = &server.config;
    let adapter = draw::adapter(server, request.model.as_deref());
    let asker = Asker::of(&request.session, headers, &server.opted_out);
    Conversation {
        received_at_us,
        keep: if config.records() { asker.keep() } else { Keep::Nothing },
        user: asker.user,
        policy: adapter.as_deref().unwrap_or("default").to_owned(),
        model: request.model.clone().unwrap_or_else(|| config.model_name.clone()),
        session_keys: asker::session_keys(&request.session, headers),
        messages: Value::from(request.messages.clone()).to_string(),
        tools: shown_tools(request).map(Value::to_string).unwrap_or_default(),
        constraint: None,
    }
}

/// The tools that the model is shown.
fn shown_tools(request: &ChatRequest) -> Option<&Value> {
    request.tools.as_ref().filter(|_| request.tool_choice != ToolChoice::None)
}

/// The ids that the model reads.
pub(super) fn prompt(server: &Server, request: &ChatRequest) -> Result<Vec<u32>, ApiError> {
    server.doors.check_messages(&request.messages)?;
    let told = Told { begin_reply: true, template: &request.template };
    Ok(server.renderer.prompt_told(&request.messages, shown_tools(request), told)?)
}

/// Renders a request, and settles what it leaves open: the replies that it wants.
fn ask(
    server: &Server,
    request: &ChatRequest,
    mut conversation: Conversation,
    (route, received): (&'static str, Instant),
) -> Result<Vec<Asked>, ApiError> {
    let tools = shown_tools(request);
    let prompt = prompt(server, request)?;
    let wished = request.max_tokens.map_or(server.config.reply_tokens, |limit| limit as usize);
    let sampling = draw::sampling(server, &request.sampling, prompt.len(), wished)?;
    let stop_ids = draw::stop_ids(server, &request.sampling);
    let grammar = grammar::of_chat(server, request, &prompt)?;
    conversation.constraint = grammar.as_ref().map(Grammar::kind);
    // What breaks after it was told cannot be taken back: clients of the form of OpenAI check the
    // arguments that they were given, those of Anthropic trust them.
    let eager = request.stream && (route == "chat" || grammar.is_some());
    let first = TurnId::now();
    let asked = (0..request.n).map(|choice| {
        let turn_id = first.choice(choice);
        let reading = server.renderer.reply_options(&prompt, tools.is_some(), turn_id.to_string());
        let mut sampling = sampling.clone();
        sampling.seed = sampling.seed.wrapping_add(choice as u64);
        Asked {
            turn_id,
            route,
            received,
            prompt: prompt.clone(),
            sampling,
            stops: request.sampling.stop.clone(),
            stop_ids: Arc::clone(&stop_ids),
            adapter: draw::adapter(server, request.model.as_deref()),
            top_logprobs: request.top_logprobs,
            constraint: grammar.as_ref().map(Grammar::constraint),
            reading: Some(ReplyOptions { eager, ..reading }),
            conversation: Some(match request.n {
                1 => conversation.clone(),
                _ => conversation.clone().choice(choice),
            }),
        }
    });
    Ok(asked.collect())
}
