//! `eval` against servers that learn, fail, or keep it waiting.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use openclaw_rl::config::EvalConfig;
use openclaw_rl::fault::Explain;
use openclaw_rl::stage::eval::{EvalError, Persona, Progress, Report, Share, run};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::judging::{judge, nobody};
use crate::support;

/// What a request for a reply was.
#[derive(Clone, Debug)]
struct Asked {
    body: Value,
    session: Option<String>,
    done: bool,
    no_train: bool,
    /// The loop was last seen at work.
    at_work: bool,
}

impl Asked {
    fn last_words(&self) -> &str {
        self.body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap()
    }
}

/// How a server stands.
#[derive(Debug, Default)]
struct World {
    asked: Vec<Asked>,
    /// Requests for `/status`.
    looks: usize,
    /// The last of them was told that turns are undecided.
    at_work: bool,
    version: u64,
}

/// A loop whose version number `n` follows after so many sessions, if it does.
struct Loop {
    url: String,
    world: Arc<Mutex<World>>,
    task: JoinHandle<()>,
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Answer = fn(&mut World, &Asked) -> (u16, String);
type Standing = fn(&World) -> Value;

async fn serve(answer: Answer, status: Standing) -> Loop {
    let world = Arc::new(Mutex::new(World::default()));
    let seen = Arc::clone(&world);
    let app = Router::new().fallback(
        move |method: Method, uri: Uri, headers: HeaderMap, body: String| {
            let seen = Arc::clone(&seen);
            async move { respond(&seen, (answer, status), &method, uri.path(), &headers, &body) }
        },
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "it is aborted when the loop is dropped")]
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Loop { url, world, task }
}

fn respond(
    world: &Mutex<World>,
    (answer, status): (Answer, Standing),
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &str,
) -> Response {
    let mut world = world.lock().unwrap();
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let (code, text) = match (method, path) {
        (&Method::GET, "/model_info") => {
            (200, json!({"weight_version": world.version.to_string()}).to_string())
        }
        (&Method::GET, "/status") => {
            world.looks += 1;
            let status = status(&world);
            world.at_work = status["by_state"]["half_judged"].is_number();
            (200, status.to_string())
        }
        (&Method::POST, "/tokenize") => {
            let count = body["messages"].as_array().unwrap().len();
            (200, json!({"tokens": (0..3 * count as u64).collect::<Vec<_>>()}).to_string())
        }
        (&Method::POST, "/generate") => {
            let ids = body["input_ids"].as_array().unwrap();
            let start = body["logprob_start_len"].as_u64().unwrap() as usize;
            let logprob = -0.25 * (world.version + 1) as f64;
            let entries: Vec<_> =
                ids[start..].iter().map(|id| json!([logprob, id, null])).collect();
            let meta = json!({"input_token_logprobs": entries, "weight_version": "0"});
            (200, json!({"meta_info": meta}).to_string())
        }
        (&Method::POST, "/v1/chat/completions") => {
            let asked = Asked {
                session: header("x-session-id"),
                done: header("x-session-done").is_some(),
                no_train: header("x-no-train").is_some(),
                at_work: world.at_work,
                body,
            };
            world.asked.push(asked.clone());
            answer(&mut world, &asked)
        }
        _ => (404, String::new()),
    };
    (StatusCode::from_u16(code).unwrap(), text).into_response()
}

fn said(text: &str) -> (u16, String) {
    let answer = json!({"choices": [{"message": {"role": "assistant", "content": text}}],
        "usage": {"completion_tokens": text.split(' ').count()}});
    (200, answer.to_string())
}

/// A loop at rest: every recorded turn has been decided on.
fn at_rest(world: &World) -> Value {
    let recorded = world.asked.iter().filter(|asked| !asked.no_train).count();
    json!({"turns": recorded + 5, "recorded_here": recorded, "ready": 0, "pending": 0,
        "live_version": world.version, "head_version": world.version, "by_state": {}})
}

