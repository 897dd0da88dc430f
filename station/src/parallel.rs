//! The same work on many things by a few threads that end with it.

/// The answers to all things, in their order, by so many threads.
pub(crate) fn in_parallel<T: Sync, R: Send>(workers: usize, things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    in_shares(workers, things, |share| share.iter().map(&work).collect())
}

/// The same, where each thread works on its share as a whole, and answers for each thing of it. A panic in one of them
/// goes on in the caller. The threads bear the caller's name in front: their work is its life. Where none can be had, the
/// caller does it all.
pub(crate) fn in_shares<T: Sync, R: Send>(
    workers: usize,
    things: &[T],
    work: impl Fn(&[T]) -> Vec<R> + Sync,
) -> Vec<R> {
    let share = things.len().div_ceil(workers.max(1)).max(1);
    let mut shares = things.chunks(share);
    let Some(mine) = shares.next() else { return Vec::new() };
    let work = &work;
    let stage = std::thread::current().name().unwrap_or("intake").to_owned();
    std::thread::scope(|scope| {
        let others: Vec<_> = shares
            .enumerate()
            .map(|(nth, share)| {
                let named = std::thread::Builder::new().name(format!("{stage}-{}", nth + 1));
                (share, named.spawn_scoped(scope, move || work(share)))
            })
            .collect();
        let mut answers = work(mine);
        for (share, other) in others {
            match other {
                Ok(other) => answers.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
                Err(_) => answers.extend(work(share)),
            }
        }
        answers
    })
}
