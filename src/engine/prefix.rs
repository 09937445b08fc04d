//! Which blocks of which token chains are kept, and for how long: a pure tree.
//!
//! A node is one block: `tokens` after everything above it, computed by one model. Sequences hold
//! every node of the chain that they run on; what nobody holds stays until its room is wanted,
//! the least recently used leaf going first. So a node that is held has held nodes above it, and
//! everything that is not held can be evicted, leaf by leaf.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::rollout::Version;

/// The model that computes: a weights version, with an adapter beside its base or without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelKey {
    /// The version.
    pub version: Version,
    /// The adapter's name; the base alone if absent.
    pub adapter: Option<Arc<str>>,
}

/// A node's number, by order of insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(u64);

type Children = BTreeMap<Arc<[u32]>, NodeId>;

#[derive(Debug)]
struct Node<B> {
    key: ModelKey,
    parent: Option<NodeId>,
    tokens: Arc<[u32]>,
    children: Children,
    /// Sequences that hold it.
    holders: usize,
    /// When it was last taken or let go of.
    used: u64,
    block: B,
}

/// The tree; see the module. `B` is what a block is to the caller.
#[derive(Debug)]
pub struct PrefixTree<B> {
    roots: BTreeMap<ModelKey, Children>,
    nodes: BTreeMap<NodeId, Node<B>>,
    /// Models whose blocks are kept when nobody holds them.
    kept: BTreeSet<ModelKey>,
    /// Leaves that nobody holds, by when they were last used.
    evictable: BTreeSet<(u64, NodeId)>,
    held: usize,
    now: u64,
    next: u64,
}

impl<B: Clone> PrefixTree<B> {
    /// An empty tree that keeps nothing.
    pub fn new() -> Self {
        Self {
            roots: BTreeMap::new(),
            nodes: BTreeMap::new(),
            kept: BTreeSet::new(),
            evictable: BTreeSet::new(),
            held: 0,
            now: 0,
            next: 0,
        }
    }

    /// From now on keeps blocks of these models only: those of others go once nobody holds them.
    /// How many went at once.
    pub fn keep(&mut self, models: BTreeSet<ModelKey>) -> usize {
        self.kept = models;
        let before = self.nodes.len();
        let leaves = self.evictable.iter().map(|(_, id)| *id);
        for leaf in leaves.collect::<Vec<_>>() {
            if self.nodes.get(&leaf).is_some_and(|node| !self.kept.contains(&node.key)) {
                self.remove(leaf);
            }
        }
        before - self.nodes.len()
    }

    /// The block that continues `parent`, or begins a chain, with these tokens.
    pub fn find(&self, key: &ModelKey, parent: Option<NodeId>, tokens: &[u32]) -> Option<NodeId> {
        let children = match parent {
            Some(parent) => &self.nodes.get(&parent)?.children,
            None => self.roots.get(key)?,
        };
        children.get(tokens).copied()
    }

    /// What a node's block is.
    pub fn block(&self, id: NodeId) -> Option<&B> {
        self.nodes.get(&id).map(|node| &node.block)
    }

    /// Holds a node whose parent the caller holds already.
    pub fn hold(&mut self, id: NodeId) {
        self.now += 1;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.holders == 0 {
            self.evictable.remove(&(node.used, id));
            self.held += 1;
        }
        node.holders += 1;
        node.used = self.now;
    }

    /// Adds a block that is not there yet after `parent`, which the caller holds; it holds the
    /// new one too.
    pub fn insert(
        &mut self,
        key: &ModelKey,
        parent: Option<NodeId>,
        tokens: &[u32],
        block: B,
    ) -> NodeId {
        debug_assert!(self.find(key, parent, tokens).is_none());
        let id = NodeId(self.next);
        self.next += 1;
        let tokens: Arc<[u32]> = Arc::from(tokens);
        let above = parent.and_then(|parent| self.nodes.get_mut(&parent));
        let siblings = match above {
            Some(above) => &mut above.children,
            None => self.roots.entry(key.clone()).or_default(),
        };
        siblings.insert(tokens.clone(), id);
        let (children, key) = (Children::new(), key.clone());
        let node = Node { key, parent, tokens, children, holders: 0, used: self.now, block };
        self.nodes.insert(id, node);
        self.hold(id);
        id
    }

