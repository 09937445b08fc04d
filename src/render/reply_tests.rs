//! What a parser of replies makes of them.

use rand::{RngExt, SeedableRng};

use super::*;

fn read(pieces: &[&str], options: &ReplyOptions) -> Vec<ReplyPart> {
    let mut parser = ReplyParser::new(options.clone());
    let mut parts: Vec<ReplyPart> = Vec::new();
    let streamed: Vec<_> = pieces.iter().flat_map(|piece| parser.push(piece)).collect();
    for part in streamed.into_iter().chain(parser.finish()) {
        match (parts.last_mut(), part) {
            (Some(ReplyPart::Content(text)), ReplyPart::Content(more))
            | (Some(ReplyPart::Reasoning(text)), ReplyPart::Reasoning(more)) => {
                text.push_str(&more);
            }
            (Some(ReplyPart::Arguments { text, .. }), ReplyPart::Arguments { text: more, .. }) => {
                text.push_str(&more);
            }
            (_, part) => parts.push(part),
        }
    }
    parts
}

fn tools() -> ReplyOptions {
    ReplyOptions { tools: true, id_seed: "turn".into(), ..ReplyOptions::default() }
}

fn eager() -> ReplyOptions {
    ReplyOptions { eager: true, ..tools() }
}

fn content(text: &str) -> ReplyPart {
    ReplyPart::Content(text.into())
}

fn call(index: usize, name: &str, arguments: &str) -> (usize, String, String) {
    (index, name.into(), arguments.into())
}

fn calls(parts: &[ReplyPart]) -> Vec<(usize, String, String)> {
    let mut calls: Vec<(usize, String, String)> = Vec::new();
    for part in parts {
        match part {
            ReplyPart::Call { index, name, .. } => {
                calls.push((*index, name.clone(), String::new()));
            }
            ReplyPart::Arguments { index, text } => {
                assert_eq!(*index, calls.len() - 1, "of the last call");
                calls[*index].2.push_str(text);
            }
            _ => {}
        }
    }
    calls
}

const REPLIES: &[&str] = &[
    "",
    "hello",
    "\n\n",
    "hello <think>no</think>",
    "<think>\nwhy </thin not\n\n</think>\n\nbecause\n",
    "<think>never closed\n",
    "<think></think>x",
    "<thinker>",
    "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, \"é\"]}}\n\
     </tool_call>",
    "<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{\"name\":\"g\",\
     \"arguments\":\"{\\\"b\\\":2}\"}</tool_call>\n",
    "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"</tool_call>\"}}</tool_call> done ",
    "a \n<tool_call>oops</tool_call> b <tool_call>{\"name\":\"f\",\"arguments\":{}}\
     </tool_call>",
    "<tool_call>{\"name\":\"f\",\"arguments\":{}",
    "<tool_call>{\"name\":\"f\",\"arguments\":{}}",
    "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"open</tool_call> and on",
    "<tool_call>{\"name\":\"f\",\"arguments\":{</tool_call> text",
    "<tool_call>x<tool_call>{\"name\":\"f\"}</tool_call>",
    "<tool_call></tool_call>",
    "<tool_c",
    "🦞 <tool_call",
    "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"x \"y\" z\"}}</tool_call> on",
    "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":1</tool_call><tool_call>{\"name\":\"g\"}",
    "<tool_call>{\"name\":\"f\",\"arguments\":{}}}\n} and <tool_call>",
    "<tool_call>{\"name\":\"f\",\"arguments\":{},\"id\":\"</tool_call>\"}</tool_call>!",
    "<tool_call>{\"name\":\"f\",\"arguments\":{},\"id\":1}",
    "<tool_call>{\"name\":\"f\",\"arguments\":{oops}}</tool_call>",
    "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"never en",
    "<tool_call>{\"name\":\"f\",\"arguments\":{}</tool_call> a <tool_call>{\"name\":\"f\", \
     \"arguments\": {\"é\": \"🦞</tool_call>\\\"\"}\n}\n</tool_call>\n",
];

#[test]
fn pieces_do_not_change_the_meaning() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let flags = [true, false];
    for (reply, mask) in REPLIES.iter().flat_map(|reply| (0..8).map(move |mask| (reply, mask))) {
        let [tools, thinking, eager] = [1, 2, 4].map(|bit| flags[usize::from(mask & bit == 0)]);
        let options = ReplyOptions { tools, thinking, eager, id_seed: String::new() };
        let whole = read(&[reply], &options);
        for _ in 0..100 {
            let cuts: Vec<&str> = reply.split_inclusive(|_: char| rng.random_bool(0.4)).collect();
            assert_eq!(read(&cuts, &options), whole, "{reply:?} as {cuts:?}");
        }
    }
}

#[test]
fn reasoning_only_at_the_beginning() {
    let parts = read(&["<think>\nwhy\n\n</think>\n\nbecause\n"], &tools());
    assert_eq!(parts, [ReplyPart::Reasoning("why".into()), content("because\n")]);
    let parts = read(&["so <think>x</think>"], &tools());
    assert_eq!(parts, [content("so <think>x</think>")]);
    let options = ReplyOptions { thinking: true, ..tools() };
    let parts = read(&["\nwhy\n</think>\n\nbecause"], &options);
    assert_eq!(parts, [ReplyPart::Reasoning("why".into()), content("because")]);
}

