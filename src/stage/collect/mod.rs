//! The `collect` stage.

mod clean;
mod place;
mod request;
mod sessions;

#[cfg(test)]
mod tests;
