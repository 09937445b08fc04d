//! What a request may ask of each token, through the engine: grammars, penalties, most probable
//! ids, a least length.

use std::collections::VecDeque;
use std::sync::Arc;

use super::fake::{Fake, Habit};
use super::*;
use crate::rollout::{FinishReason, Sampling, Version};

const VOCAB: usize = 64;

/// At each token, the ids that may come.
struct Steps(VecDeque<Vec<u32>>);

impl Constraint for Steps {
    fn allow(&mut self, allowed: &mut AllowedIds) -> Result<(), ConstraintError> {
        assert!(allowed.is_empty(), "nothing is left of the token before");
        let ended = || ConstraintError { reason: "it has ended".to_owned() };
        self.0.front().ok_or_else(ended)?.iter().for_each(|id| allowed.insert(*id));
        Ok(())
    }

    fn accept(&mut self, id: u32) -> Result<(), ConstraintError> {
        assert!(self.0.pop_front().is_some_and(|ids| ids.contains(&id)));
        Ok(())
    }
}

fn steps(steps: &[&[u32]]) -> Option<Box<dyn Constraint>> {
    Some(Box::new(Steps(steps.iter().map(|ids| ids.to_vec()).collect())))
}

fn hash() -> Fake {
    Fake::new(VOCAB, 512, Habit::Hash(5))
}

fn start() -> Engine {
    Engine::start(Arc::new(hash()), Version::BASE, EngineOptions::default()).unwrap()
}

fn request(max_tokens: u32) -> GenerateRequest {
    let sampling = Sampling { seed: 3, max_tokens, ..Sampling::default() };
    GenerateRequest { stop_ids: Arc::from([0]), ..GenerateRequest::new(vec![7, 8], sampling) }
}

async fn read(
    mut generation: Generation,
) -> (Vec<SampledToken>, Result<FinishReason, EngineError>) {
    let mut tokens = Vec::new();
    loop {
        match generation.next().await.expect("a reply has an end") {
            Emitted::Begun { .. } => assert!(tokens.is_empty()),
            Emitted::Token(token) => tokens.push(token),
            Emitted::Done { reason } => return (tokens, Ok(reason)),
            Emitted::Failed(error) => return (tokens, Err(error)),
        }
    }
}

fn ids(tokens: &[SampledToken]) -> Vec<u32> {
    tokens.iter().map(|token| token.id).collect()
}

#[tokio::test]
async fn a_reply_follows_its_constraint_to_the_end() {
    let engine = start();
    let constraint = steps(&[&[9], &[10, 11], &[12], &[0]]);
    let generation = engine.submit(GenerateRequest { constraint, ..request(10) }).unwrap();
    let (tokens, end) = read(generation).await;
    assert_eq!(end, Ok(FinishReason::Stop));
    let drawn = ids(&tokens);
    assert!([10, 11].contains(&drawn[1]), "{drawn:?}");
    assert_eq!((drawn[0], drawn[2], drawn[3]), (9, 12, 0));
    let forced: Vec<bool> = tokens.iter().map(|token| token.forced).collect();
    assert_eq!(forced, [true, false, true, true]);
    let mut context = vec![7, 8];
    for token in tokens {
        let row = hash().logits(&context, 2);
        let expected = sampler::logprob(&row, token.id, 1.0).unwrap();
        assert_eq!(token.logprob, expected, "of the whole vocabulary");
        assert!(token.drawn_logprob > token.logprob, "of what the grammar left");
        context.push(token.id);
    }
}

#[tokio::test]
async fn a_constraint_that_cannot_be_followed_fails_its_reply_and_no_other() {
    let engine = start();
    let failing: [&[&[u32]]; 3] = [&[], &[&[9]], &[&[9], &[VOCAB as u32]]];
    for (told, constraint) in [0, 1, 1].into_iter().zip(failing.map(steps)) {
        let beside = engine.submit(request(5)).unwrap();
        let generation = engine.submit(GenerateRequest { constraint, ..request(10) }).unwrap();
        let (tokens, end) = read(generation).await;
        assert_eq!(tokens.len(), told);
        assert!(matches!(end, Err(EngineError::Constraint { .. })), "{end:?}");
        assert!(read(beside).await.1.is_ok());
    }
}

