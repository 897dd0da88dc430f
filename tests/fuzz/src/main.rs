//! One target of `tests::fuzz`, named by `TRILOCK_FUZZ_TARGET`, at the mercy of libFuzzer. Its samples and seeds are
//! written into `TRILOCK_FUZZ_SEEDS` before anything is read: keys are drawn anew in each process, and a sample that
//! another one signed would verify for nobody.
#![no_main]

use std::cell::RefCell;
use std::fs;

use libfuzzer_sys::fuzz_target;
use tests::fuzz::{FAMILIES, Target};

thread_local! {
    static TARGET: RefCell<Option<Target>> = const { RefCell::new(None) };
}

fn prepare() {
    let wanted = std::env::var("TRILOCK_FUZZ_TARGET").expect("TRILOCK_FUZZ_TARGET names a target");
    let all = FAMILIES.iter().flat_map(|(_, targets)| targets());
    let target = all.into_iter().find(|target| target.slug() == wanted).expect("there is a target of this name");
    let folder = std::env::var("TRILOCK_FUZZ_SEEDS").expect("TRILOCK_FUZZ_SEEDS names a folder");
    for (index, seed) in target.samples.iter().chain(&target.seeds).enumerate() {
        fs::write(format!("{folder}/seed-{index}"), seed).expect("the folder of seeds can be written");
    }
    TARGET.set(Some(target));
}

fuzz_target!(init: prepare(), |bytes: &[u8]| {
    TARGET.with_borrow_mut(|target| {
        let _either_way = target.as_mut().map(|target| target.read(bytes));
    });
});
