//! `collect` on plain files, without a home.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::config::{CollectConfig, Home};
use crate::rollout::{ClosedBy, Feedback, Rollout};
use crate::store::{
    FileWriter, Store, StoreError, Table, files, files_named, output_file, read_file, rows,
};

use super::collector::Collector;
use super::{CollectError, CollectSummary};

/// The same on plain files: the turns of the Parquet file or directory `input` become the rollouts
/// of the file `output` (or of `rollouts.parquet` in it), which is replaced. Where the input is a
/// directory, verdicts of the table `feedback` in it count too. Each turn has one row, the one
/// that counts.
///
/// # Errors
/// [`CollectError`]: a wrong value, an input that cannot be read, an output that cannot be
/// written. Nothing is left out, and the output stays as it was.
pub fn run_files(
    config: &CollectConfig,
    input: &Path,
    output: &Path,
    shutdown: &CancellationToken,
) -> Result<CollectSummary, CollectError> {
    config.validate()?;
    let inputs = files(input, Table::Turns)?;
    let output = output_file(output, Table::Rollouts, &inputs)?;
    let parent = output.parent().filter(|dir| !dir.as_os_str().is_empty());
    let beside = tempfile::Builder::new()
        .prefix(".openclaw-rl-collect-")
        .tempdir_in(parent.unwrap_or(Path::new(".")));
    let beside = beside.map_err(|source| {
        let doing = "write beside";
        StoreError::Io { doing, path: output.clone(), source }
    })?;
    let home = Home::new(beside.path());
    let store = Store::open(&home)?;
    let mut collector = Collector::open(config, &home, &store)?;
    let (_, outcomes) = collector.feed(inputs, shutdown)?;
    if let Some(error) = outcomes.into_iter().find_map(|(_, error)| error) {
        return Err(error.into());
    }
    if shutdown.is_cancelled() {
        return Err(CollectError::Interrupted);
    }
    collector.judge(verdicts(input)?);
    match config.close_all {
        true => collector.close_all(ClosedBy::IdleTimeout)?,
        false => collector.keep_up()?,
    }
    let mut writer = FileWriter::create(&output)?;
    for segment in store.segments(Table::Rollouts)? {
        for batch in rows::<Rollout>(&segment)? {
            let mut batch = batch?;
            batch.retain(|row| collector.rows.revision(row.turn_id) == Some(row.revision));
            writer.write(&batch)?;
        }
    }
    writer.finish()?;
    Ok(collector.end())
}

fn verdicts(input: &Path) -> Result<Vec<Feedback>, StoreError> {
    let mut verdicts = Vec::new();
    if input.is_dir() {
        for file in files_named(input, Table::Feedback)? {
            verdicts.append(&mut read_file::<Feedback>(&file)?);
        }
    }
    Ok(verdicts)
}
