//! One model directory's tokenizer, chat template and end-of-turn ids.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokenizers::{DecoderWrapper, Tokenizer};

use super::detokenizer::{self, Pieces};
use super::template::{ChatTemplate, Sources};
use super::{Detokenizer, GenerationDefaults, Reasoning, RenderError, ReplyOptions, messages};

const SPECIAL: &[&str] =
    &["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// What a chat template is told beside messages and tools.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Whether the text ends where the assistant begins to write.
    pub begin_reply: bool,
    /// What the request adds, such as `enable_thinking`.
    pub template: &'a Map<String, Value>,
}

/// How many ids at the end of a prompt may spell the opening of the reasoning block.
const OPENING_IDS_MAX: usize = 8;

/// Messages to ids and ids to text, as the model of one directory wants them.
#[derive(Debug)]
pub struct Renderer {
    tokenizer: Arc<Tokenizer>,
    pieces: Pieces,
    template: ChatTemplate,
    stop_ids: Vec<u32>,
    /// The model's own end of turn, one of `stop_ids`.
    end_id: u32,
    /// Whether the template knows of reasoning.
    reasons: bool,
    defaults: GenerationDefaults,
    vocab_size: usize,
    tokenizer_sha256: String,
}

impl Renderer {
    /// Opens a Hugging Face directory: `tokenizer.json`; the template in `chat_template.jinja` or
    /// `tokenizer_config.json`; the end-of-turn ids of `generation_config.json`, `config.json` and
    /// `tokenizer_config.json` together.
    ///
    /// # Errors
    /// Names the file that is missing or wrong.
    pub fn open(dir: &Path) -> Result<Self, RenderError> {
        let path = dir.join("tokenizer.json");
        let bytes = read(&path)?;
        let malformed = |problem: String| RenderError::Malformed { path: path.clone(), problem };
        let mut tokenizer =
            Tokenizer::from_bytes(&bytes).map_err(|error| malformed(error.to_string()))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| malformed(error.to_string()))?;
        let settings = optional_json(&dir.join("tokenizer_config.json"))?;
        let (stop_ids, end_id) = stop_ids(dir, &settings, &tokenizer)?;
        let (template, reasons) = template(dir, &settings)?;
        let defaults = defaults(dir)?;
        let pieces = match tokenizer.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => Pieces::Bytes,
            _ => Pieces::Context,
        };
        let digest = Sha256::digest(&bytes);
        Ok(Self {
            pieces,
            template,
            stop_ids,
            end_id,
            reasons,
            defaults,
            vocab_size: tokenizer.get_vocab_size(true),
            tokenizer_sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            tokenizer: Arc::new(tokenizer),
        })
    }

    /// The ids that the model reads before it answers `messages` (of the wire), with `tools` (the
    /// request's array) if there are any.
    ///
    /// # Errors
    /// [`RenderError::Request`] or [`RenderError::Refused`] where the conversation is at fault.
    pub fn prompt(
        &self,
        messages: &[Value],
        tools: Option<&Value>,
    ) -> Result<Vec<u32>, RenderError> {
        self.encode(&self.text(messages, tools)?)
    }

    /// The same, where the template is told more.
    ///
    /// # Errors
    /// As [`Renderer::prompt`].
    pub fn prompt_told(
        &self,
        messages: &[Value],
        tools: Option<&Value>,
        told: Told<'_>,
    ) -> Result<Vec<u32>, RenderError> {
        self.encode(&self.text_told(messages, tools, told)?)
    }

    /// The text whose ids [`Renderer::prompt`] returns.
    ///
    /// # Errors
    /// As [`Renderer::prompt`].
    pub fn text(&self, messages: &[Value], tools: Option<&Value>) -> Result<String, RenderError> {
        self.text_told(messages, tools, Told { begin_reply: true, template: &Map::new() })
    }

    pub(super) fn text_told(
        &self,
        messages: &[Value],
        tools: Option<&Value>,
        told: Told<'_>,
    ) -> Result<String, RenderError> {
        if messages.is_empty() {
            return Err(RenderError::request("messages", "must hold at least one message"));
        }
        let tools = match tools {
            None | Some(Value::Null) => None,
            Some(Value::Array(tools)) if tools.is_empty() => None,
            Some(tools @ Value::Array(_)) => Some(tools),
            Some(_) => return Err(RenderError::request("tools", "expected an array")),
        };
        let messages = messages::canonical(messages)?;
        let rendered = self.template.render(&messages, tools, told);
        rendered.map_err(|problem| RenderError::Refused { problem })
    }

    /// The ids of a text, in which special tokens may stand by name; none is added.
    ///
    /// # Errors
    /// [`RenderError::Tokenizer`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, RenderError> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(tokenizer_error)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text that stands for itself: with those that the tokenizer adds to one (a
    /// beginning, an end), if it does.
    ///
    /// # Errors
    /// [`RenderError::Tokenizer`].
    pub fn encode_whole(&self, text: &str) -> Result<Vec<u32>, RenderError> {
        let encoding = self.tokenizer.encode_fast(text, true).map_err(tokenizer_error)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids, special tokens by their names.
    ///
    /// # Errors
    /// [`RenderError::Tokenizer`].
    pub fn decode_whole(&self, ids: &[u32]) -> Result<String, RenderError> {
        self.tokenizer.decode(ids, false).map_err(tokenizer_error)
    }

    /// The text of ids; special tokens give none.
    ///
    /// # Errors
    /// [`RenderError::Tokenizer`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, RenderError> {
        self.tokenizer.decode(ids, true).map_err(tokenizer_error)
    }

    /// The bytes that one id stands for, which may be a part of a character only; a special
    /// token's are its name, an unknown id has none.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        match (self.pieces, self.tokenizer.id_to_token(id)) {
            (_, None) => Vec::new(),
            (Pieces::Bytes, Some(piece)) => detokenizer::bytes(&piece),
            (Pieces::Context, Some(_)) => {
                self.tokenizer.decode(&[id], false).unwrap_or_default().into_bytes()
            }
        }
    }

    /// The ids that end a reply, ascending.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// [`Renderer::stop_ids`], the model's own end of turn first.
    pub(super) fn end_ids(&self) -> Vec<u32> {
        let known = |id: &u32| self.tokenizer.id_to_token(*id).is_some();
        let others = self.stop_ids.iter().copied().filter(|id| *id != self.end_id);
        std::iter::once(self.end_id).chain(others).filter(known).collect()
    }

    /// The ids of two names, if each is one token.
    pub(super) fn marks(&self, names: [&str; 2]) -> Option<[u32; 2]> {
        let [first, second] = names.map(|name| self.tokenizer.token_to_id(name));
        Some([first?, second?])
    }

    pub(super) fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// One more than the greatest id.
    pub(super) fn id_count(&self) -> u32 {
        self.tokenizer.get_vocab(true).values().max().map_or(0, |id| id + 1)
    }

    /// Whether pieces are bytes, whatever stands beside them.
    pub(super) const fn is_byte_level(&self) -> bool {
        matches!(self.pieces, Pieces::Bytes)
    }

    /// The bytes that a piece of the vocabulary stands for in the middle of a text.
    pub(super) fn piece_bytes(&self, piece: &str) -> Vec<u8> {
        if self.is_byte_level() {
            return detokenizer::bytes(piece);
        }
        let hex = piece.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => vec![byte],
            None => piece.replace('▁', " ").into_bytes(),
        }
    }

    /// How the model would be sampled where nobody says.
    pub const fn generation_defaults(&self) -> GenerationDefaults {
        self.defaults
    }

    /// Whether the reply to `prompt` reasons before it answers.
    pub fn reasoning(&self, prompt: &[u32]) -> Reasoning {
        let tail = self.tail(prompt);
        let tail = tail.trim_end();
        match self.reasons {
            _ if tail.ends_with("<think>") => Reasoning::Open,
            true if !tail.ends_with("</think>") => Reasoning::Possible,
            _ => Reasoning::None,
        }
    }

    /// Number of ids the tokenizer knows, added tokens included (the model may have more rows).
    pub const fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// SHA-256 of `tokenizer.json`, in hexadecimal.
    pub fn tokenizer_sha256(&self) -> &str {
        &self.tokenizer_sha256
    }

    /// A fresh detokenizer, for one reply.
    pub fn detokenizer(&self) -> Detokenizer {
        Detokenizer::new(Arc::clone(&self.tokenizer), self.pieces)
    }

    /// How to read the reply to `prompt`: whether the prompt itself opened the reasoning block.
    pub fn reply_options(&self, prompt: &[u32], tools: bool, id_seed: String) -> ReplyOptions {
        let thinking = self.tail(prompt).trim_end().ends_with("<think>");
        ReplyOptions { tools, thinking, eager: false, id_seed }
    }

    /// The end of a prompt, as text.
    fn tail(&self, prompt: &[u32]) -> String {
        let tail = &prompt[prompt.len().saturating_sub(OPENING_IDS_MAX)..];
        self.tokenizer.decode(tail, false).unwrap_or_default()
    }
}

