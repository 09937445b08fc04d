//! `--input` and `--output`: a stage on plain Parquet files, without a home.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::edge::{self, Fault};

/// Flags of a stage that can work on plain files.
#[derive(Debug, Default, Args)]
pub struct FileArgs {
    /// Read this instead of the home: a Parquet file, a directory of them, or `-` for standard
    /// input
    #[arg(long, value_name = "FILE|DIR|-", requires = "output", conflicts_with = "follow")]
    pub input: Option<PathBuf>,
    /// Write a Parquet file instead of into the home: its name, a directory, or `-` for standard
    /// output (the summary then goes to standard error)
    #[arg(long, value_name = "FILE|DIR|-", requires = "input")]
    pub output: Option<PathBuf>,
}

/// The files that a stage is to read and to write.
pub struct Files {
    pub input: PathBuf,
    pub output: PathBuf,
    to_stdout: bool,
    /// Holds what came from standard input, or goes to standard output: Parquet is read and
    /// checked from its end.
    _spool: Option<tempfile::TempDir>,
}

impl FileArgs {
    /// The files that were named; `None` if the stage is to work on its home.
    pub fn open(&self) -> Result<Option<Files>, Fault> {
        let (Some(input), Some(output)) = (&self.input, &self.output) else { return Ok(None) };
        let is_pipe = |path: &Path| path == Path::new("-");
        let to_stdout = is_pipe(output);
        if to_stdout && std::io::stdout().is_terminal() {
            return Err(Fault::usage(
                "standard output is a terminal",
                "give a file as `--output`, or pipe the output into a program that reads Parquet",
            ));
        }
        let spool = match is_pipe(input) || to_stdout {
            true => Some(tempfile::tempdir().map_err(|error| {
                Fault::usage(
                    format!("temporary directory not made: {error}"),
                    "set TMPDIR to a directory that can be written to",
                )
            })?),
            false => None,
        };
        let spooled = |name: &str, path: &PathBuf| match &spool {
            Some(dir) if is_pipe(path) => dir.path().join(name),
            _ => path.clone(),
        };
        let files = Files {
            input: spooled("input.parquet", input),
            output: spooled("output.parquet", output),
            to_stdout,
            _spool: spool,
        };
        if is_pipe(input) {
            read_stdin(&files.input)?;
        }
        Ok(Some(files))
    }
}

fn read_stdin(into: &Path) -> Result<(), Fault> {
    let mut stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        return Err(Fault::usage(
            "standard input is a terminal",
            "give a file as `--input`, or pipe a Parquet file into this command",
        ));
    }
    let mut copy = || {
        let mut file = File::create(into)?;
        std::io::copy(&mut stdin, &mut file)
    };
    copy().map(|_| ()).map_err(|error| {
        Fault::failed(
            format!("standard input not read: {error}"),
            "what is read lies in TMPDIR first: it must have room for it",
        )
    })
}

impl Files {
    /// Hands the output on, and gives the summary if it is to be printed on standard output.
    pub fn finish(self, summary: Option<Value>) -> Result<Option<Value>, Fault> {
        if !self.to_stdout {
            return Ok(summary);
        }
        let mut stdout = std::io::stdout().lock();
        let mut copy = || {
            std::io::copy(&mut File::open(&self.output)?, &mut stdout)?;
            stdout.flush()
        };
        copy().map_err(|error| {
            Fault::failed(
                format!("standard output not written: {error}"),
                "the program behind the pipe must read to the end",
            )
        })?;
        if let Some(summary) = summary {
            edge::print_beside(&summary);
        }
        Ok(None)
    }
}
