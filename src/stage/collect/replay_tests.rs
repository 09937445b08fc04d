//! Random talks, played again, cut off and restarted at any point.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::rollout::{
    ClosedBy, Feedback, FinishReason, Rated, Rating, Rollout, TurnId, TurnKind, TurnStatus,
};
use crate::store::TurnText;

use super::{Change, Limits, Sessions};

const SECOND: i64 = 1_000_000;
const END: i64 = i64::MAX / 2;

enum Step {
    Turn(TurnText),
    Feedback(Feedback),
}

fn limits() -> Limits {
    Limits { idle_us: 300 * SECOND, sessions: 1_000, text_bytes: 1 << 30 }
}

fn message(role: &str, text: &str) -> Value {
    json!({"role": role, "content": text})
}

/// One talk of a client: who it is, and what was said so far.
struct Talk {
    user: String,
    keys: Value,
    said: Vec<Value>,
}

impl Talk {
    fn new(number: usize) -> Self {
        let keys = match number {
            0 => json!({"x-session-id": "named"}),
            1 => json!({"x-session-id": "numbered:0"}),
            _ => json!({}),
        };
        Self { user: format!("u{}", number / 3), keys, said: Vec::new() }
    }

    /// What the client asks next.
    fn ask(&mut self, random: &mut ChaCha8Rng) {
        match random.random_range(0..20) {
            0 => self.said.clear(),
            // It edits what was said.
            1 => self.said.truncate(random.random_range(0..=self.said.len())),
            // It forgets the beginning.
            2 if self.said.len() > 4 => drop(self.said.drain(..2)),
            // It asks again.
            3 => {
                while self.said.last().is_some_and(|last| last["role"] == "assistant") {
                    self.said.pop();
                }
                return;
            }
            4 => self.said.push(message("user", "/bad in metric")),
            5 => self.said.push(message("user", "/good")),
            _ => {}
        }
        self.said.push(message("user", &format!("words {}", random.random_range(0..4))));
    }
}

fn script(seed: u64) -> Vec<Step> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut talks: Vec<Talk> = (0..7).map(Talk::new).collect();
    let mut now_us = 0;
    let mut steps = Vec::new();
    for number in 0..90_u128 {
        now_us += random.random_range(1..60) * SECOND;
        if random.random_range(0..20) == 0 {
            now_us += 400 * SECOND;
        }
        let talk = &mut talks[random.random_range(0..7)];
        talk.ask(&mut random);
        let command = talk.said.last().is_some_and(|m| m["content"] == "/good");
        let reply = format!("reply {} of some length", random.random_range(0..6));
        let mut keys = talk.keys.clone();
        let mut finish_reason = FinishReason::Stop;
        let mut status = if command { TurnStatus::Command } else { TurnStatus::Answered };
        let said = talk.said.clone();
        match random.random_range(0..12) {
            0 => finish_reason = FinishReason::Cancelled,
            1 => keys["x-turn-type"] = "side".into(),
            2 => keys["x-stainless-retry-count"] = "1".into(),
            3 => keys["x-session-done"] = "1".into(),
            4 => status = TurnStatus::DoNotTrain,
            _ => talk.said.push(message("assistant", &reply)),
        }
        steps.push(Step::Turn(TurnText {
            turn_id: TurnId(number),
            received_at_us: now_us,
            finished_at_us: now_us + SECOND,
            user: talk.user.clone(),
            session_keys: keys.to_string(),
            messages: Value::from(said).to_string(),
            tools: String::new(),
            reply: message("assistant", &reply).to_string(),
            finish_reason,
            status,
        }));
        if random.random_range(0..6) == 0 {
            let rating = if random.random_range(0..2) == 0 { Rating::Up } else { Rating::Down };
            steps.push(Step::Feedback(Feedback {
                turn_id: TurnId(random.random_range(0..=number)),
                user: talk.user.clone(),
                rated: Rated { rating, text: None, given_at_us: now_us + 2 * SECOND },
            }));
        }
    }
    steps
}

/// Closed, next state, times regenerated, another reply gone on with, time of the rating.
type Evidence = [i64; 5];

fn evidence(row: &Rollout) -> Evidence {
    let rated_at = row.rated.as_ref().map(|rated| rated.given_at_us);
    [
        row.closed_by.is_some().into(),
        row.next_state.is_some().into(),
        row.regenerated.into(),
        (row.abandoned && row.regenerated > 0).into(),
        rated_at.unwrap_or(i64::MIN),
    ]
}

/// The rows as the stage writes them: one that says more than the one before it.
#[derive(Default, Clone)]
struct Table {
    rows: BTreeMap<TurnId, Rollout>,
    written: usize,
}

impl Table {
    fn write(&mut self, changes: Vec<Change>) {
        for change in changes {
            let row = match change {
                Change::Row(row) => row,
                Change::Late(late) => {
                    let Some(mut row) = self.rows.get(&late.turn_id).cloned() else { continue };
                    late.apply(&mut row);
                    row
                }
            };
            let (known, new) = (self.rows.get(&row.turn_id).map(evidence), evidence(&row));
            if known.is_none_or(|known| new.iter().zip(known).any(|(new, known)| *new > known)) {
                self.written += 1;
                self.rows.insert(row.turn_id, row);
            }
        }
    }

