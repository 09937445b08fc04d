//! Which versions keep their weights.
//!
//! Kept are: the base; what is live and what was right before it; the head and what is right before
//! it; what is pinned, the reference and the teacher; the best versions of the lineage, without
//! their optimizer state; and the bases of the adapters among all these. Of the others the manifest
//! stays.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::config::TrainConfig;
use crate::events::emit;
use crate::events::train::{NotKept, VersionsPruned};
use crate::rollout::Version;
use crate::weights::{Manifest, Pruning, Registry, WeightsError};

/// What counts of a version.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    parent: Option<Version>,
    /// Mean reward of the batch that it was made from: of turns that its parent served, mostly.
    reward: Option<f64>,
    /// Nothing of it is left to let go.
    is_gone: bool,
}

/// Lets go of old versions, and remembers what their manifests say.
#[derive(Debug, Default)]
pub struct Retention {
    facts: BTreeMap<Version, Facts>,
}

/// How many versions are kept, and which ones anyway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    last: usize,
    best: usize,
    always: BTreeSet<Version>,
}

impl From<&TrainConfig> for Keeping {
    fn from(config: &TrainConfig) -> Self {
        let named = [Some(0), Some(config.reference_version), config.teacher_version];
        let always = named.into_iter().flatten().map(Version).collect();
        Self { last: config.keep_last, best: config.keep_best, always }
    }
}

impl Retention {
    /// Lets go of what is not kept. What fails is logged, and tried again after the next step.
    pub fn apply(&mut self, registry: &Registry, keeping: &Keeping) {
        match self.prune(registry, keeping) {
            Ok((0, _)) => {}
            Ok((versions, bytes)) => emit(VersionsPruned { versions, bytes }),
            Err(error) => {
                emit(NotKept { what: "old versions stay", error: error.to_string() });
            }
        }
    }

    fn prune(
        &mut self,
        registry: &Registry,
        keeping: &Keeping,
    ) -> Result<(usize, u64), WeightsError> {
        for version in registry.versions()? {
            if let Entry::Vacant(place) = self.facts.entry(version) {
                place.insert(Facts::of(&registry.manifest(version)?));
            }
        }
        let state = registry.state()?;
        let mut whole = keeping.always.clone();
        whole.extend(state.pinned);
        for tip in [state.live, state.head] {
            whole.extend(self.lineage(tip).take(keeping.last.max(1)));
        }
        let best: BTreeSet<Version> =
            self.best(state.live, state.head).take(keeping.best).collect();
        let kept = whole.union(&best).copied();
        let bases: BTreeSet<Version> =
            kept.filter_map(|version| registry.base_of(version).ok().flatten()).collect();
        let (mut versions, mut bytes) = (0, 0);
        for (version, facts) in &mut self.facts {
            if facts.is_gone || whole.contains(version) {
                continue;
            }
            let is_kept = best.contains(version) || bases.contains(version);
            let what = if is_kept { Pruning::Moments } else { Pruning::Weights };
            let freed = registry.prune(*version, what)?;
            facts.is_gone = !is_kept && !registry.is_whole(*version);
            versions += usize::from(freed > 0);
            bytes += freed;
        }
        Ok((versions, bytes))
    }

    /// A version and what it was built on, newest first.
    fn lineage(&self, tip: Version) -> impl Iterator<Item = Version> {
        std::iter::successors(Some(tip), |version| self.facts.get(version)?.parent)
    }

    /// The versions of both lineages by the mean reward of their turns, the best and newest first.
    fn best(&self, live: Version, head: Version) -> impl Iterator<Item = Version> + use<> {
        let alive: BTreeSet<Version> = self.lineage(live).chain(self.lineage(head)).collect();
        let mut rewards: BTreeMap<Version, (f64, u32)> = BTreeMap::new();
        for facts in self.facts.values() {
            let served = facts.parent.filter(|parent| alive.contains(parent));
            if let (Some(served), Some(reward)) = (served, facts.reward) {
                let (sum, count) = rewards.entry(served).or_default();
                (*sum, *count) = (*sum + reward, *count + 1);
            }
        }
        let means = rewards.into_iter().map(|(version, (sum, n))| (sum / f64::from(n), version));
        let mut means: Vec<(f64, Version)> = means.collect();
        means.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        means.into_iter().map(|(_, version)| version)
    }
}

impl Facts {
    fn of(manifest: &Manifest) -> Self {
        let metrics = manifest.step.iter().flat_map(|step| &step.metrics);
        let mut reward = metrics.filter(|(name, _)| name == "mean_reward").map(|(_, value)| *value);
        Self {
            parent: manifest.parent,
            reward: reward.find(|reward| reward.is_finite()),
            is_gone: false,
        }
    }
}
