//! The tree against a slow, obvious model of it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

fn key(version: u64) -> ModelKey {
    ModelKey { version: Version(version), adapter: None }
}

fn keys(versions: &[u64]) -> BTreeSet<ModelKey> {
    versions.iter().map(|version| key(*version)).collect()
}

/// Walks a chain of one-token blocks from the root, adding what is missing; holds all of it.
fn walk(tree: &mut PrefixTree<Vec<u32>>, key: &ModelKey, tokens: &[u32]) -> Vec<NodeId> {
    let mut chain = Vec::new();
    for (end, token) in (1..).zip(tokens) {
        let parent = chain.last().copied();
        match tree.find(key, parent, &[*token]) {
            Some(node) => {
                tree.hold(node);
                chain.push(node);
            }
            None => chain.push(tree.insert(key, parent, &[*token], tokens[..end].to_vec())),
        }
    }
    chain
}

fn find(tree: &PrefixTree<Vec<u32>>, key: &ModelKey, tokens: &[u32]) -> bool {
    let mut parent = None;
    tokens.iter().all(|token| {
        parent = tree.find(key, parent, &[*token]);
        parent.is_some()
    })
}

#[test]
fn a_chain_is_found_by_its_tokens_and_its_model_only() {
    let mut tree = PrefixTree::new();
    tree.keep(keys(&[0, 1]));
    let chain = walk(&mut tree, &key(0), &[1, 2, 3]);
    assert_eq!(tree.block(chain[2]), Some(&vec![1, 2, 3]));
    assert!(find(&tree, &key(0), &[1, 2]));
    assert!(!find(&tree, &key(0), &[2]), "its place counts");
    assert!(!find(&tree, &key(1), &[1]), "its model counts");
    let adapted = ModelKey { adapter: Some("a".into()), ..key(0) };
    assert!(!find(&tree, &adapted, &[1]));
}

#[test]
fn what_is_held_stays_and_the_leaf_used_last_goes_last() {
    let mut tree = PrefixTree::new();
    tree.keep(keys(&[0]));
    let [a, b, c] = [[1, 2], [1, 3], [4, 5]].map(|tokens| walk(&mut tree, &key(0), &tokens));
    assert_eq!((tree.blocks(), tree.held()), (5, 5));
    assert!(!tree.evict(), "all is held");
    for chain in [&b, &a, &c] {
        tree.release(chain);
    }
    let again = walk(&mut tree, &key(0), &[4]);
    assert_eq!((tree.blocks(), tree.held()), (5, 1));
    let gone = |tree: &PrefixTree<Vec<u32>>| {
        [[1, 3], [1, 2], [4, 5]].map(|tokens| !find(tree, &key(0), &tokens))
    };
    assert!(tree.evict());
    assert_eq!(gone(&tree), [true, false, false]);
    assert!(tree.evict());
    assert_eq!(gone(&tree), [true, true, false]);
    assert!(tree.evict(), "now the 1 is a leaf, older than the 5");
    assert!(!find(&tree, &key(0), &[1]) && find(&tree, &key(0), &[4, 5]));
    assert!(tree.evict());
    assert!(!tree.evict(), "the 4 is held");
    tree.release(&again);
    assert_eq!(tree.flush(), 1);
}

#[test]
fn what_belongs_to_no_kept_model_goes_as_soon_as_nobody_holds_it() {
    let mut tree = PrefixTree::new();
    tree.keep(keys(&[0]));
    let held = walk(&mut tree, &key(0), &[1, 2, 3]);
    let other = walk(&mut tree, &key(0), &[1, 2, 4, 5]);
    tree.release(&other);
    assert_eq!(tree.keep(keys(&[1])), 2, "4 and 5");
    assert_eq!(tree.blocks(), 3);
    let late = walk(&mut tree, &key(0), &[7]);
    tree.release(&late);
    tree.release(&held);
    assert_eq!(tree.blocks(), 0);
    assert!(tree.roots.is_empty() && tree.evictable.is_empty());
}

