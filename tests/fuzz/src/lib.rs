//! The rooms that read what clients send, taken by path.
#![allow(dead_code, unused_imports, missing_docs, reason = "not every target needs all of them")]

#[path = "../../../src/client.rs"]
pub mod client;
#[path = "../../../src/config/mod.rs"]
pub mod config;
pub mod engine;
#[path = "../../../src/fault.rs"]
pub mod fault;
pub mod judge;
#[path = "../../../src/protocol/mod.rs"]
pub mod protocol;
#[path = "../../../src/render/mod.rs"]
pub mod render;
#[path = "../../../src/rollout/mod.rs"]
pub mod rollout;
#[path = "../../../src/stage/serve/stop.rs"]
mod stop;

use std::path::Path;
use std::sync::OnceLock;

/// The embedded model's tokenizer and template.
pub fn renderer() -> &'static render::Renderer {
    static RENDERER: OnceLock<render::Renderer> = OnceLock::new();
    RENDERER.get_or_init(|| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/model");
        render::Renderer::open(&dir).expect("the embedded model renders")
    })
}

/// Text cut into pieces at places that `cuts` says, never within a character.
pub fn pieces<'a>(text: &'a str, cuts: &[u8]) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    for cut in cuts {
        let at = usize::from(*cut % 16).min(rest.len());
        let at = rest.floor_char_boundary(at);
        let (piece, after) = rest.split_at(at);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

/// What is shown of text that comes in pieces, and the stop string that ended it.
pub fn shown(stops: &[String], pieces: &[&str]) -> (String, Option<String>) {
    let mut stop = stop::Stops::new(stops.to_vec());
    let mut text = String::new();
    for piece in pieces {
        let (more, stopped) = stop.push(piece);
        text.push_str(&more);
        if stopped {
            return (text, stop.found().map(ToOwned::to_owned));
        }
    }
    text.push_str(&stop.finish());
    (text, None)
}
