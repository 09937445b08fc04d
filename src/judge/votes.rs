//! What a judge's text says, and what many texts say together.

/// First mark of a hint in a judge's text.
pub const HINT_START: &str = "[HINT_START]";
/// Last mark of a hint.
pub const HINT_END: &str = "[HINT_END]";

/// A vote on a score as a regular expression: reasons, then a box.
pub const SCORE_FORM: &str = r"[\s\S]*\\boxed\{(1|-1|0)\}";
/// A vote on a hint: reasons, then a box, and the hint where there is one.
pub const HINT_FORM: &str = r"[\s\S]*\\boxed\{(-1\}|1\}\s*\[HINT_START\][\s\S]+\[HINT_END\])";

/// The value of the last valid `\boxed{…}` of `text`; `allowed` says which values are.
pub fn boxed(text: &str, allowed: &[i8]) -> Option<i8> {
    let mut rest = text;
    while let Some(at) = rest.rfind("\\boxed{") {
        let inner = &rest[at + "\\boxed{".len()..];
        let value = inner.split_once('}').and_then(|(inside, _)| number(inside));
        if let Some(value) = value.filter(|value| allowed.contains(value)) {
            return Some(value);
        }
        rest = &rest[..at];
    }
    None
}

/// `1`, `+1`, `-1` (with a hyphen or a minus sign), `0`.
fn number(text: &str) -> Option<i8> {
    match text.trim() {
        "1" | "+1" => Some(1),
        "-1" | "\u{2212}1" => Some(-1),
        "0" => Some(0),
        _ => None,
    }
}

/// The text of the last complete pair of hint marks, which holds no mark itself; `None` if there
/// is no pair or it is empty.
pub fn hint(text: &str) -> Option<String> {
    let (before, _) = text.rsplit_once(HINT_END)?;
    let (_, inside) = before.rsplit_once(HINT_START)?;
    let hint = inside.split(HINT_END).next()?.split_whitespace().collect::<Vec<_>>().join(" ");
    (!hint.is_empty()).then_some(hint)
}

/// How many valid votes name 0, 1 and -1.
fn counts(votes: impl IntoIterator<Item = Option<i8>>) -> [usize; 3] {
    let mut counts = [0; 3];
    for value in votes.into_iter().flatten() {
        counts[usize::from(value.signum().unsigned_abs()) + usize::from(value < 0)] += 1;
    }
    counts
}

/// Whether the majority of `votes` stays what it is, whatever `left` more votes say.
pub fn settled(votes: &[Option<i8>], left: usize) -> bool {
    let mut counts = counts(votes.iter().copied());
    counts.sort_unstable();
    counts[2] > counts[1] + left
}

