//! Which instructions this processor has. A [`Kernel`] is a proof: one exists only where its instructions do, so whoever
//! holds one may run it.

use std::sync::atomic::{AtomicU8, Ordering};

/// A way to compute, that this machine can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(pub(crate) Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// What [`Kernel::prefer`] asked for, as a number of [`LEVELS`] and one more; 0 is nothing.
static PREFERRED: AtomicU8 = AtomicU8::new(0);

/// All levels of this architecture, best first.
const LEVELS: &[Level] = &[
    #[cfg(target_arch = "x86_64")]
    Level::Avx512,
    #[cfg(target_arch = "x86_64")]
    Level::Avx2,
    Level::Portable,
];

impl Level {
    fn is_here(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                std::is_x86_feature_detected!("avx2")
                    && std::is_x86_feature_detected!("aes")
                    && std::is_x86_feature_detected!("pclmulqdq")
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                Level::Avx2.is_here()
                    && std::is_x86_feature_detected!("avx512f")
                    && std::is_x86_feature_detected!("avx512bw")
                    && std::is_x86_feature_detected!("gfni")
                    && std::is_x86_feature_detected!("vpclmulqdq")
            }
        }
    }
}

impl Kernel {
    /// Those that this machine has, best first. The portable one is always among them.
    pub fn all() -> impl Iterator<Item = Kernel> {
        LEVELS.iter().copied().filter(|level| level.is_here()).map(Kernel)
    }

    /// The best one, or the preferred one.
    #[must_use]
    pub fn chosen() -> Kernel {
        let preferred = LEVELS.get(usize::from(PREFERRED.load(Ordering::Relaxed)).wrapping_sub(1));
        // Only `prefer` stores a number, and it was given a kernel that is here.
        preferred.map_or_else(|| Kernel::all().next().unwrap_or(Kernel(Level::Portable)), |level| Kernel(*level))
    }

    /// Makes the whole process use this kernel from now on. For figures and for tests of what is built on this crate.
    pub fn prefer(self) {
        let place = LEVELS.iter().position(|level| *level == self.0).unwrap_or(0);
        PREFERRED.store(u8::try_from(place + 1).unwrap_or(0), Ordering::Relaxed);
    }

    /// Its word in figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_kernel_is_always_there_and_what_is_not_is_named() {
        let all: Vec<Kernel> = Kernel::all().collect();
        assert_eq!(all.last().map(|kernel| kernel.name()), Some("portable"));
        for level in LEVELS.iter().filter(|level| !level.is_here()) {
            println!("SKIPPED: this processor has no {}; no test here ran that kernel", Kernel(*level).name());
        }
    }

    #[test]
    fn a_preferred_kernel_is_the_chosen_one() {
        // In the same process other tests may ask meanwhile: each of them is right with any kernel.
        for kernel in Kernel::all().collect::<Vec<_>>().into_iter().rev() {
            kernel.prefer();
            assert_eq!(Kernel::chosen(), kernel);
        }
    }
}
