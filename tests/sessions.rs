//! Conversations as clients hold them, placed: `testdata/sessions/*.jsonl`.
//!
//! A line is a request with its reply, and what the table says of it after the whole scenario:
//!
//! ```text
//! A0.1 main x-session-id;retry [user: and now?] next_turn again:0 regenerated:1 abandoned up:text
//! │││ │     │                   │               │         │
//! ││└ place in the generation   next state      closed    original (number of its request)
//! │└ generation   └ rule
//! └ session, by order of appearance
//! ```
//!
//! A line with `feedback` is a verdict, one with `restart` ends the stage and starts it again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use openclaw_rl::rollout::{
    ClosedBy, Feedback, FinishReason, Rated, Rating, Rollout, TurnId, TurnKind, TurnStatus,
};
use openclaw_rl::stage::collect::{Change, Limits, Sessions};
use openclaw_rl::store::TurnText;
use serde_json::{Value, json};

const SECOND: f64 = 1e6;

/// What the stage writes: a row that says more than the one before it.
#[derive(Default)]
struct Table {
    rows: BTreeMap<TurnId, Rollout>,
    /// Who asked: the same id of two users is two sessions.
    users: BTreeMap<TurnId, String>,
    written: usize,
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

impl Table {
    fn session(&self, row: &Rollout) -> String {
        format!("{}/{}", self.users[&row.turn_id], row.session_id)
    }

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
            let known = self.rows.get(&row.turn_id).map(evidence);
            let new = evidence(&row);
            if known.is_none_or(|known| new.iter().zip(known).any(|(new, known)| *new > known)) {
                self.written += 1;
                self.rows.insert(row.turn_id, row);
            }
        }
    }
}

enum Step {
    Turn(Box<TurnText>),
    Feedback(Feedback),
    Restart,
}

fn limits() -> Limits {
    Limits { idle_us: 1_800_000_000, sessions: 1_000, text_bytes: 1 << 30 }
}

fn feed(sessions: &mut Sessions, table: &mut Table, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Turn(turn) => {
                table.users.insert(turn.turn_id, turn.user.clone());
                table.write(sessions.take(turn));
            }
            Step::Feedback(feedback) => table.write(sessions.feedback(feedback)),
            Step::Restart => {}
        }
    }
}

/// The table after everything was played and has idled out.
fn play(steps: &[Step]) -> Table {
    let mut table = Table::default();
    let mut sessions = Sessions::new(limits());
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Restart => {
                table.write(sessions.close_all(i64::MAX / 4, ClosedBy::Shutdown));
                sessions = Sessions::new(limits());
                let written = table.written;
                feed(&mut sessions, &mut table, &steps[..at]);
                assert_eq!(table.written, written, "a restart writes nothing twice");
            }
            step => feed(&mut sessions, &mut table, std::slice::from_ref(step)),
        }
    }
    table.write(sessions.close_idle(i64::MAX / 2));
    assert_eq!(sessions.open_turns(), 0);
    table
}

fn turn(line: &Value, number: usize) -> TurnText {
    let micros =
        |name: &str, default: f64| (line[name].as_f64().unwrap_or(default) * SECOND).round() as i64;
    let received_at_us = micros("at", 0.0);
    let reply = match &line["reply"] {
        Value::String(text) => json!({"role": "assistant", "content": text}),
        message => message.clone(),
    };
    let label = |name: &str, default: &str| line[name].as_str().unwrap_or(default).to_owned();
    TurnText {
        turn_id: TurnId(number as u128 + 1),
        received_at_us,
        finished_at_us: received_at_us + micros("took", 1.0),
        user: label("user", ""),
        session_keys: line["keys"].to_string(),
        messages: line["messages"].to_string(),
        tools: if line["tools"] == true { "[{}]".to_owned() } else { String::new() },
        reply: reply.to_string(),
        finish_reason: FinishReason::from_label(&label("finish", "stop")).unwrap(),
        status: TurnStatus::from_label(&label("status", "answered")).unwrap(),
    }
}

fn feedback(line: &Value) -> Feedback {
    let given = &line["feedback"];
    Feedback {
        turn_id: TurnId(given["turn"].as_u64().unwrap() as u128 + 1),
        user: String::new(),
        rated: Rated {
            rating: Rating::from_label(given["rating"].as_str().unwrap()).unwrap(),
            text: given["text"].as_str().map(str::to_owned),
            given_at_us: (line["at"].as_f64().unwrap() * SECOND) as i64,
        },
    }
}

/// A scenario: its steps, and what is expected of each request.
struct Scenario {
    name: String,
    steps: Vec<Step>,
    expected: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sessions")
}

fn scenarios() -> Vec<Scenario> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let scenario = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let (mut steps, mut expected) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["feedback"].is_object() {
                steps.push(Step::Feedback(feedback(&line)));
            } else if line["restart"] == true {
                steps.push(Step::Restart);
            } else {
                steps.push(Step::Turn(Box::new(turn(&line, expected.len()))));
                expected.push(line["expect"].as_str().unwrap().to_owned());
            }
        }
        Scenario { name: path.file_stem().unwrap().to_string_lossy().into_owned(), steps, expected }
    };
    paths.into_iter().map(scenario).collect()
}

