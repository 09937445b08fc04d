//! Replies as they come: server-sent events, in whatever dialect.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};

use super::choices::Choices;
use super::errors::ApiError;
use super::reply::{Finished, Piece};
use crate::engine::SampledToken;
use crate::render::ReplyPart;

/// How replies are told in pieces. Each answer is the bytes of any number of events.
pub(super) trait Dialect: Send + 'static {
    /// Before anything was sampled.
    fn first(&mut self) -> Bytes;
    /// More of a choice, with the tokens sampled since the piece before.
    fn more(&mut self, choice: usize, parts: Vec<ReplyPart>, tokens: &[SampledToken]) -> Bytes;
    /// Nothing yet: bytes that show that the stream lives.
    fn alive(&mut self, choice: usize) -> Bytes;
    /// The end of a choice.
    fn end(&mut self, choice: usize, finished: &Finished) -> Bytes;
    /// After the end of the last choice.
    fn last(&mut self) -> Bytes;
    /// Instead of an end: what cannot be completed must not look complete.
    fn failed(&mut self, error: &ApiError) -> Bytes;
}

/// The replies as they come.
pub(super) fn respond<D: Dialect>(mut dialect: D, choices: Choices) -> Response {
    let first = dialect.first();
    let rest = stream::unfold((dialect, choices), |(mut dialect, mut choices)| async move {
        let (choice, piece) = choices.next().await?;
        let frames = match piece {
            Piece::More { parts, tokens } => dialect.more(choice, parts, &tokens),
            Piece::Alive => dialect.alive(choice),
            Piece::End(finished) => {
                let mut frames = dialect.end(choice, &finished).to_vec();
                if choices.are_complete() {
                    frames.extend_from_slice(&dialect.last());
                }
                frames.into()
            }
            Piece::Failed(error) => dialect.failed(&error),
        };
        Some((frames, (dialect, choices)))
    });
    let frames = stream::iter([first]).chain(rest);
    let frames = frames.filter(|frames| std::future::ready(!frames.is_empty()));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(frames.map(Ok::<_, Infallible>))).into_response()
}
