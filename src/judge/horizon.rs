//! What was said later in a session, for feedback that comes late.

use std::collections::HashMap;

use serde_json::Value;

use crate::rollout::{ClosedBy, Rollout, TurnId, TurnKind};

/// A rollout to be judged, with what was said after what came next.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The rollout.
    pub rollout: Rollout,
    /// Messages of the same session, in order: replies, and what came after them.
    pub later: Vec<Value>,
}

/// Rollouts that wait until enough was said after them, or their session is over.
#[derive(Debug, Default)]
pub struct Horizon {
    /// How many messages of the user or of tools are waited for.
    messages: usize,
    sessions: HashMap<(String, String), Vec<Held>>,
}

#[derive(Debug)]
struct Held {
    case: Case,
    /// Messages of the user or of tools among what was said later.
    heard: usize,
    /// The turns that they are from.
    of: Vec<TurnId>,
}

impl Held {
    fn hear(&mut self, turn: TurnId, said: &[Value], most: usize) {
        if self.of.contains(&turn) {
            return;
        }
        self.of.push(turn);
        for message in said {
            if self.heard == most {
                return;
            }
            self.heard += usize::from(message["role"] != "assistant");
            self.case.later.push(message.clone());
        }
    }
}

impl Horizon {
    /// One that waits for so many messages; 0 waits for nothing.
    pub fn new(messages: usize) -> Self {
        Self { messages, sessions: HashMap::new() }
    }

    /// Takes the next rollout, `wanted` if it is itself to be judged, and gives the cases that wait
    /// no longer.
    pub fn pass(&mut self, rollout: Rollout, wanted: bool) -> Vec<Case> {
        if self.messages == 0 {
            return wanted.then_some(Case { rollout, later: Vec::new() }).into_iter().collect();
        }
        if rollout.kind != TurnKind::Main || rollout.closed_by.is_none() {
            return Vec::new();
        }
        let goes_on = rollout.closed_by == Some(ClosedBy::NextTurn);
        let key = (rollout.session_id.clone(), rollout.generation.clone());
        let held = self.sessions.entry(key.clone()).or_default();
        let said = said(&rollout);
        for earlier in held.iter_mut() {
            if earlier.case.rollout.turn_index < rollout.turn_index {
                earlier.hear(rollout.turn_id, &said, self.messages);
            }
        }
        if wanted {
            // Of a rollout that waits already a newer revision is here; what was said stays.
            match held.iter_mut().find(|held| held.case.rollout.turn_id == rollout.turn_id) {
                Some(known) => known.case.rollout = rollout,
                None => {
                    let case = Case { rollout, later: Vec::new() };
                    held.push(Held { case, heard: 0, of: Vec::new() });
                }
            }
        }
        let most = self.messages;
        let done: Vec<Held> = held.extract_if(.., |held| !goes_on || held.heard == most).collect();
        if held.is_empty() {
            self.sessions.remove(&key);
        }
        done.into_iter().map(|held| held.case).collect()
    }

    /// Gives all that wait: nothing more will be said.
    pub fn end(&mut self) -> Vec<Case> {
        let mut cases: Vec<Case> =
            self.sessions.drain().flat_map(|(_, held)| held).map(|held| held.case).collect();
        cases.sort_by_key(|case| case.rollout.turn_id);
        cases
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.sessions.values().map(Vec::len).sum()
    }
}

/// A turn's reply and what came after it; nothing of a reply that the session left behind.
fn said(rollout: &Rollout) -> Vec<Value> {
    if rollout.abandoned {
        return Vec::new();
    }
    let reply = serde_json::from_str::<Value>(&rollout.reply).ok();
    let next = rollout.next_state.as_deref().map(serde_json::from_str::<Vec<Value>>);
    reply.into_iter().chain(next.and_then(Result::ok).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn turn(index: u32, closed_by: Option<ClosedBy>, next: &str) -> Rollout {
        Rollout {
            turn_id: TurnId(u128::from(index) + 1),
            revision: 0,
            session_id: "s".to_owned(),
            generation: String::new(),
            turn_index: index,
            kind: TurnKind::Main,
            placed_by: "x".to_owned(),
            messages: "[]".to_owned(),
            reply: json!({"role": "assistant", "content": format!("reply {index}")}).to_string(),
            next_state: Some(json!([{"role": "user", "content": next}]).to_string()),
            closed_by,
            closed_at_us: Some(1),
            retry_of: None,
            regenerated: 0,
            abandoned: false,
            rated: None,
        }
    }

    fn texts(case: &Case) -> Vec<&str> {
        case.later.iter().filter_map(|message| message["content"].as_str()).collect()
    }

    const ON: Option<ClosedBy> = Some(ClosedBy::NextTurn);

    #[test]
    fn so_many_messages_are_waited_for_and_no_more_are_shown() {
        let mut horizon = Horizon::new(2);
        assert!(horizon.pass(turn(0, ON, "a"), true).is_empty());
        assert!(horizon.pass(turn(1, ON, "b"), true).is_empty());
        assert!(horizon.pass(turn(1, ON, "b"), true).is_empty(), "a revision says nothing new");
        assert_eq!(horizon.len(), 2);
        let done = horizon.pass(turn(2, ON, "c"), false);
        assert_eq!(done.len(), 1);
        assert_eq!(done[0].rollout.turn_index, 0);
        assert_eq!(texts(&done[0]), ["reply 1", "b", "reply 2", "c"]);
        let over = horizon.pass(turn(3, Some(ClosedBy::IdleTimeout), "d"), true);
        assert_eq!(over.iter().map(|case| case.rollout.turn_index).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(texts(&over[0]), ["reply 2", "c", "reply 3", "d"]);
        assert!(texts(&over[1]).is_empty());
        assert_eq!((horizon.len(), horizon.end().len()), (0, 0));
    }

    #[test]
    fn without_a_horizon_nothing_waits_and_at_the_end_all_is_given() {
        let mut none = Horizon::new(0);
        assert_eq!(none.pass(turn(0, ON, "a"), true).len(), 1);
        assert!(none.pass(turn(0, ON, "a"), false).is_empty());
        let mut horizon = Horizon::new(5);
        for at in 0..3 {
            let session_id = format!("{at}");
            assert!(horizon.pass(Rollout { session_id, ..turn(at, ON, "a") }, true).is_empty());
        }
        assert!(horizon.pass(turn(7, None, "a"), true).is_empty(), "it is open");
        let all = horizon.end();
        assert_eq!(all.iter().map(|case| case.rollout.turn_index).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_reply_that_was_left_behind_says_nothing_to_the_others() {
        let mut horizon = Horizon::new(1);
        assert!(horizon.pass(turn(0, ON, "a"), true).is_empty());
        let left = Rollout { abandoned: true, next_state: None, ..turn(1, ON, "") };
        assert!(horizon.pass(left, false).is_empty());
        assert_eq!(texts(&horizon.pass(turn(2, ON, "b"), false)[0]), ["reply 2", "b"]);
    }
}
