//! Looking at a home: figures, listing, a turn's life, and checks that find what is wrong.

use std::fs;
use std::path::Path;

use openclaw_rl::config::Home;
use openclaw_rl::fault::Explain;
use openclaw_rl::rollout::{
    ClosedBy, Deployment, DeploymentEvent, Feedback, FinishReason, Hint, HintStatus, HintVote,
    Likeliest, Rated, Rating, RejectedTurn, Rejection, Rollout, Sampling, Score, ScoreStatus,
    Spent, Step, TrainedTurn, TrainingSignal, Turn, TurnId, TurnKind, TurnStatus, Version,
    VersionSpan, Vote,
};
use openclaw_rl::stage::inspect::{self, InspectError, Report, StatusTail};
use openclaw_rl::store::{Record, Store};
use openclaw_rl::weights::{Base, NewVersion, Registry};

/// A home in which eight turns have come as far as their number says:
/// 0 answered, 1 closed, 2 side, 3 half judged, 4 ready, 5 neutral, 6 trained in version 1,
/// 7 trained in version 2, which was rolled back.
struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
    registry: Registry,
}

fn id(number: u128) -> TurnId {
    TurnId(0x0190_0000_0000_7000_8000_0000_0000_0000 + number)
}

fn turn(number: u128) -> Turn {
    Turn {
        turn_id: id(number),
        received_at_us: 1_000_000,
        finished_at_us: 2_000_000,
        user: String::new(),
        policy: "default".to_owned(),
        model: "openclaw".to_owned(),
        session_keys: r#"{"x-session-id":"s"}"#.to_owned(),
        messages: r#"[{"role":"user","content":"hi"}]"#.to_owned(),
        tools: String::new(),
        reply: r#"{"role":"assistant","content":"hello"}"#.to_owned(),
        prompt_ids: vec![1, 2, 3],
        response_ids: vec![4, 5],
        response_logprobs: vec![-0.5, 0.0],
        drawn_logprobs: Vec::new(),
        forced: Vec::new(),
        constraint: None,
        version_spans: vec![VersionSpan { start: 0, version: Version(0) }],
        sampling: Sampling {
            temperature: 0.6,
            top_p: 1.0,
            top_k: 0,
            seed: 1,
            max_tokens: 9,
            ..Sampling::default()
        },
        finish_reason: FinishReason::Stop,
        status: TurnStatus::Answered,
    }
}