    /// Lets go of the nodes of a chain, given from its first on.
    pub fn release(&mut self, chain: &[NodeId]) {
        self.now += 1;
        for &id in chain.iter().rev() {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            node.holders -= 1;
            node.used = self.now;
            if node.holders == 0 {
                self.held -= 1;
                if self.must_go(id) {
                    self.remove(id);
                }
            }
        }
    }

    /// Drops the least recently used leaf that nobody holds. False if there is none.
    pub fn evict(&mut self) -> bool {
        let oldest = self.evictable.first().copied();
        if let Some((_, id)) = oldest {
            self.remove(id);
        }
        oldest.is_some()
    }

    /// Drops all that nobody holds; how many blocks that were.
    pub fn flush(&mut self) -> usize {
        let before = self.nodes.len();
        while self.evict() {}
        before - self.nodes.len()
    }

    /// Blocks that are there.
    pub fn blocks(&self) -> usize {
        self.nodes.len()
    }

    /// Blocks that somebody holds.
    pub fn held(&self) -> usize {
        self.held
    }

    /// The number that the next node will have.
    pub fn mark(&self) -> NodeId {
        NodeId(self.next)
    }

    /// Of the chains of version `from`, as far as they were there before `mark`, the one used last
    /// that the same adapter of `to` lacks something of: the model of `to` that should know it,
    /// the chain's tokens, and how many of them it lacks. Only models whose blocks are kept count.
    pub fn lacking(
        &self,
        from: Version,
        to: Version,
        mark: NodeId,
    ) -> Option<(ModelKey, Vec<u32>, usize)> {
        let leaf = |node: &Node<B>| node.children.is_empty() && node.key.version == from;
        let mut leaves: Vec<_> = self.nodes.iter().filter(|(_, node)| leaf(node)).collect();
        leaves.sort_by_key(|(_, node)| std::cmp::Reverse(node.used));
        leaves.into_iter().find_map(|(&leaf, node)| {
            let key = ModelKey { version: to, adapter: node.key.adapter.clone() };
            if !self.kept.contains(&key) {
                return None;
            }
            let chain = self.chain(leaf, mark);
            let mut parent = None;
            for (known, tokens) in chain.iter().enumerate() {
                parent = self.find(&key, parent, tokens);
                if parent.is_none() {
                    let lacking = chain[known..].iter().map(|tokens| tokens.len()).sum();
                    return Some((key, chain.concat(), lacking));
                }
            }
            None
        })
    }

    /// The blocks' tokens from the first one down to `leaf`, but for those from `mark` on.
    fn chain(&self, leaf: NodeId, mark: NodeId) -> Vec<&[u32]> {
        let mut chain = Vec::new();
        let mut next = Some(leaf);
        while let Some((id, node)) = next.and_then(|id| Some((id, self.nodes.get(&id)?))) {
            if id < mark {
                chain.push(&*node.tokens);
            }
            next = node.parent;
        }
        chain.reverse();
        chain
    }

    /// Drops a leaf that nobody holds, and what is above it as far as that must go with it.
    fn remove(&mut self, id: NodeId) {
        let mut next = Some(id);
        while let Some(id) = next {
            next = self.unlink(id).filter(|parent| self.must_go(*parent));
        }
    }

    /// Takes a leaf out; its parent.
    fn unlink(&mut self, id: NodeId) -> Option<NodeId> {
        let node = self.nodes.remove(&id)?;
        self.evictable.remove(&(node.used, id));
        let above = node.parent.and_then(|parent| self.nodes.get_mut(&parent));
        let siblings = match above {
            Some(above) => Some(&mut above.children),
            None => self.roots.get_mut(&node.key),
        };
        if let Some(siblings) = siblings {
            siblings.remove(&node.tokens);
        }
        if self.roots.get(&node.key).is_some_and(Children::is_empty) {
            self.roots.remove(&node.key);
        }
        node.parent
    }

    /// Whether a node must go at once: nobody holds it, nothing is below it, and its model is not
    /// kept. Where the model is kept, it can be evicted from now on.
    fn must_go(&mut self, id: NodeId) -> bool {
        let Some(node) = self.nodes.get(&id) else { return false };
        if node.holders > 0 || !node.children.is_empty() {
            return false;
        }
        let kept = self.kept.contains(&node.key);
        if kept {
            self.evictable.insert((node.used, id));
        }
        !kept
    }
}

impl<B: Clone> Default for PrefixTree<B> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
