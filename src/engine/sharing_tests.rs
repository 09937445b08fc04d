//! What requests share, through the engine: prefixes, adapters, versions, a pause.

use std::sync::Arc;
use std::time::Duration;

use super::fake::{Fake, Gate, Habit};
use super::tests::{PATIENCE, VOCAB, hash, until};
use super::*;
use crate::rollout::{Sampling, Version};

fn start(models: impl Into<ModelSet>) -> Engine {
    Engine::start(models, Version::BASE, EngineOptions::default()).unwrap()
}

fn request(prompt: &[u32], max_tokens: u32) -> GenerateRequest {
    let sampling = Sampling { temperature: 1.0, seed: 7, max_tokens, ..Sampling::default() };
    GenerateRequest::new(prompt.to_vec(), sampling)
}

fn to(adapter: &str, request: GenerateRequest) -> GenerateRequest {
    GenerateRequest { adapter: Some(adapter.into()), ..request }
}

/// What a reply says, and how much of its prompt was cached.
async fn read(mut generation: Generation) -> (Vec<u32>, usize) {
    let (mut ids, mut cached) = (Vec::new(), None);
    loop {
        let next = tokio::time::timeout(PATIENCE, generation.next()).await.expect("no stall");
        match next.expect("a reply has an end") {
            Emitted::Begun { cached_tokens } => assert!(cached.replace(cached_tokens).is_none()),
            Emitted::Token(token) => ids.push(token.id),
            Emitted::Done { .. } => return (ids, cached.expect("it has begun")),
            Emitted::Failed(error) => panic!("{error:?}"),
        }
    }
}

async fn ask(engine: &Engine, request: GenerateRequest) -> (Vec<u32>, usize) {
    read(engine.submit(request).unwrap()).await
}

/// What `hash(salt)` says to a request when it is alone and computes everything.
async fn alone(salt: u64, request: GenerateRequest) -> Vec<u32> {
    let options = EngineOptions { prefix_cache: false, ..EngineOptions::default() };
    let engine = Engine::start(Arc::new(hash(salt)), Version::BASE, options).unwrap();
    let (ids, cached) = ask(&engine, request).await;
    assert_eq!((cached, engine.stats().prefix_tokens), (0, 0), "it is switched off");
    ids
}

#[tokio::test]
async fn a_second_turn_computes_only_what_is_new() {
    let engine = start(Arc::new(hash(3)));
    let prompt: Vec<u32> = (0..20).collect();
    let (reply, cached) = ask(&engine, request(&prompt, 8)).await;
    assert_eq!(cached, 0);
    // The token sampled last was never computed: 27 were, six blocks and three tokens.
    let turn = [&prompt[..], &reply, &[1, 2, 3]].concat();
    let (second, cached) = ask(&engine, request(&turn, 8)).await;
    assert_eq!(cached, 24);
    assert_eq!(second, alone(3, request(&turn, 8)).await);
    let stats = engine.stats();
    assert_eq!((stats.prompt_tokens, stats.cached_tokens), (20 + 31 - 24, 24));
    assert_eq!((stats.cache_tokens, stats.prefix_tokens), (0, 36));
    assert_eq!(engine.flush_prefixes().await, Ok(36));
    assert_eq!(engine.stats().prefix_tokens, 0);
    assert_eq!(ask(&engine, request(&turn, 8)).await, (second, 0));
}

#[tokio::test]
async fn samples_of_one_prompt_compute_it_once() {
    let gate = Gate::default();
    let model = hash(5).held_by(&gate);
    let seen = model.seen();
    let options = EngineOptions { prefill_chunk: 7, ..EngineOptions::default() };
    let engine = Engine::start(Arc::new(model), Version::BASE, options).unwrap();
    let prompt: Vec<u32> = (0..41).collect();
    let sample = |seed| {
        let mut request = request(&prompt, 4);
        request.sampling.seed = seed;
        request
    };
    let samples: Vec<_> = (0..6).map(|seed| engine.submit(sample(seed)).unwrap()).collect();
    gate.open();
    let mut cached_tokens = 0;
    for (seed, generation) in (0..).zip(samples) {
        let (ids, cached) = read(generation).await;
        assert_eq!(ids, alone(5, sample(seed)).await);
        cached_tokens += cached;
    }
    assert_eq!(cached_tokens, 5 * 40);
    assert_eq!(seen.tokens(), 41 + 5 + 6 * 3, "the prompt, its last token again, the replies");
}