#[test]
fn calls_with_content_before_them() {
    let parts = read(&[REPLIES[8]], &tools());
    assert_eq!(parts[0], content("Let me see."));
    assert_eq!(calls(&parts), [call(0, "f", r#"{"a": [1, "é"]}"#)]);
    let parts = read(&[REPLIES[9]], &tools());
    assert_eq!(calls(&parts), [call(0, "f", "{}"), call(1, "g", r#"{"b":2}"#)]);
    assert_eq!(parts.len(), 4, "white space around calls is no content");
}

#[test]
fn the_end_marker_may_stand_in_an_argument() {
    let parts = read(&[REPLIES[10]], &tools());
    assert_eq!(calls(&parts), [call(0, "f", r#"{"a":"</tool_call>"}"#)]);
    assert_eq!(parts[2], content(" done "));
}

#[test]
fn what_is_no_call_comes_back_as_it_was() {
    for reply in [REPLIES[14], REPLIES[15], REPLIES[17], REPLIES[18]] {
        assert_eq!(read(&[reply], &tools()), [content(reply)]);
    }
    let parts = read(&[REPLIES[11]], &tools());
    assert_eq!(parts[0], content("a \n<tool_call>oops</tool_call> b"));
    assert_eq!(calls(&parts), [call(0, "f", "{}")]);
    for reply in [REPLIES[12], REPLIES[13]] {
        assert_eq!(calls(&read(&[reply], &tools())), [call(0, "f", "{}")], "{reply}");
    }
    let plain = ReplyOptions::default();
    assert_eq!(read(&[REPLIES[13]], &plain), [content(REPLIES[13])]);
}

#[test]
fn ids_are_stable_and_differ() {
    let ids = |seed: &str| {
        let options = ReplyOptions { id_seed: seed.into(), ..tools() };
        read(&[REPLIES[9]], &options)
            .into_iter()
            .filter_map(|part| match part {
                ReplyPart::Call { id, .. } => Some(id),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("a"), ids("a"));
    assert_ne!(ids("a")[0], ids("a")[1]);
    assert_ne!(ids("a")[0], ids("b")[0]);
    assert!(ids("a")[0].starts_with("call_") && ids("a")[0].len() == 29);
}

/// What comes of each reply: the calls, the content, and how many calls were none.
fn read_all(reply: &str, options: &ReplyOptions) -> (Vec<(usize, String, String)>, String, usize) {
    let mut parser = ReplyParser::new(options.clone());
    let mut parts = parser.push(reply);
    parts.extend(parser.finish());
    let content = parts.iter().filter_map(|part| match part {
        ReplyPart::Content(text) => Some(text.as_str()),
        _ => None,
    });
    (calls(&parts), content.collect(), parser.malformed())
}

#[test]
fn arguments_come_as_they_are_written() {
    let mut parser = ReplyParser::new(eager());
    let mut push = |text: &str| parser.push(text);
    assert_eq!(push("Well.\n<tool_call>\n{\"name\": \"lo"), [content("Well.")]);
    assert_eq!(push("ok\", \"arguments\": {"), [], "nothing is certain yet");
    let [ReplyPart::Call { index: 0, name, .. }, ReplyPart::Arguments { text, .. }] =
        &push("\"at")[..]
    else {
        panic!("a call begins")
    };
    assert_eq!((name.as_str(), text.as_str()), ("look", "{\"at"));
    let more = |text: &str| [ReplyPart::Arguments { index: 0, text: text.into() }];
    assert_eq!(push("\": \"</tool_call>"), more("\": \"</tool_call>"));
    assert_eq!(push("\"}}\n</tool"), more("\"}"));
    assert_eq!(push("_call>\n"), []);
    assert_eq!(parser.finish(), []);
    assert_eq!(parser.malformed(), 0);
}

#[test]
fn a_call_that_is_well_formed_is_the_same_whether_told_early_or_late() {
    for reply in REPLIES {
        let (calls, content, malformed) = read_all(reply, &tools());
        if malformed == 0 {
            assert_eq!(read_all(reply, &eager()), (calls, content, 0), "{reply}");
        }
    }
}

#[test]
fn what_breaks_after_it_was_told_stays_a_call_that_nobody_can_run() {
    let at = |part: &str| *REPLIES.iter().find(|reply| reply.contains(part)).unwrap();
    let (calls, content, malformed) = read_all(at("\"x \"y\" z\""), &eager());
    assert_eq!(calls, [call(0, "f", r#"{"a":"x "y" z"}}"#)], "all that was written");
    assert_eq!((content.as_str(), malformed), (" on", 1));
    assert!(serde_json::from_str::<serde_json::Value>(&calls[0].2).is_err());

    let (calls, _, malformed) = read_all(at("\"a\":1</tool_call>"), &eager());
    assert_eq!(calls, [call(0, "f", "{\"a\":1"), call(1, "g", "{}")]);
    assert_eq!(malformed, 1);
    let (calls, _, malformed) = read_all(at("never en"), &eager());
    assert_eq!((calls, malformed), (vec![call(0, "f", "{\"a\":\"never en")], 1));

    let (calls, content, malformed) = read_all(at("{oops}"), &eager());
    assert_eq!((calls.len(), content.as_str(), malformed), (0, at("{oops}"), 1));
    let (calls, content, malformed) = read_all(at("and <tool_call>"), &eager());
    assert_eq!(calls, [call(0, "f", "{}")]);
    assert_eq!((content.as_str(), malformed), ("and <tool_call>", 2));
}

#[test]
fn malformed_calls_are_counted() {
    for (reply, count) in [(8, 0), (11, 1), (13, 0), (14, 1), (15, 1), (16, 1), (17, 1), (18, 0)] {
        assert_eq!(read_all(REPLIES[reply], &tools()).2, count, "{}", REPLIES[reply]);
    }
}