/// The result of the calculation, or the larger number, in the last request that has one.
fn solution(asked: &Asked) -> i64 {
    let messages = asked.body["messages"].as_array().unwrap();
    let numbers = |text: &str| -> Vec<i64> {
        let words = text.split(|c: char| !c.is_ascii_digit());
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let texts = messages.iter().rev().map(|message| message["content"].as_str().unwrap());
    let text = texts.into_iter().find(|text| numbers(text).len() == 2).unwrap();
    let (a, b) = (numbers(text)[0], numbers(text)[1]);
    match (text.contains(&format!("{a} + {b}")), text.contains(&format!("{a} - {b}"))) {
        (true, _) => a + b,
        (_, true) => a - b,
        _ => a.max(b),
    }
}

/// Answers in bold, until four sessions are over: then version 1, which is plain.
fn learns(world: &mut World, asked: &Asked) -> (u16, String) {
    let answer = solution(asked);
    let text = match world.version {
        0 => format!("The answer is **{answer}**."),
        _ => format!("The answer is {answer}."),
    };
    let over = world.asked.iter().filter(|asked| asked.done).count();
    world.version = u64::from(over >= 4);
    said(&text)
}

fn config(url: &str) -> EvalConfig {
    EvalConfig {
        url: url.to_owned(),
        persona: vec!["student".to_owned()],
        sessions: 8,
        held_out: 20,
        tasks: 40,
        noise: 0.0,
        lockstep: true,
        timeout_s: 20,
        ..EvalConfig::default()
    }
}

async fn eval(config: &EvalConfig) -> Result<Report, EvalError> {
    let (report, error) = run(config, CancellationToken::new(), |_| ()).await?;
    error.map_or(Ok(report), Err)
}

#[tokio::test]
async fn a_server_that_learns_is_seen_to_learn() {
    let server = serve(learns, at_rest).await;
    let mut told = Vec::new();
    let config = config(&format!("{}/v1", server.url));
    let report = run(&config, CancellationToken::new(), |progress| told.push(progress)).await;
    let (report, error) = report.unwrap();
    assert!(error.is_none() && report.ended_by.is_none(), "{error:?}");
    assert_eq!((report.sessions, report.turns), (8, 24));
    assert_eq!(
        (report.satisfaction_first, report.satisfaction_last),
        (Share::of(0, 20), Share::of(20, 20))
    );
    let versions: Vec<_> =
        report.curve.iter().map(|p| (p.version.as_deref(), p.sessions)).collect();
    assert_eq!(versions, [(Some("0"), 0), (Some("1"), 4)]);
    assert_eq!(report.sessions_to_preference, Some(7), "sessions 5, 6 and 7 begin well");
    assert_eq!(report.sessions_to_preference_each["student"], Some(7));
    assert_eq!(report.task_accuracy_before, Some(Share::of(40, 40)));
    assert_eq!(
        report.task_accuracy_change.map(|change| (change.lost, change.gained)),
        Some((0, 0))
    );
    assert_eq!((report.probe_before, report.probe_after), (Some(-0.25), Some(-0.5)));
    assert_eq!(report.right_in_sessions, Share::of(24, 24));
    assert_eq!(report.failed_requests, 0);
    let delay = report.feedback_to_live_s.unwrap();
    assert!(delay.n == 1 && delay.max > 0.0 && delay.max < 20.0, "{delay:?}");
    let held = told.iter().filter(|progress| matches!(progress, Progress::Held(..))).count();
    assert_eq!(held, 8);
    let table = report.table();
    for part in ["satisfaction, before", "100.0 %", "sessions to preference         7"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let svg = report.drawing().svg();
    assert!(svg.contains("student (100 %)") && svg.contains("<polyline"), "{svg}");
}

#[tokio::test]
async fn sessions_are_told_apart_and_what_is_held_out_is_not_learned_from() {
    let server = serve(learns, at_rest).await;
    eval(&config(&server.url)).await.unwrap();
    let world = server.world.lock().unwrap();
    let (talk, held_out): (Vec<_>, Vec<_>) =
        world.asked.iter().partition(|asked| asked.session.is_some());
    assert!(held_out.iter().all(|asked| asked.no_train && !asked.done));
    assert_eq!(held_out.len(), 2 * 20 + 2 * 40, "two versions, tasks twice");
    assert!(talk.iter().all(|asked| !asked.no_train && asked.body["user"] == "student"));
    let persona = Persona::open("student").unwrap();
    for session in talk.chunks(4) {
        let names: Vec<_> = session.iter().map(|asked| asked.session.clone()).collect();
        assert!(names.windows(2).all(|pair| pair[0] == pair[1]), "{names:?}");
        let done: Vec<bool> = session.iter().map(|asked| asked.done).collect();
        assert_eq!(done, [false, false, false, true]);
        let lengths: Vec<usize> =
            session.iter().map(|a| a.body["messages"].as_array().unwrap().len()).collect();
        assert_eq!(lengths, [1, 3, 5, 7]);
        let plain = session[1].body["messages"][1]["content"].as_str().unwrap();
        let words = session[1].last_words();
        let content = persona.directives.iter().chain(&persona.again);
        let unhappy = content.into_iter().any(|line| line == words);
        assert_eq!(unhappy, plain.contains("**"), "{words}");
    }
    let mut names: Vec<_> = talk.iter().filter(|a| a.done).map(|a| a.session.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 8);
}

#[tokio::test]
async fn the_same_seed_talks_the_same_way() {
    let talk = async |seed| {
        let server = serve(learns, at_rest).await;
        let config = EvalConfig { seed, noise: 0.3, concurrency: 1, ..config(&server.url) };
        eval(&config).await.unwrap();
        let world = server.world.lock().unwrap();
        let words = world.asked.iter().map(|asked| asked.last_words().to_owned());
        words.collect::<Vec<_>>()
    };
    let first = talk(3).await;
    assert_eq!(first, talk(3).await);
    assert_ne!(first, talk(4).await);
}

#[tokio::test]
async fn requests_that_fail_are_counted_and_end_their_session() {
    let fails = |world: &mut World, asked: &Asked| {
        let of_a_session = asked.session.is_some();
        let nth = world.asked.iter().filter(|asked| asked.session.is_some()).count();
        match of_a_session && nth % 6 == 1 {
            true => (503, "no room".to_owned()),
            false => said("It is plain."),
        }
    };
    let server = serve(fails, at_rest).await;
    let report = eval(&config(&server.url)).await.unwrap();
    assert!(report.failed_requests >= 2, "{report:?}");
    assert!(report.first_failure.as_deref().unwrap().contains("no room"));
    assert_eq!(report.first_replies[0], None, "the very first request failed");
    assert!(report.turns < 24, "sessions that broke off have fewer");
}

#[tokio::test]
async fn a_server_that_fails_always_is_given_up() {
    let config = EvalConfig { sessions: 0, ..config(&nobody().await) };
    let error = eval(&config).await.unwrap_err();
    assert_eq!(error.label(), "eval_unreachable");
    assert!(error.hint().unwrap().contains("openclaw-rl run"));
    let failing = serve(|_, _| (503, "no room".to_owned()), at_rest).await;
    let many = EvalConfig { held_out: 900, url: failing.url.clone(), ..config.clone() };
    assert_eq!(eval(&many).await.unwrap_err().label(), "eval_unreachable");
    let asked = failing.world.lock().unwrap().asked.len();
    assert!((20..40).contains(&asked), "it gives up at once: {asked}");
    let error = eval(&EvalConfig { sessions: 1, ..config }).await.unwrap_err();
    assert_eq!(error.label(), "eval_no_loop", "in lockstep its loop is asked first");
}

#[tokio::test]
async fn lockstep_waits_until_the_loop_is_at_rest() {
    let busy = |world: &World| {
        let mut status = at_rest(world);
        let talked = world.asked.iter().any(|asked| asked.session.is_some());
        if talked && !world.looks.is_multiple_of(3) {
            status["by_state"] = json!({"half_judged": 1});
        }
        status
    };
    let server = serve(learns, busy).await;
    let config = EvalConfig { sessions: 2, tasks: 0, ..config(&server.url) };
    let report = eval(&config).await.unwrap();
    assert_eq!(report.sessions, 2);
    let world = server.world.lock().unwrap();
    assert!(world.asked.iter().all(|asked| !asked.at_work), "nobody talks while it is at work");
    assert!(world.looks >= 3 * 6, "six messages brought feedback: {}", world.looks);
}

#[tokio::test]
async fn what_was_measured_until_the_loop_stood_still_is_not_lost() {
    let stands_still = |world: &World| {
        let mut status = at_rest(world);
        if world.asked.iter().filter(|asked| asked.done).count() == 2 {
            status["ready"] = json!(16);
        }
        status
    };
    let server = serve(learns, stands_still).await;
    let config = EvalConfig { timeout_s: 1, tasks: 0, ..config(&server.url) };
    let (report, error) = run(&config, CancellationToken::new(), |_| ()).await.unwrap();
    let error = error.unwrap();
    assert_eq!(error.label(), "eval_waited");
    assert!(error.to_string().contains("ready: 16"), "{error}");
    assert_eq!((report.sessions, report.curve.len()), (1, 1), "the second was not over");
    assert!(report.ended_by.unwrap().contains("did not come to rest"));
}

#[tokio::test]
async fn a_model_may_play_the_user() {
    let server = serve(learns, at_rest).await;
    let player = judge(|_| (200, "<think>hm</think>Please leave out the bold.".to_owned())).await;
    let config = EvalConfig {
        sessions: 1,
        tasks: 0,
        user_llm: Some(player.url.clone()),
        user_llm_model: "player".to_owned(),
        ..config(&server.url)
    };
    eval(&config).await.unwrap();
    let world = server.world.lock().unwrap();
    let last = world.asked.iter().find(|asked| asked.done).unwrap();
    assert_eq!(last.last_words(), "Please leave out the bold.");
    let asked = player.asked.lock().unwrap();
    assert_eq!((asked.len(), asked[0]["model"].as_str()), (3, Some("player")));
    let system = asked[0]["messages"][0]["content"].as_str().unwrap();
    assert!(system.contains("nothing in bold"), "{system}");
}

#[tokio::test]
async fn a_persona_and_problems_of_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cook.toml");
    let lines = |name: &str, line: &str| format!("{name} = [\"{line}\"]\n");
    let text = [
        "name = \"cook\"\nabout = \"likes short replies\"\ntask = \"own\"\n".to_owned(),
        lines("requests", "How do I cook {dish}?"),
        lines("held_out", "Cook {dish} for me, how?"),
        lines("thanks", "Thanks."),
        lines("goes_on", "Next."),
        lines("again", "Again."),
        lines("directives", "Shorter, please."),
        lines("insists", "I said shorter."),
        "[places]\ndish = [\"rice\", \"soup\"]\n[wants]\ntokens_max = 3\n".to_owned(),
    ];
    std::fs::write(&path, text.concat()).unwrap();
    let server = serve(|_, _| said("Boil it for very long."), at_rest).await;
    let which = path.to_str().unwrap().to_owned();
    let own = EvalConfig { persona: vec![which], sessions: 2, tasks: 0, ..config(&server.url) };
    let report = eval(&own).await.unwrap();
    assert_eq!(report.personas, ["cook"]);
    assert_eq!((report.satisfaction_last.met, report.right_in_sessions.n), (0, 0));
    let dishes =
        server.world.lock().unwrap().asked.iter().any(|asked| {
            ["How do I cook rice?", "How do I cook soup?"].contains(&asked.last_words())
        });
    assert!(dishes);

    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/eval/problems.jsonl");
    let server = serve(|_, _| said("I do not know, 0."), at_rest).await;
    let problems = EvalConfig { problems: Some(shipped), sessions: 1, ..config(&server.url) };
    let report = eval(&problems).await.unwrap();
    assert_eq!(report.task_accuracy_before.map(|share| share.n), Some(6), "a fifth, each once");
    let twice = EvalConfig { persona: vec!["student".to_owned(); 2], ..own.clone() };
    assert!(eval(&twice).await.unwrap_err().to_string().contains("talks already"));
    let missing = EvalConfig { persona: vec!["nobody.toml".to_owned()], ..own };
    assert_eq!(eval(&missing).await.unwrap_err().exit_code(), 2);
}

#[test]
fn the_command_draws_curves_and_refuses_what_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let (curves, plot) = (dir.path().join("c.json"), dir.path().join("c.svg"));
    let text = json!({"title": "Learning", "curves":
        [{"name": "combine", "points": [[0, 5, 64], [48, 40, 64], [96, 60, 64]]}]});
    std::fs::write(&curves, text.to_string()).unwrap();
    let drawn = || {
        let paths = [&curves, &plot].map(|path| path.to_str().unwrap().to_owned());
        support::one_shot(dir.path(), &["eval", "--draw", &paths[0], "--plot", &paths[1]])
    };
    let output = drawn();
    assert!(output.status.success(), "{output:?}");
    let svg = std::fs::read_to_string(&plot).unwrap();
    assert!(svg.contains("Learning") && svg.contains("combine (94 %)"), "{svg}");
    std::fs::write(&curves, "{\"title\": 1}").unwrap();
    let output = drawn();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("c.json") && error.contains("[turns, met, n]"), "{error}");
}
