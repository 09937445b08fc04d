//! A sequential test by betting: whether a stream of pairs shows that the second of each is worse.
//!
//! Somebody who believes that the live version is worse bets on it, pair by pair: of a wealth of 1
//! a share λ is staked, and a pair with difference d ∈ [−1, 1] makes it 1 + λ d times as much. If
//! the version is not worse (the mean of d, given the past, is at most 0) the wealth is a
//! supermartingale, and the chance that it *ever* reaches 1/α is at most α (Ville's inequality):
//! one may look after each pair. The stake is not known beforehand: the wealth is the mean over a
//! grid of stakes, which is a supermartingale too. (Waudby-Smith and Ramdas, arXiv 2010.09686;
//! Shafer, Testing by betting.)

/// Shares that are staked, each by its own part of the wealth.
const STAKES: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.95];

/// A bet that a version is worse than the one before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bet {
    /// Greatest difference of two values.
    range: f64,
    /// Loss that is not held against the version.
    margin: f64,
    wealth: [f64; STAKES.len()],
    pairs: usize,
    sums: [f64; 2],
    /// The greatest wealth so far.
    peak: f64,
}

impl Bet {
    /// A bet on values that differ by `range` at most; `margin` of the loss is forgiven.
    pub fn new(range: f64, margin: f64) -> Self {
        let wealth = [1.0; STAKES.len()];
        Self { range, margin, wealth, pairs: 0, sums: [0.0; 2], peak: 1.0 }
    }

    /// Takes a pair: what was, and what is; more is better.
    pub fn pair(&mut self, before: f64, live: f64) {
        let difference = (before - live - self.margin) / (self.range + self.margin);
        for (wealth, stake) in self.wealth.iter_mut().zip(STAKES) {
            *wealth *= 1.0 + stake * difference;
        }
        self.pairs += 1;
        self.sums[0] += before;
        self.sums[1] += live;
        self.peak = self.peak.max(self.evidence());
    }

    /// The wealth now.
    pub fn evidence(&self) -> f64 {
        self.wealth.iter().sum::<f64>() / STAKES.len() as f64
    }

    /// Whether the wealth has ever reached `1 / alarm`: where the version is no worse, the chance
    /// of that is at most `alarm`.
    pub fn is_won(&self, alarm: f64) -> bool {
        self.peak * alarm >= 1.0
    }

    /// How many pairs there were.
    pub const fn pairs(&self) -> usize {
        self.pairs
    }

    /// The means of what was and of what is.
    pub fn means(&self) -> Option<[f64; 2]> {
        (self.pairs > 0).then(|| self.sums.map(|sum| sum / self.pairs as f64))
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const ALARM: f64 = 0.005;
    const MARGIN: f64 = 0.1;

    /// -1, 0 or 1 with these chances of the outer ones.
    fn draw(rng: &mut ChaCha8Rng, [good, bad]: [f64; 2]) -> f64 {
        let u: f64 = rng.random();
        if u < good {
            1.0
        } else if u < good + bad {
            -1.0
        } else {
            0.0
        }
    }

    /// Of `runs` streams of `pairs`: the share that is alarmed, and after how many pairs in the
    /// middle of those.
    fn alarmed(before: [f64; 2], live: [f64; 2], pairs: usize, runs: usize) -> (f64, usize) {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut after = Vec::new();
        for _ in 0..runs {
            let mut bet = Bet::new(2.0, MARGIN);
            let found = (1..=pairs).find(|_| {
                bet.pair(draw(&mut rng, before), draw(&mut rng, live));
                bet.is_won(ALARM)
            });
            after.extend(found);
        }
        after.sort_unstable();
        let middle = after.get(after.len() / 2).copied().unwrap_or(usize::MAX);
        (after.len() as f64 / runs as f64, middle)
    }

    #[test]
    fn a_version_that_is_as_good_is_seldom_called_worse_however_often_one_looks() {
        for same in [[0.5, 0.2], [0.9, 0.05], [0.1, 0.1], [0.3, 0.7]] {
            let (share, _) = alarmed(same, same, 200, 2_000);
            assert!(share <= ALARM, "{same:?}: {share}");
        }
        // at the very edge of what is forgiven
        let (share, _) = alarmed([0.5, 0.2], [0.45, 0.25], 200, 2_000);
        assert!(share <= ALARM, "{share}");
    }

    #[test]
    fn a_version_that_fell_apart_is_found_within_a_few_dozen_turns() {
        let (share, middle) = alarmed([0.6, 0.2], [0.05, 0.9], 100, 1_000);
        assert!(share > 0.99 && middle <= 25, "{share} after {middle}");
        let (share, middle) = alarmed([0.6, 0.2], [0.3, 0.6], 200, 1_000);
        assert!(share > 0.9 && middle <= 90, "{share} after {middle}");
        // and one that got better is not
        assert_eq!(alarmed([0.3, 0.5], [0.6, 0.2], 200, 1_000).0, 0.0);
    }

    #[test]
    fn errors_are_a_stream_of_their_own() {
        let mut bet = Bet::new(1.0, MARGIN);
        for at in 0..40 {
            bet.pair(1.0, f64::from(at % 2));
        }
        assert!(bet.is_won(ALARM), "{}", bet.evidence());
        assert_eq!((bet.pairs(), bet.means()), (40, Some([1.0, 0.5])));
        assert_eq!(Bet::new(1.0, MARGIN).means(), None);
    }
}
