//! Files that were made to cost without end, and workers that the kernel gives no more than the least of machines has.

use std::fs;
use std::io::{self, Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use station::sandbox::{Sandbox, Start};

use crate::papers::zip_of;

/// Boxes in boxes.
const NESTED: u32 = 1_000;
/// What 10 GB and more unpack from: so many times 64 MiB of nothing.
const MEMBERS: usize = 160;

/// A name, the bytes, and the rule by which they are not inspectable.
#[must_use]
pub fn all() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let point = b"J1 3287121.334 606857.921\nJ2 3287144.102 606837.744\n".to_vec();
    vec![
        ("10 GB.zip", bomb(), "expands-too-far"),
        ("10 GB.gz", gzip(&vec![0; 64 << 20], Compression::best()).repeat(MEMBERS), "expands-too-far"),
        ("nest.zip", nested(point.clone(), |inner| zip_of(&[("a.zip", inner)], true)), "nested-too-deep"),
        ("nest.gz", nested(point, |inner| gzip(inner, Compression::none())), "nested-too-deep"),
    ]
}

/// 160 members of 64 MiB of nothing: 10.7 GB in 10 MiB, packed once and named 160 times.
fn bomb() -> Vec<u8> {
    let one = zip_of(&[("0", &vec![0; 64 << 20])], false);
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for number in 0..MEMBERS {
        let mut archive = zip::ZipArchive::new(Cursor::new(one.as_slice())).expect("it was just made");
        let member = archive.by_index(0).expect("it has a member");
        writer.raw_copy_file_rename(member, format!("{number}.txt")).expect("memory takes it");
    }
    writer.finish().expect("memory takes it").into_inner()
}

fn nested(mut inner: Vec<u8>, wrap: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    for _ in 0..NESTED {
        inner = wrap(&inner);
    }
    inner
}

fn gzip(bytes: &[u8], how: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), how);
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// Workers of `program` that the kernel gives 64 MiB of memory to write to and one second of processor time: one that
/// asks for more dies. `folder` takes the script that says so.
///
/// # Errors
/// The script cannot be written.
pub fn small_sandbox(folder: &Path, program: &Path) -> io::Result<Sandbox> {
    let node = folder.join("node");
    fs::write(&node, format!("#!/bin/sh\nulimit -d 65536 && ulimit -t 1 && exec {} \"$@\"\n", program.display()))?;
    fs::set_permissions(&node, fs::Permissions::from_mode(0o755))?;
    let without = ["without", "limits"].map(str::to_owned).to_vec();
    Ok(Sandbox::started_by(Start { program: node, more: without, ..Start::default() }))
}
