//! The cached, batched, chunked decoder against one plain forward pass, on the golden model.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::engine::{
    Emitted, Engine, EngineOptions, GenerateRequest, Generation, ModelSet, SampledToken,
    ScoreRequest,
};
use crate::model::{Adapter, Causal, Parameter, Parameters, Precision};
use crate::rollout::{Sampling, Version};

fn golden() -> Decoder {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/golden-a/model");
    let decoder = Decoder::load(&dir, &Device::flex()).unwrap();
    decoder.for_inference(Precision::F32).unwrap()
}

/// An empty cache on the host and one in tensors, each with how far logits (of up to 8) may be
/// from those of one pass. The host's attention sums in another order, and in f32 that shows.
fn caches(decoder: &Decoder, tokens: usize) -> [(KvCache, f32); 2] {
    let cache = decoder.new_cache(tokens);
    assert!(matches!(cache.place, Place::Host(_)), "the CPU has a path of its own");
    [(cache, 2e-5), (KvCache::on_device(2, tokens), 1e-5)]
}

/// Some tokens of the golden model's vocabulary.
fn tokens(len: usize, salt: u32) -> Vec<u32> {
    (0..len as u32).map(|i| (i * 31 + i * i * salt + salt) % 192).collect()
}

/// The slow, obvious way: every row of logits from one pass over the whole sequence.
fn plain(decoder: &Decoder, tokens: &[u32]) -> Vec<Vec<f32>> {
    let positions: Vec<u32> = (0..tokens.len() as u32).collect();
    let hidden = decoder.hidden(tokens, &positions, &mut Causal::default());
    let logits: Vec<f32> = decoder.logits(hidden).try_into_vec_as().unwrap();
    logits.chunks(decoder.config().vocab_size).map(<[f32]>::to_vec).collect()
}

/// Log-probabilities of `tokens[start..]`, the slow way.
fn plain_logprobs(decoder: &Decoder, tokens: &[u32], start: usize, temperature: f32) -> Vec<f32> {
    let rows = plain(decoder, tokens);
    let logprob = |at: usize| sampler::logprob(&rows[at - 1], tokens[at], temperature).unwrap();
    (start..tokens.len()).map(logprob).collect()
}

/// Feeds one sequence; the last row of logits.
fn feed(decoder: &Decoder, cache: &mut KvCache, tokens: &[u32]) -> Vec<f32> {
    let mut work = [Work::new(tokens, cache, Rows::Last)];
    decoder.forward(&mut work).unwrap();
    std::mem::take(&mut work[0].out)
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}: {a} for {b} at {index}");
    }
}

#[test]
fn decoding_with_a_cache_equals_one_pass() {
    let decoder = golden();
    let tokens = tokens(300, 3);
    let expected = plain(&decoder, &tokens);
    for (mut cache, tolerance) in caches(&decoder, tokens.len()) {
        for (index, token) in tokens.iter().enumerate() {
            let row = feed(&decoder, &mut cache, &[*token]);
            assert_close(&row, &expected[index], tolerance, &format!("row {index}"));
        }
    }
}

#[test]
fn a_cache_grows_no_further_than_what_was_reserved() {
    let decoder = golden();
    let mut cache = KvCache::on_device(2, 450);
    let capacity = |cache: &KvCache| match &cache.place {
        Place::Device(layers) => layers[1].keys_values.as_ref().unwrap()[0].dims()[0],
        Place::Host(_) => panic!("it is in tensors"),
    };
    feed(&decoder, &mut cache, &tokens(10, 1));
    assert_eq!(capacity(&cache), 256);
    feed(&decoder, &mut cache, &tokens(250, 1));
    assert_eq!(capacity(&cache), 384);
    feed(&decoder, &mut cache, &tokens(190, 1));
    assert_eq!(capacity(&cache), 450);
    assert_eq!(cache.len, 450);
}

#[test]
fn a_chunked_prompt_equals_an_unchunked_one() {
    let decoder = golden();
    let tokens = tokens(400, 5);
    let expected = plain(&decoder, &tokens);
    for chunk in [1, 7, 64, 256, 399, 400] {
        for (mut cache, tolerance) in caches(&decoder, tokens.len()) {
            let mut end = 0;
            for tokens in tokens.chunks(chunk) {
                end += tokens.len();
                let row = feed(&decoder, &mut cache, tokens);
                assert_close(&row, &expected[end - 1], tolerance, &format!("chunks of {chunk}"));
            }
        }
    }
}

#[test]
fn a_batch_equals_each_of_its_sequences_alone() {
    let decoder = golden();
    check_batch(&decoder, || decoder.new_cache(200));
    check_batch(&decoder, || KvCache::on_device(2, 200));
}