fn tokenizer_error(error: tokenizers::Error) -> RenderError {
    RenderError::Tokenizer { problem: error.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, RenderError> {
    std::fs::read(path).map_err(|source| RenderError::Unreadable { path: path.into(), source })
}

/// The bytes of a file, or `None` if there is no such file.
fn optional(path: &Path) -> Result<Option<Vec<u8>>, RenderError> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(RenderError::Unreadable { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The object in a JSON file; empty if there is no such file.
fn optional_json(path: &Path) -> Result<Map<String, Value>, RenderError> {
    let Some(bytes) = optional(path)? else { return Ok(Map::new()) };
    serde_json::from_slice(&bytes)
        .map_err(|error| RenderError::Malformed { path: path.into(), problem: error.to_string() })
}

/// The text of a special token, which is a string or an object with `content`.
fn token_text(value: Option<&Value>) -> Option<&str> {
    let value = value?;
    value.as_str().or_else(|| value.get("content")?.as_str())
}

fn defaults(dir: &Path) -> Result<GenerationDefaults, RenderError> {
    let path = dir.join("generation_config.json");
    GenerationDefaults::read(&optional_json(&path)?)
        .map_err(|problem| RenderError::Malformed { path, problem })
}

/// The ids that end a reply, ascending, and the one among them that is the model's end of turn.
fn stop_ids(
    dir: &Path,
    settings: &Map<String, Value>,
    tokenizer: &Tokenizer,
) -> Result<(Vec<u32>, u32), RenderError> {
    let mut ids = BTreeSet::new();
    for file in ["generation_config.json", "config.json"] {
        let path = dir.join(file);
        let json = optional_json(&path)?;
        let values = match json.get("eos_token_id") {
            None | Some(Value::Null) => continue,
            Some(Value::Array(values)) => values.clone(),
            Some(value) => vec![value.clone()],
        };
        for value in values {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            ids.insert(id.ok_or_else(|| RenderError::Malformed {
                path: path.clone(),
                problem: format!("`eos_token_id` holds {value}, expected token ids"),
            })?);
        }
    }
    let own = token_text(settings.get("eos_token")).and_then(|text| tokenizer.token_to_id(text));
    ids.extend(own);
    let Some(last) = ids.last().copied() else {
        return Err(RenderError::Malformed {
            path: dir.join("generation_config.json"),
            problem: "no end-of-turn token: `eos_token_id` is missing here, in config.json and in \
                      tokenizer_config.json"
                .to_owned(),
        });
    };
    Ok((ids.into_iter().collect(), own.unwrap_or(last)))
}

/// The chat template, and whether it knows of reasoning.
fn template(
    dir: &Path,
    settings: &Map<String, Value>,
) -> Result<(ChatTemplate, bool), RenderError> {
    let (path, sources) = sources(dir, settings)?;
    let reasons = sources.main.contains("<think>");
    let special = SPECIAL.iter().filter_map(|name| {
        token_text(settings.get(*name)).map(|text| ((*name).to_owned(), Value::from(text)))
    });
    let template = ChatTemplate::new(sources, special.collect())
        .map_err(|problem| RenderError::Malformed { path, problem })?;
    Ok((template, reasons))
}

fn sources(dir: &Path, settings: &Map<String, Value>) -> Result<(PathBuf, Sources), RenderError> {
    let path = dir.join("chat_template.jinja");
    if let Some(bytes) = optional(&path)? {
        return match String::from_utf8(bytes) {
            Ok(main) => Ok((path, Sources { main, tool_use: None })),
            Err(error) => Err(RenderError::Malformed { path, problem: error.to_string() }),
        };
    }
    let path = dir.join("tokenizer_config.json");
    let named = |wanted: &str| {
        let templates = settings.get("chat_template")?.as_array()?;
        let entry = templates.iter().find(|entry| entry["name"] == wanted)?;
        entry["template"].as_str().map(ToOwned::to_owned)
    };
    let single = settings.get("chat_template").and_then(Value::as_str).map(ToOwned::to_owned);
    match single.or_else(|| named("default")) {
        Some(main) => Ok((path, Sources { main, tool_use: named("tool_use") })),
        None => Err(RenderError::Malformed {
            path,
            problem: "there is no chat template: neither a chat_template.jinja beside it nor \
                      `chat_template` in it"
                .to_owned(),
        }),
    }
}
