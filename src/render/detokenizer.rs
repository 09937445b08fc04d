//! Ids to text as they come, never cutting a character.

use std::sync::Arc;

use tokenizers::Tokenizer;

/// How a tokenizer's pieces become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pieces {
    /// Each piece stands for bytes of its own (byte-level BPE).
    Bytes,
    /// Pieces depend on their neighbours; the tokenizer's own decoder is asked.
    Context,
}

/// Turns the ids of one reply into text.
///
/// The pieces that [`Detokenizer::push`] and [`Detokenizer::finish`] return, one after the other,
/// are what [`super::Renderer::decode`] returns for all ids. Special tokens give no text.
#[derive(Debug)]
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    pieces: Pieces,
    /// `Pieces::Bytes`: the beginning of a character that is not complete yet.
    pending: Vec<u8>,
    /// `Pieces::Context`: the ids whose text is not all out, after those that give them context.
    window: Vec<u32>,
    /// How many bytes of the window's text are out.
    emitted: usize,
    /// How many ids of the window are out.
    read: usize,
}

impl Detokenizer {
    pub(super) fn new(tokenizer: Arc<Tokenizer>, pieces: Pieces) -> Self {
        let (pending, window) = (Vec::new(), Vec::new());
        Self { tokenizer, pieces, pending, window, emitted: 0, read: 0 }
    }

    /// Takes the next id; the text that is ready now, or `None` if a character is not complete.
    pub fn push(&mut self, id: u32) -> Option<String> {
        let text = match self.pieces {
            Pieces::Bytes => self.push_bytes(id),
            Pieces::Context => self.push_context(id),
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// What is left: the incomplete end of a character as replacement characters.
    pub fn finish(&mut self) -> Option<String> {
        let text = match self.pieces {
            Pieces::Bytes => {
                String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
            }
            Pieces::Context => {
                let text = self.tokenizer.decode(&self.window, true).unwrap_or_default();
                let rest = text.get(self.emitted..).unwrap_or_default().to_owned();
                self.window.clear();
                (self.emitted, self.read) = (0, 0);
                rest
            }
        };
        Some(text).filter(|text| !text.is_empty())
    }

    fn push_bytes(&mut self, id: u32) -> String {
        let Some(piece) = self.tokenizer.id_to_token(id) else { return String::new() };
        if self.tokenizer.get_added_vocabulary().is_special_token(&piece) {
            return String::new();
        }
        self.pending.extend(bytes(&piece));
        let complete = complete_bytes(&self.pending);
        let ready: Vec<u8> = self.pending.drain(..complete).collect();
        String::from_utf8_lossy(&ready).into_owned()
    }

    fn push_context(&mut self, id: u32) -> String {
        self.window.push(id);
        let text = self.tokenizer.decode(&self.window, true).unwrap_or_default();
        if text.ends_with(char::REPLACEMENT_CHARACTER) || text.len() <= self.emitted {
            return String::new();
        }
        let ready = text.get(self.emitted..).unwrap_or_default().to_owned();
        self.window.drain(..self.read);
        self.read = self.window.len();
        self.emitted = self.tokenizer.decode(&self.window, true).unwrap_or_default().len();
        ready
    }
}

/// The bytes that a piece of a byte-level vocabulary stands for; one with a letter that stands for
/// no byte (an added token) is its own text.
pub(super) fn bytes(piece: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = piece.chars().map(piece_byte).collect();
    bytes.unwrap_or_else(|| piece.as_bytes().to_vec())
}

/// How many of the first bytes cannot change their meaning by what follows.
fn complete_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match std::str::from_utf8(&bytes[at..]) {
            Ok(_) => return bytes.len(),
            Err(error) => match error.error_len() {
                Some(invalid) => at += error.valid_up_to() + invalid,
                None => return at + error.valid_up_to(),
            },
        }
    }
}

/// The byte that a letter of a byte-level vocabulary stands for: printable Latin-1 letters are
/// themselves, the other bytes are numbered from U+0100 on (the table of GPT-2).
fn piece_byte(letter: char) -> Option<u8> {
    let printable = |code: u32| matches!(code, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let code = u32::from(letter);
    if printable(code) {
        return u8::try_from(code).ok();
    }
    let place = code.checked_sub(0x100)?;
    (0..=0xFF_u32).filter(|byte| !printable(*byte)).nth(place as usize).map(|byte| byte as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_letter() {
        let mut bytes: Vec<u8> =
            (0_u32..0x200).filter_map(char::from_u32).filter_map(piece_byte).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(piece_byte('Ġ'), Some(b' '));
        assert_eq!(piece_byte('Ċ'), Some(b'\n'));
        assert_eq!(piece_byte(' '), None);
    }

    #[test]
    fn only_whole_characters_are_complete() {
        assert_eq!(complete_bytes("aé".as_bytes()), 3);
        assert_eq!(complete_bytes(&"aé".as_bytes()[..2]), 1);
        assert_eq!(complete_bytes(&[0xF0, 0x9F, 0x98]), 0);
        assert_eq!(complete_bytes(&[0xFF, b'a', 0xE2]), 2);
        assert_eq!(complete_bytes(&[0xE2, b'a']), 2);
    }
}