/// Names by order of appearance.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn number(&mut self, name: &str) -> usize {
        let known = self.0.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        })
    }
}

fn next_of(row: &Rollout) -> String {
    let next = row.next_state.as_deref().unwrap_or("[]");
    let next: Vec<Value> = serde_json::from_str(next).unwrap();
    let message = |message: &Value| {
        let content = &message["content"];
        let text = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
        format!("{}: {text}", message["role"].as_str().unwrap())
    };
    next.iter().map(message).collect::<Vec<_>>().join(" | ")
}

fn told(table: &Table, count: usize) -> Vec<String> {
    let (mut sessions, mut generations) = (Names::default(), BTreeMap::<usize, Names>::new());
    let mut tell = |row: &Rollout| {
        let session = sessions.number(&table.session(row));
        let generation = generations.entry(session).or_default().number(&row.generation);
        let letter = char::from(b'A' + session as u8);
        let mut line = format!(
            "{letter}{generation}.{} {} {} [{}] {}",
            row.turn_index,
            row.kind,
            row.placed_by,
            next_of(row),
            row.closed_by.map_or("open", ClosedBy::label)
        );
        if let Some(original) = row.retry_of {
            write!(line, " again:{}", original.0 - 1).unwrap();
        }
        if row.regenerated > 0 {
            write!(line, " regenerated:{}", row.regenerated).unwrap();
        }
        if row.abandoned {
            line.push_str(" abandoned");
        }
        if let Some(rated) = &row.rated {
            write!(line, " {}:{}", rated.rating, rated.text.as_deref().unwrap_or("")).unwrap();
        }
        line
    };
    let row = |number| table.rows.get(&TurnId(number as u128 + 1));
    (0..count).map(|number| row(number).map_or_else(|| "none".to_owned(), &mut tell)).collect()
}

#[test]
fn every_request_is_placed_as_the_table_says() {
    let mut wrong = String::new();
    let mut requests = 0;
    for Scenario { name, steps, expected } in scenarios() {
        requests += expected.len();
        let told = told(&play(&steps), expected.len());
        for (number, (told, expected)) in told.iter().zip(&expected).enumerate() {
            if told != expected {
                writeln!(wrong, "{name} {number}\n  expected {expected}\n  found    {told}")
                    .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(requests >= 80, "{requests} requests");
}

/// The parts that a set of rows falls into, by a name of each.
fn parts(rows: &[&Rollout], name: impl Fn(&Rollout) -> String) -> Vec<usize> {
    let mut names = Names::default();
    rows.iter().map(|row| names.number(&name(row))).collect()
}

/// What has to be the same with headers and without: kinds and next states of all, sessions and
/// generations of those that are main or name their session in the text too.
type Shape = (Vec<TurnKind>, Vec<String>, Vec<usize>, Vec<usize>);

fn shape(table: &Table, compared: &[TurnId]) -> Shape {
    let rows: Vec<&Rollout> = table.rows.values().collect();
    let within: Vec<&Rollout> =
        rows.iter().copied().filter(|row| compared.contains(&row.turn_id)).collect();
    let generation = |row: &Rollout| format!("{}/{}", table.session(row), row.generation);
    (
        rows.iter().map(|row| row.kind).collect(),
        rows.iter().map(|row| next_of(row)).collect(),
        parts(&within, |row| table.session(row)),
        parts(&within, generation),
    )
}

fn named_in_the_text(table: &Table) -> Vec<TurnId> {
    let rows = table.rows.values();
    let rows =
        rows.filter(|row| row.kind == TurnKind::Main || row.placed_by.starts_with("runtime_line"));
    rows.map(|row| row.turn_id).collect()
}

fn without_headers(steps: &[Step]) -> Vec<Step> {
    let strip = |step: &Step| match step {
        Step::Turn(turn) => {
            Step::Turn(Box::new(TurnText { session_keys: "{}".to_owned(), ..(**turn).clone() }))
        }
        Step::Feedback(feedback) => Step::Feedback(feedback.clone()),
        Step::Restart => Step::Restart,
    };
    steps.iter().map(strip).collect()
}

#[test]
fn the_openclaw_client_needs_no_headers() {
    let mut played = 0;
    for Scenario { name, steps, .. } in scenarios() {
        if !name.starts_with("openclaw") {
            continue;
        }
        let bare = play(&without_headers(&steps));
        let compared = named_in_the_text(&bare);
        assert_eq!(shape(&play(&steps), &compared), shape(&bare, &compared), "{name}");
        played += 1;
    }
    assert!(played >= 4, "{played} scenarios");
}

/// The reply to the first of these requests, as a later one shows it; replies were not recorded.
fn answered(requests: &[Value]) -> Value {
    fn said(request: &Value) -> &[Value] {
        let messages = request["body"]["messages"].as_array().unwrap();
        let is_internal = |message: &Value| {
            let text = message["content"].as_str().unwrap_or_default();
            text.starts_with("<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>")
        };
        let internal = messages.last().is_some_and(is_internal);
        &messages[1..messages.len() - usize::from(internal)]
    }
    let asked = said(&requests[0]);
    let goes_on = |later: &&Value| {
        let said = said(later);
        said.len() > asked.len() && said[..asked.len()] == *asked
    };
    let later = requests[1..].iter().find(goes_on).map(|later| said(later)[asked.len()].clone());
    later.filter(|message| message["role"] == "assistant").unwrap_or_else(|| json!(""))
}

/// The recorded requests of the real client, in the order in which it sent them.
fn captured(folder: &Path) -> Vec<(String, Step)> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| -> Value {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let all: Vec<Value> = paths.iter().map(read).collect();
    let step = |(number, path): (usize, &PathBuf)| {
        let recorded = &all[number];
        let headers = recorded["headers"].as_array().unwrap().iter();
        let mut keys: serde_json::Map<String, Value> = headers
            .filter(|pair| {
                let name = pair[0].as_str().unwrap();
                name.starts_with("x-session") || name.starts_with("x-turn") || name == "session_id"
            })
            .map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].clone()))
            .collect();
        let body = &recorded["body"];
        if let Some(key) = body["prompt_cache_key"].as_str() {
            keys.insert("body.prompt_cache_key".to_owned(), key.into());
        }
        let line = json!({
            "at": recorded["unix_time"], "took": 0.1, "keys": keys, "messages": body["messages"],
            "tools": body["tools"].as_array().is_some_and(|tools| !tools.is_empty()),
            "reply": answered(&all[number..]),
        });
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, Step::Turn(Box::new(turn(&line, number))))
    };
    paths.iter().enumerate().map(step).collect()
}

