//! Shares with their intervals, and the figures of a run.

use serde::Serialize;

/// 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_985;

/// How many of some, with the interval that holds the true share in 95 % of cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Share {
    /// Those that are.
    pub met: usize,
    /// All.
    pub n: usize,
    /// `met / n`; 0 of nothing is 0.
    pub share: f64,
    /// Lower end of Wilson's interval (Wilson 1927).
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Share {
    /// `met` of `n`.
    pub fn of(met: usize, n: usize) -> Self {
        if n == 0 {
            return Self { high: 1.0, ..Self::default() };
        }
        let (count, share) = (n as f64, met as f64 / n as f64);
        let spread = Z * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt();
        let (middle, scale) = (share + Z * Z / (2.0 * count), 1.0 + Z * Z / count);
        let low = ((middle - spread) / scale).max(0.0);
        Self { met, n, share, low, high: ((middle + spread) / scale).min(1.0) }
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self::of(self.met + other.met, self.n + other.n)
    }
}

/// The change of a share over the same questions, from `before` to `after`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Change {
    /// Questions.
    pub n: usize,
    /// Share after, less share before.
    pub change: f64,
    /// Lower end of the 95 % interval for paired shares (Agresti and Min 2005: half a pair is
    /// added to each of the four cells).
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Questions that were right before and are not now.
    pub lost: usize,
    /// Questions that were not right before and are now.
    pub gained: usize,
}

impl Change {
    /// Over pairs of answers to the same question; a question without both is left out.
    pub fn between(before: &[Option<bool>], after: &[Option<bool>]) -> Self {
        let both = before.iter().zip(after).filter_map(|(a, b)| a.zip(*b));
        let (mut lost, mut gained, mut n) = (0_usize, 0_usize, 0_usize);
        for (a, b) in both {
            lost += usize::from(a && !b);
            gained += usize::from(!a && b);
            n += 1;
        }
        let change = (gained as f64 - lost as f64) / n.max(1) as f64;
        let count = n as f64 + 2.0;
        let middle = (gained as f64 - lost as f64) / count;
        let off = ((gained + lost) as f64 + 1.0) / count;
        let spread = Z * ((off - middle * middle).max(0.0) / count).sqrt();
        Self { n, change, low: middle - spread, high: middle + spread, lost, gained }
    }
}

/// The number of the third of the first three sessions in a row whose first reply was as it
/// should be; `None` if there were no such three. A session that broke off is none.
pub fn sessions_to_preference(first_met: &[Option<bool>]) -> Option<usize> {
    let mut in_a_row = 0;
    first_met
        .iter()
        .position(|met| {
            in_a_row = if *met == Some(true) { in_a_row + 1 } else { 0 };
            in_a_row == 3
        })
        .map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_wilsons_interval() {
        let near = |a: f64, b: f64| (a - b).abs() < 5e-4;
        for (met, n, low, high) in
            [(8, 10, 0.4902, 0.9433), (0, 64, 0.0, 0.0566), (64, 64, 0.9434, 1.0)]
        {
            let share = Share::of(met, n);
            assert!(near(share.low, low) && near(share.high, high), "{share:?}");
        }
        let nothing = Share::of(0, 0);
        assert_eq!((nothing.share, nothing.low, nothing.high), (0.0, 0.0, 1.0));
        assert_eq!(Share::of(1, 4).and(Share::of(2, 4)), Share::of(3, 8));
    }

    #[test]
    fn a_change_counts_what_was_lost_and_gained() {
        let pairs = |lost, gained, both: usize| {
            let before =
                [vec![Some(true); lost], vec![Some(false); gained], vec![Some(true); both]];
            let after = [vec![Some(false); lost], vec![Some(true); gained], vec![Some(true); both]];
            Change::between(&before.concat(), &after.concat())
        };
        let change = pairs(30, 10, 960);
        assert_eq!((change.lost, change.gained), (30, 10));
        assert!((change.change + 0.02).abs() < 1e-12, "{change:?}");
        // -20 / 1002, and 1.96 * sqrt((41 / 1002 - (20 / 1002)^2) / 1002)
        let half = (change.high - change.low) / 2.0;
        assert!((half - 0.012_463).abs() < 1e-5, "{change:?}");
        assert!((change.high + change.low + 40.0 / 1002.0).abs() < 1e-9, "{change:?}");
        let same = pairs(0, 0, 10);
        assert!(same.low < -0.1 && same.high > 0.1, "ten questions prove little: {same:?}");
        let unasked = Change::between(&[None, Some(true)], &[Some(true), None]);
        assert_eq!((unasked.n, unasked.change), (0, 0.0));
    }

    #[test]
    fn three_in_a_row_are_wanted() {
        let of = |text: &str| {
            let met: Vec<Option<bool>> = text
                .chars()
                .map(|c| match c {
                    '1' => Some(true),
                    '0' => Some(false),
                    _ => None,
                })
                .collect();
            sessions_to_preference(&met)
        };
        assert_eq!(of("111"), Some(3));
        assert_eq!(of("0110111"), Some(7));
        assert_eq!(of("11x111"), Some(6), "a session that broke off is none");
        assert_eq!(of("110110"), None);
        assert_eq!(of(""), None);
    }
}
