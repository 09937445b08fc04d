//! A version as others load it: merged weights as a Hugging Face directory, and a PEFT adapter.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Serialize;
use serde_json::Value;

use super::error::DeployError;
use crate::config::Home;
use crate::fault::chain;
use crate::model::{Decoder, SaveDtype};
use crate::rollout::Version;
use crate::weights::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, Manifest, Registry};

/// Where the adapter goes, within the directory.
const ADAPTER: &str = "adapter";
/// What a version holds for the trainer alone.
const OF_THE_TRAINER: &[&str] = &["optimizer.safetensors", "trainer.json"];
/// Files in which the weights of a model lie.
const SAFETENSORS: &str = ".safetensors";

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The version.
    pub version: u64,
    /// The directory that holds the whole model.
    pub dir: PathBuf,
    /// The directory of the adapter, of an adapter version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
    /// The base that the adapter names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
}

/// Writes a version (the live one, if none is named) into a directory, which must be empty or not
/// there. Its checksums are verified first.
///
/// # Errors
/// The version is not there or damaged; the directory holds something, or cannot be written.
pub fn export(home: &Home, dir: &Path, version: Option<u64>) -> Result<Exported, DeployError> {
    let registry = Registry::open(home)?;
    let version = match version {
        Some(version) => Version(version),
        None => registry.state()?.live,
    };
    let _held = registry.hold(version)?;
    let manifest = registry.verify(version)?;
    let failed = |reason: String| DeployError::Export { path: dir.to_owned(), reason };
    let dir = std::path::absolute(dir).map_err(|error| failed(error.to_string()))?;
    fs::create_dir_all(&dir).map_err(|error| failed(error.to_string()))?;
    let mut there = fs::read_dir(&dir).map_err(|error| failed(error.to_string()))?;
    if there.next().is_some() {
        return Err(failed("it is not empty".to_owned()));
    }
    let from = registry.dir(version);
    let Some(base) = registry.base_of(version)? else {
        copy(&manifest, &from, &dir, |_| true).map_err(failed)?;
        return Ok(Exported { version: version.0, dir, adapter: None, base: None });
    };
    registry.verify(base)?;
    let base = registry.dir(base);
    let base = std::path::absolute(&base).unwrap_or(base);
    let sidecar = |name: &str| name != ADAPTER_CONFIG && !name.contains(SAFETENSORS);
    copy(&manifest, &from, &dir, sidecar).map_err(failed)?;
    let broke = |error| failed(chain(&error));
    let merged = Decoder::load(&from, &Device::flex()).map_err(broke)?.merged();
    merged.save(&dir, SaveDtype::F32).map_err(|error| failed(chain(&error)))?;
    keep_config(&base, &dir).map_err(failed)?;
    let adapter = dir.join(ADAPTER);
    write_adapter(&from, &adapter, &base).map_err(failed)?;
    Ok(Exported { version: version.0, dir, adapter: Some(adapter), base: Some(base) })
}

/// Copies those files of a version that are not the trainer's alone.
fn copy(
    manifest: &Manifest,
    from: &Path,
    to: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), String> {
    let names = manifest.files.iter().map(|file| file.name.as_str());
    for name in names.filter(|name| !OF_THE_TRAINER.contains(name) && wanted(name)) {
        let target = to.join(name);
        let made = target.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::copy(from.join(name), &target).map(drop))
            .map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// The base's own `config.json`, whose keys other programs know, with the type of the weights that
/// were written.
fn keep_config(base: &Path, dir: &Path) -> Result<(), String> {
    let broken = |error: &dyn std::fmt::Display| format!("{CONFIG}: {error}");
    let text = fs::read(base.join(CONFIG)).map_err(|error| broken(&error))?;
    let mut config: Value = serde_json::from_slice(&text).map_err(|error| broken(&error))?;
    for key in ["dtype", "torch_dtype"] {
        if config.get(key).is_some() {
            config[key] = "float32".into();
        }
    }
    let text = format!("{config:#}\n");
    fs::write(dir.join(CONFIG), text).map_err(|error| broken(&error))
}

/// The adapter with a base that is found from anywhere on this machine.
fn write_adapter(from: &Path, to: &Path, base: &Path) -> Result<(), String> {
    let broken = |error: &dyn std::fmt::Display| format!("{ADAPTER}: {error}");
    fs::create_dir_all(to).map_err(|error| broken(&error))?;
    fs::copy(from.join(ADAPTER_WEIGHTS), to.join(ADAPTER_WEIGHTS))
        .map_err(|error| broken(&error))?;
    let text = fs::read(from.join(ADAPTER_CONFIG)).map_err(|error| broken(&error))?;
    let mut settings: Value = serde_json::from_slice(&text).map_err(|error| broken(&error))?;
    settings["base_model_name_or_path"] = base.display().to_string().into();
    let text = format!("{settings:#}\n");
    fs::write(to.join(ADAPTER_CONFIG), text).map_err(|error| broken(&error))
}
