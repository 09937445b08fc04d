use std::sync::Mutex;

use axum::Router;
use axum::http::{StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};

use super::*;

/// A server that gives `answers` in order, the last one for ever; but with a 500 it says that it
/// may be asked again at once.
async fn serve(answers: Vec<(u16, &'static str)>) -> (String, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, answers) = (Arc::clone(&asked), Arc::new(answers));
    let app = Router::new().fallback(move |body: String| {
        let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
        async move {
            let mut seen = seen.lock().unwrap();
            let (status, text) = answers[seen.len().min(answers.len() - 1)];
            seen.push(body);
            let status = StatusCode::from_u16(status).unwrap();
            match status {
                StatusCode::INTERNAL_SERVER_ERROR => (status, text).into_response() as Response,
                _ => (status, [(RETRY_AFTER, "0")], text).into_response(),
            }
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "the server lives as long as the test")]
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

fn options(url: &str) -> Options {
    let patience = Patience { first: Duration::from_millis(1), ..Patience::brief(3) };
    Options {
        urls: vec![url.to_owned()],
        key_file: None,
        timeout: Duration::from_secs(20),
        patience,
        concurrency: 2,
        role: "judge",
    }
}

fn prompt() -> Prompt {
    let messages = vec![json!({"role": "user", "content": "x"})];
    Prompt {
        model: "m".to_owned(),
        messages,
        temperature: 0.6,
        max_tokens: 8,
        seed: 1 << 40 | 5,
        constraint: Constraint::None,
    }
}

const GOOD: &str = r#"{"choices": [{"message": {"content": "fine"}}]}"#;

#[tokio::test]
async fn what_passes_is_tried_again() {
    let (url, asked) = serve(vec![(429, "busy"), (503, "loading"), (200, GOOD)]).await;
    let completer = Completer::open(options(&url)).unwrap();
    assert_eq!(completer.complete(&prompt()).await.unwrap().text, "fine");
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 3);
    let body: Value = serde_json::from_str(&asked[2]).unwrap();
    assert_eq!(body["seed"], 5);
    assert_eq!(body["max_tokens"], 8);
}

#[tokio::test]
async fn after_the_last_try_the_server_counts_as_down() {
    let (url, asked) = serve(vec![(500, "no")]).await;
    let error = Completer::open(options(&url)).unwrap().complete(&prompt()).await.unwrap_err();
    assert!(error.is_down(), "{error}");
    assert_eq!(asked.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn nobody_there_is_down() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Completer::open(options(&url)).unwrap().complete(&prompt()).await.unwrap_err();
    assert!(error.is_down(), "{error}");
    let hint = crate::fault::Explain::hint(&error).unwrap();
    assert_eq!(hint, format!("is the judge running at {url}?"));
}

#[tokio::test]
async fn what_will_not_pass_is_asked_once() {
    let too_long = r#"{"error": {"message": "too long", "code": "context_length_exceeded"}}"#;
    for (status, text) in [(400, too_long), (401, "no key"), (404, "?")] {
        let (url, asked) = serve(vec![(status, text)]).await;
        let error = Completer::open(options(&url)).unwrap().complete(&prompt()).await.unwrap_err();
        assert_eq!(asked.lock().unwrap().len(), 1);
        assert_eq!(error.is_too_long(), status == 400);
        assert_eq!(error.is_misconfigured(), status != 400);
        assert!(!error.is_down());
    }
}

#[tokio::test]
async fn a_server_that_follows_the_training_is_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let weights = home.path().join("weights");
    std::fs::create_dir_all(weights.join("v3")).unwrap();
    let serves = |path: &Path, fixed: &str| -> &'static str {
        let path = path.display();
        format!(r#"{{"model_path": "{path}"{fixed}}}"#).leak()
    };
    let (inside, beside) = (weights.join("v3"), home.path().join("other"));
    for (info, apart) in [
        (serves(&inside, r#", "fixed": true"#), Some(true)),
        (serves(&beside, r#", "fixed": false"#), Some(true)),
        (serves(&inside, ""), Some(true)),
        ("no such route", Some(true)),
        (serves(&inside, r#", "fixed": false"#), None),
    ] {
        let (url, _) = serve(vec![(200, info)]).await;
        let completer = Completer::open(options(&url)).unwrap();
        let told = completer.is_apart_from(&weights).await;
        assert_eq!(told.as_ref().ok().copied(), apart, "{info}");
        if let Err(error) = told {
            assert!(error.is_misconfigured());
            assert!(error.to_string().contains("is the model that is being trained"), "{error}");
        }
    }
    let nobody = Completer::open(options("http://127.0.0.1:1")).unwrap();
    assert!(!nobody.is_apart_from(&weights).await.unwrap(), "it may still say so");
}

#[tokio::test]
async fn another_tokenizer_is_refused_where_the_server_tells() {
    for (info, told) in [
        (r#"{"tokenizer_sha256": "abc"}"#, Some(true)),
        (r#"{"model_path": "x"}"#, Some(true)),
        ("?", Some(true)),
        (r#"{"tokenizer_sha256": "abd"}"#, None),
    ] {
        let (url, _) = serve(vec![(200, info)]).await;
        let same = Completer::open(options(&url)).unwrap().has_tokenizer("abc").await;
        assert_eq!(same.as_ref().ok().copied(), told, "{info}");
        assert!(same.err().is_none_or(|error| error.is_misconfigured()));
    }
}

#[tokio::test]
async fn garbage_is_malformed() {
    for text in ["not json", "{}", "[]", r#"{"choices": []}"#, r#"{"choices": [{"message": 1}]}"#] {
        let (url, asked) = serve(vec![(200, text)]).await;
        let error = Completer::open(options(&url)).unwrap().complete(&prompt()).await.unwrap_err();
        assert!(matches!(error, CompleteError::Malformed { .. }), "{text}: {error}");
        assert_eq!(asked.lock().unwrap().len(), 1);
    }
    let (url, _) = serve(vec![(200, r#"{"choices": [{"message": {"content": null}}]}"#)]).await;
    let answer = Completer::open(options(&url)).unwrap().complete(&prompt()).await.unwrap();
    assert_eq!(answer.text, "");
}

#[tokio::test]
async fn what_an_answer_took_is_told_as_far_as_the_server_says_it() {
    let counted = r#"{"choices": [{"message": {"content": "fine"}}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 7}}"#;
    let (url, _) = serve(vec![(503, "loading"), (200, counted), (200, GOOD)]).await;
    let completer = Completer::open(options(&url)).unwrap();
    let answer = completer.complete(&prompt()).await.unwrap();
    assert_eq!((answer.prompt_tokens, answer.completion_tokens), (Some(900), Some(7)));
    let silent = completer.complete(&prompt()).await.unwrap();
    assert_eq!((silent.prompt_tokens, silent.completion_tokens), (None, None));
}

#[tokio::test]
async fn a_constraint_is_told_in_the_words_of_its_server() {
    let (url, asked) = serve(vec![(200, GOOD)]).await;
    let completer = Completer::open(options(&url)).unwrap();
    let regex = || "a|b".to_owned();
    for constraint in [Constraint::None, Constraint::Sglang(regex()), Constraint::Vllm(regex())] {
        completer.complete(&Prompt { constraint, ..prompt() }).await.unwrap();
    }
    let bodies: Vec<Value> =
        asked.lock().unwrap().iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    let told = |at: usize, name: &str| bodies[at].get(name).cloned();
    for name in ["regex", "structured_outputs", "guided_regex"] {
        assert_eq!(told(0, name), None);
    }
    assert_eq!(told(1, "regex"), Some(json!("a|b")));
    assert_eq!(told(2, "structured_outputs"), Some(json!({"regex": "a|b"})));
    assert_eq!(told(2, "guided_regex"), Some(json!("a|b")));
}

#[tokio::test]
async fn ids_are_scored_by_one_version() {
    let answer = r#"{"meta_info": {"weight_version": "2",
        "input_token_logprobs": [[-0.1, 5, null], [-0.25, 6, null], [-0.5, 7, null]]}}"#;
    let (url, asked) = serve(vec![(200, answer)]).await;
    let completer = Completer::open(options(&url)).unwrap();
    let scored = completer.score(&[4, 5, 6, 7], 2, 0.5, 0).await.unwrap();
    assert_eq!(scored.logprobs, [-0.25, -0.5]);
    let body: Value = serde_json::from_str(&asked.lock().unwrap()[0]).unwrap();
    assert_eq!(body["logprob_start_len"], 1);
    assert_eq!(body["sampling_params"]["temperature"], 0.5);
}

#[test]
fn a_key_file_without_a_key_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for text in ["", " \n", "two words\n"] {
        std::fs::write(file.path(), text).unwrap();
        let key_file = Some(file.path().to_owned());
        let error = Completer::open(Options { key_file, ..options("http://x") }).unwrap_err();
        assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_daemon_outlasts_a_minute() {
    let patience = Patience::long(4);
    let pauses: Duration = (1..4).map(|done| patience.pause(done)).sum();
    assert!(pauses > Duration::from_secs(66), "{pauses:?}");
    assert_eq!(patience.pause(40), patience.longest);
}

#[tokio::test]
async fn of_several_servers_the_idle_one_is_asked_and_one_that_fails_rests() {
    let (good, asked) = serve(vec![(200, GOOD)]).await;
    let (bad, refused) = serve(vec![(500, "broken")]).await;
    let patience = Patience {
        first: Duration::from_secs(600),
        longest: Duration::from_secs(600),
        ..Patience::brief(1)
    };
    let options = Options { urls: vec![bad, good], patience, ..options("") };
    let completer = Completer::open(options).unwrap();
    for _ in 0..5 {
        assert_eq!(completer.complete(&prompt()).await.unwrap().text, "fine");
    }
    assert_eq!(asked.lock().unwrap().len(), 5);
    let refused = refused.lock().unwrap().len();
    assert_eq!(refused, 1, "it rests for ten minutes");
}

#[tokio::test]
async fn several_servers_share_what_comes_at_once() {
    let (one, first) = serve(vec![(200, GOOD)]).await;
    let (two, second) = serve(vec![(200, GOOD)]).await;
    let options = Options { urls: vec![one, two], concurrency: 8, ..options("") };
    let completer = Completer::open(options).unwrap();
    let asked = (0..16).map(|_| async { completer.complete(&prompt()).await.unwrap() });
    futures::future::join_all(asked).await;
    let (first, second) = (first.lock().unwrap().len(), second.lock().unwrap().len());
    assert_eq!(first + second, 16);
    assert!(first.min(second) >= 4, "{first} and {second}");
}

#[tokio::test]
async fn all_are_named_when_none_answers() {
    let options = Options {
        urls: vec!["http://127.0.0.1:1/v1".to_owned(), "http://127.0.0.1:2".to_owned()],
        ..options("")
    };
    let error = Completer::open(options).unwrap().complete(&prompt()).await.unwrap_err();
    assert!(error.is_down());
    assert!(error.to_string().contains("http://127.0.0.1:1, http://127.0.0.1:2"), "{error}");
    assert!(error.to_string().contains("after 6 tries"), "{error}");
}
