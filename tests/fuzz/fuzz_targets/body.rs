//! Any bytes as the body of any route.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw_rl_fuzz::client::{UserText, command, user_text};
use openclaw_rl_fuzz::protocol::{
    ChatRequest, CompletionRequest, DetokenizeRequest, FeedbackRequest, GenerateRequest,
    LoadAdapter, TokenizeRequest, UnloadAdapter, UpdateWeights, parse_count_tokens, parse_messages,
    parse_pause,
};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else { return };
    let errors = [
        ChatRequest::parse(body.clone()).err(),
        CompletionRequest::parse(body.clone()).err(),
        DetokenizeRequest::parse(body.clone()).err(),
        FeedbackRequest::parse(body.clone()).err(),
        GenerateRequest::parse(body.clone()).err(),
        LoadAdapter::parse(body.clone()).err(),
        TokenizeRequest::parse(body.clone()).err(),
        UnloadAdapter::parse(body.clone()).err(),
        UpdateWeights::parse(body.clone()).err(),
        parse_count_tokens(body.clone()).err(),
        parse_messages(body.clone()).err(),
        parse_pause(body.clone()).err(),
    ];
    for message in body["messages"].as_array().into_iter().flatten() {
        if let UserText::Said { text, .. } =
            user_text(message["content"].as_str().unwrap_or_default())
        {
            command(&text);
        }
    }
    for error in errors.into_iter().flatten() {
        assert!(!error.param.is_empty() && !error.problem.is_empty(), "{error}");
    }
});
