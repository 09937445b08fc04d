//! One room per stage, none importing another; `inspect` reads what they left, `eval` talks to a
//! server as users do, and `bench` measures the decoder.

pub mod bench;
pub mod collect;
pub mod deploy;
pub mod eval;
pub mod hint;
pub mod inspect;
pub mod score;
pub mod serve;
pub mod train;
