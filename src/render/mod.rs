//! Messages to tokens and back: the only room that knows the tokenizer and the chat template.
//!
//! - [`Renderer`]: one model directory's tokenizer, template and end-of-turn ids.
//! - [`Detokenizer`]: ids to text as they come, never cutting a character.
//! - [`ReplyParser`]: text to content, reasoning and tool calls as it comes.
//! - [`Grammars`]: what a reply has to be, as the ids that may come next.
//! - [`with_hint`]: the request as the teacher sees it.

mod call;
mod defaults;
mod detokenizer;
mod error;
mod grammar;
mod json;
mod messages;
mod renderer;
mod reply;
#[cfg(test)]
mod reply_tests;
mod template;
#[cfg(test)]
mod tests;

pub use defaults::GenerationDefaults;
pub use detokenizer::Detokenizer;
pub use error::RenderError;
pub use grammar::{Grammar, Grammars, Reasoning, Shape, Tool};
pub use messages::with_hint;
pub use renderer::{Renderer, Told};
pub use reply::{ReplyOptions, ReplyParser, ReplyPart};
