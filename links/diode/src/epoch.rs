//! The link epoch: drawn at each start of the sender, larger than all before.
//!
//! Kept in `epoch` under the link's folder and durable before it is used. Where the file is lost the wall clock stands
//! in: seconds since 1970 are larger than any earlier epoch unless the clock was wrong, and then the receiver drops
//! the beacons as past until the clock catches up, which its status shows as silence.

use std::io;
use std::path::Path;

use protocol::Timestamp;
use spool::disk::Disk;

/// Draws the epoch of this start.
pub(crate) fn draw(disk: &Disk, folder: &Path, now: Timestamp) -> io::Result<u32> {
    let path = folder.join("epoch");
    let last: u32 = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    // A clock past 2106 is wrong, and its epoch would be the last of all.
    let clock = u32::try_from(now.seconds()).unwrap_or(0);
    let epoch = clock.max(last.checked_add(1).ok_or_else(|| io::Error::other("the link epochs are used up"))?);
    disk.write(&path, format!("{epoch}\n").as_bytes())?;
    Ok(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_draws_a_larger_epoch_whatever_the_clock_says() {
        let folder = std::env::temp_dir().join(format!("trilock-epoch-{}", std::process::id()));
        let disk = Disk::real();
        disk.create_dir_all(&folder).expect("a folder");
        let drawn: Vec<u32> = [50_000, 90_000, 10_000, 5_000_000_000_000, 90_000]
            .map(|ms| draw(&disk, &folder, Timestamp(ms)).expect("an epoch"))
            .to_vec();
        disk.remove_tree(&folder).expect("removed");
        assert_eq!(drawn, [50, 90, 91, 92, 93], "a clock in 2128 does not use them up");
    }
}
