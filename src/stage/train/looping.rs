//! Whether a reply repeats itself, by its token ids alone.
//!
//! Lists, tables and code repeat patterns, but something varies from line to line: what counts as a
//! loop is the same tokens over and over for a large part of the reply.

use std::collections::HashSet;

/// Longest period that is looked for.
const PERIOD_MAX: usize = 512;
/// A run of repetitions that is shorter than this is a rule in a text, or an exclamation.
const RUN_MIN: usize = 64;
/// A pattern stands this often in a run at least.
const REPEATS_MIN: usize = 4;
/// Length of the pieces that [`is_patchwork`] compares; the unvarying part of a table's line is
/// shorter.
const PIECE: usize = 32;
/// Pieces below which a share of them says nothing.
const PIECES_MIN: usize = 128;

/// Whether a reply loops: half of it, or the last quarter of it, is one pattern over and over, or
/// more than half of it was said before word for word.
pub fn loops(ids: &[u32]) -> bool {
    ids.len() >= RUN_MIN && (is_periodic(ids) || is_patchwork(ids))
}

/// Whether a run of one pattern covers half of the reply, or the end and a quarter of it.
fn is_periodic(ids: &[u32]) -> bool {
    let periods = 1..=PERIOD_MAX.min(ids.len() / REPEATS_MIN);
    periods.into_iter().any(|period| {
        let mut same = 0;
        (period..ids.len()).any(|at| {
            same = if ids[at] == ids[at - period] { same + 1 } else { 0 };
            let run = same + period;
            // the last token may be the end of the reply
            let part = if at + 2 >= ids.len() { 4 } else { 2 };
            same > 0 && run >= RUN_MIN && run >= period * REPEATS_MIN && run * part >= ids.len()
        })
    })
}

/// Whether more than half of the reply's pieces stood in it before.
fn is_patchwork(ids: &[u32]) -> bool {
    let pieces = ids.len().saturating_sub(PIECE - 1);
    if pieces < PIECES_MIN {
        return false;
    }
    let mut seen = HashSet::with_capacity(pieces);
    let repeated = ids.windows(PIECE).filter(|piece| !seen.insert(*piece)).count();
    repeated * 2 > pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that do not repeat.
    fn prose(length: usize, seed: u64) -> Vec<u32> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            (state >> 40) as u32 % 5000
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    /// One token a byte: the hardest case, since words repeat inside.
    fn bytes(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    #[test]
    fn a_reply_that_says_the_same_over_and_over_loops() {
        for period in [1, 2, 7, 60, 500] {
            let pattern = prose(period, 3);
            let looped: Vec<u32> = pattern.iter().copied().cycle().take(8000).collect();
            assert!(loops(&looped), "period {period}");
            let ended = [looped.as_slice(), &[1]].concat();
            assert!(loops(&ended), "with an end");
            let late = [prose(1200, 5).as_slice(), &looped[..period * 5 + 600]].concat();
            assert!(loops(&late), "after a beginning that is none, period {period}");
        }
        let torn: Vec<u32> = (0..40).flat_map(|n| [prose(150, 3), prose(3, n)].concat()).collect();
        assert!(loops(&torn), "with something in between now and then");
        let sorry = bytes(&"I am sorry, I cannot do that. ".repeat(12));
        assert!(loops(&sorry));
    }

    #[test]
    fn prose_lists_tables_and_code_do_not_loop() {
        assert!(!loops(&prose(8000, 1)));
        assert!(!loops(&[7; 20]), "an exclamation");
        let listed =
            |line: &dyn Fn(usize) -> String, n: usize| bytes(&(0..n).map(line).collect::<String>());
        let words = ["apple", "pear", "fig", "plum", "lime", "kiwi", "date"];
        let word = |n: usize| words[(n * 5 + n / 7) % 7];
        assert!(!loops(&listed(&|n| format!("- {} {}\n", word(n), word(n * n)), 60)));
        assert!(!loops(&listed(&|n| format!("| {n:3} | {} | {:5} |\n", word(n), n * 37), 80)));
        let code = |n: usize| format!("    assert_eq!(parse(\"{}\"), {n});\n", word(n));
        assert!(!loops(&listed(&code, 40)));
        let json = |n: usize| format!("{{\"name\": \"{}\", \"count\": {n}}},\n", word(n));
        assert!(!loops(&listed(&json, 60)));
        let table = format!(
            "| a | b |\n|{}|\n{}",
            "-".repeat(70),
            "A sentence. Another one? Yes, \
             and one more, to say what the table meant to say, had it had any rows at all, which \
             it has not, so that words must do in place of them, as they often do."
        );
        assert!(!loops(&bytes(&table)));
    }

    #[test]
    fn a_long_reply_is_looked_through_quickly() {
        let begun = std::time::Instant::now();
        assert!(!loops(&prose(32_000, 9)));
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }
}