fn check_batch(decoder: &Decoder, new_cache: impl Fn() -> KvCache) {
    let sequences: Vec<Vec<u32>> = (1..=6).map(|n| tokens(n * 17, n as u32)).collect();
    let mut caches: Vec<KvCache> = sequences.iter().map(|_| new_cache()).collect();
    // Every sequence stands somewhere else, and brings another number of tokens.
    for (index, (sequence, cache)) in sequences.iter().zip(&mut caches).enumerate() {
        if index > 0 {
            feed(decoder, cache, &sequence[..index * 5]);
        }
    }
    let rows = |index: usize, rest: &[u32]| match index {
        0 | 1 => Rows::Last,
        2 => Rows::None,
        _ => {
            let start = rest.len() - index.min(rest.len());
            let targets = Vec::leak(tokens(rest.len() - start, 9));
            Rows::Scored { targets, temperature: 0.6, top: index - 3 }
        }
    };
    let mut work: Vec<_> = (sequences.iter().zip(&mut caches).enumerate())
        .map(|(index, (sequence, cache))| {
            let tokens = if index == 4 { &sequence[20..21] } else { &sequence[index * 5..] };
            Work::new(tokens, cache, rows(index, tokens))
        })
        .collect();
    decoder.forward(&mut work).unwrap();
    for (index, work) in work.iter().enumerate() {
        let seen = work.cache.len;
        let expected = plain(decoder, &sequences[index][..seen]);
        match work.rows {
            Rows::None => assert!(work.out.is_empty()),
            Rows::Last => assert_close(&work.out, &expected[seen - 1], 1e-5, "logits"),
            Rows::Scored { targets, temperature, top } => {
                let rows = expected[seen - targets.len()..].iter().zip(targets);
                assert_eq!(work.top.len(), if top > 0 { targets.len() } else { 0 });
                for ((row, _), found) in rows.clone().zip(&work.top) {
                    let (_, best) = sampler::logprob_and_top(row, 0, temperature, top).unwrap();
                    let [ids, found_ids] = [&best, found].map(|top| top.iter().map(|top| top.0));
                    assert!(ids.eq(found_ids), "{best:?} {found:?}");
                }
                let expected: Vec<f32> = rows
                    .map(|(row, id)| sampler::logprob(row, *id, temperature).unwrap())
                    .collect();
                assert_close(&work.out, &expected, 2e-5, "log-probabilities");
            }
        }
    }
}

#[test]
fn the_head_may_run_in_chunks_of_any_size() {
    let decoder = golden();
    let tokens = tokens(40, 2);
    let positions: Vec<u32> = (0..39).collect();
    let hidden = decoder.hidden(&tokens[..39], &positions, &mut Causal::default());
    let expected = plain_logprobs(&decoder, &tokens, 5, 0.6);
    for rows_max in [1, 3, 34, 35, 100] {
        let mut cache = decoder.new_cache(39);
        let rows = Rows::Scored { targets: &tokens[5..], temperature: 0.6, top: 0 };
        let mut work = [Work::new(&tokens[..39], &mut cache, rows)];
        fill(&decoder, &mut work, &hidden, rows_max).unwrap();
        assert_close(&work[0].out, &expected, 1e-5, &format!("{rows_max} rows"));
    }
}

#[tokio::test]
async fn a_reply_scored_by_its_ids_has_the_log_probabilities_recorded_when_it_was_sampled() {
    let options = EngineOptions { prefill_chunk: 48, running_max: 5, ..EngineOptions::default() };
    let engine = Engine::start(Arc::new(golden()), Version(3), options).unwrap();
    for temperature in [0.6, 1.0] {
        let ask = |n: u32| {
            let sampling = Sampling {
                temperature,
                top_p: if n.is_multiple_of(2) { 1.0 } else { 0.9 },
                top_k: 0,
                seed: n.into(),
                max_tokens: 20 + 9 * n,
                ..Sampling::default()
            };
            let prompt = tokens(1 + 30 * n as usize, n);
            let stop_ids = Arc::from([]);
            let request =
                GenerateRequest { stop_ids, ..GenerateRequest::new(prompt.clone(), sampling) };
            (prompt, engine.submit(request).unwrap())
        };
        for (prompt, mut generation) in (0..8).map(ask).collect::<Vec<_>>() {
            let (mut ids, mut recorded) = (prompt.clone(), Vec::new());
            while let Some(emitted) = generation.next().await {
                match emitted {
                    Emitted::Begun { .. } => {}
                    Emitted::Token(SampledToken { id, logprob, version, .. }) => {
                        assert_eq!(version, Version(3));
                        ids.push(id);
                        recorded.push(logprob);
                    }
                    Emitted::Done { .. } => {}
                    Emitted::Failed(error) => panic!("{error}"),
                }
            }
            assert!(recorded.len() >= 20);
            let request = ScoreRequest {
                ids: ids.clone(),
                start: prompt.len(),
                temperature,
                ..ScoreRequest::default()
            };
            let scored = engine.score(request).await.unwrap();
            assert_close(&scored.logprobs, &recorded, 1e-4, "scored by the engine");
            let scored = plain_logprobs(&golden(), &ids, prompt.len(), temperature);
            assert_close(&scored, &recorded, 1e-4, "scored in one pass");
        }
    }
}

