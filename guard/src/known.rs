//! What was already looked at inside one file: a container that holds the same bytes many times, or boxes of such
//! containers in each other, costs no more than one of them.
//!
//! Only what was found clean is remembered, under the strong digest of its bytes and all that a look at it depends on;
//! whatever else is looked at again, so that its evidence stands at each of its places. What its members had cost is paid
//! again every time: a bomb stays one.

use std::collections::HashMap;

use protocol::{Digest, Suite};

use crate::kind::Kind;

/// Shorter contents, the cells of a table of digests, are looked at as fast as they are known again.
const KNOWN_BYTES_MIN: usize = 24;
/// Bytes of endings that are remembered: `csv.gz` and its like. A longer one is a name that somebody made up.
const ENDINGS_BYTES_MAX: usize = 32;
/// `a.csv.gz` has two that tell something.
const ENDINGS_MAX: usize = 2;
/// Contents remembered of one file, some hundred bytes each.
const KNOWN_MAX: usize = 20_000;

/// All that the look at a member depends on, besides what has been found before it.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Member {
    content: Digest,
    endings: String,
    depth: u8,
    circumstances: [bool; 3],
}

impl Member {
    /// `None`: too small to be worth it, or of a name that ends in more than is remembered. `circumstances` are what the look was told about the place.
    pub(crate) fn of(name: &str, bytes: &[u8], depth: u8, circumstances: [bool; 3]) -> Option<Member> {
        // A name tells by what it ends in, and `a.csv.gz` by both of its endings.
        let endings = name.split_once('.').map_or("", |(_, endings)| endings);
        let told = endings.len() <= ENDINGS_BYTES_MAX && endings.split('.').count() <= ENDINGS_MAX;
        (told && bytes.len() >= KNOWN_BYTES_MIN).then(|| Member {
            content: Suite::Std.digest(bytes),
            endings: endings.to_owned(),
            depth,
            circumstances,
        })
    }
}

/// What a clean member was, what stood inside it, and what looking into it had cost.
#[derive(Clone)]
pub(crate) struct Cost {
    pub kind: Kind,
    pub inside: Vec<Kind>,
    pub has_written_picture: bool,
    pub expanded: usize,
    pub members: u32,
}

/// The clean members of one file.
#[derive(Default)]
pub(crate) struct Known(HashMap<Member, Cost>);

impl Known {
    pub(crate) fn cost(&self, member: &Member) -> Option<Cost> {
        self.0.get(member).cloned()
    }

    pub(crate) fn keep(&mut self, member: Member, cost: Cost) {
        if self.0.len() < KNOWN_MAX {
            self.0.insert(member, cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Member;
    use crate::detection::{DetectVerdict, examine};
    use crate::look::Look;

    fn tar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, content) in members {
            let mut header = [0_u8; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[100..107].copy_from_slice(b"0000644");
            header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
            header[148..156].fill(b' ');
            header[156] = b'0';
            header[257..265].copy_from_slice(b"ustar\x0000");
            let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
            header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            out.extend(header);
            out.extend(content);
            out.resize(out.len().next_multiple_of(512), 0);
        }
        out.resize(out.len() + 1024, 0);
        out
    }

    fn same(count: usize, content: &[u8], ending: &str) -> Vec<(String, Vec<u8>)> {
        (0..count).map(|n| (format!("m{n}.{ending}"), content.to_vec())).collect()
    }

    #[test]
    fn boxes_of_the_same_boxes_are_paid_for_every_time_and_looked_at_once() {
        let text = "业务 0001 已受理，材料齐全。".repeat(40);
        let one = tar(&same(20, text.as_bytes(), "txt"));
        let two = tar(&same(20, &one, "tar"));
        let mut look = Look::new();
        look.file("a.tar", &two, "a.tar", 0);
        assert!(look.findings.is_empty() && look.obstacles.is_empty());
        let paid = Look::new().expanded_left() - look.expanded_left();
        assert_eq!(paid, 20 * one.len() + 400 * text.len());
    }

    #[test]
    fn a_name_of_endless_endings_is_not_kept() {
        let of = |name: &str| Member::of(name, &[b'a'; 100], 1, [false; 3]).map(|member| member.endings);
        assert_eq!((of("a"), of("a.csv.gz")), (Some(String::new()), Some("csv.gz".to_owned())));
        assert_eq!((of("a.b.csv.gz"), of(&format!("a.{}", "b".repeat(1_000)))), (None, None));
    }

    #[test]
    fn what_is_met_is_met_in_each_of_its_places_and_a_name_that_says_otherwise_is_looked_at_anew() {
        let corner = "界址点 X=4851490.4193 Y=29546865.2760 ".repeat(20);
        let seen = examine("a.tar", &tar(&same(3, corner.as_bytes(), "txt")), &[]);
        let places =
            seen.findings.iter().filter(|finding| finding.rule == "axis-pair" || finding.rule == "precise-pair");
        assert!(places.count() >= 3);
        // A piece of a page is a text, and no XML.
        let piece = "<a>未完 ".repeat(100);
        let both = [same(1, piece.as_bytes(), "txt"), same(1, piece.as_bytes(), "xml")].concat();
        assert_eq!(examine("a.tar", &tar(&both[..1]), &[]).verdict(), DetectVerdict::Clean);
        assert_eq!(examine("a.tar", &tar(&both), &[]).verdict(), DetectVerdict::Uninspectable);
    }
}
