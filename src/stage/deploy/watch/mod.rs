//! The watch after a version went live: whether it is worse than the one before it.
//!
//! Turns of the live version are paired with turns of the versions before it, the newest of those
//! first, each used once: the judge's rewards in one stream, whether the reply failed in another
//! (both by [`bet`], each with half of the chance of a false alarm). Rewards count in the order in
//! which they were given, replies in the order in which they were asked for. The watch ends with
//! the next version, after `watch_turns` turns, or when there is nothing left to compare with.
//!
//! What it assumes: that turns are alike but for the version. A user who has a bad day looks like a
//! bad version; `watch_margin` forgives a little of that.

pub mod bet;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use self::bet::Bet;
use super::rows::{Brief, Rows};
use crate::config::DeployConfig;
use crate::rollout::{DeploymentEvent, TurnId, Version};

/// Turns of older versions that are looked at for each one that is compared with.
const LOOKED_AT: usize = 4;

/// What the watch found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The version that was live before.
    pub back_to: Version,
    /// In words.
    pub words: String,
    /// Its figures.
    pub figures: Value,
}

/// A watch over one version.
#[derive(Debug)]
pub struct Watch {
    live: Version,
    back_to: Version,
    /// The versions whose turns it is compared with.
    older: BTreeSet<Version>,
    since_us: i64,
    rewards: Stream,
    replies: Stream,
    ended: bool,
}

/// One kind of evidence.
#[derive(Debug)]
struct Stream {
    bet: Bet,
    used: BTreeSet<TurnId>,
}

impl Stream {
    fn new(range: f64, margin: f64) -> Self {
        Self { bet: Bet::new(range, margin), used: BTreeSet::new() }
    }

    /// Pairs what was not used yet, in the order given.
    fn take(&mut self, before: &[(TurnId, f64)], live: &[(TurnId, f64)]) {
        let unused = |each: &[(TurnId, f64)]| -> Vec<(TurnId, f64)> {
            each.iter().filter(|(turn, _)| !self.used.contains(turn)).copied().collect()
        };
        let (before, live) = (unused(before), unused(live));
        for ((old, was), (new, is)) in before.into_iter().zip(live) {
            self.bet.pair(was, is);
            self.used.extend([old, new]);
        }
    }
}

impl Watch {
    /// A watch over what is live, where there is something to compare it with: it went live by a
    /// deployment, and not by being pinned or put back. `lineage` is what it was built on.
    pub fn over(
        live: Version,
        rows: &Rows,
        lineage: &[Version],
        dead: &BTreeSet<Version>,
        config: &DeployConfig,
    ) -> Option<Self> {
        let moved = |event| {
            use DeploymentEvent::{Live, Pinned, RolledBack};
            matches!(event, Live | RolledBack | Pinned)
        };
        let last = rows.deployed.iter().rev().find(|row| moved(row.event))?;
        if config.watch_turns == 0 || last.event != DeploymentEvent::Live || last.version != live {
            return None;
        }
        let older: BTreeSet<Version> =
            lineage.iter().copied().filter(|version| *version != live).collect();
        // Its weights may have been let go; whoever rolls back then looks further.
        let previous = last.previous.filter(|v| older.contains(v) && !dead.contains(v));
        let back_to = previous.or_else(|| older.last().copied())?;
        Some(Self {
            live,
            back_to,
            older,
            since_us: last.deployed_at_us,
            rewards: Stream::new(2.0, config.watch_margin),
            replies: Stream::new(1.0, config.watch_margin),
            ended: false,
        })
    }

    /// The version that is watched.
    pub const fn live(&self) -> Version {
        self.live
    }

    /// Looks at what is known now; what it found, if the version is worse.
    pub fn look(&mut self, rows: &mut Rows, config: &DeployConfig) -> Option<Finding> {
        if self.ended {
            return None;
        }
        let new = rows.since(self.since_us);
        let live = briefs(rows, &new, |version| version == self.live);
        let at_most = config.watch_turns.saturating_mul(LOOKED_AT);
        let old: Vec<TurnId> = rows.before(self.since_us).take(at_most).collect();
        let mut older = briefs(rows, &old, |version| self.older.contains(&version));
        older.truncate(config.watch_turns);
        let well = |each: &[(TurnId, Brief)]| -> Vec<(TurnId, f64)> {
            each.iter().map(|(turn, brief)| (*turn, f64::from(!brief.failed))).collect()
        };
        self.replies.take(&well(&older), &well(&live));
        let judged = |each: &[(TurnId, Brief)]| -> Vec<(i64, TurnId, f64)> {
            let of = |turn| rows.reward(turn).map(|reward| (reward.at_us, turn, reward.value));
            each.iter().filter_map(|(turn, _)| of(*turn)).collect()
        };
        let mut by_time = judged(&live);
        by_time.sort_by_key(|(at_us, turn, _)| (*at_us, *turn));
        let bare = |each: Vec<(i64, TurnId, f64)>| -> Vec<(TurnId, f64)> {
            each.into_iter().map(|(_, turn, value)| (turn, value)).collect()
        };
        let (was, is) = (bare(judged(&older)), bare(by_time));
        self.rewards.take(&was, &is);
        // Verdicts come later than replies: those of the last turns are still waited for.
        self.ended = is.len() >= config.watch_turns || live.len() >= 2 * config.watch_turns;
        self.finding(config)
    }

    fn finding(&self, config: &DeployConfig) -> Option<Finding> {
        let alarm = config.watch_alarm / 2.0;
        let named = [("mean reward", &self.rewards), ("share of good replies", &self.replies)];
        let lost = |stream: &Stream| {
            stream.bet.pairs() >= config.watch_turns_min && stream.bet.is_won(alarm)
        };
        let (name, stream) = named.into_iter().find(|(_, stream)| lost(stream))?;
        let [was, is] = stream.bet.means()?;
        let pairs = stream.bet.pairs();
        let words = format!("{name} {is:.2} after {was:.2}, in {pairs} pairs of turns");
        let figures = json!({ "watch": {
            "found": words.as_str(),
            "back_to": self.back_to.0,
            "alarm": config.watch_alarm,
            "margin": config.watch_margin,
            "rewards": figures(&self.rewards.bet),
            "replies": figures(&self.replies.bet),
        }});
        Some(Finding { back_to: self.back_to, words, figures })
    }
}

fn figures(bet: &Bet) -> Value {
    let [before, live] = bet.means().map_or([None; 2], |means| means.map(Some));
    let (pairs, evidence) = (bet.pairs(), bet.evidence());
    json!({ "pairs": pairs, "before": before, "live": live, "evidence": evidence })
}

/// Those of the turns that one of the wanted versions answered alone.
fn briefs(
    rows: &mut Rows,
    turns: &[TurnId],
    is_wanted: impl Fn(Version) -> bool,
) -> Vec<(TurnId, Brief)> {
    let mut briefs = Vec::new();
    for turn in turns {
        if let Some(brief) = rows.brief(*turn)
            && brief.version.is_some_and(&is_wanted)
        {
            briefs.push((*turn, brief));
        }
    }
    briefs
}