#[test]
fn a_sequence_may_begin_with_the_blocks_of_another() {
    let decoder = golden();
    let tokens = tokens(310, 3);
    let expected = plain(&decoder, &tokens);
    let pairs = caches(&decoder, 310).into_iter().zip(caches(&decoder, 310));
    for ((mut first, tolerance), (mut second, _)) in pairs {
        let check = |cache: &mut KvCache, range: std::ops::Range<usize>| {
            let row = feed(&decoder, cache, &tokens[range.clone()]);
            assert_close(&row, &expected[range.end - 1], tolerance, &format!("after {range:?}"));
        };
        check(&mut first, 0..200);
        for index in 0..3 {
            let block = decoder.share(&first, index);
            decoder.adopt(&mut second, index, &block).unwrap();
        }
        assert_eq!(second.len, 192);
        check(&mut second, 192..270);
        check(&mut first, 200..300);
        // In place of its own, which says the same.
        decoder.adopt(&mut second, 3, &decoder.share(&first, 3)).unwrap();
        assert_eq!(second.len, 270);
        check(&mut second, 270..310);
    }
    let [(mut host, _), (mut device, _)] = caches(&decoder, 310);
    feed(&decoder, &mut device, &tokens[..64]);
    let elsewhere = decoder.adopt(&mut host, 0, &decoder.share(&device, 0));
    assert!(elsewhere.unwrap_err().reason.contains("another device"));
}

/// A decoder that keeps its caches in tensors, as it would away from the CPU.
struct InTensors(Decoder);

impl Forward for InTensors {
    type Cache = KvCache;
    type Block = KvBlock;

    fn context(&self) -> usize {
        self.0.context()
    }

    fn vocab(&self) -> usize {
        Forward::vocab(&self.0)
    }

    fn block_tokens(&self) -> usize {
        self.0.block_tokens()
    }

    fn new_cache(&self, tokens: usize) -> KvCache {
        KvCache::on_device(2, tokens)
    }

    fn share(&self, cache: &KvCache, index: usize) -> KvBlock {
        self.0.share(cache, index)
    }

    fn adopt(&self, cache: &mut KvCache, index: usize, of: &KvBlock) -> Result<(), ForwardError> {
        self.0.adopt(cache, index, of)
    }

