//! The cached, batched, chunked decoder against one plain forward pass, on the golden model.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::engine::{Emitted, Engine, EngineOptions, GenerateRequest, SampledToken, ScoreRequest};
use crate::model::Causal;
use crate::rollout::{Sampling, Version};

fn golden() -> Decoder {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/golden-a/model");
    Decoder::load(&dir, &Device::flex()).unwrap()
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
    logits.chunks(192).map(<[f32]>::to_vec).collect()
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
