//! The same work on many things, by as many threads as this machine has cores. Answers come in the order of the things.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More would wait for one disc.
const WORKERS_MAX: usize = 16;

/// Does the work on each, and gives the answers in order. Whoever is called works too, so that a machine that gives no
/// thread is only slower.
pub(crate) fn each<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let turn = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(thing) = things.get(place) else { return done };
            done.push((place, work(thing)));
        }
    };
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..cores.min(WORKERS_MAX).min(things.len()))
            .filter_map(|number| thread::Builder::new().name(format!("crew-{number}")).spawn_scoped(scope, turn).ok())
            .collect();
        let mut all = turn();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                // Our own bug: as loud as it would be without threads.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_unstable_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_things() {
        for count in [0, 1, 2, 1_000_u64] {
            let things: Vec<u64> = (0..count).collect();
            // The first ones take longest.
            let work = |thing: &u64| (0..(count - thing) * 50).fold(*thing, |sum, n| std::hint::black_box(sum ^ n ^ n));
            assert_eq!(each(&things, work), things);
        }
    }
}
