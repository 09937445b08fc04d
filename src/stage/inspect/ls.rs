//! What a home holds: tables, turns, versions.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use super::{InspectError, StatusTail};
use crate::config::Home;
use crate::fault::Explain;
use crate::store::{Table, rows_of};

/// What a home holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listing {
    /// The tables.
    pub tables: Vec<TableLine>,
    /// Number of turns by state.
    pub turns: BTreeMap<&'static str, u64>,
    /// Number of rejected turns by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// The weights versions, ascending.
    pub versions: Vec<VersionLine>,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableLine {
    /// Its name.
    pub table: &'static str,
    /// Number of segments.
    pub segments: u64,
    /// Number of rows in the readable ones.
    pub rows: u64,
    /// Size of all of them.
    pub bytes: u64,
}

/// One weights version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionLine {
    /// Its number.
    pub version: u64,
    /// What it was built on.
    pub parent: Option<u64>,
    /// Number of turns in the batch that made it.
    pub turns: u64,
    /// Whether the servers should have it.
    pub live: bool,
    /// Whether it, or what it was built on, was refused or rolled back.
    pub dead: bool,
    /// Size of its files.
    pub bytes: u64,
}

/// Lists tables, turns and versions.
///
/// # Errors
/// [`InspectError::NoHome`]; the store or the registry cannot be opened or listed.
pub fn ls(home: &Home) -> Result<Listing, InspectError> {
    let (store, registry) = super::open(home)?;
    let mut problems = Vec::new();
    let mut tables = Vec::new();
    for table in Table::ALL {
        let segments = store.segments(*table)?;
        let mut line =
            TableLine { table: table.label(), segments: segments.len() as u64, rows: 0, bytes: 0 };
        for path in segments {
            line.bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            match rows_of(&path, *table) {
                Ok(rows) => line.rows += rows,
                Err(error) => problems.push(error.to_string()),
            }
        }
        tables.push(line);
    }
    let status = StatusTail::over(&store, &registry).refresh();
    let mut versions = Vec::new();
    let numbers = registry.versions()?;
    let state = match registry.state() {
        Ok(state) => Some(state),
        Err(_) if numbers.is_empty() => None,
        Err(error) => {
            problems.push(format!("{}: {error}", error.label()));
            None
        }
    };
    for version in numbers {
        let manifest = match registry.manifest(version) {
            Ok(manifest) => manifest,
            Err(error) => {
                problems.push(error.to_string());
                continue;
            }
        };
        let lineage = registry.lineage(version).unwrap_or_default();
        let dead = |v| state.as_ref().is_some_and(|state| state.dead.contains(v));
        versions.push(VersionLine {
            version: version.0,
            parent: manifest.parent.map(|parent| parent.0),
            turns: manifest.step.map_or(0, |step| step.trained.len() as u64),
            live: state.as_ref().is_some_and(|state| state.live == version),
            dead: lineage.iter().any(dead),
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
        });
    }
    problems.dedup();
    Ok(Listing { tables, turns: status.by_state, rejected: status.rejected, versions, problems })
}
