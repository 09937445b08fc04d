//! What of judging needs no server, taken by path.

#[path = "../../../src/judge/exchange.rs"]
mod exchange;
#[path = "../../../src/judge/horizon.rs"]
mod horizon;
#[path = "../../../src/judge/leak.rs"]
mod leak;
#[path = "../../../src/judge/phrases.rs"]
mod phrases;
#[path = "../../../src/judge/prompts.rs"]
pub mod prompts;
#[path = "../../../src/judge/results.rs"]
mod results;
#[path = "../../../src/judge/rules.rs"]
mod rules;
#[path = "../../../src/judge/votes.rs"]
pub mod votes;

pub use exchange::Exchange;
pub use horizon::Case;
pub use leak::Known;
pub use rules::{Verdict, verdict};
