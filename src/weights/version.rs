//! Names of version directories.

use crate::rollout::Version;

/// The directory name of a version.
pub(super) fn dir_name(version: Version) -> String {
    format!("v{:010}", version.0)
}

/// The version of a directory name, or `None` if it is no version's.
pub(super) fn parse(name: &str) -> Option<Version> {
    let digits = name.strip_prefix('v')?;
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    let version = Version(number);
    (dir_name(version) == name).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for number in [0, 7, 9_999_999_999, 10_000_000_000] {
            assert_eq!(parse(&dir_name(Version(number))), Some(Version(number)));
        }
        for name in ["v1", "v00000000001", "w0000000001", "v000000000x", "v", ".draft-v0000000000"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