/// Sessions by order of appearance, and the generations of what is main.
fn numbered(places: &[(String, String, TurnKind)]) -> (Vec<usize>, Vec<usize>) {
    let (mut sessions, mut generations) = (Names::default(), Names::default());
    let main = places.iter().filter(|(_, _, kind)| *kind == TurnKind::Main);
    (
        places.iter().map(|(session, _, _)| sessions.number(session)).collect(),
        main.map(|(_, generation, _)| generations.number(generation)).collect(),
    )
}

/// `OPENCLAW_RL_CAPTURES` names the folder of the recorded requests.
#[test]
fn the_recorded_requests_of_the_real_client_agree() {
    let Ok(folder) = std::env::var("OPENCLAW_RL_CAPTURES") else { return };
    let (names, steps): (Vec<String>, Vec<Step>) = captured(Path::new(&folder)).into_iter().unzip();
    let (with, bare) = (play(&steps), play(&without_headers(&steps)));
    let (with_told, bare_told) = (told(&with, names.len()), told(&bare, names.len()));
    let mut story = String::new();
    for (number, name) in names.iter().enumerate() {
        let cut = |line: &str| line.chars().take(110).collect::<String>().replace('\n', "⏎");
        let (with, bare) = (cut(&with_told[number]), cut(&bare_told[number]));
        writeln!(story, "{name}\n  with    {with}\n  without {bare}").unwrap();
    }
    let compared = named_in_the_text(&bare);
    assert_eq!(shape(&with, &compared), shape(&bare, &compared), "\n{story}");
    let (mut by_header, mut found) = (Vec::new(), Vec::new());
    for (name, step) in names.iter().zip(&steps) {
        let Step::Turn(turn) = step else { continue };
        let keys: Value = serde_json::from_str(&turn.session_keys).unwrap();
        let row = &bare.rows[&turn.turn_id];
        let header = keys["x-session-id"].as_str().and_then(|id| id.rsplit_once(':'));
        if let Some(header) = header {
            let named = &with.rows[&turn.turn_id];
            assert_eq!((&*named.session_id, &*named.generation), header, "{name}\n{story}");
        }
        if let Some((id, generation)) = header.filter(|_| compared.contains(&turn.turn_id)) {
            by_header.push((id.to_owned(), format!("{id}/{generation}"), row.kind));
            found.push((
                row.session_id.clone(),
                format!("{}/{}", row.session_id, row.generation),
                row.kind,
            ));
        }
        let stated = keys["x-turn-type"].as_str();
        // The client describes an image with the provider of the conversation.
        let agrees = stated.is_none_or(|stated| stated == row.kind.label());
        assert!(agrees || row.placed_by.ends_with(";image"), "{name}: {stated:?}\n{story}");
    }
    assert!(!found.is_empty());
    assert_eq!(numbered(&found), numbered(&by_header), "\n{story}");
    if std::env::var_os("OPENCLAW_RL_TELL").is_some() {
        panic!("\n{story}");
    }
}
