//! `openclaw-rl store`

use clap::{Args, Subcommand};
use openclaw_rl::config::Home;
use openclaw_rl::run::Figures;
use openclaw_rl::stage::inspect;
use serde_json::Value;

use crate::Global;
use crate::edge::{self, Fault};
use crate::resolve::home;
