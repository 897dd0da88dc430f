//! What was decided about a parcel, by code. A code crosses borders; words and samples never do.

use std::fmt;

use crate::der_types::impl_der_code;

/// What the guard of one node decided. Stands in custody entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// Inspected and let through unchanged.
    Released = 1,
    /// Let through after its coordinates were taken out, at the origin only.
    Stripped = 2,
    /// Let through uninspected, because its type may enter the internal zone so.
    Kept = 3,
    /// Refused, and sealed to the office's security key: addressed to no node.
    Held = 4,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Verdict; 4] = [Verdict::Released, Verdict::Stripped, Verdict::Kept, Verdict::Held];
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal;)*) => {
        /// Why a parcel or bundle did not go on. Stands in receipts, notices, the ledger and metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $variant = $code,)* }
        impl Reason {
            /// All reasons.
            pub const ALL: [Reason; [$($code),*].len()] = [$(Reason::$variant),*];
            /// The code word in notices and messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }
        }
    };
}

reasons! {
    /// Survey coordinates were found.
    Coordinates = 1, "coordinates";
    /// Encrypted, malformed, unknown or over a limit: nobody could look inside.
    NotInspectable = 2, "not-inspectable";
    /// No registered parcel type of the route fits.
    TypeNotRegistered = 3, "type-not-registered";
    /// A file in it is of a kind that its type does not list.
    KindNotAllowed = 4, "kind-not-allowed";
    /// Larger, deeper or of more files than its type or the protocol allows.
    TooLarge = 5, "too-large";
    /// A name that cannot travel: control characters, `..`, absolute, not in the route's encoding.
    BadName = 6, "bad-name";
    /// Coordinates stand in a signed object; it must be issued anew without them.
    SignedNeedsReissue = 7, "signed-needs-reissue";
    /// A required element is absent or a denied one present.
    SchemaMismatch = 8, "schema-mismatch";
    /// Two people must look at it first.
    NeedsApproval = 9, "needs-approval";
    /// A virus scanner said no, or could not be asked.
    Scanner = 10, "scanner";
    /// The content changed while it was read.
    Changed = 11, "changed-while-read";
    /// Symbolic or hard link, device, fifo or socket.
    NotAFile = 12, "not-a-file";
    /// Dropped by an account that the route does not list.
    NotAllowedToDrop = 13, "not-allowed-to-drop";
    /// The route is switched off.
    RouteDisabled = 14, "route-disabled";
    /// Retention ended before custody passed.
    Expired = 15, "expired";
    /// This parcel was already admitted here.
    Duplicate = 16, "duplicate";
    /// An older number than the floor kept for its sender.
    Replayed = 17, "replayed";
    /// A signature, digest or tag did not verify.
    NotAuthentic = 18, "not-authentic";
    /// Signed by, or sealed to, a key that is not trusted here.
    UnknownKey = 19, "unknown-key";
    /// Bytes that are not of the format.
    Malformed = 20, "malformed";
    /// The route or target named is not known here.
    NoRoute = 21, "no-route";
    /// Coordinates came down from a higher zone.
    Incident = 22, "incident";
    /// Withdrawn by an operator, or its number was never used.
    Withdrawn = 23, "withdrawn";
    /// The file could not be read.
    Unreadable = 24, "unreadable";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl_der_code!(Verdict, Verdict::ALL);
impl_der_code!(Reason, Reason::ALL);
