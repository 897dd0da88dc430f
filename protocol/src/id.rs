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
