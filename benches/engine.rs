//! Speed of the engine on the CPU: `cargo bench --bench engine -- MODEL_DIRECTORY`.
//!
//! Everything goes through the engine as a request does, sampling included. The first line is a
//! fixed matrix product in plain Rust, by which figures of two machines can be compared.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it reports to a person")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use openclaw_rl::engine::{Emitted, Engine, EngineOptions, GenerateRequest, Generation};
use openclaw_rl::model::Decoder;
use openclaw_rl::rollout::{Sampling, Version};

const REPLY_TOKENS: u32 = 128;
const REPEATS: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let Some(directory) = arguments.next() else {
        eprintln!("usage: cargo bench --bench engine -- MODEL_DIRECTORY");
        return Ok(());
    };
    println!("calibration: {:.2} GFLOP/s (256³ f32 product, one thread)", calibrate());
    let decoder = Decoder::load(Path::new(&directory), &Device::flex())?;
    // Every repetition has to compute everything again.
    let options =
        EngineOptions { prefill_chunk: 512, prefix_cache: false, ..EngineOptions::default() };
    let vocab = decoder.config().vocab_size as u32;
    let engine = Engine::start(Arc::new(decoder), Version::BASE, options)?;
    for prompt in [64, 2048] {
        for batch in [1, 4, 8] {
            let mut best = 0.0_f64;
            for _ in 0..REPEATS {
                best = best.max(decode(&engine, vocab, prompt, batch).await?);
            }
            println!("decode after {prompt} tokens, batch {batch}: {best:.0} tok/s");
        }
    }
    for prompt in [512, 4096] {
        let mut best = f64::INFINITY;
        for _ in 0..REPEATS {
            best = best.min(prefill(&engine, vocab, prompt).await?.as_secs_f64());
        }
        println!("prefill of {prompt} tokens: {:.0} tok/s", f64::from(prompt) / best);
    }
    engine.drain(Duration::from_secs(10)).await;
    Ok(())
}

fn submit(
    engine: &Engine,
    vocab: u32,
    prompt: u32,
    max_tokens: u32,
) -> Result<Generation, Box<dyn Error>> {
    let prompt = (0..prompt).map(|i| (i * 7919) % vocab).collect();
    let sampling = Sampling {
        temperature: 0.6,
        top_p: 1.0,
        top_k: 0,
        seed: 1,
        max_tokens,
        ..Sampling::default()
    };
    Ok(engine.submit(GenerateRequest::new(prompt, sampling))?)
}

async fn token(generation: &mut Generation) -> Result<(), Box<dyn Error>> {
    let first = match generation.next().await {
        Some(Emitted::Begun { .. }) => generation.next().await,
        other => other,
    };
    match first {
        Some(Emitted::Token(_)) => Ok(()),
        other => Err(format!("expected a token, got {other:?}").into()),
    }
}

/// Tokens a second of `batch` replies together, from the moment when all of them have begun.
async fn decode(
    engine: &Engine,
    vocab: u32,
    prompt: u32,
    batch: usize,
) -> Result<f64, Box<dyn Error>> {
    // The replies that begin first run ahead by a few tokens while others are in their prompts.
    let ahead = prompt / 512 * batch as u32 + batch as u32;
    let mut replies = Vec::new();
    for _ in 0..batch {
        replies.push(submit(engine, vocab, prompt, REPLY_TOKENS + ahead)?);
    }
    for reply in &mut replies {
        token(reply).await?;
    }
    let before = engine.stats().generated_tokens;
    let start = Instant::now();
    for _ in 1..REPLY_TOKENS {
        // The last to begin has nothing in its channel yet.
        token(&mut replies[batch - 1]).await?;
    }
    let sampled = engine.stats().generated_tokens - before;
    let speed = sampled as f64 / start.elapsed().as_secs_f64();
    drop(replies);
    while engine.stats().running > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(speed)
}

/// Time until the first token of a reply.
async fn prefill(engine: &Engine, vocab: u32, prompt: u32) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    token(&mut submit(engine, vocab, prompt, 1)?).await?;
    Ok(start.elapsed())
}

/// Billions of operations a second of a plain product of two matrices.
fn calibrate() -> f64 {
    const N: usize = 256;
    let a: Vec<f32> = (0..N * N).map(|i| (i % 13) as f32).collect();
    let b: Vec<f32> = (0..N * N).map(|i| (i % 7) as f32).collect();
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let mut c = vec![0.0_f32; N * N];
        let start = Instant::now();
        for (a, c) in a.chunks_exact(N).zip(c.chunks_exact_mut(N)) {
            for (&a, b) in a.iter().zip(b.chunks_exact(N)) {
                for (c, b) in c.iter_mut().zip(b) {
                    *c += a * b;
                }
            }
        }
        std::hint::black_box(&c);
        best = best.min(start.elapsed().as_secs_f64());
    }
    2.0 * (N * N * N) as f64 / best / 1e9
}