#[test]
fn a_version_lacks_the_chains_that_only_the_other_one_has() {
    let mut tree = PrefixTree::new();
    tree.keep(keys(&[0, 1]));
    for tokens in [&[1, 2, 3][..], &[1, 9], &[5]] {
        let chain = walk(&mut tree, &key(0), tokens);
        tree.release(&chain);
    }
    let end = tree.mark();
    let lacking = |tree: &PrefixTree<Vec<u32>>| tree.lacking(Version(0), Version(1), end);
    assert_eq!(lacking(&tree), Some((key(1), vec![5], 1)), "used last");
    let chain = walk(&mut tree, &key(1), &[5]);
    tree.release(&chain);
    assert_eq!(lacking(&tree), Some((key(1), vec![1, 9], 2)));
    let chain = walk(&mut tree, &key(1), &[1, 9]);
    assert_eq!(lacking(&tree), Some((key(1), vec![1, 2, 3], 2)), "it has the 1");
    tree.release(&chain);
    let chain = walk(&mut tree, &key(1), &[1, 2, 3]);
    tree.release(&chain);
    assert_eq!(lacking(&tree), None);
    let chain = walk(&mut tree, &key(0), &[5, 6]);
    tree.release(&chain);
    assert_eq!(lacking(&tree), None, "the 6 came later");
    let later = tree.lacking(Version(0), Version(1), tree.mark());
    assert_eq!(later, Some((key(1), vec![5, 6], 1)));
}

#[test]
fn whatever_comes_and_goes_the_counts_are_right() {
    for seed in 0..300 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut below = |bound: u64| random.next_u64() % bound;
        let mut tree = PrefixTree::new();
        let mut kept = keys(&[0]);
        tree.keep(kept.clone());
        let mut held: Vec<Vec<NodeId>> = Vec::new();
        for _ in 0..200 {
            match below(6) {
                0..=2 => {
                    let length = 1 + below(5);
                    let tokens: Vec<u32> = (0..length).map(|_| below(3) as u32).collect();
                    let model = key(below(3));
                    held.push(walk(&mut tree, &model, &tokens));
                }
                3 if !held.is_empty() => {
                    let index = below(held.len() as u64) as usize;
                    tree.release(&held.swap_remove(index));
                }
                4 => drop(tree.evict()),
                5 if below(5) == 0 => {
                    kept = keys(&[below(3), below(3)]);
                    tree.keep(kept.clone());
                }
                _ => {}
            }
            check(&tree, &held, &kept);
        }
        for chain in held.drain(..) {
            tree.release(&chain);
        }
        tree.flush();
        assert_eq!((tree.blocks(), tree.held()), (0, 0), "seed {seed}");
        assert!(tree.roots.is_empty() && tree.evictable.is_empty());
    }
}

fn check(tree: &PrefixTree<Vec<u32>>, held: &[Vec<NodeId>], kept: &BTreeSet<ModelKey>) {
    let mut holders: BTreeMap<NodeId, usize> = BTreeMap::new();
    for id in held.iter().flatten() {
        *holders.entry(*id).or_default() += 1;
    }
    assert_eq!(tree.held(), holders.len());
    for (id, node) in &tree.nodes {
        assert_eq!(node.holders, holders.get(id).copied().unwrap_or(0));
        let idle = node.holders == 0 && node.children.is_empty();
        assert_eq!(tree.evictable.contains(&(node.used, *id)), idle);
        assert!(node.holders > 0 || kept.contains(&node.key) || !node.children.is_empty());
        for child in node.children.values() {
            assert_eq!(tree.nodes[child].parent, Some(*id));
        }
        let chain: Vec<u32> = tree.chain(*id, tree.mark()).concat();
        assert_eq!(node.block, chain, "it stands where it was put");
    }
    assert!(holders.keys().all(|id| tree.nodes.contains_key(id)), "what is held is there");
    let leaves = tree.nodes.values().filter(|node| node.holders == 0 && node.children.is_empty());
    assert_eq!(tree.evictable.len(), leaves.count());
}
