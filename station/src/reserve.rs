//! The reserve: a little of the disk that the node holds and gives up when there is not a byte left, so that `status` can
//! still say which alarm stands. It holds nothing that anybody reads: lost, it costs nothing but this.

use std::io;
use std::path::{Path, PathBuf};

use protocol::Timestamp;
use serde_json::Value;
use spool::{Disk, Layout, Spool};

use crate::alarm::Alarm;
use crate::desk::read_small;
use crate::station::is_no_room;

/// A few snapshots, each written aside before the last one goes: one of a busy node has some tens of KiB.
const BYTES: usize = 512 * 1024;
/// No snapshot is longer; what is was not written by us.
const SNAPSHOT_BYTES_MAX: u64 = 16 << 20;

fn place(layout: &Layout) -> PathBuf {
    layout.status().join("reserve")
}

/// Takes it where it is not held, and there is room above the floor. A disk that does not give it is told of by others.
pub(crate) fn keep(spool: &Spool) {
    let path = place(spool.layout());
    if !path.exists() && spool.room(BYTES as u64).is_ok() {
        // No zeroes: some disks keep those without a block.
        let _kept = spool.disk().write(&path, &[0x5a; BYTES]);
    }
}

/// Puts a whole snapshot in place; without a byte or inode left, by what the reserve gives back.
pub(crate) fn write(disk: &Disk, layout: &Layout, path: &Path, bytes: &[u8]) -> io::Result<()> {
    match disk.write(path, bytes) {
        Err(error) if is_no_room(&error) && place(layout).exists() => {
            tracing::warn!(%error, path = %path.display(), "no room for a snapshot; the reserve is given up for it");
            disk.remove_file(&place(layout))?;
            disk.write(path, bytes)
        }
        done => done,
    }
}

/// What a daemon that cannot go on, or cannot start, leaves for `status`: the last snapshot, with this alarm too. Only for
/// whoever owns the spool, or knows that nobody does.
pub(crate) fn last_words(layout: &Layout, alarm: Alarm, now: Timestamp) -> io::Result<()> {
    let path = layout.status().join("status.json");
    let mut said: Value = serde_json::from_slice(&read_small(&path, SNAPSHOT_BYTES_MAX)?)?;
    if also(&mut said, alarm, now) {
        write(&Disk::real(), layout, &path, &serde_json::to_vec_pretty(&said)?)?;
    }
    Ok(())
}

/// Has a snapshot tell of an alarm as well; says whether it did not before.
pub(crate) fn also(said: &mut Value, alarm: Alarm, since: Timestamp) -> bool {
    let zone = said.get("zone").and_then(Value::as_str).unwrap_or("ZONE").to_owned();
    let Some(rows) = said.get_mut("alarms").and_then(Value::as_array_mut) else { return false };
    let is_new = !rows.iter().any(|row| row.get("code").and_then(Value::as_str) == Some(alarm.code()));
    if is_new {
        rows.push(alarm.row(since, 1, &zone));
    }
    is_new
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a story lays a snapshot out as a daemon did")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_daemon_that_had_to_end_leaves_its_alarm_beside_those_that_stand_and_says_it_once() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        std::fs::create_dir_all(layout.status()).unwrap();
        let path = layout.status().join("status.json");
        let before = json!({ "zone": "internet", "at_s": 7, "alarms": [{ "code": "retrying" }] });
        std::fs::write(&path, before.to_string()).unwrap();
        for at in [1_000, 2_000] {
            last_words(&layout, Alarm::SpoolFull, Timestamp(at)).unwrap();
        }
        let said: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((&said["at_s"], &said["zone"]), (&json!(7), &json!("internet")));
        let rows = said["alarms"].as_array().unwrap();
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!((&rows[0]["code"], &rows[1]["code"]), (&json!("retrying"), &json!("spool-full")));
        assert_eq!(rows[1]["since_ms"], 1_000);
    }

    #[test]
    fn where_there_is_no_snapshot_or_none_of_ours_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        std::fs::create_dir_all(layout.status()).unwrap();
        let path = layout.status().join("status.json");
        assert!(last_words(&layout, Alarm::SpoolFull, Timestamp(1)).is_err() && !path.exists());
        for torn in ["{\"alarms\": [", "[]", "{}"] {
            std::fs::write(&path, torn).unwrap();
            let _said = last_words(&layout, Alarm::SpoolFull, Timestamp(1));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), torn);
        }
    }
}
