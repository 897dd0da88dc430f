//! What is confirmed was read from the medium, not from the memory that the export left behind: the image under a mounted
//! medium is changed behind its file system's back, where only a read of the medium itself can see it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a story stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test spoils a medium as age and dirt would")]

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tests::courier::{drop_results, ends_of_the_ferry};
use tests::office::Office;
use tests::volume::{self, Ext4, Volume};

const DROPS: usize = 4;
const MEDIUM_BYTES: u64 = 32 << 20;
/// So many bytes of a sealed bundle stand nowhere else.
const MARK: usize = 64;

fn largest_bundle(trip: &Path) -> PathBuf {
    let files = fs::read_dir(trip).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|kind| kind == "bundle"))
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap()
}

fn ferry(office: &Office, person: &str, command: &str, medium: &Path) -> std::io::Result<String> {
    office.ferry_as(person, "intranet", command, &["--trip", "1", "--medium", medium.to_str().unwrap()])
}

#[test]
fn a_byte_that_went_bad_on_the_medium_is_found_though_the_memory_still_has_it_right() {
    let folder = match volume::ground("read-back") {
        Ok(folder) => folder,
        Err(why) => return println!("SKIPPED: no medium can be mounted here, the read-back was not tried: {why}"),
    };
    let (mut office, mut traffic) = ends_of_the_ferry(&folder.path().join("office"), "std", "").unwrap();
    drop_results(&mut office, &mut traffic, DROPS).unwrap();
    let (image, place) = (folder.path().join("image"), folder.path().join("medium"));
    let ext4 = Ext4 { bytes: MEDIUM_BYTES, features: "", options: "defaults" };
    let medium = Volume::ext4(&image, &place, &ext4).unwrap();
    let at = medium.place.to_str().unwrap();
    let words = ["--medium-id", "disc-0001", "--carrier", "carrier-sun", "--medium", at];
    office.ferry_as("operator-ma", "intranet", "export", &words).unwrap();
    for person in ["approver-li", "approver-zhao"] {
        ferry(&office, person, "approve", &medium.place).unwrap();
    }

    // Everything of the medium is in memory, as after a copy.
    let bundle = largest_bundle(&medium.place.join("TRILOCK/1"));
    let good = fs::read(&bundle).unwrap();
    let mark = &good[good.len() / 2..][..MARK];
    let raw = fs::read(&image).unwrap();
    let stands = raw.windows(MARK).position(|window| window == mark).expect("the export has synced the medium");
    let under = fs::OpenOptions::new().write(true).open(&image).unwrap();
    under.write_all_at(&[mark[0] ^ 1], stands as u64).unwrap();
    assert!(fs::read(&bundle).unwrap() == good, "the memory still has it right");

    let error = ferry(&office, "operator-ma", "confirm", &medium.place).unwrap_err().to_string();
    let name = bundle.file_name().unwrap().to_str().unwrap();
    assert!(error.contains(name), "{name} is not named: {error}");
    assert!(fs::read(&bundle).unwrap() != good, "what is read now comes from the medium");

    // Right again, it is confirmed.
    under.write_all_at(&mark[..1], stands as u64).unwrap();
    ferry(&office, "operator-ma", "confirm", &medium.place).unwrap();
    medium.unmount().unwrap();
}