    fn forward(&self, work: &mut [Work<'_, KvCache>]) -> Result<(), ForwardError> {
        self.0.forward(work)
    }
}

/// The golden model, and one whose weights differ.
fn versions() -> [Decoder; 2] {
    let golden = golden();
    let mut changed = Parameters::new();
    for (name, Parameter { shape, values }) in golden.parameters().iter() {
        changed.insert(name, Parameter::new(shape.clone(), values.clone().mul_scalar(1.1)));
    }
    let other = golden.with_parameters(changed).unwrap();
    [golden, other]
}

/// A turn as it would be recorded.
struct Turn {
    prompt: Vec<u32>,
    ids: Vec<u32>,
    logprobs: Vec<f32>,
    version: Version,
    cached_tokens: usize,
}

async fn read_turn(prompt: Vec<u32>, mut generation: Generation) -> Turn {
    let (ids, logprobs, version, cached_tokens) = (vec![], vec![], Version(9), 0);
    let mut turn = Turn { prompt, ids, logprobs, version, cached_tokens };
    while let Some(emitted) = generation.next().await {
        match emitted {
            Emitted::Begun { cached_tokens } => turn.cached_tokens = cached_tokens,
            Emitted::Token(token) => {
                turn.ids.push(token.id);
                turn.logprobs.push(token.logprob);
                turn.version = token.version;
            }
            Emitted::Done { .. } => {}
            Emitted::Failed(error) => panic!("{error}"),
        }
    }
    turn
}

/// Four conversations of three turns, two samples each, with a swap under the second turn.
async fn converse<F: Forward>(models: [F; 2], options: EngineOptions, t: f32) -> Vec<Turn> {
    let [first, second] = models.map(Arc::new);
    let engine = Engine::start(first, Version(0), options).unwrap();
    let mut prompts: Vec<Vec<u32>> = (0..4).map(|n| tokens(70 + 40 * n, 2)).collect();
    let (mut turns, mut second) = (Vec::new(), Some(second));
    for turn in 0..3 {
        let ask = |(prompt, seed): (&Vec<u32>, u64)| {
            let sampling = Sampling {
                temperature: t,
                top_p: 0.95,
                seed,
                max_tokens: 90,
                ..Sampling::default()
            };
            engine.submit(GenerateRequest::new(prompt.clone(), sampling)).unwrap()
        };
        let samples = prompts.iter().flat_map(|prompt| [(prompt, 1), (prompt, 2)]);
        let asked: Vec<_> = samples.map(ask).collect();
        let now = second.take_if(|_| turn == 1);
        let swapped = now.map(|second| engine.swap(second, Version(1)));
        let before = turns.len();
        for (index, generation) in asked.into_iter().enumerate() {
            turns.push(read_turn(prompts[index / 2].clone(), generation).await);
        }
        if let Some(swapped) = swapped {
            swapped.await.unwrap();
        }
        for (prompt, said) in prompts.iter_mut().zip(turns[before..].iter().step_by(2)) {
            prompt.extend(said.ids.iter().chain(&[1, 2, 3]));
        }
    }
    turns
}

fn check_turns(turns: &[Turn], temperature: f32) {
    let models = versions();
    for turn in turns {
        let ids = [&turn.prompt[..], &turn.ids].concat();
        let model = &models[turn.version.0 as usize];
        let expected = plain_logprobs(model, &ids, turn.prompt.len(), temperature);
        let what = format!("{} after {} cached tokens", turn.version, turn.cached_tokens);
        assert_close(&turn.logprobs, &expected, 1e-4, &what);
    }
    let cached = |turn: &&Turn| turn.cached_tokens >= 128;
    for version in 0..2 {
        let of = turns.iter().filter(|turn| turn.version == Version(version));
        assert!(of.filter(cached).count() > 2, "the cache served version {version}");
    }
}

fn conversing(prefix_cache: bool) -> EngineOptions {
    let options = EngineOptions { prefill_chunk: 48, running_max: 5, ..EngineOptions::default() };
    EngineOptions { prefix_cache, ..options }
}

#[tokio::test]
async fn turns_that_were_batched_chunked_cached_and_swapped_around_are_what_one_pass_says() {
    for temperature in [0.6, 1.0] {
        let turns = converse(versions(), conversing(true), temperature).await;
        check_turns(&turns, temperature);
        let turns = converse(versions().map(InTensors), conversing(true), temperature).await;
        check_turns(&turns, temperature);
    }
}

#[tokio::test]
async fn the_prefix_cache_does_not_change_greedy_text() {
    let one = |decoder: Decoder| [decoder.clone(), decoder];
    let cached = converse(one(golden()), conversing(true), 0.0).await;
    let computed = converse(one(golden()), conversing(false), 0.0).await;
    for (cached, computed) in cached.iter().zip(&computed) {
        assert_eq!(cached.ids, computed.ids);
        assert_close(&cached.logprobs, &computed.logprobs, 1e-4, "log-probabilities");
        assert_eq!(computed.cached_tokens, 0);
    }
    assert!(cached.iter().map(|turn| turn.cached_tokens).sum::<usize>() > 24 * 64);
}

#[tokio::test]
async fn an_adapter_beside_the_base_is_what_one_pass_with_it_says() {
    let parity = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/parity");
    let base = Decoder::load(&parity.join("qwen2"), &Device::flex()).unwrap();
    let adapter = Adapter::load(&parity.join("qwen2-lora"), base.config(), &Device::flex());
    let models = [base.clone(), base.with_adapter(&adapter.unwrap()).unwrap()];
    let set = ModelSet::from(Arc::new(base)).with_adapter("a", Arc::new(models[1].clone()));
    let options = EngineOptions { prefill_chunk: 16, ..EngineOptions::default() };
    let engine = Engine::start(set, Version(0), options).unwrap();
    let mut prompt: Vec<u32> = tokens(70, 5).iter().map(|id| id % 96).collect();
    for cached_tokens in [0, 64] {
        let asked = [None, Some("a")].map(|adapter| {
            let sampling =
                Sampling { temperature: 1.0, seed: 3, max_tokens: 20, ..Sampling::default() };
            let request = GenerateRequest::new(prompt.clone(), sampling);
            let adapter = adapter.map(Arc::from);
            engine.submit(GenerateRequest { adapter, ..request }).unwrap()
        });
        let mut said = Vec::new();
        for (generation, model) in asked.into_iter().zip(&models) {
            let turn = read_turn(prompt.clone(), generation).await;
            let ids = [&prompt[..], &turn.ids].concat();
            let expected = plain_logprobs(model, &ids, prompt.len(), 1.0);
            assert_close(&turn.logprobs, &expected, 1e-4, "log-probabilities");
            assert_eq!(turn.cached_tokens, cached_tokens);
            said.push(turn.logprobs);
        }
        assert!((said[0][0] - said[1][0]).abs() > 1e-3, "the adapter says something else");
        prompt.extend([1, 2, 3]);
    }
}