/// The value that most valid votes name; 0 on a tie. `None` if no vote is valid.
pub fn majority(votes: impl IntoIterator<Item = Option<i8>>) -> Option<i8> {
    let counts = counts(votes);
    let most = *counts.iter().max().filter(|most| **most > 0)?;
    let mut winners = [0, 1, -1].into_iter().zip(counts).filter(|(_, count)| *count == most);
    match (winners.next(), winners.next()) {
        (Some((value, _)), None) => Some(value),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_valid_box_counts() {
        for (text, value) in [
            ("so \\boxed{1}", Some(1)),
            ("\\boxed{+1}", Some(1)),
            ("\\boxed{ -1 }.", Some(-1)),
            ("\\boxed{\u{2212}1}", Some(-1)),
            ("\\boxed{0}", Some(0)),
            ("\\boxed{1} no, wait: \\boxed{-1}", Some(-1)),
            ("\\boxed{1} and then \\boxed{maybe}", Some(1)),
            ("\\boxed{1} and then \\boxed{-1", Some(1)),
            ("\\boxed{\\boxed{1}}", Some(1)),
            ("\\boxed{2}", None),
            ("\\boxed{1|-1}", None),
            ("\\boxed{}", None),
            ("\\boxed{1.0}", None),
            ("boxed{1}", None),
            ("\\boxed {1}", None),
            ("", None),
            ("\\boxed{", None),
            ("日本\\boxed{1}語", Some(1)),
        ] {
            assert_eq!(boxed(text, &[-1, 0, 1]), value, "{text}");
        }
        assert_eq!(boxed("\\boxed{1} \\boxed{0}", &[-1, 1]), Some(1));
    }

    #[test]
    fn a_hint_needs_both_marks_in_order() {
        for (text, expected) in [
            ("[HINT_START] Use metres. [HINT_END]", Some("Use metres.")),
            ("[HINT_START]a[HINT_END] [HINT_START]b\n c[HINT_END]", Some("b c")),
            ("[HINT_START]a[HINT_END] [HINT_START]b", Some("a")),
            ("[HINT_START]a[HINT_END] b [HINT_END]", Some("a")),
            ("[HINT_START]a [HINT_START]b[HINT_END]", Some("b")),
            ("[HINT_END]a[HINT_START]", None),
            ("[HINT_START]a", None),
            ("a[HINT_END]", None),
            ("[HINT_START] \n [HINT_END]", None),
        ] {
            assert_eq!(hint(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_tie_is_zero_and_nothing_is_nothing() {
        for (votes, expected) in [
            (vec![], None),
            (vec![None, None], None),
            (vec![Some(1)], Some(1)),
            (vec![Some(1), None, None], Some(1)),
            (vec![Some(1), Some(-1)], Some(0)),
            (vec![Some(1), Some(-1), Some(0)], Some(0)),
            (vec![Some(-1), Some(-1), Some(1)], Some(-1)),
            (vec![Some(1), Some(1), Some(0), Some(0)], Some(0)),
            (vec![Some(0), Some(0), Some(1)], Some(0)),
        ] {
            assert_eq!(majority(votes.clone()), expected, "{votes:?}");
        }
    }

    /// Every way in which the votes that are left may fall gives the same majority, exactly where
    /// it is said to be settled; a tie may be settled too, and is waited for.
    #[test]
    fn what_is_settled_no_vote_can_change() {
        let values = [None, Some(-1), Some(0), Some(1)];
        let all = |votes: usize| {
            (0..4_usize.pow(votes as u32)).map(move |code| -> Vec<Option<i8>> {
                (0..votes).map(|at| values[code / 4_usize.pow(at as u32) % 4]).collect()
            })
        };
        for (had, left) in [(1, 0), (1, 1), (2, 1), (3, 1), (2, 2), (3, 2), (4, 1)] {
            for votes in all(had) {
                let ends: std::collections::BTreeSet<_> =
                    all(left).map(|more| majority([votes.clone(), more].concat())).collect();
                if settled(&votes, left) {
                    assert_eq!(ends, [majority(votes.clone())].into(), "{votes:?} and {left}");
                } else {
                    let tied = majority(votes.clone()).is_none_or(|value| value == 0);
                    assert!(ends.len() > 1 || tied || left == 0, "{votes:?} and {left}");
                }
            }
        }
    }

    /// The count does not depend on the order, and a strict majority always wins.
    #[test]
    fn votes_are_counted_and_nothing_else() {
        let values = [None, Some(-1), Some(0), Some(1)];
        for code in 0..4_usize.pow(5) {
            let votes: Vec<_> = (0..5).map(|place| values[code / 4_usize.pow(place) % 4]).collect();
            let result = majority(votes.clone());
            assert_eq!(result, majority(votes.iter().rev().copied()));
            assert_eq!(result.is_none(), votes.iter().all(Option::is_none));
            for value in [-1, 0, 1] {
                let count = votes.iter().filter(|vote| **vote == Some(value)).count();
                if count > votes.iter().flatten().count() / 2 {
                    assert_eq!(result, Some(value));
                }
            }
        }
    }
}