#[tokio::test]
async fn an_adapter_answers_those_who_name_it_and_nobody_else() {
    let models = ModelSet::from(Arc::new(hash(1))).with_adapter("a", Arc::new(hash(2)));
    let engine = start(models);
    assert_eq!(engine.stats().adapters, ["a".into()]);
    let prompt = [9; 30];
    let base = ask(&engine, request(&prompt, 8)).await;
    assert_eq!(base, (alone(1, request(&prompt, 8)).await, 0));
    let adapted = ask(&engine, to("a", request(&prompt, 8))).await;
    assert_eq!(adapted, (alone(2, request(&prompt, 8)).await, 0), "nothing of the base's");
    assert_eq!(ask(&engine, to("a", request(&prompt, 8))).await, (adapted.0, 28));
    let unknown = || EngineError::UnknownAdapter { name: "b".to_owned() };
    assert_eq!(engine.submit(to("b", request(&prompt, 8))).unwrap_err(), unknown());
    let score = |adapter: &str| ScoreRequest {
        ids: vec![1, 2, 3],
        start: 1,
        temperature: 1.0,
        adapter: Some(adapter.into()),
        top_logprobs: 0,
    };
    assert_eq!(engine.score(score("b")).await, Err(unknown()));
    let expected = sampler::logprob(&hash(2).logits(&[1], 1), 2, 1.0).unwrap();
    assert_eq!(engine.score(score("a")).await.unwrap().logprobs[0], expected);
}

