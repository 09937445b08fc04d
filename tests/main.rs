//! The one integration binary: a module per stage, and those that span stages.
mod tidy;
mod render;
