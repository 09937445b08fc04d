use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::rollout::{
    ClosedBy, Feedback, FinishReason, Rated, Rating, Rollout, TurnId, TurnKind, TurnStatus,
};
use crate::store::TurnText;

use super::{Change, Limits, Sessions};

const SECOND: i64 = 1_000_000;
const AGENT: &str = "You are a personal assistant running inside OpenClaw. Today is";

/// One request of a script, with the reply that it got.
#[derive(Clone)]
struct Ask {
    user: &'static str,
    keys: Value,
    messages: Value,
    tools: bool,
    reply: Value,
    finish: FinishReason,
}

fn ask(messages: Value, reply: &str) -> Ask {
    Ask {
        user: "",
        keys: json!({}),
        messages,
        tools: false,
        reply: assistant(reply),
        finish: FinishReason::Stop,
    }
}

impl Ask {
    fn keys(self, keys: Value) -> Self {
        Self { keys, ..self }
    }
    fn id(self, id: &str) -> Self {
        self.keys(json!({"x-session-id": id}))
    }
    fn by(self, user: &'static str) -> Self {
        Self { user, ..self }
    }
    fn tools(self) -> Self {
        Self { tools: true, ..self }
    }
    fn cancelled(self) -> Self {
        Self { finish: FinishReason::Cancelled, ..self }
    }
    fn calls(self, reply: Value) -> Self {
        Self { reply, finish: FinishReason::ToolCalls, ..self }
    }

    fn turn(&self, number: usize) -> TurnText {
        let received_at_us = (number as i64 + 1) * SECOND;
        TurnText {
            turn_id: id(number),
            received_at_us,
            finished_at_us: received_at_us + SECOND / 2,
            user: self.user.to_owned(),
            session_keys: self.keys.to_string(),
            messages: self.messages.to_string(),
            tools: if self.tools { "[{}]".to_owned() } else { String::new() },
            reply: self.reply.to_string(),
            finish_reason: self.finish,
            status: TurnStatus::Answered,
        }
    }
}

