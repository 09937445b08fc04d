//! A reply, read whole and in pieces: the same, and nothing of it is lost where no tools are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw_rl_fuzz::pieces;
use openclaw_rl_fuzz::render::{ReplyOptions, ReplyParser, ReplyPart};

/// Neighbours of one kind joined.
fn read(options: &ReplyOptions, pieces: &[&str]) -> Vec<ReplyPart> {
    let mut parser = ReplyParser::new(options.clone());
    let mut parts: Vec<ReplyPart> = pieces.iter().flat_map(|piece| parser.push(piece)).collect();
    parts.extend(parser.finish());
    let mut joined: Vec<ReplyPart> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (Some(ReplyPart::Content(text)), ReplyPart::Content(more))
            | (Some(ReplyPart::Reasoning(text)), ReplyPart::Reasoning(more)) => {
                text.push_str(&more);
            }
            (
                Some(ReplyPart::Arguments { index, text }),
                ReplyPart::Arguments { index: other, text: more },
            ) if *index == other => text.push_str(&more),
            (_, part) => joined.push(part),
        }
    }
    joined
}

fuzz_target!(|input: (u8, &[u8], &str)| {
    let (flags, cuts, text) = input;
    let options = ReplyOptions {
        tools: flags & 1 == 1,
        thinking: flags & 2 == 2,
        eager: flags & 4 == 4,
        id_seed: "seed".to_owned(),
    };
    let whole = read(&options, &[text]);
    let cut = read(&options, &pieces(text, cuts));
    assert_eq!(whole, cut);
    if options.tools && !options.eager {
        // A call that is told only when it is whole has arguments that are an object.
        for part in &whole {
            if let ReplyPart::Arguments { text, .. } = part {
                let arguments: serde_json::Value = serde_json::from_str(text).expect("JSON");
                assert!(arguments.is_object(), "{text}");
            }
        }
    }
});
