//! A tokenizer as grammars see it: the bytes of each id, and the canonical ids of a text.

use std::sync::Arc;

use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use tokenizers::Tokenizer;

use crate::render::Renderer;

/// The ids of one tokenizer.
pub(super) struct Vocabulary {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
    canonical: bool,
}

impl Vocabulary {
    /// The vocabulary of a renderer. No text spells the `markers` or the special tokens: they come
    /// only where a grammar names them, and the `ends` where the grammar is complete.
    pub(super) fn new(renderer: &Renderer, ends: &[u32], markers: &[u32]) -> Self {
        let (tokenizer, count) = (renderer.tokenizer(), renderer.id_count());
        let added = tokenizer.get_added_vocabulary();
        let bytes = |id: u32| {
            let Some(piece) = tokenizer.id_to_token(id) else { return Vec::new() };
            if markers.contains(&id) || ends.contains(&id) || added.is_special_token(&piece) {
                return [&[TokTrie::SPECIAL_TOKEN_MARKER], piece.as_bytes()].concat();
            }
            renderer.piece_bytes(&piece)
        };
        let words: Vec<Vec<u8>> = (0..count).map(bytes).collect();
        let info = TokRxInfo::new(count, ends.first().copied().unwrap_or_default());
        let trie = TokTrie::from(&info, &words).with_eos_tokens(ends);
        Self { trie, tokenizer: Arc::clone(tokenizer), canonical: renderer.is_byte_level() }
    }

    pub(super) fn into_env(self) -> TokEnv {
        Arc::new(self)
    }

    /// The tokenizer's own ids of a text, if they stand for just these bytes.
    fn canonical(&self, text: &str) -> Option<Vec<TokenId>> {
        let encoding = self.tokenizer.encode_fast(text, false).ok()?;
        let ids = encoding.get_ids();
        let bytes = ids.iter().flat_map(|id| self.trie.token(*id));
        bytes.eq(text.as_bytes()).then(|| ids.to_vec())
    }
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            self.canonical(text).unwrap_or_else(|| self.trie.greedy_tokenize(text.as_bytes()))
        })
    }

    /// Where it is, a text that the grammar forces is drawn as the ids that the model learned it
    /// as, and each of these ids is known to be forced.
    fn tokenize_is_canonical(&self) -> bool {
        self.canonical
    }
}
