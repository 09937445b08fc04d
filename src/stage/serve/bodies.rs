//! Reading the bodies of requests: within a size, a time, and the memory that all of them may take.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use bytes::BytesMut;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::errors::ApiError;
use crate::config::ServeConfig;

/// Bytes that are read and dropped of a body that is too large.
const EXCESS_MAX: usize = 64 << 20;
/// Bodies of the largest size that may be in memory at the same time.
const LARGEST_MAX: usize = 8;
/// The unit in which their memory is counted, in bytes.
const UNIT: usize = 1024;

/// The limits of bodies.
pub(super) struct Bodies {
    bytes_max: usize,
    time_max: Duration,
    /// Units that are still free.
    room: Arc<Semaphore>,
}

/// A body's share of the memory, until it is dropped.
pub(super) type Room = Option<OwnedSemaphorePermit>;

/// Why a body could not be read.
enum Unread {
    TooLarge,
    NoRoom,
    Broken(axum::Error),
}

impl Bodies {
    pub(super) fn new(config: &ServeConfig) -> Self {
        let units = config.body_bytes_max.div_ceil(UNIT).saturating_mul(LARGEST_MAX);
        Self {
            bytes_max: config.body_bytes_max,
            time_max: Duration::from_millis(config.body_timeout_ms),
            room: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Reads a whole body.
    pub(super) async fn read(&self, body: Body) -> Result<(Bytes, Room), ApiError> {
        let kind = "invalid_request_error";
        match tokio::time::timeout(self.time_max, self.collect(body)).await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(Unread::TooLarge)) => {
                let message = format!("the request's body is larger than {} bytes", self.bytes_max);
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                Err(ApiError::new(status, kind, message, Some("body_too_large")))
            }
            Ok(Err(Unread::NoRoom)) => {
                let message = "the bodies of other requests take all the room there is; try again \
                               in a moment";
                let (status, kind) = (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error");
                Err(ApiError::new(status, kind, message, Some("too_many_requests")))
            }
            Ok(Err(Unread::Broken(error))) => {
                let message = format!("the request's body could not be read: {error}");
                Err(ApiError::bad_request(message, Some("body_unreadable")))
            }
            Err(_) => {
                let message = format!("the request's body took longer than {:?}", self.time_max);
                let status = StatusCode::REQUEST_TIMEOUT;
                Err(ApiError::new(status, kind, message, Some("body_too_slow")))
            }
        }
    }

    /// The body. What is too much is read and dropped within reason, since a client that still
    /// writes would not see the answer.
    async fn collect(&self, body: Body) -> Result<(Bytes, Room), Unread> {
        let mut frames = body.into_data_stream();
        let mut bytes = BytesMut::new();
        let (mut read, mut room): (usize, Room) = (0, None);
        let mut unread = None;
        while let Some(frame) = frames.next().await {
            let frame = frame.map_err(Unread::Broken)?;
            read = read.saturating_add(frame.len());
            if read > self.bytes_max {
                (bytes, room) = (BytesMut::new(), None);
                unread = Some(Unread::TooLarge);
            } else if unread.is_none() && !self.grow(&mut room, read) {
                (bytes, room) = (BytesMut::new(), None);
                unread = Some(Unread::NoRoom);
            }
            if unread.is_none() {
                bytes.extend_from_slice(&frame);
            } else if read > self.bytes_max.saturating_add(EXCESS_MAX) {
                break;
            }
        }
        match unread {
            None => Ok((bytes.freeze(), room)),
            Some(unread) => Err(unread),
        }
    }

    /// Takes as much room as `bytes` need; `false` if there is not so much.
    fn grow(&self, room: &mut Room, bytes: usize) -> bool {
        let has = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(UNIT).saturating_sub(has);
        let Ok(more) = u32::try_from(more) else { return false };
        let Ok(more) = Arc::clone(&self.room).try_acquire_many_owned(more) else { return false };
        match room {
            Some(room) => room.merge(more),
            None => *room = Some(more),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies() -> Bodies {
        Bodies::new(&ServeConfig { body_bytes_max: 2 * UNIT, ..ServeConfig::default() })
    }

    fn frames(sizes: &[usize]) -> Body {
        let frames: Vec<_> =
            sizes.iter().map(|size| Ok::<_, std::convert::Infallible>(vec![b'x'; *size])).collect();
        Body::from_stream(futures::stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_takes_room_for_what_it_is_and_gives_it_back() {
        let bodies = bodies();
        let all = bodies.room.available_permits();
        assert_eq!(all, 2 * LARGEST_MAX);
        let (bytes, room) = bodies.read(frames(&[1; 1500])).await.unwrap();
        assert_eq!((bytes.len(), bodies.room.available_permits()), (1500, all - 2));
        drop(room);
        assert_eq!(bodies.room.available_permits(), all);
        assert!(bodies.read(frames(&[1500, 1500])).await.is_err());
        assert_eq!(bodies.room.available_permits(), all);
    }

    #[tokio::test]
    async fn where_the_room_is_taken_a_body_is_sent_away() {
        let bodies = bodies();
        let mut held = Vec::new();
        for _ in 0..LARGEST_MAX {
            held.push(bodies.read(frames(&[2 * UNIT])).await.unwrap());
        }
        let error = bodies.read(frames(&[1])).await.unwrap_err();
        assert!(error.message().contains("room"), "{}", error.message());
        held.pop();
        assert!(bodies.read(frames(&[1])).await.is_ok());
        assert!(bodies.read(frames(&[])).await.is_ok());
    }
}
