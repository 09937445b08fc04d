//! A conversation, read and rendered: no panic, and the same text each time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw_rl_fuzz::protocol::ChatRequest;
use openclaw_rl_fuzz::render::Told;
use openclaw_rl_fuzz::renderer;

fuzz_target!(|bytes: &[u8]| {
    let Ok(body) = serde_json::from_slice(bytes) else { return };
    let Ok(request) = ChatRequest::parse(body) else { return };
    let told = || Told { begin_reply: true, template: &request.template };
    let (messages, tools) = (&request.messages, request.tools.as_ref());
    let first = renderer().prompt_told(messages, tools, told()).ok();
    let second = renderer().prompt_told(messages, tools, told()).ok();
    assert_eq!(first, second);
});