#[tokio::test]
async fn adapters_come_at_runtime_and_go_once_nobody_wants_them() {
    let gate = Gate::default();
    let engine = start(Arc::new(hash(1)));
    let load = |name, salt, version| {
        engine.load_adapter(name, Arc::new(hash(salt).held_by(&gate)), Version(version))
    };
    let refused = |answer: Result<(), EngineError>| match answer {
        Err(EngineError::Adapter { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    load("a", 2, 0).await.unwrap();
    assert!(refused(load("a", 3, 0).await).contains("loaded already"));
    assert!(refused(load("b", 3, 7).await).contains("attached to version 7"));
    let running = engine.submit(to("a", request(&[5; 9], 8))).unwrap();
    until(&engine, |stats| stats.running == 1).await;
    let unloaded = engine.unload_adapter("a");
    gate.allow(1);
    until(&engine, |stats| stats.adapters.is_empty()).await;
    let unknown = EngineError::UnknownAdapter { name: "a".to_owned() };
    assert_eq!(engine.submit(to("a", request(&[5; 9], 8))).unwrap_err(), unknown);
    let again = load("a", 3, 0);
    gate.allow(1);
    assert!(refused(again.await).contains("being unloaded"));
    gate.open();
    unloaded.await.unwrap();
    assert_eq!(read(running).await.0, alone(2, request(&[5; 9], 8)).await, "it was answered");
    assert_eq!(engine.stats().prefix_tokens, 0, "what it had computed is gone");
    assert_eq!(engine.unload_adapter("a").await, Err(unknown));
    load("a", 3, 0).await.unwrap();
    let again = ask(&engine, to("a", request(&[5; 9], 8))).await;
    assert_eq!(again, (alone(3, request(&[5; 9], 8)).await, 0));
}

#[tokio::test]
async fn a_swap_brings_its_own_adapters_and_keeps_what_was_known() {
    let models = ModelSet::from(Arc::new(hash(1))).with_adapter("a", Arc::new(hash(2)));
    let engine = start(models.with_adapter("old", Arc::new(hash(3))));
    let prompt: Vec<u32> = (0..40).collect();
    for request in [request(&prompt, 4), to("a", request(&prompt, 4))] {
        ask(&engine, request).await;
    }
    ask(&engine, to("old", request(&prompt, 4))).await;
    let models = ModelSet::from(Arc::new(hash(11))).with_adapter("a", Arc::new(hash(12)));
    engine.swap(models.with_adapter("new", Arc::new(hash(13))), Version(1)).await.unwrap();
    let stats = engine.stats();
    assert_eq!(stats.adapters, ["a".into(), "new".into()]);
    assert_eq!((stats.warmed_tokens, stats.prefix_tokens), (2 * 40, 2 * 40));
    assert!(stats.swap_time.is_some());
    // The last token of a prompt is always computed.
    let turn = [&prompt[..], &[1]].concat();
    let base = ask(&engine, request(&turn, 4)).await;
    assert_eq!(base, (alone(11, request(&turn, 4)).await, 40));
    let adapted = ask(&engine, to("a", request(&turn, 4))).await;
    assert_eq!(adapted, (alone(12, request(&turn, 4)).await, 40));
    let new = ask(&engine, to("new", request(&turn, 4))).await;
    assert_eq!(new, (alone(13, request(&turn, 4)).await, 0));
    let gone = engine.submit(to("old", request(&turn, 4))).unwrap_err();
    assert_eq!(gone, EngineError::UnknownAdapter { name: "old".to_owned() });
}

#[tokio::test]
async fn a_version_that_fails_at_what_is_known_never_goes_live() {
    for habit in [Habit::Fail, Habit::Panic] {
        let engine = start(Arc::new(hash(1)));
        ask(&engine, request(&[5; 20], 4)).await;
        let broken = Arc::new(Fake::new(VOCAB, 512, habit));
        let refused = engine.swap(broken, Version(1)).await;
        let failed = matches!(refused, Err(EngineError::Forward { version: Version(1), .. }));
        assert!(failed, "{refused:?}");
        assert_eq!(ask(&engine, request(&[5; 20], 4)).await.1, 16, "the old one has all it had");
        let stats = engine.stats();
        assert_eq!((stats.live, stats.pending), (Some(Version(0)), None));
        assert_eq!((stats.failed, stats.swaps), (0, 0));
        engine.swap(Arc::new(hash(2)), Version(2)).await.unwrap();
    }
}

#[tokio::test]
async fn streams_go_on_while_a_version_is_prepared() {
    let gate = Gate::default();
    let engine = start(Arc::new(hash(1)));
    let known: Vec<u32> = (0..300).map(|at| at % 60).collect();
    ask(&engine, request(&known, 1)).await;
    engine.pause().await.unwrap();
    let mut stream = engine.submit(request(&[5; 9], 400)).unwrap();
    engine.resume().await.unwrap();
    assert!(matches!(stream.next().await, Some(Emitted::Begun { .. })));
    let next = Arc::new(hash(2).held_by(&gate));
    let seen = next.seen();
    let swapped = engine.swap(next, Version(1));
    gate.open();
    swapped.await.unwrap();
    assert!(seen.tokens() >= 300, "what was known, and what the stream came to until then");
    let mut ids = Vec::new();
    while let Some(emitted) = stream.next().await {
        if let Emitted::Token(token) = emitted {
            assert_eq!(token.version, Version(0));
            ids.push(token.id);
        }
    }
    assert_eq!(ids, alone(1, request(&[5; 9], 400)).await);
    assert_eq!(ask(&engine, request(&known, 1)).await.1, 296);
}

#[tokio::test]
async fn a_version_is_prepared_no_longer_than_it_may_take() {
    let options = EngineOptions { warm_time_max: Duration::ZERO, ..EngineOptions::default() };
    let engine = Engine::start(Arc::new(hash(1)), Version::BASE, options).unwrap();
    let known: Vec<u32> = (0..400).map(|at| at % 60).collect();
    ask(&engine, request(&known, 1)).await;
    engine.swap(Arc::new(hash(2)), Version(1)).await.unwrap();
    let stats = engine.stats();
    // One step of it, after which the time is up.
    assert_eq!(stats.warmed_tokens, 256);
    assert_eq!(ask(&engine, request(&known, 1)).await.1, 256);

    let options = EngineOptions { warm_tokens_max: Some(100), ..EngineOptions::default() };
    let engine = Engine::start(Arc::new(hash(1)), Version::BASE, options).unwrap();
    ask(&engine, request(&known, 1)).await;
    engine.swap(Arc::new(hash(2)), Version(1)).await.unwrap();
    assert_eq!(engine.stats().warmed_tokens, 100);
}

#[tokio::test]
async fn while_it_is_paused_nothing_is_computed_and_nothing_is_lost() {
    let model = hash(1);
    let seen = model.seen();
    let options = EngineOptions { running_max: 1, waiting_max: 1, ..EngineOptions::default() };
    let engine = Engine::start(Arc::new(model), Version::BASE, options).unwrap();
    ask(&engine, request(&[5; 9], 4)).await;
    engine.pause().await.unwrap();
    assert!(engine.stats().paused);
    let before = seen.tokens();
    let [first, second] = [(); 2].map(|()| engine.submit(request(&[6; 9], 4)).unwrap());
    let full = engine.submit(request(&[6; 9], 4)).unwrap_err();
    assert_eq!(full, EngineError::Full { requests: 2 });
    drop(first);
    until(&engine, |stats| stats.waiting == 1).await;
    engine.swap(Arc::new(hash(2)), Version(1)).await.unwrap();
    assert_eq!((seen.tokens(), engine.stats().warmed_tokens), (before, 0));
    engine.resume().await.unwrap();
    assert_eq!(read(second).await.0, alone(2, request(&[6; 9], 4)).await, "on what is live now");

    engine.pause().await.unwrap();
    let last = engine.submit(request(&[6; 9], 4)).unwrap();
    assert_eq!(engine.drain(PATIENCE).await, 0, "a drain does not wait for a resume");
    read(last).await;
}