fn rollout(number: u128) -> Rollout {
    let side = number == 2;
    Rollout {
        turn_id: id(number),
        revision: 0,
        session_id: "s".to_owned(),
        generation: "0".to_owned(),
        turn_index: number as u32,
        kind: if side { TurnKind::Side } else { TurnKind::Main },
        placed_by: "header".to_owned(),
        messages: "[]".to_owned(),
        reply: "{}".to_owned(),
        next_state: (!side).then(|| r#"[{"role":"user","content":"thanks"}]"#.to_owned()),
        closed_by: Some(if side { ClosedBy::Side } else { ClosedBy::NextTurn }),
        closed_at_us: Some(3_000_000),
        retry_of: None,
        regenerated: 0,
        abandoned: false,
        rated: None,
    }
}

fn score(number: u128) -> Score {
    let score = i8::from(number != 5);
    Score {
        turn_id: id(number),
        revision: 0,
        judge: "rules@1".to_owned(),
        status: ScoreStatus::Judged,
        votes: vec![Vote {
            value: Some(score),
            text: "thanks".to_owned(),
            spent: Spent::default(),
        }],
        score,
        reasoning: "thanks".to_owned(),
        judged_at_us: 4_000_000,
    }
}

fn hint(number: u128) -> Hint {
    let accepted = number == 4;
    let row = |value: f32| if accepted { vec![value; 2] } else { Vec::new() };
    Hint {
        turn_id: id(number),
        revision: 0,
        judge: "rules@1".to_owned(),
        status: if accepted { HintStatus::Accepted } else { HintStatus::NoHint },
        votes: vec![HintVote {
            value: Some(-1),
            hint: None,
            text: String::new(),
            leak: false,
            spent: Spent::default(),
        }],
        hint: if accepted { "be brief, please".to_owned() } else { String::new() },
        scored_by: accepted.then_some(Version(0)),
        teacher_logprobs: row(-0.1),
        student_logprobs: row(-0.2),
        top_k: 0,
        teacher_top: Likeliest::default(),
        student_top: Likeliest::default(),
        candidates: Vec::new(),
        detail: String::new(),
        hinted_at_us: 4_000_000,
    }
}

fn step(number: u128) -> Step {
    let signal = TrainingSignal::Score;
    Step {
        version: None,
        parent: Version::BASE,
        method: "combine".to_owned(),
        trained: vec![TrainedTurn { turn_id: id(number), signal, reward: 1.0, tokens: 2 }],
        rejected: Vec::new(),
        metrics: vec![("loss".to_owned(), 0.25), ("kl".to_owned(), f64::NAN)],
        detail: String::new(),
        finished_at_us: 5_000_000,
    }
}

fn deployment(event: DeploymentEvent, version: u64, retired: &[u64]) -> Deployment {
    Deployment {
        event,
        version: Version(version),
        previous: Some(Version(0)),
        retired: retired.iter().copied().map(Version).collect(),
        servers: vec!["http://127.0.0.1:30000".to_owned()],
        gate: "{}".to_owned(),
        deployed_at_us: 6_000_000,
    }
}

fn put<R: Record>(store: &Store, rows: &[R]) {
    store.writer::<R>("test").unwrap().append(rows).unwrap();
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        let store = Store::open(&home).unwrap();
        let registry = Registry::open(&home).unwrap();
        let model = dir.path().join("model");
        fs::create_dir(&model).unwrap();
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            fs::write(model.join(name), name).unwrap();
        }
        registry.ensure_base(Base::Directory(&model)).unwrap();
        Self { dir, store, registry }
    }

    fn filled() -> Self {
        let fixture = Self::new();
        let Self { store, registry, .. } = &fixture;
        put(store, &(0..8).map(turn).collect::<Vec<_>>());
        put(store, &(1..8).map(rollout).collect::<Vec<_>>());
        put(store, &(3..8).map(score).collect::<Vec<_>>());
        put(store, &(4..8).map(hint).collect::<Vec<_>>());
        for number in [6, 7] {
            fixture.train(number, true);
        }
        registry.set_live(Version(2)).unwrap();
        let retired = registry.roll_back(Version(1)).unwrap();
        assert_eq!(retired, [Version(2)]);
        put(
            store,
            &[
                deployment(DeploymentEvent::Live, 2, &[]),
                deployment(DeploymentEvent::RolledBack, 1, &[2]),
            ],
        );
        fixture
    }

    /// Publishes a version with one turn in its batch; writes its row if `told`.
    fn train(&self, number: u128, told: bool) -> Version {
        let draft = self.registry.draft().unwrap();
        fs::write(draft.dir().join("model.safetensors"), number.to_string()).unwrap();
        let parent = self.registry.head().unwrap();
        let new = NewVersion { parent, step: Some(step(number)) };
        let version = self.registry.publish(draft, new).unwrap();
        if told {
            put(&self.store, &[self.registry.manifest(version).unwrap().step.unwrap()]);
        }
        version
    }

    fn home(&self) -> Home {
        Home::new(self.dir.path().join("home"))
    }

    fn verify(&self) -> Report {
        inspect::verify(&self.home()).unwrap()
    }
}