fn id(number: usize) -> TurnId {
    TurnId(number as u128 + 1)
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn assistant(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

fn limits() -> Limits {
    Limits { idle_us: 1_800 * SECOND, sessions: 1_000, text_bytes: 1 << 30 }
}

/// The rows among changes that close a turn.
fn closed(changes: Vec<Change>) -> Vec<Rollout> {
    let rows = changes.into_iter().filter_map(|change| match change {
        Change::Row(row) => Some(row),
        Change::Late(_) => None,
    });
    rows.filter(|row| row.closed_by.is_some()).collect()
}

/// Every rollout of a script, by turn, after everything was closed. No turn is lost or doubled.
fn play(script: &[Ask]) -> Vec<Rollout> {
    let mut sessions = Sessions::new(limits());
    let mut changes = Vec::new();
    for (number, ask) in script.iter().enumerate() {
        changes.extend(sessions.take(&ask.turn(number)));
    }
    changes.extend(sessions.close_all(9_999 * SECOND, ClosedBy::IdleTimeout));
    assert_eq!(sessions.open_turns(), 0);
    let last: BTreeMap<TurnId, Rollout> =
        closed(changes).into_iter().map(|row| (row.turn_id, row)).collect();
    let rows: Vec<Rollout> = last.into_values().collect();
    let ids: Vec<TurnId> = rows.iter().map(|row| row.turn_id).collect();
    assert_eq!(ids, (0..script.len()).map(id).collect::<Vec<_>>());
    rows
}

/// `session.generation.index kind placed_by → next state (closed by)` of each row.
fn story(script: &[Ask]) -> Vec<String> {
    let rows = play(script);
    let mut names: Vec<String> = Vec::new();
    rows.iter()
        .map(|row| {
            let key = format!("{}/{}", row.session_id, row.generation);
            let at = names.iter().position(|name| *name == key).unwrap_or_else(|| {
                names.push(key);
                names.len() - 1
            });
            let next: Vec<Value> = row
                .next_state
                .as_deref()
                .map_or_else(Vec::new, |s| serde_json::from_str(s).unwrap());
            let next: Vec<&str> =
                next.iter().map(|m| m["content"].as_str().unwrap_or("parts")).collect();
            let retry = row.retry_of.map_or(String::new(), |of| format!(" again:{}", of.0 - 1));
            let kind = if row.kind == TurnKind::Side { " side" } else { "" };
            format!(
                "s{at}.{}{kind} {} [{}] {}{retry}",
                row.turn_index,
                row.placed_by,
                next.join("|"),
                row.closed_by.map_or("open", ClosedBy::label)
            )
        })
        .collect()
}

#[test]
fn a_plain_client_is_placed_by_prefix() {
    let (u1, u2, u3) = (user("a"), user("b"), user("c"));
    let script = [
        ask(json!([u1]), "A"),
        ask(json!([u1, assistant("A"), u2]), "B"),
        ask(json!([u1, assistant("A"), u2, assistant("B"), u3]), "C"),
    ];
    assert_eq!(
        story(&script),
        ["s0.0 new [b] next_turn", "s0.1 prefix [c] next_turn", "s0.2 prefix [] idle_timeout"]
    );
}

#[test]
fn a_system_prompt_that_changes_each_turn_changes_nothing() {
    let system = |text: &str| json!({"role": "system", "content": text});
    let script = [
        ask(json!([system("noon"), user("a")]), "A"),
        ask(json!([system("one"), user("a"), assistant("A"), user("b")]), "B"),
    ];
    assert_eq!(story(&script), ["s0.0 new [b] next_turn", "s0.1 prefix [] idle_timeout"]);
}

#[test]
fn two_users_who_begin_alike_are_two_sessions() {
    let first = json!([user("hi")]);
    let more = |reply: &str, next: &str| json!([user("hi"), assistant(reply), user(next)]);
    let script = [
        ask(first.clone(), "A").by("ann"),
        ask(first, "A").by("bob"),
        ask(more("A", "x"), "C").by("bob"),
        ask(more("A", "y"), "D").by("ann"),
    ];
    assert_eq!(
        story(&script),
        [
            "s0.0 new [y] next_turn",
            "s1.0 new [x] next_turn",
            "s1.1 prefix [] idle_timeout",
            "s0.1 prefix [] idle_timeout",
        ]
    );
}

#[test]
fn two_conversations_of_one_key_that_begin_alike_part_when_both_go_on() {
    let first = json!([user("hi")]);
    let script = [
        ask(first.clone(), "A"),
        ask(first, "B"),
        ask(json!([user("hi"), assistant("A"), user("x")]), "C"),
        ask(json!([user("hi"), assistant("B"), user("y")]), "D"),
        ask(json!([user("hi"), assistant("B"), user("y"), assistant("D"), user("z")]), "E"),
    ];
    assert_eq!(
        story(&script),
        [
            "s0.0 new [x] next_turn",
            "s1.0 new [y] next_turn",
            "s0.2 prefix [] idle_timeout",
            "s1.1 prefix [z] next_turn",
            "s1.2 prefix [] idle_timeout",
        ]
    );
}

#[test]
fn many_who_begin_alike_are_told_apart_as_soon_as_they_go_on() {
    let mut script: Vec<Ask> =
        (0..100).map(|number| ask(json!([user("hi")]), &format!("A{number}"))).collect();
    script.extend(
        (0..100).map(|number| {
            ask(json!([user("hi"), assistant(&format!("A{number}")), user("x")]), "B")
        }),
    );
    let rows = play(&script);
    let sessions: std::collections::BTreeSet<&str> =
        rows.iter().map(|row| row.session_id.as_str()).collect();
    assert_eq!(sessions.len(), 100);
    assert!(rows[..100].iter().all(|row| row.next_state.is_some() && row.regenerated == 0));
}

#[test]
fn a_conversation_that_begins_as_a_finished_one_did_is_a_new_one() {
    let script = [
        ask(json!([user("hi")]), "A"),
        ask(json!([user("hi"), assistant("A"), user("x")]), "B"),
        ask(json!([user("hi")]), "A"),
        ask(json!([user("hi"), assistant("A"), user("y")]), "C"),
    ];
    assert_eq!(
        story(&script),
        [
            "s0.0 new [x] next_turn",
            "s0.1 prefix [] idle_timeout",
            "s1.0 new [y] next_turn",
            "s1.1 prefix [] idle_timeout",
        ]
    );
}

#[test]
fn an_edited_message_stays_in_its_session_and_closes_only_its_own_path() {
    let script = [
        ask(json!([user("a")]), "A"),
        ask(json!([user("a"), assistant("A"), user("b")]), "B"),
        ask(json!([user("a"), assistant("A"), user("b2")]), "B2"),
        ask(json!([user("a"), assistant("A"), user("b2"), assistant("B2"), user("c")]), "C"),
    ];
    assert_eq!(
        story(&script),
        [
            "s0.0 new [b] next_turn",
            "s0.1 prefix [] idle_timeout",
            "s0.2 prefix [c] next_turn",
            "s0.3 prefix [] idle_timeout",
        ]
    );
}

#[test]
fn an_edit_tells_nothing_of_the_reply_before_it() {
    let mut sessions = Sessions::new(limits());
    let edit = |text: &str| ask(json!([user("a"), assistant("A"), user(text)]), text);
    sessions.take(&ask(json!([user("a")]), "A").turn(0));
    sessions.take(&edit("b").turn(1));
    let changes = sessions.take(&edit("b2").turn(2));
    let of: Vec<TurnId> = changes.iter().map(Change::turn_id).collect();
    assert_eq!(of, [id(2)]);
}

#[test]
fn a_verdict_closes_at_once_and_a_turn_of_long_ago_gets_it_too() {
    let mut sessions = Sessions::new(limits());
    let rated = |given_at_us| Rated { rating: Rating::Down, text: None, given_at_us };
    let verdict =
        |number, at| Feedback { turn_id: id(number), user: String::new(), rated: rated(at) };
    sessions.take(&ask(json!([user("a")]), "A").turn(0));
    let rows = closed(sessions.feedback(&verdict(0, 5)));
    assert_eq!((rows[0].closed_by, rows[0].closed_at_us), (Some(ClosedBy::Feedback), Some(5)));
    assert_eq!(sessions.open_turns(), 0);
    assert!(sessions.feedback(&verdict(0, 4)).is_empty(), "the last word counts");
    let next = ask(json!([user("a"), assistant("A"), user("b")]), "B").turn(1);
    let rows = closed(sessions.take(&next));
    assert_eq!((rows[0].closed_by, rows[0].closed_at_us), (Some(ClosedBy::Feedback), Some(5)));
    assert!(rows[0].next_state.is_some() && rows[0].rated == Some(rated(5)));
    let [Change::Late(late)] = &sessions.feedback(&verdict(0, 6))[..] else { panic!("no change") };
    assert_eq!((late.turn_id, &late.rated), (id(0), &Some(rated(6))));
    assert!(matches!(&sessions.feedback(&verdict(77, 6))[..], [Change::Late(_)]));
}

#[test]
fn a_reply_that_the_client_trimmed_is_still_its_reply() {
    let script = [
        ask(json!([user("a")]), "<think>hm</think>\n\nParis, \nof course. "),
        ask(json!([user("a"), assistant("Paris,\r\nof course."), user("b")]), "B"),
    ];
    assert_eq!(story(&script), ["s0.0 new [b] next_turn", "s0.1 prefix [] idle_timeout"]);
}

#[test]
fn a_retry_is_no_feedback_and_the_reply_that_the_client_kept_gets_what_follows() {
    for (kept, stories) in [
        ("A", ["s0.0 new [b] next_turn", "s0.1 prefix;retry [] idle_timeout again:0"]),
        ("A2", ["s0.0 new [] idle_timeout", "s0.1 prefix;retry [b] next_turn again:0"]),
    ] {
        let script = [
            ask(json!([user("a")]), "A").cancelled(),
            ask(json!([user("a")]), "A2"),
            ask(json!([user("a"), assistant(kept), user("b")]), "B"),
        ];
        assert_eq!(story(&script)[..2], stories);
    }
}

#[test]
fn a_retry_in_a_named_session_closes_with_its_original() {
    for (kept, stories) in [
        ("A", ["s0.0 x-session-id [b] next_turn", "s0.1 x-session-id;retry [] next_turn again:0"]),
        ("A2", ["s0.0 x-session-id [] next_turn", "s0.1 x-session-id;retry [b] next_turn again:0"]),
    ] {
        let script = [
            ask(json!([user("a")]), "A").id("s:0").cancelled(),
            ask(json!([user("a")]), "A2").id("s:0"),
            ask(json!([user("a"), assistant(kept), user("b")]), "B").id("s:0"),
        ];
        assert_eq!(story(&script)[..2], stories);
    }
}

#[test]
fn the_clients_wrapped_retries_are_retries() {
    let queued = "[Queued user message from a previous active turn; kept.]\ndo\n\n\
                  Continue the current task from the existing transcript, and so on.";
    let nudge = "The previous attempt did not produce a user-visible answer. Go on.";
    let script = [
        ask(json!([user("do")]), "A").id("s:0"),
        ask(json!([user(queued)]), "B").id("s:0"),
        ask(json!([user("do"), user(nudge)]), "C").id("s:0"),
        ask(json!([user("do"), assistant("C"), user("ok")]), "D").id("s:0"),
    ];
    let stories = story(&script);
    assert_eq!(stories[1], "s0.1 x-session-id;queued [] next_turn again:0");
    assert_eq!(stories[2], "s0.2 x-session-id;nudge [ok] next_turn again:0");
}

#[test]
fn a_reply_that_the_client_dropped_gets_no_next_state() {
    let script = [
        ask(json!([user("a")]), "A").id("s:0").cancelled(),
        ask(json!([user("a"), user("b")]), "B").id("s:0"),
    ];
    assert_eq!(story(&script)[0], "s0.0 x-session-id [] next_turn");
}

#[test]
fn the_next_state_ends_at_a_further_reply() {
    let after_housekeeping = json!([user("a"), assistant("A"), assistant("H"), user("thanks")]);
    let asked_before = json!([user("a"), assistant("A"), user("b"), assistant("H"), user("c")]);
    let cases = [(after_housekeeping, "[]"), (asked_before, "[b]")];
    for (second, next) in cases {
        let script = [ask(json!([user("a")]), "A").id("s:0"), ask(second, "B").id("s:0")];
        assert_eq!(story(&script)[0], format!("s0.0 x-session-id {next} next_turn"));
    }
}

#[test]
fn tool_rounds_are_turns_with_the_results_as_their_next_state() {
    let call = |id: &str, arguments: &str| {
        json!({"role": "assistant", "content": null, "tool_calls": [{"id": id, "type": "function",
            "function": {"name": "exec", "arguments": arguments}}]})
    };
    let result =
        |id: &str, text: &str| json!({"role": "tool", "tool_call_id": id, "content": text});
    let internal =
        user("<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nx\n<<<END_OPENCLAW_INTERNAL_CONTEXT>>>");
    let sent_back = call("callab", r#"{"b":1,"a":2}"#);
    let results = [result("callab", "one"), result("callab", "two")];
    let script = [
        ask(json!([user("run"), internal]), "")
            .tools()
            .calls(call("call_ab", r#"{"a": 2, "b": 1}"#)),
        ask(json!([user("run"), sent_back, results[0], results[1], internal]), "Done").tools(),
        ask(
            json!([
                user("run"),
                sent_back,
                results[0],
                results[1],
                assistant("Done"),
                user("ok"),
                internal
            ]),
            "!",
        )
        .tools(),
    ];
    assert_eq!(
        story(&script),
        [
            "s0.0 new [one|two] next_turn",
            "s0.1 prefix [ok] next_turn",
            "s0.2 prefix [] idle_timeout",
        ]
    );
}

#[test]
fn calls_are_known_by_themselves_where_the_client_drops_the_words_before_them() {
    let call = |content: Value| {
        json!({"role": "assistant", "content": content, "tool_calls": [{"id": "c", "type":
            "function", "function": {"name": "exec", "arguments": "{}"}}]})
    };
    let result = json!({"role": "tool", "tool_call_id": "c", "content": "one"});
    let script = [
        ask(json!([user("run")]), "").tools().calls(call(json!("Let me look."))),
        ask(json!([user("run"), call(Value::Null), result]), "Done").tools(),
    ];
    assert_eq!(story(&script), ["s0.0 new [one] next_turn", "s0.1 prefix [] idle_timeout"]);
}

#[test]
fn interleaved_named_sessions_do_not_touch() {
    let script = [
        ask(json!([user("a")]), "A").id("s:0"),
        ask(json!([user("a")]), "A").id("t:0"),
        ask(json!([user("a"), assistant("A"), user("b")]), "B").id("t:0"),
        ask(json!([user("a"), assistant("A"), user("c")]), "C").id("s:0"),
    ];
    assert_eq!(
        story(&script)[..2],
        ["s0.0 x-session-id [c] next_turn", "s1.0 x-session-id [b] next_turn"]
    );
}

#[test]
fn a_new_generation_closes_the_one_before() {
    let script =
        [ask(json!([user("a")]), "A").id("s:0"), ask(json!([user("new talk")]), "B").id("s:1")];
    assert_eq!(
        story(&script),
        ["s0.0 x-session-id [] generation", "s1.0 x-session-id [] idle_timeout"]
    );
}

#[test]
fn compaction_raises_the_generation_and_keeps_the_last_reply() {
    let summary = user("The history was compacted into a summary.");
    let script = [
        ask(json!([user("a")]), "A").id("s:0"),
        ask(json!([user("a"), assistant("A"), user("b")]), "B").id("s:0"),
        ask(json!([summary, assistant("B"), user("c")]), "C").id("s:1"),
    ];
    assert_eq!(
        story(&script),
        [
            "s0.0 x-session-id [b] next_turn",
            "s0.1 x-session-id [c] next_turn",
            "s1.0 x-session-id [] idle_timeout",
        ]
    );
}

#[test]
fn the_end_of_a_session_closes_its_last_turn() {
    let script = [
        ask(json!([user("a")]), "A").id("s:0"),
        ask(json!([user("a"), assistant("A"), user("b")]), "B")
            .keys(json!({"x-session-id": "s:0", "x-session-done": "1"})),
    ];
    let rows = play(&script);
    assert_eq!(rows[1].closed_by, Some(ClosedBy::SessionEnd));
    assert_eq!(rows[1].closed_at_us, Some(2 * SECOND + SECOND / 2));
}

/// A request of the OpenClaw agent without any header.
fn agent(id: &str, first: &str, rest: Vec<Value>, reply: &str) -> Ask {
    let runtime = format!("{first}\n\nRuntime: agent=main | session=m | sessionId={id} | x");
    let mut messages = vec![json!({"role": "system", "content": AGENT}), user(&runtime)];
    messages.extend(rest);
    ask(Value::from(messages), reply).tools()
}

#[test]
fn an_agent_without_headers_is_placed_by_its_runtime_line() {
    let poll = "[Sun 2026-11-22 06:24 UTC] [OpenClaw heartbeat poll]";
    let script = [
        agent("q", "[Sun 2026-11-22 06:16 UTC] a", vec![], "A"),
        agent("q", "a", vec![assistant("A"), user("Follow the heartbeat monitor scratch x")], "ok"),
        agent("q", "a", vec![assistant("A"), user(&format!("{poll}\nb"))], "B"),
        agent("q", "other", vec![], "C"),
        agent("r", "[Subagent Context] do", vec![], "D"),
    ];
    assert_eq!(
        story(&script),
        [
            "s0.0 runtime_line [b] next_turn",
            "s0.1 side runtime_line;heartbeat [] side",
            "s0.2 runtime_line [] generation",
            "s1.0 runtime_line [] idle_timeout",
            "s2.0 side runtime_line;subagent [] side",
        ]
    );
}

#[test]
fn housekeeping_inside_an_agents_session_is_side_even_over_a_main_header() {
    let keys = json!({"x-session-id": "s:0", "x-turn-type": "main"});
    let system = |text: &str| json!({"role": "system", "content": text});
    let script = [
        ask(json!([system(AGENT), user("a")]), "A").tools().keys(keys.clone()),
        ask(json!([system("Name this talk."), user("a")]), "T").tools().keys(keys.clone()),
        ask(json!([system(AGENT), user("sum")]), "S").keys(keys.clone()),
        ask(json!([system(AGENT), user("a"), assistant("A"), user("b")]), "B").tools().keys(keys),
    ];
    assert_eq!(
        story(&script),
        [
            "s0.0 x-session-id [b] next_turn",
            "s0.1 side x-session-id;not_the_agent [] side",
            "s0.2 side x-session-id;no_tools [] side",
            "s0.3 x-session-id [] idle_timeout",
        ]
    );
}

#[test]
fn a_side_header_is_believed() {
    let script = [
        ask(json!([user("a")]), "A").keys(json!({"x-session-id": "s:4", "x-turn-type": "side"})),
        ask(json!([user("a")]), "A").keys(json!({"body.turn_type": "side"})),
    ];
    assert_eq!(
        story(&script),
        ["s0.0 side x-session-id;x-turn-type [] side", "s1.0 side new;x-turn-type [] side"]
    );
}

#[test]
fn quiet_sessions_are_closed_and_can_be_resumed() {
    let mut sessions = Sessions::new(limits());
    let first = ask(json!([user("a")]), "A").turn(0);
    assert!(closed(sessions.take(&first)).is_empty());
    assert!(sessions.close_idle(first.finished_at_us + 1_800 * SECOND - 1).is_empty());
    let rows = closed(sessions.close_idle(first.finished_at_us + 1_800 * SECOND));
    assert_eq!(rows[0].closed_by, Some(ClosedBy::IdleTimeout));
    assert_eq!(sessions.open_turns(), 0);
    let resumed = ask(json!([user("a"), assistant("A"), user("b")]), "B").turn(90_000);
    let rows = closed(sessions.take(&resumed));
    assert_eq!(rows[0].closed_by, Some(ClosedBy::IdleTimeout));
    assert_eq!(rows[0].next_state.as_deref(), Some(r#"[{"role":"user","content":"b"}]"#));
    let rows = closed(sessions.close_all(0, ClosedBy::IdleTimeout));
    assert_eq!(rows[0].turn_index, 1);
    assert_eq!(rows[0].placed_by, "prefix");
}

#[test]
fn memory_is_bounded_and_what_is_forgotten_is_closed_first() {
    let mut sessions = Sessions::new(Limits { sessions: 3, ..limits() });
    let mut rows = Vec::new();
    for number in 0..10 {
        let text = format!("talk {number}");
        rows.extend(closed(sessions.take(&ask(json!([user(&text)]), "A").turn(number))));
    }
    assert_eq!((sessions.len(), rows.len()), (3, 7));
    for number in 10..200 {
        let same = ask(json!([user("same")]), &format!("{number}"));
        rows.extend(closed(sessions.take(&same.turn(number))));
    }
    assert!(sessions.open_turns() <= 24, "{}", sessions.open_turns());
    rows.extend(closed(sessions.close_all(0, ClosedBy::IdleTimeout)));
    assert_eq!(rows.len(), 200);
}

#[test]
fn what_cannot_be_read_is_still_placed() {
    let mut broken = ask(json!([user("a")]), "A").turn(0);
    broken.messages = "{".to_owned();
    broken.session_keys = String::new();
    broken.reply = String::new();
    let mut sessions = Sessions::new(limits());
    sessions.take(&broken);
    assert_eq!(sessions.close_all(0, ClosedBy::IdleTimeout).len(), 1);
}