    fn evidence(&self) -> Vec<(TurnId, Evidence)> {
        self.rows.iter().map(|(turn, row)| (*turn, evidence(row))).collect()
    }
}

fn feed(sessions: &mut Sessions, step: &Step) -> Vec<Change> {
    match step {
        Step::Turn(turn) => sessions.take(turn),
        Step::Feedback(feedback) => sessions.feedback(feedback),
    }
}

fn changes(steps: &[Step], limits: Limits) -> Vec<Change> {
    let mut sessions = Sessions::new(limits);
    let mut all: Vec<Change> = steps.iter().flat_map(|step| feed(&mut sessions, step)).collect();
    all.extend(sessions.close_idle(END));
    assert_eq!(sessions.open_turns(), 0);
    all
}

fn table(changes: Vec<Change>) -> Table {
    let mut table = Table::default();
    table.write(changes);
    table
}

#[test]
fn no_turn_is_lost_and_a_replay_gives_the_same() {
    for seed in 0..80 {
        let steps = script(seed);
        let first = changes(&steps, limits());
        assert_eq!(first, changes(&steps, limits()), "seed {seed}");
        let table = table(first);
        for step in &steps {
            let Step::Turn(turn) = step else { continue };
            let row = table.rows.get(&turn.turn_id);
            let trained = turn.status != TurnStatus::DoNotTrain;
            assert_eq!(row.is_some(), trained, "seed {seed}, {}", turn.turn_id);
            let Some(row) = row else { continue };
            assert!(row.closed_by.is_some(), "seed {seed}, {}", turn.turn_id);
            assert_eq!(row.messages, turn.messages);
            if row.kind == TurnKind::Side {
                assert!(row.next_state.is_none() && row.retry_of.is_none());
            }
            assert!(!row.next_state.as_ref().is_some_and(|next| next.contains("/bad")));
        }
        assert!(table.rows.values().any(|row| row.next_state.is_some()));
        assert!(table.rows.values().any(|row| row.rated.is_some()));
    }
}

#[test]
fn evidence_only_accumulates() {
    for seed in 0..80 {
        let mut rows: BTreeMap<TurnId, Rollout> = BTreeMap::new();
        for change in changes(&script(seed), limits()) {
            let row = match change {
                Change::Row(row) => row,
                Change::Late(late) => {
                    let Some(mut row) = rows.get(&late.turn_id).cloned() else { continue };
                    late.apply(&mut row);
                    row
                }
            };
            if let Some(known) = rows.get(&row.turn_id) {
                let mut both = evidence(&row).into_iter().zip(evidence(known));
                assert!(both.all(|(new, old)| new >= old), "seed {seed}: {known:?} became {row:?}");
                assert!(known.next_state.is_none() || known.next_state == row.next_state);
                assert!(known.closed_by.is_none() || known.closed_by == row.closed_by);
            }
            rows.insert(row.turn_id, row);
        }
    }
}

#[test]
fn a_restart_at_any_point_writes_nothing_twice_and_loses_nothing() {
    for seed in 0..12 {
        let steps = script(seed);
        let whole = table(changes(&steps, limits()));
        for (cut, told) in (0..steps.len()).step_by(7).flat_map(|cut| [(cut, false), (cut, true)]) {
            let mut table = Table::default();
            let mut sessions = Sessions::new(limits());
            for step in &steps[..cut] {
                table.write(feed(&mut sessions, step));
            }
            if told {
                table.write(sessions.close_all(0, ClosedBy::Shutdown));
            }
            let written = table.written;
            let mut sessions = Sessions::new(limits());
            let mut again = Vec::new();
            for step in &steps[..cut] {
                again.extend(feed(&mut sessions, step));
            }
            table.write(again);
            assert_eq!(table.written, written, "seed {seed}, cut at {cut}");
            for step in &steps[cut..] {
                table.write(feed(&mut sessions, step));
            }
            table.write(sessions.close_idle(END));
            assert_eq!(table.evidence(), whole.evidence(), "seed {seed}, cut at {cut}");
        }
    }
}

#[test]
fn text_is_bounded_and_what_comes_for_dropped_text_is_not_lost() {
    for seed in 0..40 {
        let steps = script(seed);
        let narrow = Limits { text_bytes: 1_500, ..limits() };
        let mut sessions = Sessions::new(narrow);
        let mut bounded = Table::default();
        let mut late = 0;
        for step in &steps {
            let changes = feed(&mut sessions, step);
            assert!(sessions.text_bytes() <= narrow.text_bytes);
            let is_late = |change: &&Change| matches!(change, Change::Late(_));
            late += changes.iter().filter(is_late).count();
            bounded.write(changes);
        }
        bounded.write(sessions.close_idle(END));
        let whole = table(changes(&steps, limits()));
        assert!(late > 0, "seed {seed}");
        for (turn, row) in &whole.rows {
            let other = &bounded.rows[turn];
            assert_eq!(row.next_state, other.next_state, "seed {seed}, {turn}");
            assert_eq!(row.rated, other.rated, "seed {seed}, {turn}");
            assert_eq!(row.session_id, other.session_id, "seed {seed}, {turn}");
        }
    }
}