#[test]
fn the_figures_account_for_every_turn() {
    let fixture = Fixture::filled();
    let status = inspect::figures(&fixture.home()).unwrap();
    assert_eq!((status.live_version, status.head_version), (Some(1), Some(1)));
    assert_eq!((status.turns, status.rollouts, status.scores, status.hints), (8, 7, 5, 4));
    assert_eq!((status.steps, status.trained, status.waiting, status.ready), (2, 1, 4, 1));
    let rejected: Vec<_> = status.rejected.iter().map(|(reason, n)| (*reason, *n)).collect();
    assert_eq!(rejected, [("neutral", 1), ("quarantined", 1), ("side", 1)]);
    assert_eq!(status.turns, status.trained + status.waiting + 3);
    assert_eq!(status.mean_reward, Some(0.8));
    let json = serde_json::to_value(&status).unwrap();
    for key in ["live_version", "turns", "rollouts", "scores", "hints", "steps", "waiting"] {
        assert!(json[key].is_u64(), "{key}");
    }
    assert_eq!(json["rejected"]["side"], 1);
    assert_eq!(json["by_state"]["half_judged"], 1);
}

#[test]
fn the_figures_follow_what_is_written() {
    let fixture = Fixture::new();
    let mut tail = StatusTail::new(&fixture.home()).unwrap();
    let empty = tail.refresh();
    assert_eq!((empty.turns, empty.mean_reward, empty.live_version), (0, None, Some(0)));
    put(&fixture.store, &[turn(4)]);
    put(&fixture.store, &[rollout(4)]);
    assert_eq!(tail.refresh().by_state["closed"], 1);
    put(&fixture.store, &[score(4)]);
    put(&fixture.store, &[hint(4)]);
    assert_eq!(tail.refresh().ready, 1);
    // A trainer that is killed before it writes its row has trained all the same.
    fixture.train(4, false);
    let status = tail.refresh();
    assert_eq!((status.trained, status.steps, status.waiting), (1, 1, 0));
    assert_eq!(status, tail.refresh());
    fixture.registry.refuse(Version(1)).unwrap();
    assert_eq!(tail.refresh().rejected["quarantined"], 1);
    assert_eq!(tail.refresh(), inspect::figures(&fixture.home()).unwrap());
}

#[test]
fn a_broken_segment_is_counted_and_does_not_stop_the_figures() {
    let fixture = Fixture::filled();
    let path = segment(&fixture, "turns");
    let whole = fs::read(&path).unwrap();
    put(&fixture.store, &[turn(100)]);
    fs::write(&path, &whole[..100]).unwrap();
    let mut tail = StatusTail::new(&fixture.home()).unwrap();
    let status = tail.refresh();
    assert_eq!((status.unreadable, status.turns), (1, 1));
    fs::write(&path, &whole).unwrap();
    let status = tail.refresh();
    assert_eq!((status.unreadable, status.turns), (0, 9));
}

fn segment(fixture: &Fixture, table: &str) -> std::path::PathBuf {
    let epoch = "w=test/e=00000000000000000000/00000000000000000000.parquet";
    fixture.store.root().join(table).join(epoch)
}

#[test]
fn the_listing_shows_tables_and_versions() {
    let fixture = Fixture::filled();
    let listing = inspect::ls(&fixture.home()).unwrap();
    let rows: Vec<_> =
        listing.tables.iter().map(|line| (line.table, line.segments, line.rows)).collect();
    let expected = [
        ("turns", 1, 8),
        ("rollouts", 1, 7),
        ("feedback", 0, 0),
        ("scores", 1, 5),
        ("hints", 1, 4),
        ("steps", 2, 2),
        ("deployments", 1, 2),
    ];
    assert_eq!(rows, expected);
    assert!(listing.tables.iter().all(|line| line.bytes > 500 || line.rows == 0));
    let versions: Vec<_> =
        listing.versions.iter().map(|v| (v.version, v.parent, v.turns, v.live, v.dead)).collect();
    let expected =
        [(0, None, 0, false, false), (1, Some(0), 1, true, false), (2, Some(1), 1, false, true)];
    assert_eq!(versions, expected);
    assert_eq!(listing.turns["rejected"], 3);
    assert!(listing.problems.is_empty());
}

