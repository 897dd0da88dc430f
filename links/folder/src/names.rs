//! Names of files in the gate's directories. Whatever else lies there is not ours: it is counted and never touched.
//!
//! ```text
//! <id, 32 hex>.bundle<suffix>   <id, 32 hex>.receipts<suffix>   beacon-<epoch, 8 hex>-<n, 16 hex>.tl<suffix>
//! ```

use protocol::BundleId;
use spool::EntryKind;

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A sealed file.
    Entry(BundleId, EntryKind),
    /// What exists at the other end.
    Beacon { epoch: u32, number: u64 },
}

fn word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Bundle => "bundle",
        EntryKind::Receipts => "receipts",
    }
}

impl Named {
    pub(crate) fn file_name(&self, suffix: &str) -> String {
        match self {
            Named::Entry(id, kind) => format!("{id}.{}{suffix}", word(*kind)),
            Named::Beacon { epoch, number } => format!("beacon-{epoch:08x}-{number:016x}.tl{suffix}"),
        }
    }

    /// Only names exactly as we write them.
    pub(crate) fn parse(name: &str, suffix: &str) -> Option<Named> {
        let (stem, ending) = name.strip_suffix(suffix)?.split_once('.')?;
        let named = match ending {
            "bundle" => Named::Entry(BundleId::from_hex(stem)?, EntryKind::Bundle),
            "receipts" => Named::Entry(BundleId::from_hex(stem)?, EntryKind::Receipts),
            "tl" => {
                let (epoch, number) = stem.strip_prefix("beacon-")?.split_once('-')?;
                let (epoch, number) = (u32::from_str_radix(epoch, 16).ok()?, u64::from_str_radix(number, 16).ok()?);
                Named::Beacon { epoch, number }
            }
            _ => return None,
        };
        (named.file_name(suffix) == name).then_some(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::der_types::Octets;

    #[test]
    fn a_name_is_read_only_as_it_is_written() {
        for suffix in ["", ".dat"] {
            for named in [
                Named::Entry(Octets([0xab; 16]), EntryKind::Bundle),
                Named::Entry(Octets([1; 16]), EntryKind::Receipts),
                Named::Beacon { epoch: 7, number: u64::MAX },
            ] {
                assert_eq!(Named::parse(&named.file_name(suffix), suffix), Some(named));
            }
        }
        for foreign in
            ["x.bundle", "beacon-7-1.tl", "beacon-+0000007-0000000000000001.tl", ".tmp-1", "a", "", ".bundle"]
        {
            assert_eq!(Named::parse(foreign, ""), None, "{foreign}");
        }
        assert_eq!(Named::parse(&Named::Entry(Octets([1; 16]), EntryKind::Bundle).file_name(""), ".dat"), None);
    }
}
