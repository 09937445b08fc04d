//! Event files that TensorBoard reads: records of protobuf messages, each with checksums.
//!
//! A record is the length of its data (u64), the masked CRC-32C of those eight bytes (u32), the
//! data, and their masked CRC-32C, all little-endian (tensorflow/core/lib/io/record_writer.cc). The
//! data is a `tensorflow.Event` (event.proto): `wall_time` 1, `step` 2, `file_version` 3,
//! `summary` 5 with values of `tag` 1 and `simple_value` 2.

use std::fs::File;
use std::io::Write;
use std::path::Path;

/// What the first record of every file says.
const FILE_VERSION: &str = "brain.Event:2";
/// Added to a rotated checksum, so that a checksum of checksums is none.
const MASK: u32 = 0xA282_EAD8;
/// The reflected polynomial of CRC-32C.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// An event file that is written.
#[derive(Debug)]
pub struct EventFile(File);

impl EventFile {
    /// A new file in `dir`, which is created; `began_at_us` and `pid` tell it from others.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(dir: &Path, began_at_us: i64, pid: u32) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let name = format!("events.out.tfevents.{:010}.openclaw-rl.{pid}", began_at_us / 1_000_000);
        let mut file = Self(File::options().create(true).append(true).open(dir.join(name))?);
        let mut event = wall_time(began_at_us);
        bytes(&mut event, 3, FILE_VERSION.as_bytes());
        file.record(&event)?;
        Ok(file)
    }

    /// Adds values by name at a step.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn scalars(
        &mut self,
        step: u64,
        at_us: i64,
        values: &[(String, f64)],
    ) -> std::io::Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut scalar = Vec::new();
            bytes(&mut scalar, 1, tag.as_bytes());
            // field 2, of four bytes
            scalar.push(2 << 3 | 5);
            scalar.extend((*value as f32).to_le_bytes());
            bytes(&mut summary, 1, &scalar);
        }
        let mut event = wall_time(at_us);
        // field 2, a variable-length number
        event.push(2 << 3);
        varint(&mut event, step);
        bytes(&mut event, 5, &summary);
        self.record(&event)
    }

    /// A record at once, so that a process that dies leaves whole ones, or a torn one at the end,
    /// which readers skip.
    fn record(&mut self, data: &[u8]) -> std::io::Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(data.len() + 16);
        record.extend(length);
        record.extend(masked(crc32c(&length)).to_le_bytes());
        record.extend(data);
        record.extend(masked(crc32c(data)).to_le_bytes());
        self.0.write_all(&record)
    }
}

/// An event that says when it was, in seconds: field 1, of eight bytes.
fn wall_time(at_us: i64) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend((at_us as f64 / 1e6).to_le_bytes());
    event
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// A field of bytes, a text or a message.
fn bytes(to: &mut Vec<u8>, field: u8, value: &[u8]) {
    to.push(field << 3 | 2);
    varint(to, value.len() as u64);
    to.extend(value);
}

fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(MASK)
}

/// CRC-32C (Castagnoli, RFC 3720 B.4), a bit at a time: a step writes a kilobyte or two.
fn crc32c(data: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
    !data.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720 B.4
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_record_is_framed_as_readers_expect() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(dir.path(), 1_700_000_000_500_000, 7).unwrap();
        file.scalars(300, 1_700_000_001_000_000, &[("loss".to_owned(), 0.5)]).unwrap();
        let name = "events.out.tfevents.1700000000.openclaw-rl.7";
        let written = std::fs::read(dir.path().join(name)).unwrap();
        let mut at = 0;
        let mut records = Vec::new();
        while at < written.len() {
            let length = u64::from_le_bytes(written[at..at + 8].try_into().unwrap()) as usize;
            let crc = u32::from_le_bytes(written[at + 8..at + 12].try_into().unwrap());
            assert_eq!(crc, masked(crc32c(&written[at..at + 8])));
            let data = &written[at + 12..at + 12 + length];
            let end = at + 12 + length;
            let crc = u32::from_le_bytes(written[end..end + 4].try_into().unwrap());
            assert_eq!(crc, masked(crc32c(data)));
            records.push(data.to_vec());
            at = end + 4;
        }
        assert_eq!(records.len(), 2);
        assert_eq!(&records[0][9..], b"\x1a\x0dbrain.Event:2");
        let scalar = [b"\x0a\x04loss\x15".as_slice(), &0.5f32.to_le_bytes()].concat();
        let summary = [&[0x0a, scalar.len() as u8], scalar.as_slice()].concat();
        let tail = [&[0x10, 0xac, 0x02, 0x2a, summary.len() as u8], summary.as_slice()].concat();
        assert_eq!(&records[1][9..], tail);
    }
}
