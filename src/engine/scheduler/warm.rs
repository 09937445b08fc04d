//! Versions that come: the one that waits, what is computed for it, and when it goes live.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Active, Admitted, Scheduler, Ticket};
use crate::engine::prefix::{ModelKey, NodeId};
use crate::rollout::Version;

/// How often what was added meanwhile is made up for: streams add to the tree all the time, and
/// the version that waits shall not run after them.
const PASSES: usize = 3;

/// A version that waits to go live.
#[derive(Debug)]
pub(super) struct Pending {
    version: Version,
    adapters: BTreeSet<Arc<str>>,
    /// Blocks that may still be computed for it; 0 once it is warm enough.
    blocks_left: usize,
    /// Only what was in the tree before this is computed for it, in this pass.
    mark: NodeId,
    passes_left: usize,
    /// The chain that is being computed.
    pub(super) sequence: Option<Ticket>,
}

impl<B: Clone> Scheduler<B> {
    /// Lets `version`, with these adapters, go live as soon as it can. The version that it
    /// displaces from waiting, if there is one, never goes live.
    pub fn swap(&mut self, version: Version, adapters: BTreeSet<Arc<str>>) -> Option<Version> {
        let displaced = self.cancel_swap();
        let cached = self.limits.prefix_cache;
        let blocks_left = if cached { self.limits.warm_blocks_max } else { 0 };
        let (mark, passes_left) = (self.tree.mark(), PASSES - 1);
        let pending = Pending { version, adapters, blocks_left, mark, passes_left, sequence: None };
        self.pending = Some(pending);
        self.keep();
        displaced
    }

    /// Drops the version that waits, and what was computed for it.
    pub fn cancel_swap(&mut self) -> Option<Version> {
        self.skip_warming();
        let pending = self.pending.take();
        self.keep();
        pending.map(|pending| pending.version)
    }

    /// Starts the next chain that the waiting version should know before it goes live: of the
    /// chains of the live version, the one used last that it lacks. None where one is being
    /// computed, and where it is warm enough: it lacks nothing, has had as many blocks as it may,
    /// or there is no room beside those who were here before. Its tokens, and its place.
    pub fn warm(&mut self) -> Option<(Vec<u32>, Admitted<B>)> {
        if !self.has_room_for_pending() {
            return None;
        }
        let pending = self.pending.as_mut()?;
        if pending.sequence.is_some() || pending.blocks_left == 0 {
            return None;
        }
        let (block, blocks_left) = (self.limits.block, pending.blocks_left);
        let lacking = loop {
            let lacking = self.tree.lacking(self.live, pending.version, pending.mark);
            if lacking.is_some() || pending.passes_left == 0 {
                break lacking;
            }
            pending.passes_left -= 1;
            pending.mark = self.tree.mark();
        };
        // Nothing else is started once this is 0.
        pending.blocks_left = 0;
        let (key, mut tokens, lacks) = lacking?;
        let computed = (lacks / block).min(blocks_left);
        tokens.truncate(tokens.len() - lacks + computed * block);
        let (given, memory) = (tokens.len(), tokens.len());
        let active = Active {
            key: key.clone(),
            line: None,
            given,
            adoptable: given - 1,
            tokens: tokens.clone(),
            len: 0,
            chain: Vec::new(),
            reserved: given / block,
        };
        let ticket = self.ticket();
        let blocks = self.place(ticket, active).ok()?;
        let pending = self.pending.as_mut()?;
        pending.blocks_left = blocks_left - computed;
        pending.sequence = Some(ticket);
        Some((tokens, Admitted { ticket, key, memory, blocks }))
    }

    /// Lets the waiting version go live with what has been computed for it so far. False if it
    /// was warm enough anyway.
    pub fn skip_warming(&mut self) -> bool {
        let Some(pending) = &mut self.pending else { return false };
        let left = std::mem::take(&mut pending.blocks_left);
        let sequence = pending.sequence;
        if let Some(ticket) = sequence {
            self.finish(ticket);
        }
        left > 0 || sequence.is_some()
    }

    /// Between two steps: makes the waiting version live if it is warm enough and that leaves at
    /// most two held.
    pub fn go_live(&mut self) -> Option<Version> {
        let ready = |pending: &Pending| pending.blocks_left == 0 && pending.sequence.is_none();
        if !self.pending.as_ref().is_some_and(ready) || !self.has_room_for_pending() {
            return None;
        }
        let pending = self.pending.take()?;
        self.live = pending.version;
        self.adapters = pending.adapters;
        self.keep();
        Some(self.live)
    }

    /// The version that waits to go live.
    pub fn pending(&self) -> Option<Version> {
        self.pending.as_ref().map(|pending| pending.version)
    }

    /// Whether this sequence is a chain that is being computed for the version that waits.
    pub fn is_warming(&self, ticket: Ticket) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.sequence == Some(ticket))
    }

    /// The adapters of the live version.
    pub fn adapters(&self) -> &BTreeSet<Arc<str>> {
        &self.adapters
    }

    /// Attaches an adapter to the live version.
    pub fn load_adapter(&mut self, name: Arc<str>) {
        self.adapters.insert(name);
        self.keep();
    }

    /// Takes an adapter away from every version; what was computed with it goes.
    pub fn unload_adapter(&mut self, name: &str) {
        self.adapters.remove(name);
        if let Some(pending) = &mut self.pending {
            pending.adapters.remove(name);
        }
        self.keep();
    }

    /// Whether a request that runs or waits wants this adapter, or a chain is computed with it.
    pub fn wants_adapter(&self, name: &str) -> bool {
        let mut waiting = self.replies.iter().chain(&self.scorings);
        waiting.any(|(_, demand)| demand.adapter.as_deref() == Some(name))
            || self.active.values().any(|active| active.key.adapter.as_deref() == Some(name))
    }

    /// The models that are needed now: those of sequences, of the live version and of the one
    /// that waits.
    pub fn models(&self) -> BTreeSet<ModelKey> {
        let mut models = self.kept();
        models.extend(self.active.values().map(|active| active.key.clone()));
        models
    }

    /// Whether at most two versions would be held if the waiting one were live.
    fn has_room_for_pending(&self) -> bool {
        let mut held = self.in_flight();
        held.extend(self.pending());
        held.len() <= 2
    }

    /// The models of the live version and of the one that waits.
    fn kept(&self) -> BTreeSet<ModelKey> {
        let pending = self.pending.as_ref().map(|pending| (pending.version, &pending.adapters));
        let of = |(version, adapters): (Version, &BTreeSet<Arc<str>>)| {
            let adapters = adapters.iter().cloned().map(Some);
            let adapters: Vec<_> = adapters.chain([None]).collect();
            adapters.into_iter().map(move |adapter| ModelKey { version, adapter })
        };
        std::iter::once((self.live, &self.adapters)).chain(pending).flat_map(of).collect()
    }

    /// Keeps the blocks of those models, and no others.
    pub(super) fn keep(&mut self) {
        let kept = self.kept();
        self.tree.keep(kept);
    }
}
