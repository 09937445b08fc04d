//! A judge's text: a verdict among those that are allowed, and a hint without its marks; what is
//! said before does not change them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw_rl_fuzz::judge::votes::{HINT_END, HINT_START, boxed, hint, majority, settled};

fuzz_target!(|input: (&str, &str)| {
    let (before, text) = input;
    let scores = [-1, 0, 1];
    for allowed in [&scores[..], &[-1, 1]] {
        let value = boxed(text, allowed);
        assert!(value.is_none_or(|value| allowed.contains(&value)));
        if value.is_some() {
            assert_eq!(boxed(&format!("{before}{text}"), allowed), value);
        }
        assert_eq!(boxed(&format!("{text}\\boxed{{-1}}"), allowed), Some(-1));
    }
    if let Some(found) = hint(text) {
        assert!(!found.is_empty() && !found.contains(HINT_START) && !found.contains(HINT_END));
        assert_eq!(found, found.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(hint(&format!("{before} {text}")), Some(found));
    }
    let votes: Vec<Option<i8>> = text.split(' ').map(|part| boxed(part, &scores)).collect();
    let result = majority(votes.iter().copied());
    assert_eq!(result.is_none(), votes.iter().all(Option::is_none));
    if settled(&votes, 1) {
        for more in [None, Some(-1), Some(0), Some(1)] {
            assert_eq!(majority(votes.iter().copied().chain([more])), result);
        }
    }
});
