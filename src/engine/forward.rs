//! What a model must be able to do for the engine.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::TopLogprobs;

/// One weights version, able to advance any number of sequences by any number of tokens.
pub trait Forward: Send + Sync + 'static {
    /// What is kept of one sequence: its keys and values so far.
    type Cache: Send + 'static;

    /// Keys and values of [`Forward::block_tokens`] tokens, which never change again: a cheap
    /// handle to memory that any number of caches may share.
    type Block: Clone + Send + Sync + 'static;

    /// Longest sequence, prompt and reply together, in tokens.
    fn context(&self) -> usize;

    /// Number of token ids.
    fn vocab(&self) -> usize;

    /// Tokens per block: the unit in which sequences share what they have in common.
    fn block_tokens(&self) -> usize;

    /// The cache of a sequence that has no tokens yet, and will have at most `tokens`.
    fn new_cache(&self, tokens: usize) -> Self::Cache;

    /// The `index`th block of a cache, all of whose tokens are there.
    fn share(&self, cache: &Self::Cache, index: usize) -> Self::Block;

    /// Makes `block` the `index`th of a cache: the next one of a cache that holds exactly `index`
    /// blocks, or in place of the cache's own, which was computed from the same tokens.
    ///
    /// # Errors
    /// The block lies elsewhere than the cache does.
    fn adopt(
        &self,
        cache: &mut Self::Cache,
        index: usize,
        block: &Self::Block,
    ) -> Result<(), ForwardError>;

    /// Appends each work's tokens to its cache, and fills in what its `rows` asks for.
    ///
    /// # Errors
    /// The step could not be computed; every sequence of the batch is lost.
    fn forward(&self, work: &mut [Work<'_, Self::Cache>]) -> Result<(), ForwardError>;
}

/// One sequence's share of a step.
pub struct Work<'a, C> {
    /// The tokens to append: at least one.
    pub tokens: &'a [u32],
    /// The cache of everything before them.
    pub cache: &'a mut C,
    /// What is wanted back.
    pub rows: Rows<'a>,
    /// What came back; its shape is told by `rows`. Empty before the step.
    pub out: Vec<f32>,
    /// The most probable ids of each scored position, where `rows` asks for them; else empty.
    pub top: Vec<TopLogprobs>,
}

impl<'a, C> Work<'a, C> {
    /// Work that is still to be done.
    pub fn new(tokens: &'a [u32], cache: &'a mut C, rows: Rows<'a>) -> Self {
        Self { tokens, cache, rows, out: Vec::new(), top: Vec::new() }
    }
}

/// What is wanted of a work's tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rows<'a> {
    /// Nothing.
    None,
    /// The logits after the last token: `[vocab]`.
    Last,
    /// The log-probabilities of `targets`, as [`sampler::logprob`](super::sampler::logprob)
    /// defines them: target i stands after token `tokens.len() - targets.len() + i`. `[targets]`.
    Scored {
        /// The ids to score, at most one per token.
        targets: &'a [u32],
        /// The temperature T.
        temperature: f32,
        /// How many of the most probable ids go into `top` for each target; with 0, `top` stays
        /// empty.
        top: usize,
    },
}

/// A step that could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model could not compute a step: {reason}")]
pub struct ForwardError {
    /// What the model or its device said.
    pub reason: String,
}

/// A cache whose type only its model knows.
pub(super) type AnyCache = Box<dyn Any + Send>;

/// A block whose type only its model knows.
pub(super) type AnyBlock = Arc<dyn Any + Send + Sync>;

/// [`Forward`] without its cache type, so that a handle to the engine needs no parameter.
pub(super) trait AnyForward: Send + Sync {
    fn context(&self) -> usize;
    fn vocab(&self) -> usize;
    fn block_tokens(&self) -> usize;
    fn new_cache(&self, tokens: usize) -> AnyCache;
    fn share(&self, cache: &AnyCache, index: usize) -> Result<AnyBlock, ForwardError>;
    fn adopt(
        &self,
        cache: &mut AnyCache,
        index: usize,
        block: &AnyBlock,
    ) -> Result<(), ForwardError>;
    fn forward(&self, work: &mut [Work<'_, AnyCache>]) -> Result<(), ForwardError>;
}

/// The model of one version, shared by the thread and whoever loaded it.
pub(super) type Model = Arc<dyn AnyForward>;

/// The models of one weights version: its base, and the adapters attached to it.
pub struct ModelSet {
    pub(super) base: Model,
    pub(super) adapters: BTreeMap<Arc<str>, Model>,
}

impl ModelSet {
    /// Also serves `model`, which is an adapter beside this base, to requests that name it.
    #[must_use]
    pub fn with_adapter<F: Forward>(mut self, name: &str, model: Arc<F>) -> Self {
        self.adapters.insert(Arc::from(name), model);
        self
    }
}

/// A base without adapters.
impl<F: Forward> From<Arc<F>> for ModelSet {
    fn from(base: Arc<F>) -> Self {
        Self { base, adapters: BTreeMap::new() }
    }
}

impl<F: Forward> AnyForward for F {
    fn context(&self) -> usize {
        Forward::context(self)
    }

    fn vocab(&self) -> usize {
        Forward::vocab(self)
    }

    fn block_tokens(&self) -> usize {
        Forward::block_tokens(self)
    }

    fn new_cache(&self, tokens: usize) -> AnyCache {
        Box::new(Forward::new_cache(self, tokens))
    }

    fn share(&self, cache: &AnyCache, index: usize) -> Result<AnyBlock, ForwardError> {
        let cache = cache.downcast_ref::<F::Cache>().ok_or_else(foreign)?;
        Ok(Arc::new(Forward::share(self, cache, index)))
    }

    fn adopt(
        &self,
        cache: &mut AnyCache,
        index: usize,
        block: &AnyBlock,
    ) -> Result<(), ForwardError> {
        let cache = cache.downcast_mut::<F::Cache>().ok_or_else(foreign)?;
        let block = block.downcast_ref::<F::Block>().ok_or_else(foreign)?;
        Forward::adopt(self, cache, index, block)
    }

    fn forward(&self, work: &mut [Work<'_, AnyCache>]) -> Result<(), ForwardError> {
        let mut outs = Vec::with_capacity(work.len());
        let mut typed = Vec::with_capacity(work.len());
        for Work { tokens, cache, rows, out, top } in work {
            let cache = cache.downcast_mut::<F::Cache>().ok_or_else(foreign)?;
            typed.push(Work::new(tokens, cache, *rows));
            outs.push((out, top));
        }
        Forward::forward(self, &mut typed)?;
        for ((out, top), work) in outs.into_iter().zip(typed) {
            (*out, *top) = (work.out, work.top);
        }
        Ok(())
    }
}

fn foreign() -> ForwardError {
    ForwardError { reason: "a cache of another kind of model".to_owned() }
}
