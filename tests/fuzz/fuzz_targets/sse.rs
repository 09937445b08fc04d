//! Any text in an event: one frame, on one line, that reads back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw_rl_fuzz::protocol::sse;
use serde_json::{Value, json};

fuzz_target!(|text: &str| {
    let value = json!({"text": text});
    let named = sse::named_event("delta", &value);
    let named = std::str::from_utf8(&named).expect("text");
    let frame = named.strip_prefix("event: delta\n").expect("its name first");
    assert_eq!(frame.as_bytes(), &sse::event(&value)[..]);
    let data = frame.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n"));
    let data = data.expect("one frame");
    assert!(!data.contains(['\n', '\r']));
    assert_eq!(serde_json::from_str::<Value>(data).expect("JSON"), value);
});
