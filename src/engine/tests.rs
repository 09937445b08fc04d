//! The engine with fake models: streams, limits, swaps, cancellation, failure and shutdown.

use std::sync::Arc;
use std::time::Duration;

use super::fake::{Fake, Gate, Habit};
use super::*;
use crate::rollout::{FinishReason, Sampling, Version};

pub(super) const VOCAB: usize = 64;
const CONTEXT: usize = 512;
/// Long enough for a slow machine; no test waits for it unless it fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

fn sampling(max_tokens: u32) -> Sampling {
    Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, seed: 7, max_tokens, ..Sampling::default() }
}

fn request(prompt: &[u32], max_tokens: u32) -> GenerateRequest {
    let stop_ids = Arc::from([0_u32]);
    GenerateRequest { stop_ids, ..GenerateRequest::new(prompt.to_vec(), sampling(max_tokens)) }
}

fn script(ids: &[u32]) -> Fake {
    Fake::new(VOCAB, CONTEXT, Habit::Script(ids.to_vec()))
}

pub(super) fn hash(salt: u64) -> Fake {
    Fake::new(VOCAB, CONTEXT, Habit::Hash(salt))
}

fn start(fake: Fake, options: EngineOptions) -> Engine {
    Engine::start(Arc::new(fake), Version::BASE, options).unwrap()
}

struct Reply {
    ids: Vec<u32>,
    logprobs: Vec<f32>,
    versions: Vec<Version>,
    end: Result<FinishReason, EngineError>,
}

/// Reads a reply to its end, and checks that nothing follows.
async fn read(mut generation: Generation) -> Reply {
    let mut reply =
        Reply { ids: vec![], logprobs: vec![], versions: vec![], end: Err(EngineError::Stopped) };
    loop {
        let next = tokio::time::timeout(PATIENCE, generation.next()).await.expect("no stall");
        match next.expect("a reply has an end") {
            Emitted::Begun { .. } => {}
            Emitted::Token(SampledToken { id, logprob, version, .. }) => {
                reply.ids.push(id);
                reply.logprobs.push(logprob);
                reply.versions.push(version);
            }
            Emitted::Done { reason } => reply.end = Ok(reason),
            Emitted::Failed(error) => reply.end = Err(error),
        }
        if generation.ended {
            assert_eq!(generation.next().await, None);
            return reply;
        }
    }
}

