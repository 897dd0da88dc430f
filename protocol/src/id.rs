//! Ids of parcels and bundles: 16 bytes, time-ordered (the layout of a UUID version 7, RFC 9562), shown as 32 hex digits.

use crate::der_types::Octets;
use crate::time::Timestamp;

/// Names a parcel from its claim to the end of its custody. A resend keeps it.
pub type ParcelId = Octets<16>;
/// Names one sealed bundle; every hop and every seal has its own.
pub type BundleId = Octets<16>;

/// A new id from a moment and ten random bytes.
#[must_use]
pub fn new_id(now: Timestamp, random: [u8; 10]) -> Octets<16> {
    let mut id = [0; 16];
    let [_, _, time @ ..] = now.0.to_be_bytes();
    let (head, tail) = id.split_at_mut(6);
    head.copy_from_slice(&time);
    tail.copy_from_slice(&random);
    id[6] = id[6] & 0x0f | 0x70;
    id[8] = id[8] & 0x3f | 0x80;
    Octets(id)
}

/// The moment in an id: a parcel's claim, a bundle's seal. Evidence is filed under a parcel's day on every node.
#[must_use]
pub fn moment_of(id: &Octets<16>) -> Timestamp {
    let [a, b, c, d, e, f, ..] = id.0;
    Timestamp(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_its_moment_and_the_version_of_the_standard() {
        let id = new_id(Timestamp(1_795_305_599_999), [0xff; 10]);
        assert_eq!(moment_of(&id), Timestamp(1_795_305_599_999));
        assert_eq!(id.to_string().get(12..13), Some("7"));
    }
}