#[tokio::test]
async fn a_constraint_needs_an_id_that_ends_the_reply() {
    let stop_ids = Arc::from([]);
    let request = GenerateRequest { constraint: steps(&[&[9]]), stop_ids, ..request(1) };
    let error = start().submit(request).unwrap_err();
    assert!(matches!(error, EngineError::Invalid { field: "stop_ids", .. }), "{error}");
}

#[tokio::test]
async fn no_reply_ends_before_its_least_length() {
    let script = Fake::new(VOCAB, 512, Habit::Script(vec![0]));
    let engine = Engine::start(Arc::new(script), Version::BASE, EngineOptions::default()).unwrap();
    let asked = |min_tokens| {
        let mut request = request(10);
        request.sampling.min_tokens = min_tokens;
        request
    };
    for min_tokens in [0, 1, 4, 10] {
        let (tokens, end) = read(engine.submit(asked(min_tokens)).unwrap()).await;
        let ended = tokens.iter().position(|token| token.id == 0);
        assert_eq!(ended, (min_tokens < 10).then_some(min_tokens as usize));
        let expected = if min_tokens < 10 { FinishReason::Stop } else { FinishReason::Length };
        assert_eq!(end, Ok(expected));
    }
    let constraint = steps(&[&[0]]);
    let (tokens, _) =
        read(engine.submit(GenerateRequest { constraint, ..asked(4) }).unwrap()).await;
    assert_eq!(ids(&tokens), [0], "a grammar that has ended has the last word");
}

#[tokio::test]
async fn the_most_probable_ids_of_a_reply_are_those_of_its_scoring() {
    let options = EngineOptions { prefill_chunk: 3, ..EngineOptions::default() };
    let engine = Engine::start(Arc::new(hash()), Version::BASE, options).unwrap();
    let asked = GenerateRequest { top_logprobs: 4, stop_ids: Arc::from([]), ..request(12) };
    let (tokens, _) = read(engine.submit(asked).unwrap()).await;
    let mut all = vec![7, 8];
    all.extend(ids(&tokens));
    let score =
        ScoreRequest { ids: all, start: 2, temperature: 1.0, top_logprobs: 4, adapter: None };
    let scored = engine.score(score).await.unwrap();
    assert_eq!(scored.top.len(), 12);
    for (token, top) in tokens.iter().zip(&scored.top) {
        assert_eq!(&token.top, top);
        assert_eq!(top.len(), 4);
        assert!(top.is_sorted_by(|a, b| a.1 >= b.1), "most probable first");
    }
}

#[tokio::test]
async fn penalties_see_the_prompt_and_the_reply() {
    let script = Fake::new(VOCAB, 512, Habit::Script(vec![7]));
    let engine = Engine::start(Arc::new(script), Version::BASE, EngineOptions::default()).unwrap();
    let mut asked = request(3);
    asked.sampling.temperature = 0.0;
    let (tokens, _) = read(engine.submit(asked).unwrap()).await;
    assert_eq!(ids(&tokens), [7, 7, 7]);
    // 50 / 10 = 5 for the one that the prompt holds: a bias of 6 on another wins, once.
    let mut asked = request(3);
    asked.sampling = Sampling {
        temperature: 0.0,
        repetition_penalty: 10.0,
        logit_bias: vec![(20, 6.0), (21, 5.5)],
        ..asked.sampling
    };
    let (tokens, _) = read(engine.submit(asked).unwrap()).await;
    assert_eq!(ids(&tokens), [20, 21, 7]);
}
