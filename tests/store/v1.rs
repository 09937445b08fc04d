//! What the files in `testdata/store/v1` hold. Never changes: these rows were written by the first
//! release, and every later one must read them.

use openclaw_rl::rollout::{
    ClosedBy, Deployment, DeploymentEvent, FinishReason, Hint, HintStatus, HintVote, Likeliest,
    RejectedTurn, Rejection, Rollout, Sampling, Score, ScoreStatus, Spent, Step, TrainedTurn,
    TrainingSignal, Turn, TurnId, TurnKind, TurnStatus, Version, VersionSpan, Vote,
};

const FIRST: TurnId = TurnId(0x0190_a5c0_0000_7000_8000_0000_0000_0001);
const SECOND: TurnId = TurnId(0x0190_a5c0_0001_7000_8000_0000_0000_0002);

pub fn turns() -> Vec<Turn> {
    let first = Turn {
        turn_id: FIRST,
        received_at_us: 1_790_000_000_000_000,
        finished_at_us: 1_790_000_001_500_000,
        user: "anna".to_owned(),
        policy: "default".to_owned(),
        model: "openclaw".to_owned(),
        session_keys: r#"{"x-session-id":"s1"}"#.to_owned(),
        messages: r#"[{"role":"user","content":"Grüße 👋"}]"#.to_owned(),
        tools: r#"[{"type":"function","function":{"name":"read"}}]"#.to_owned(),
        reply: r#"{"role":"assistant","content":"hello"}"#.to_owned(),
        prompt_ids: vec![151_644, 872, 198],
        response_ids: vec![14_990, 151_645],
        response_logprobs: vec![-0.718_281_8, -1.5e-5],
        drawn_logprobs: Vec::new(),
        forced: Vec::new(),
        constraint: None,
        version_spans: vec![
            VersionSpan { start: 0, version: Version(0) },
            VersionSpan { start: 1, version: Version(3) },
        ],
        sampling: Sampling {
            temperature: 0.6,
            top_p: 0.95,
            top_k: 20,
            seed: u64::MAX,
            max_tokens: 8192,
            ..Sampling::default()
        },
        finish_reason: FinishReason::Stop,
        status: TurnStatus::Answered,
    };
    let empty = Turn {
        turn_id: SECOND,
        user: String::new(),
        tools: String::new(),
        response_ids: Vec::new(),
        response_logprobs: Vec::new(),
        version_spans: Vec::new(),
        finish_reason: FinishReason::Cancelled,
        ..first.clone()
    };
    vec![first, empty]
}

pub fn rollouts() -> Vec<Rollout> {
    let main = Rollout {
        turn_id: FIRST,
        revision: 1,
        session_id: "s1".to_owned(),
        generation: "0".to_owned(),
        turn_index: 4,
        kind: TurnKind::Main,
        placed_by: "header".to_owned(),
        messages: r#"[{"role":"user","content":"hi"}]"#.to_owned(),
        reply: r#"{"role":"assistant","content":"hello"}"#.to_owned(),
        next_state: Some(r#"[{"role":"user","content":"thanks"}]"#.to_owned()),
        closed_by: Some(ClosedBy::NextTurn),
        closed_at_us: Some(1_790_000_002_000_000),
        retry_of: None,
        regenerated: 0,
        abandoned: false,
        rated: None,
    };
    let retry = Rollout {
        turn_id: SECOND,
        kind: TurnKind::Side,
        next_state: None,
        closed_by: Some(ClosedBy::Side),
        retry_of: Some(FIRST),
        ..main.clone()
    };
    vec![main, retry]
}

/// What a vote took came with schema 5.
fn vote(value: Option<i8>, text: &str) -> Vote {
    Vote { value, text: text.to_owned(), spent: Spent::default() }
}

pub fn scores() -> Vec<Score> {
    let judged = Score {
        turn_id: FIRST,
        revision: 0,
        judge: "openai@1:judge".to_owned(),
        status: ScoreStatus::Judged,
        votes: vec![vote(Some(1), "\\boxed{1}"), vote(None, "hm"), vote(Some(-1), "\\boxed{-1}")],
        score: 0,
        reasoning: "a tie".to_owned(),
        judged_at_us: 1_790_000_003_000_000,
    };
    let failed = Score {
        turn_id: SECOND,
        status: ScoreStatus::JudgeFailed,
        votes: Vec::new(),
        ..judged.clone()
    };
    vec![judged, failed]
}

pub fn hints() -> Vec<Hint> {
    let accepted = Hint {
        turn_id: FIRST,
        revision: 0,
        judge: "rules@1".to_owned(),
        status: HintStatus::Accepted,
        votes: vec![HintVote {
            value: Some(1),
            hint: Some("answer in one line".to_owned()),
            text: "you should have answered in one line".to_owned(),
            leak: false,
            spent: Spent::default(),
        }],
        hint: "answer in one line".to_owned(),
        scored_by: Some(Version(3)),
        teacher_logprobs: vec![-0.1, -0.2],
        student_logprobs: vec![-0.7, -0.000_015],
        top_k: 0,
        teacher_top: Likeliest::default(),
        student_top: Likeliest::default(),
        candidates: Vec::new(),
        detail: String::new(),
        hinted_at_us: 1_790_000_003_000_000,
    };
    let none = Hint {
        turn_id: SECOND,
        status: HintStatus::TeacherFailed,
        votes: vec![HintVote {
            value: None,
            hint: None,
            text: String::new(),
            leak: false,
            spent: Spent::default(),
        }],
        hint: String::new(),
        scored_by: None,
        teacher_logprobs: Vec::new(),
        student_logprobs: Vec::new(),
        detail: "timed out".to_owned(),
        ..accepted.clone()
    };
    vec![accepted, none]
}

pub fn steps() -> Vec<Step> {
    let made = Step {
        version: Some(Version(4)),
        parent: Version(3),
        method: "combine".to_owned(),
        trained: vec![TrainedTurn {
            turn_id: FIRST,
            signal: TrainingSignal::Both,
            reward: -1.0,
            tokens: 2,
        }],
        rejected: vec![RejectedTurn { turn_id: SECOND, reason: Rejection::Greedy, revision: 0 }],
        metrics: vec![("loss".to_owned(), 0.1), ("grad_norm".to_owned(), 1e-12)],
        detail: String::new(),
        finished_at_us: 1_790_000_004_000_000,
    };
    let rejected = Step { version: None, trained: Vec::new(), ..made.clone() };
    vec![made, rejected]
}

pub fn deployments() -> Vec<Deployment> {
    let live = Deployment {
        event: DeploymentEvent::Live,
        version: Version(4),
        previous: Some(Version(3)),
        retired: Vec::new(),
        servers: vec!["http://127.0.0.1:30000".to_owned()],
        gate: r#"{"finite":true}"#.to_owned(),
        deployed_at_us: 1_790_000_005_000_000,
    };
    let back = Deployment {
        event: DeploymentEvent::RolledBack,
        version: Version(2),
        previous: None,
        retired: vec![Version(3), Version(4)],
        servers: Vec::new(),
        ..live.clone()
    };
    vec![live, back]
}