pub(super) async fn until(engine: &Engine, reached: impl Fn(&EngineStats) -> bool) {
    let wait = async {
        while !reached(&engine.stats()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("never reached: {:?}", engine.stats()));
}

#[tokio::test]
async fn a_reply_ends_with_its_stop_id_or_at_its_limit() {
    let engine = start(script(&[5, 6, 7, 0]), EngineOptions::default());
    let reply = read(engine.submit(request(&[1, 2], 10)).unwrap()).await;
    assert_eq!(reply.ids, [5, 6, 7, 0]);
    assert_eq!(reply.end, Ok(FinishReason::Stop));
    let reply = read(engine.submit(request(&[1, 2], 3)).unwrap()).await;
    assert_eq!(reply.ids, [5, 6, 7]);
    assert_eq!(reply.end, Ok(FinishReason::Length));
    let reply = read(engine.submit(request(&[1, 2], 4)).unwrap()).await;
    assert_eq!(reply.end, Ok(FinishReason::Stop), "the stop id is the last one allowed");
    let stats = engine.stats();
    assert_eq!((stats.completed, stats.generated_tokens, stats.prompt_tokens), (3, 11, 6));
    assert_eq!((stats.running, stats.waiting, stats.cache_tokens), (0, 0, 0));
}

#[tokio::test]
async fn what_else_runs_and_how_prompts_are_chunked_changes_no_reply() {
    let model = hash(3);
    let prompts: Vec<Vec<u32>> =
        (1..20_u32).map(|n| (0..n * 7).map(|i| (i * n) % VOCAB as u32).collect()).collect();
    let request = |index: usize| {
        let mut request = request(&prompts[index], 12);
        request.sampling.seed = index as u64;
        request.stop_ids = Arc::from([]);
        request
    };
    let options = EngineOptions { prefill_chunk: 5, running_max: 7, ..EngineOptions::default() };
    let engine = start(model.clone(), options);
    let together: Vec<_> =
        (0..prompts.len()).map(|index| engine.submit(request(index)).unwrap()).collect();
    let mut replies = Vec::new();
    for generation in together {
        replies.push(read(generation).await);
    }
    let seen = model.seen();
    assert!(seen.sequences_max() > 1 && seen.sequences_max() <= 7, "{seen:?}");
    assert!(seen.tokens_max() <= 5 + 7, "{seen:?}");
    assert_eq!(seen.caches(), 0);

    let alone = start(model.clone(), EngineOptions::default());
    for (index, reply) in replies.iter().enumerate() {
        let expected = read(alone.submit(request(index)).unwrap()).await;
        assert_eq!(reply.ids, expected.ids);
        assert_eq!(reply.logprobs, expected.logprobs);
        assert_eq!(reply.ids.len(), 12);
    }
}

#[tokio::test]
async fn scoring_a_reply_gives_the_log_probabilities_that_were_recorded() {
    let options = EngineOptions { prefill_chunk: 7, ..EngineOptions::default() };
    let engine = start(hash(9), options);
    for temperature in [0.0, 0.6, 1.0] {
        let prompt: Vec<u32> = (0..30).collect();
        let mut asked = request(&prompt, 25);
        asked.sampling.temperature = temperature;
        asked.stop_ids = Arc::from([]);
        let reply = read(engine.submit(asked).unwrap()).await;
        let ids: Vec<u32> = prompt.iter().chain(&reply.ids).copied().collect();
        let request =
            ScoreRequest { ids, start: prompt.len(), temperature, ..ScoreRequest::default() };
        let scored = engine.score(request).await.unwrap();
        assert_eq!(
            scored,
            Scored { logprobs: reply.logprobs, top: Vec::new(), version: Version::BASE }
        );
    }
    // All but the last two tokens of the prompt and the scored ones come from the reply.
    assert_eq!(engine.stats().scored_tokens, 3 * (30 + 25 - 1 - 28));
}

#[tokio::test]
async fn scoring_may_start_anywhere_after_the_first_id() {
    let model = hash(1);
    let options = EngineOptions { prefill_chunk: 3, ..EngineOptions::default() };
    let engine = start(model.clone(), options);
    let ids: Vec<u32> = vec![4, 8, 15, 16, 23, 42, 3, 9];
    for start in 1..ids.len() {
        let request =
            ScoreRequest { ids: ids.clone(), start, temperature: 1.0, ..ScoreRequest::default() };
        let scored = engine.score(request).await.unwrap();
        let expected: Vec<f32> = (start..ids.len())
            .map(|i| sampler::logprob(&model.logits(&ids[..i], i), ids[i], 1.0).unwrap())
            .collect();
        assert_eq!(scored.logprobs, expected, "from {start}");
    }
}

#[tokio::test]
async fn no_stream_fails_or_changes_version_while_versions_change() {
    const SWAPS: u64 = 20;
    let of = |version: u64| script(&[10 + version as u32]);
    let options =
        EngineOptions { running_max: 6, waiting_max: 1000, prefill_chunk: 4, ..Default::default() };
    let engine = start(of(0), options);
    let mut streams = tokio::task::JoinSet::new();
    let mut live = Version::BASE;
    for version in 1..=SWAPS {
        for stream in 0..8_u32 {
            let prompt: Vec<u32> = (0..1 + stream * 3).collect();
            streams.spawn(read(engine.submit(request(&prompt, 5 + stream * 9)).unwrap()));
        }
        engine.swap(Arc::new(of(version)), Version(version)).await.unwrap();
        let stats = engine.stats();
        assert!(stats.live >= Some(live) && stats.resident.len() <= 2, "{stats:?}");
        live = Version(version);
    }
    let mut seen = std::collections::BTreeSet::new();
    while let Some(reply) = streams.join_next().await {
        let reply = reply.unwrap();
        assert_eq!(reply.end, Ok(FinishReason::Length));
        let version = reply.versions[0];
        assert!(reply.versions.iter().all(|other| *other == version), "{:?}", reply.versions);
        assert!(reply.ids.iter().all(|id| u64::from(*id) == 10 + version.0), "{:?}", reply.ids);
        seen.insert(version);
    }
    assert!(seen.len() > 3, "{seen:?}");
    let last = read(engine.submit(request(&[1], 2)).unwrap()).await;
    assert_eq!(last.versions, [Version(SWAPS); 2]);
    assert_eq!(engine.stats().swaps, SWAPS);
    assert_eq!(engine.stats().resident, [Version(SWAPS)]);
}

#[tokio::test]
async fn a_swap_that_waits_is_displaced_by_a_newer_one() {
    let gate = Gate::default();
    let held = |id: u32| Arc::new(script(&[id]).held_by(&gate));
    let engine = Engine::start(held(10), Version(0), EngineOptions::default()).unwrap();
    let oldest = engine.submit(request(&[1], 400)).unwrap();
    until(&engine, |stats| stats.running == 1).await;
    let one = engine.swap(held(11), Version(1));
    gate.allow(1);
    one.await.unwrap();
    let newer = engine.submit(request(&[1], 400)).unwrap();
    gate.allow(1);
    until(&engine, |stats| stats.running == 2).await;

    let two = engine.swap(held(12), Version(2));
    let three = engine.swap(held(13), Version(3));
    gate.open();
    let by = Version(3);
    assert_eq!(two.await, Err(EngineError::Superseded { version: Version(2), by }));
    three.await.unwrap();
    assert_eq!(read(oldest).await.versions, [Version(0); 400]);
    assert_eq!(read(newer).await.versions, [Version(1); 400]);
    assert_eq!(read(engine.submit(request(&[1], 2)).unwrap()).await.ids, [13, 13]);
}

#[tokio::test]
async fn weights_of_another_model_are_refused() {
    let engine = start(script(&[1]), EngineOptions::default());
    let other = Arc::new(Fake::new(VOCAB + 1, CONTEXT, Habit::Hash(1)));
    let error = engine.swap(other, Version(1)).await.unwrap_err();
    assert!(matches!(error, EngineError::OtherModel { got: 65, expected: 64, .. }), "{error}");
    assert_eq!(read(engine.submit(request(&[1], 1)).unwrap()).await.versions, [Version::BASE]);
}

#[tokio::test]
async fn dropping_a_request_frees_its_place_and_memory() {
    let gate = Gate::default();
    let model = script(&[5]).held_by(&gate);
    let seen = model.seen();
    let options =
        EngineOptions { running_max: 1, scoring_max: 1, prefill_chunk: 4, ..Default::default() };
    let engine = start(model, options);
    let running = engine.submit(request(&[1], 100)).unwrap();
    let waiting = engine.submit(request(&[1], 100)).unwrap();
    let scoring = engine.score(ScoreRequest {
        ids: vec![1; 500],
        start: 1,
        temperature: 1.0,
        ..ScoreRequest::default()
    });
    let kept = engine.submit(request(&[2], 3)).unwrap();
    until(&engine, |stats| stats.running == 1).await;
    drop((running, waiting, scoring));
    gate.open();
    assert_eq!(read(kept).await.end, Ok(FinishReason::Length));
    until(&engine, |stats| stats.cancelled == 3).await;
    let stats = engine.stats();
    assert_eq!((stats.running, stats.scoring, stats.waiting, stats.cache_tokens), (0, 0, 0, 0));
    assert_eq!(stats.completed, 1);
    assert_eq!(seen.caches(), 0);
}

#[tokio::test]
async fn more_than_may_wait_is_refused_and_nothing_else_is() {
    let gate = Gate::default();
    let options =
        EngineOptions { running_max: 2, waiting_max: 3, scoring_max: 1, ..Default::default() };
    let engine = start(script(&[5]).held_by(&gate), options);
    let taken: Vec<_> = (0..5).map(|_| engine.submit(request(&[1], 4)).unwrap()).collect();
    until(&engine, |stats| stats.running == 2).await;
    let placed: Vec<bool> = taken.iter().map(|reply| reply.queued().is_some()).collect();
    assert_eq!(placed, [true, true, false, false, false]);
    assert_eq!(
        engine.submit(request(&[1], 4)).unwrap_err(),
        EngineError::Full { requests: 5 },
        "two run and three wait"
    );
    let score = || {
        engine.score(ScoreRequest {
            ids: vec![1, 2],
            start: 1,
            temperature: 1.0,
            ..ScoreRequest::default()
        })
    };
    let scores: Vec<_> = (0..4).map(|_| score()).collect();
    assert_eq!(score().await, Err(EngineError::Full { requests: 4 }));
    gate.open();
    for generation in taken {
        assert_eq!(read(generation).await.end, Ok(FinishReason::Length));
        engine.submit(request(&[1], 1)).expect("its seat is free once it has ended");
    }
    for score in scores {
        score.await.unwrap();
    }
}

#[tokio::test]
async fn requests_wait_for_memory_rather_than_exceed_it() {
    let model = script(&[5]);
    let options = EngineOptions { cache_tokens_max: 100, ..EngineOptions::default() };
    let engine = start(model, options);
    let generations: Vec<_> =
        (0..20).map(|_| engine.submit(request(&[1; 20], 20)).unwrap()).collect();
    for generation in generations {
        assert_eq!(read(generation).await.ids, [5; 20]);
        assert!(engine.stats().cache_tokens <= 100);
    }
    assert_eq!(
        engine.submit(request(&[1; 90], 11)).unwrap_err(),
        EngineError::TooLong { needed: 101, limit: 100 }
    );
    assert_eq!(engine.sequence_tokens_max(), 100);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let engine = start(hash(1), EngineOptions::default());
    let field = |change: &dyn Fn(&mut GenerateRequest)| {
        let mut request = request(&[1], 1);
        change(&mut request);
        match engine.submit(request).unwrap_err() {
            EngineError::Invalid { field, .. } => field,
            other => panic!("{other}"),
        }
    };
    assert_eq!(field(&|r| r.prompt.clear()), "prompt");
    assert_eq!(field(&|r| r.prompt.push(VOCAB as u32)), "prompt");
    assert_eq!(field(&|r| r.sampling.temperature = f32::NAN), "temperature");
    assert_eq!(field(&|r| r.sampling.temperature = -1.0), "temperature");
    assert_eq!(field(&|r| r.sampling.top_p = 0.0), "top_p");
    assert_eq!(field(&|r| r.sampling.max_tokens = 0), "max_tokens");
    assert_eq!(field(&|r| r.sampling.min_tokens = 2), "min_tokens");
    for min_p in [-0.1, 1.1, f32::NAN] {
        assert_eq!(field(&|r| r.sampling.min_p = min_p), "min_p");
    }
    for penalty in [0.0, -1.0, 11.0, f32::NAN] {
        assert_eq!(field(&|r| r.sampling.repetition_penalty = penalty), "repetition_penalty");
    }
    for penalty in [-2.1, 2.1, f32::NAN] {
        assert_eq!(field(&|r| r.sampling.presence_penalty = penalty), "presence_penalty");
        assert_eq!(field(&|r| r.sampling.frequency_penalty = penalty), "frequency_penalty");
    }
    for bias in [(VOCAB as u32, 1.0), (1, 100.1), (1, f32::NAN)] {
        assert_eq!(field(&|r| r.sampling.logit_bias = vec![(2, 1.0), bias]), "logit_bias");
    }
    assert_eq!(field(&|r| r.top_logprobs = TOP_LOGPROBS_MAX + 1), "top_logprobs");
    for start in [0, 2, 3] {
        let request =
            ScoreRequest { ids: vec![1, 2], start, temperature: 1.0, ..ScoreRequest::default() };
        let error = engine.score(request).await.unwrap_err();
        assert!(matches!(error, EngineError::Invalid { field: "start", .. }), "{error}");
    }
    let options = EngineOptions { prefill_chunk: 0, ..EngineOptions::default() };
    let error = Engine::start(Arc::new(hash(1)), Version::BASE, options).err();
    assert!(matches!(error, Some(EngineError::Invalid { field: "prefill_chunk", .. })));
}

#[tokio::test]
async fn a_broken_version_fails_its_requests_and_no_others() {
    for habit in [Habit::NotANumber, Habit::Fail, Habit::Panic] {
        let broken = Fake::new(VOCAB, CONTEXT, habit.clone());
        let seen = broken.seen();
        let engine = start(broken, EngineOptions::default());
        let generation = engine.submit(request(&[1], 4)).unwrap();
        let score = engine.score(ScoreRequest {
            ids: vec![1, 2],
            start: 1,
            temperature: 1.0,
            ..ScoreRequest::default()
        });
        let reply = read(generation).await;
        let errors = [reply.end.unwrap_err(), score.await.unwrap_err()];
        for error in errors {
            let expected = match habit {
                Habit::NotANumber => matches!(error, EngineError::NotFinite { .. }),
                _ => matches!(error, EngineError::Forward { .. }),
            };
            assert!(expected, "{habit:?}: {error:?}");
        }
        assert!(reply.ids.is_empty(), "no made-up token");
        assert_eq!(seen.caches(), 0);
        engine.swap(Arc::new(script(&[9])), Version(1)).await.unwrap();
        assert_eq!(read(engine.submit(request(&[1], 2)).unwrap()).await.ids, [9, 9]);
        assert_eq!(engine.stats().failed, 2);
    }
}

#[tokio::test]
async fn draining_finishes_what_was_asked_and_takes_no_more() {
    let engine = start(script(&[5]), EngineOptions::default());
    let generations: Vec<_> =
        (0..40).map(|_| engine.submit(request(&[1; 50], 30)).unwrap()).collect();
    assert_eq!(engine.drain(PATIENCE).await, 0);
    for generation in generations {
        assert_eq!(read(generation).await.ids, [5; 30]);
    }
    assert_eq!(engine.submit(request(&[1], 1)).unwrap_err(), EngineError::Stopped);
    let score =
        ScoreRequest { ids: vec![1, 2], start: 1, temperature: 1.0, ..ScoreRequest::default() };
    assert_eq!(engine.score(score).await, Err(EngineError::Stopped));
    let swap = engine.swap(Arc::new(script(&[1])), Version(1));
    assert_eq!(swap.await, Err(EngineError::Stopped));
    assert_eq!(engine.drain(PATIENCE).await, 0, "once more is harmless");
}

#[tokio::test]
async fn a_drain_that_takes_too_long_cuts_the_rest_off() {
    let gate = Gate::default();
    let engine = start(script(&[5]).held_by(&gate), EngineOptions::default());
    let generation = engine.submit(request(&[1], 30)).unwrap();
    until(&engine, |stats| stats.running == 1).await;
    let opener = gate.clone();
    let drain = engine.drain(Duration::from_millis(20));
    let open = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        opener.open();
    };
    let (cut, ()) = tokio::join!(drain, open);
    assert_eq!(cut, 1);
    assert_eq!(read(generation).await.end, Err(EngineError::Stopped));
}

#[tokio::test]
async fn a_reply_outlives_the_last_handle() {
    let engine = start(script(&[5]), EngineOptions::default());
    let generation = engine.submit(request(&[1], 50)).unwrap();
    drop(engine);
    assert_eq!(read(generation).await.ids, [5; 50]);
}
