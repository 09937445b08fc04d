//! Server-sent events, as OpenAI frames them.

use bytes::Bytes;
use serde::Serialize;

/// What ends a complete stream.
pub const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

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
