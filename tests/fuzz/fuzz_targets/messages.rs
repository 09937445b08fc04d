//! A conversation in Anthropic's form, read and rendered as a request of it would be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw_rl_fuzz::protocol::parse_messages;
use openclaw_rl_fuzz::renderer;

fuzz_target!(|bytes: &[u8]| {
    let Ok(body) = serde_json::from_slice(bytes) else { return };
    let Ok(request) = parse_messages(body) else { return };
    if let Ok(text) = renderer().text(&request.messages, request.tools.as_ref()) {
        let ids = renderer().encode(&text).expect("what was rendered has ids");
        assert!(!ids.is_empty());
    }
});
