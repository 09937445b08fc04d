//! How fast `score` works off what waits, and in how much memory: the real command, as a process of
//! its own, on rollouts that are made up, with the rules or with a judge that answers at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};

use super::calibrate::{Calibration, calibrate};
use super::child::{Child, temporary};
use super::{BenchError, blocking, broken};
use crate::config::{Home, JudgeBenchConfig};
use crate::events::now_us;
use crate::rollout::{ClosedBy, Rollout, TurnId, TurnKind};
use crate::store::{Store, Table, Writer};

/// What judging took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JudgeSpeed {
    /// `judge`.
    pub bench: &'static str,
    /// Rollouts that waited.
    pub rollouts: usize,
    /// Segments that they lie in.
    pub segments: usize,
    /// `rules`, or `model` for one that answers at once.
    pub judge: &'static str,
    /// Votes per turn.
    pub votes: usize,
    /// Turns judged at the same time.
    pub concurrency: usize,
    /// Requests that the model was sent.
    pub requests: usize,
    /// Wall time of the command from its start to its end.
    pub seconds: f64,
    /// Rollouts a second.
    pub rollouts_s: f64,
    /// Time that the command was computed for, on all cores together; `None` where the system does
    /// not say.
    pub cpu_seconds: Option<f64>,
    /// The most memory that the command had resident, in MiB; `None` where the system does not
    /// say.
    pub peak_rss_mib: Option<f64>,
    /// The command's own summary.
    pub score: Value,
    /// Every rollout has the score that the judge gives.
    pub right: bool,
    /// How fast this machine is.
    pub calibration: Calibration,
}

/// Makes rollouts and has them judged.
///
/// # Errors
/// A home that cannot be made, a port that cannot be had, or a `score` that fails.
pub async fn judge(config: &JudgeBenchConfig) -> Result<JudgeSpeed, BenchError> {
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(broken)?;
    let url = format!("http://{}/v1", listener.local_addr().map_err(broken)?);
    let seen = Arc::clone(&asked);
    let app = Router::new().fallback(move |method: Method| {
        let seen = Arc::clone(&seen);
        async move { answer(&method, &seen) }
    });
    let config = config.clone();
    tokio::select! {
        ended = async { axum::serve(listener, app).await } => {
            Err(broken(format!("the judge ended: {ended:?}")))
        }
        measured = blocking(move || measure(&config, &url, &asked)) => measured,
    }
}

fn answer(method: &Method, seen: &AtomicUsize) -> Response {
    if method != Method::POST {
        return StatusCode::NOT_FOUND.into_response();
    }
    seen.fetch_add(1, Ordering::Relaxed);
    let text = "The user is content with the reply.\n\\boxed{1}";
    let usage = json!({"prompt_tokens": 400, "completion_tokens": 12, "total_tokens": 412});
    Json(json!({"choices": [{"message": {"content": text}}], "usage": usage})).into_response()
}

fn measure(
    config: &JudgeBenchConfig,
    url: &str,
    asked: &AtomicUsize,
) -> Result<JudgeSpeed, BenchError> {
    let dir = temporary(config.dir.as_deref())?;
    let store = Store::open(&Home::new(dir.path()))?;
    let calibration = calibrate(dir.path())?;
    let mut writer: Writer<Rollout> = store.writer("collect")?;
    let all: Vec<usize> = (0..config.rollouts).collect();
    for numbers in all.chunks(config.segment_rollouts) {
        writer.append(&numbers.iter().map(|number| rollout(*number)).collect::<Vec<_>>())?;
    }
    drop(all);
    let (votes, concurrency) = (config.votes.to_string(), config.concurrency.to_string());
    let judge = if config.rules { "rules" } else { url };
    let flags = ["--judge", judge, "--votes", &votes, "--concurrency", &concurrency];
    let begin = Instant::now();
    let ended = Child::start(&config.program, "score", dir.path(), &flags)?.finish()?;
    let seconds = begin.elapsed().as_secs_f64();
    let count = |name: &str| ended.summary[name].as_u64().and_then(|n| usize::try_from(n).ok());
    let all = Some(config.rollouts);
    Ok(JudgeSpeed {
        bench: "judge",
        rollouts: config.rollouts,
        segments: store.segments(Table::Rollouts)?.len(),
        judge: if config.rules { "rules" } else { "model" },
        votes: config.votes,
        concurrency: config.concurrency,
        requests: asked.load(Ordering::Relaxed),
        seconds,
        rollouts_s: config.rollouts as f64 / seconds,
        cpu_seconds: ended.cpu_seconds,
        peak_rss_mib: ended.peak_rss_mib,
        right: count("scores") == all && count("positive") == all,
        score: ended.summary,
        calibration,
    })
}

/// A turn of a chat after which the user was content.
fn rollout(number: usize) -> Rollout {
    let about = format!("Question {number}: what is {} and {}? ", number % 97, number % 89);
    let asked = json!([
        {"role": "system", "content": "You are a helpful assistant. ".repeat(8)},
        {"role": "user", "content": about.repeat(6)},
    ]);
    Rollout {
        turn_id: TurnId((1_790_000_000_000 + number as u128) << 80 | number as u128),
        revision: 0,
        session_id: format!("bench-{}", number / 10),
        generation: String::new(),
        turn_index: (number % 10) as u32,
        kind: TurnKind::Main,
        placed_by: "session_id".to_owned(),
        messages: asked.to_string(),
        reply: json!({"role": "assistant", "content": about.repeat(3)}).to_string(),
        next_state: Some(
            json!([{"role": "user", "content": "Thanks, that is right!"}]).to_string(),
        ),
        closed_by: Some(ClosedBy::NextTurn),
        closed_at_us: Some(now_us()),
        retry_of: None,
        regenerated: 0,
        abandoned: false,
        rated: None,
    }
}
