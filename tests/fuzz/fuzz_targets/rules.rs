//! Any conversation before the judges: the rules come to one verdict, the leak check to one
//! answer, and the prompt quotes within its fences and its budget.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw_rl_fuzz::judge::{Exchange, Known, prompts, verdict};
use serde_json::{Value, json};

const ROLES: [&str; 4] = ["user", "tool", "assistant", "system"];

fuzz_target!(|input: (u16, &str, &str, &str, &str)| {
    let (flags, ask, reply, next, later) = input;
    let role = |shift: u16| ROLES[usize::from(flags >> shift) % ROLES.len()];
    let said = |role: &str, text: &str| json!({"role": role, "content": text});
    let mut answer = said("assistant", reply);
    if flags & 1 == 1 {
        let call = json!({"type": "function", "function": {"name": "exec", "arguments": ask}});
        answer["tool_calls"] = json!([call]);
    }
    let next_state: Vec<Value> = next.split('\u{1}').map(|text| said(role(1), text)).collect();
    let exchange = Exchange {
        messages: vec![said(role(3), later), said("user", ask)],
        reply: answer,
        next_state,
        later: if flags & 2 == 2 { vec![said(role(5), later)] } else { Vec::new() },
        ..Exchange::default()
    };
    let ruled = verdict(&exchange);
    assert!((-1..=1).contains(&ruled.score));
    assert_eq!(verdict(&exchange), ruled);
    let known = Known::of(&exchange);
    if let Some(hint) = &ruled.hint {
        // the rules hint with the user's own words
        assert!(ruled.score < 0 && !hint.trim().is_empty(), "{ruled:?}");
    }
    assert_eq!(known.lacks(next), known.lacks(next));
    let budget = 64 + usize::from(flags >> 7);
    let asked = prompts::ask(prompts::SCORE, &exchange, 0x1234_5678, budget);
    let text = asked[1]["content"].as_str().expect("text");
    let quoted = [ask, reply, next, later].iter().any(|part| part.contains("<<<12345678"));
    let fences = text.matches("<<<12345678 ").count();
    assert!(quoted || fences == 2 * text.matches("<<<12345678 end of ").count(), "{text}");
    // what is cut says so in words of its own, part for part
    let slack = 4_000 + 64 * exchange.next_state.len();
    assert!(text.chars().count() <= 4 * budget + slack, "{} of {budget}", text.chars().count());
});
