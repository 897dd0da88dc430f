//! What repair bears, as arithmetic: a block of K source symbols of which K + R go out comes back from any K of them,
//! so it stays open only where more than R are lost. docs/diode.md prints a table of this file, and a test holds it.

/// The chance that one block stays open: more than `recovery` of `source + recovery` frames lost, each for itself
/// with the chance `loss`.
#[must_use]
pub fn undecodable(source: u32, recovery: u32, loss: f64) -> f64 {
    if loss <= 0.0 {
        return 0.0;
    }
    if loss >= 1.0 {
        return 1.0;
    }
    let frames = source + recovery;
    let odds = (loss / (1.0 - loss)).ln();
    // The logarithm of exactly i losses; each follows from the one before, and none underflows.
    let mut exactly = f64::from(frames) * (1.0 - loss).ln();
    let mut sum = 0.0;
    for lost in 1..=frames {
        exactly += (f64::from(frames - lost + 1) / f64::from(lost)).ln() + odds;
        if lost > recovery {
            sum += exactly.exp();
        }
    }
    f64::min(sum, 1.0)
}

/// The fewest recovery symbols with which a block stays open at most so often; `None` where K of them do not do.
#[must_use]
pub fn recovery_for(source: u32, loss: f64, at_most: f64) -> Option<u32> {
    let (mut too_few, mut enough) = (0, source);
    if undecodable(source, enough, loss) > at_most {
        return None;
    }
    while enough - too_few > 1 {
        let middle = u32::midpoint(too_few, enough);
        if undecodable(source, middle, loss) > at_most {
            too_few = middle;
        } else {
            enough = middle;
        }
    }
    Some(enough)
}

/// The longest run of lost frames that no block minds, with so many blocks in the air: a run takes from each in turn.
#[must_use]
pub fn burst_borne(recovery: u32, interleave: u32) -> u64 {
    u64::from(recovery) * u64::from(interleave)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_odds_of_small_blocks_are_those_that_can_be_counted_by_hand() {
        // Two of three frames are needed: open where two or three are lost. 3 x 0.1^2 x 0.9 + 0.1^3.
        assert!((undecodable(2, 1, 0.1) - 0.028).abs() < 1e-12);
        assert!((undecodable(1, 0, 0.25) - 0.25).abs() < 1e-12);
        assert!((undecodable(100, 100, 0.5) - 0.4718).abs() < 1e-3);
        assert!(undecodable(1_490, 75, 0.0) == 0.0 && undecodable(1_490, 75, 1.0) == 1.0);
    }

    #[test]
    fn the_fewest_recovery_symbols_do_and_one_less_does_not() {
        for (source, loss) in [(1_490, 0.001), (1_490, 0.01), (1_490, 0.05), (236, 0.01), (8, 0.02)] {
            let enough = recovery_for(source, loss, 1e-6).expect("there are enough");
            assert!(undecodable(source, enough, loss) <= 1e-6, "{source} {loss} {enough}");
            assert!(undecodable(source, enough - 1, loss) > 1e-6, "{source} {loss} {enough}");
        }
        assert_eq!(recovery_for(1_490, 0.6, 1e-6), None);
        assert_eq!(burst_borne(75, 8), 600);
    }
}
