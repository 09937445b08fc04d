//! Server-sent events.

use bytes::Bytes;
use serde::Serialize;

/// What ends a complete stream.
pub const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// One event with a name, as Anthropic frames them.
pub fn named_event<T: Serialize>(name: &str, value: &T) -> Bytes {
    let mut frame = format!("event: {name}\n").into_bytes();
    frame.extend_from_slice(&event(value));
    Bytes::from(frame)
}

/// One event whose data is `value` as JSON (on one line, as JSON always can be).
pub fn event<T: Serialize>(value: &T) -> Bytes {
    let mut frame = b"data: ".to_vec();
    // Our wire structs have string keys only, so that writing them to memory cannot fail.
    if serde_json::to_writer(&mut frame, value).is_err() {
        frame = b"data: {\"error\":{\"message\":\"an event could not be written\",\
                  \"type\":\"server_error\",\"param\":null,\"code\":null}}"
            .to_vec();
    }
    frame.extend_from_slice(b"\n\n");
    Bytes::from(frame)
}