#[test]
fn a_turns_whole_life_is_shown() {
    let fixture = Fixture::filled();
    let life = inspect::show(&fixture.home(), id(7)).unwrap();
    assert_eq!(life["state"]["state"], "rejected");
    assert_eq!(life["state"]["reason"], "quarantined");
    assert_eq!(life["turn"][0]["messages"][0]["content"], "hi");
    assert_eq!(life["turn"][0]["response_ids"], serde_json::json!([4, 5]));
    assert_eq!(life["rollouts"][0]["next_state"][0]["content"], "thanks");
    assert_eq!(life["scores"][0]["score"], 1);
    assert_eq!(life["hints"][0]["status"], "no_hint");
    assert_eq!(life["steps"][0]["version"], 2);
    assert_eq!(life["steps"][0]["dead"], true);
    assert_eq!(life["steps"][0]["trained"][0]["tokens"], 2);
    assert_eq!(life["deployments"].as_array().unwrap().len(), 2);
    let life = inspect::show(&fixture.home(), id(0)).unwrap();
    assert_eq!(life["state"]["state"], "answered");
    assert_eq!(life["steps"], serde_json::json!([]));

    let error = inspect::show(&fixture.home(), id(99)).unwrap_err();
    assert!(matches!(error, InspectError::UnknownTurn { .. }));
    assert!(error.to_string().contains(&id(99).to_string()));
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn a_home_that_is_not_there_is_named_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nowhere");
    let home = Home::new(&path);
    for error in [
        inspect::figures(&home).unwrap_err(),
        inspect::ls(&home).unwrap_err(),
        inspect::show(&home, id(0)).unwrap_err(),
        inspect::verify(&home).unwrap_err(),
    ] {
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    assert!(!path.exists());
    fs::create_dir(&path).unwrap();
    let report = inspect::verify(&home).unwrap();
    assert!(report.ok && report.turns == 0, "{report:?}");
    assert_eq!(inspect::figures(&home).unwrap().live_version, None);
}

#[test]
fn a_sound_home_has_no_problems() {
    let fixture = Fixture::filled();
    let report = fixture.verify();
    assert!(report.ok && report.problems.is_empty() && report.notes.is_empty(), "{report:?}");
    assert_eq!((report.turns, report.trained, report.waiting), (8, 1, 4));
    assert_eq!(report.versions, 2, "the base and version 1; version 2 is dead");
    assert_eq!(report.rows["turns"], 8);
    // A trainer that was killed between its version and its row: noted, but nothing is wrong.
    fixture.train(4, false);
    let report = fixture.verify();
    assert!(report.ok, "{report:?}");
    assert_eq!((report.notes.len(), report.trained), (1, 2));
}

/// Verifies a sound home after `break_it`, and expects exactly one problem that says `what`.
fn finds(what: &str, break_it: impl FnOnce(&Fixture)) {
    let fixture = Fixture::filled();
    break_it(&fixture);
    let report = fixture.verify();
    assert!(!report.ok, "{what}: nothing found");
    assert_eq!(report.problems.len(), 1, "{what}: {:?}", report.problems);
    assert!(report.problems[0].contains(what), "{what}: {:?}", report.problems);
}

#[test]
fn what_is_wrong_with_a_file_is_found() {
    finds("cannot be read as `scores`", |f| {
        put(&f.store, &[score(6)]);
        let path = segment(f, "scores").with_file_name("00000000000000000001.parquet");
        fs::write(path, "PAR1").unwrap();
    });
    finds("holds the table `hints`, expected `scores`", |f| {
        let path = segment(f, "scores").with_file_name("00000000000000000001.parquet");
        fs::copy(segment(f, "hints"), path).unwrap();
    });
    finds("v0000000001/model.safetensors has SHA-256", |f| {
        fs::write(f.registry.dir(Version(1)).join("model.safetensors"), "7").unwrap();
    });
    finds("v0000000000/config.json is missing", |f| {
        fs::remove_file(f.registry.dir(Version(0)).join("config.json")).unwrap();
    });
    finds("state.json is unusable", |f| {
        fs::write(f.registry.root().join("state.json"), "{").unwrap();
    });
}

#[test]
fn what_is_wrong_between_tables_is_found() {
    finds("is recorded twice", |f| put(&f.store, &[turn(0)]));
    finds("is named by other tables, but not recorded", |f| put(&f.store, &[score(50)]));
    finds("which is not recorded", |f| {
        put(&f.store, &[Rollout { retry_of: Some(id(51)), ..rollout(0) }]);
    });
    finds("is in the batches of versions 1, 3", |f| {
        f.train(6, true);
    });
    finds("but also in the batch of version 1", |f| {
        let rejected = vec![RejectedTurn { turn_id: id(6), reason: Rejection::Stale, revision: 0 }];
        put(&f.store, &[Step { trained: Vec::new(), rejected, ..step(0) }]);
    });
    finds("differs from its manifest", |f| {
        put(&f.store, &[Step { version: Some(Version(1)), ..step(5) }]);
    });
    finds("version 9 was made, but does not exist", |f| {
        put(&f.store, &[Step { version: Some(Version(9)), ..step(4) }]);
    });
    finds("live of version 9, which does not exist", |f| {
        put(&f.store, &[deployment(DeploymentEvent::Live, 9, &[])]);
    });
    finds("was trained on 3 tokens, but has 2", |f| {
        let mut step = f.registry.manifest(Version(1)).unwrap().step.unwrap();
        step.version = None;
        step.trained[0].tokens = 3;
        put(&f.store, &[step]);
    });
}

#[test]
fn what_is_wrong_within_a_row_is_found() {
    let bad_turn = |what: &str, spoil: fn(&mut Turn)| {
        finds(what, |f| {
            let mut turn = turn(60);
            spoil(&mut turn);
            put(&f.store, &[turn]);
        });
    };
    bad_turn("has 1 log-probabilities for 2 response tokens", |t| {
        t.response_logprobs.truncate(1);
    });
    bad_turn("has a log-probability that is none", |t| t.response_logprobs[0] = f32::NAN);
    bad_turn("has a log-probability that is none", |t| t.response_logprobs[0] = 0.5);
    bad_turn("version spans that start at [1]", |t| t.version_spans[0].start = 1);
    bad_turn("version spans that start at []", |t| t.version_spans.clear());
    bad_turn("version spans that start at [0, 2]", |t| {
        t.version_spans.push(VersionSpan { start: 2, version: Version(0) });
    });
    bad_turn("version spans that start at [0, 1, 1]", |t| {
        t.version_spans.extend([VersionSpan { start: 1, version: Version(0) }; 2]);
    });
    bad_turn("was sampled by version 77", |t| t.version_spans[0].version = Version(77));
    bad_turn("has `messages` that is no JSON", |t| t.messages.push(']'));
    finds("scores: turn", |f| put(&f.store, &[Score { score: 3, ..score(6) }]));
    finds("has 2 teacher and 1 student", |f| {
        put(&f.store, &[Hint { student_logprobs: vec![-1.0], ..hint(4) }]);
    });
    finds("has 3 log-probabilities for 2 response tokens", |f| {
        let row = vec![-1.0; 3];
        let hint = Hint { teacher_logprobs: row.clone(), student_logprobs: row, ..hint(4) };
        put(&f.store, &[hint]);
    });
    finds("accepted without a hint", |f| {
        put(&f.store, &[Hint { hint: String::new(), ..hint(4) }]);
    });
    finds("was scored by version 40", |f| {
        put(&f.store, &[Hint { scored_by: Some(Version(40)), ..hint(4) }]);
    });
}

#[test]
fn what_may_not_be_kept_or_placed_is_found() {
    let private = Turn {
        messages: "[]".to_owned(),
        reply: "{}".to_owned(),
        prompt_ids: Vec::new(),
        response_ids: Vec::new(),
        response_logprobs: Vec::new(),
        version_spans: Vec::new(),
        status: TurnStatus::DoNotTrain,
        ..turn(60)
    };
    let fixture = Fixture::filled();
    put(&fixture.store, std::slice::from_ref(&private));
    assert!(fixture.verify().ok);
    assert_eq!(fixture.verify().rejected["do_not_train"], 1);
    finds("holds content, although it is not to be learned from", |f| {
        put(&f.store, &[Turn { messages: turn(60).messages, ..private.clone() }]);
    });
    finds("has tokens, although its status is `command`", |f| {
        put(&f.store, &[Turn { status: TurnStatus::Command, ..turn(60) }]);
    });
    finds("is not to be learned from", |f| {
        put(&f.store, std::slice::from_ref(&private));
        put(&f.store, &[rollout(60)]);
    });
    finds("has revision 0 twice", |f| put(&f.store, &[rollout(4)]));
    finds("feedback: turn", |f| put(&f.store, &[rated(99)]));
}

fn rated(number: u128) -> Feedback {
    let rated = Rated {
        rating: Rating::Down,
        text: Some("in metric units".to_owned()),
        given_at_us: 7_000_000,
    };
    Feedback { turn_id: id(number), user: "anna".to_owned(), rated }
}

#[test]
fn feedback_that_came_late_opens_a_turn_again() {
    let fixture = Fixture::filled();
    let mut tail = StatusTail::new(&fixture.home()).unwrap();
    let before = tail.refresh();
    put(&fixture.store, &[rated(4), rated(6)]);
    for number in [4, 6] {
        let rated = Some(rated(number).rated);
        put(&fixture.store, &[Rollout { revision: 1, rated, ..rollout(number) }]);
    }
    let after = tail.refresh();
    assert_eq!(after.by_state["closed"], before.by_state["closed"] + 1, "judged, and now again");
    assert_eq!(after.trained, before.trained, "for one that is trained it is recorded only");
    assert!(fixture.verify().ok, "{:?}", fixture.verify().problems);
    let shown = inspect::show(&fixture.home(), id(4)).unwrap();
    assert_eq!(shown["state"]["state"], "closed");
    assert_eq!(shown["feedback"][0]["rating"], "down");
    assert_eq!(shown["rollouts"][1]["rated"]["text"], "in metric units");
}

#[test]
fn who_gets_requests_that_cannot_teach_is_told_what_to_change() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path());
    let store = Store::open(&home).unwrap();
    let mut tail = StatusTail::new(&home).unwrap();
    let placed_by = "x-session-id;x-turn-type";
    for number in 100..110 {
        assert_eq!(tail.refresh().advice, None, "{number}");
        put(&store, &[turn(number)]);
        let row = Rollout {
            kind: TurnKind::Side,
            placed_by: placed_by.to_owned(),
            next_state: None,
            ..rollout(number)
        };
        put(&store, &[row]);
    }
    let advice = tail.refresh().advice.unwrap();
    assert_eq!((advice.requests, advice.configure_client), (10, true));
    assert_eq!(advice.reasons["side;x-turn-type"], 10);
    put(&store, &[turn(110)]);
    put(&store, &[rollout(110)]);
    assert_eq!(tail.refresh().advice, None);
}

#[test]
fn looking_changes_nothing() {
    let fixture = Fixture::filled();
    let before = files(fixture.dir.path());
    fixture.verify();
    inspect::ls(&fixture.home()).unwrap();
    inspect::show(&fixture.home(), id(4)).unwrap();
    inspect::figures(&fixture.home()).unwrap();
    assert_eq!(files(fixture.dir.path()), before);
}

fn files(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}
