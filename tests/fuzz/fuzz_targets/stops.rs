//! Stop strings in text that comes in pieces: as in the whole text, by the obvious search.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw_rl_fuzz::{pieces, shown};

fuzz_target!(|input: (&[u8], Vec<String>, &str)| {
    let (cuts, mut stops, text) = input;
    stops.retain(|stop| !stop.is_empty());
    stops.truncate(4);
    let (said, _) = shown(&stops, &pieces(text, cuts));
    assert!(text.starts_with(&said));
    for stop in &stops {
        assert!(!said.contains(stop.as_str()), "{stop:?} was shown");
    }
    if !stops.iter().any(|stop| text.contains(stop.as_str())) {
        assert_eq!(said, text, "nothing is lost");
    }
});
