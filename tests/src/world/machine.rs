//! What can happen to one machine of the world: its process dies, its power is cut, its disk refuses for a while.

use std::path::Path;

use protocol::Zone;
use spool::{Disk, Fault, Fuse, Power, SyncClass, Weather};

use crate::papers::Noise;
use crate::twins::ahead_ms;

/// Who may die of what, and when.
#[derive(Clone, Copy, Debug)]
pub enum Dangers {
    /// Any process at any moment, so often; afterwards every disk is real. Now and then a folder cannot be reached.
    Anywhere {
        /// Deaths in the story.
        deaths: u64,
    },
    /// One process, once, after so many effects.
    Once {
        /// Where.
        zone: Zone,
        /// Effects until then.
        effects: u64,
        /// With the power of its machine: what was not durable stays or goes by chance.
        power: bool,
    },
    /// Any machine loses power at any moment, and some processes die of less.
    PowerCut {
        /// Deaths in the story.
        deaths: u64,
        /// Spans in which some disk refuses effects, and nobody dies of it.
        weathers: u64,
        /// Clocks that step, by hours to years, back or forward, for some rounds.
        steps: u64,
        /// Disks say that they did this class of syncs, and never do. A test of the test.
        without: Option<SyncClass>,
    },
}

impl Dangers {
    pub(super) fn deaths(&self) -> u64 {
        match self {
            Dangers::Anywhere { deaths } | Dangers::PowerCut { deaths, .. } => *deaths,
            Dangers::Once { .. } => 0,
        }
    }

    pub(super) fn weathers(&self) -> u64 {
        if let Dangers::PowerCut { weathers, .. } = self { *weathers } else { 0 }
    }

    pub(super) fn steps(&self) -> u64 {
        if let Dangers::PowerCut { steps, .. } = self { *steps } else { 0 }
    }

    fn power(&self) -> bool {
        matches!(self, Dangers::PowerCut { .. } | Dangers::Once { power: true, .. })
    }
}

/// The machine of a node. Processes come and go on it.
pub(super) struct Machine {
    power: Option<Power>,
    fuse: Fuse,
    /// Its disk refuses, for so many rounds more.
    weather: Option<(Weather, u64)>,
}

impl Machine {
    /// A machine whose removed files rest in a folder of its own, which must not exist.
    pub(super) fn new(dangers: &Dangers, graveyard: &Path, seed: u64) -> std::io::Result<Machine> {
        let mut power = None;
        if dangers.power() {
            std::fs::create_dir_all(graveyard)?;
            let on = Power::on(graveyard, seed)?;
            if let Dangers::PowerCut { without: Some(class), .. } = dangers {
                on.lie_about(*class);
            }
            power = Some(on);
        }
        Ok(Machine { power, fuse: Fuse::after(u64::MAX), weather: None })
    }

    /// The disk of a new process that dies with this fuse.
    pub(super) fn disk(&mut self, fuse: Fuse) -> Disk {
        self.fuse = fuse.clone();
        let disk = match &self.power {
            Some(power) => Disk::with_power(power.clone(), fuse),
            None => Disk::with_fuse(fuse),
        };
        disk.dated_ahead(ahead_ms())
    }

    /// Has its process touched the disk once too often?
    pub(super) fn is_burnt(&self) -> bool {
        self.fuse.burnt()
    }

    /// Can its power be cut?
    pub(super) fn has_power(&self) -> bool {
        self.power.is_some()
    }

    /// From now on its process does nothing any more.
    pub(super) fn stop(&self) {
        self.fuse.burn();
    }

    /// The machine loses power, or only its process is gone. True where the power was cut.
    pub(super) fn fall(&mut self, once: bool, noise: &mut Noise) -> std::io::Result<bool> {
        self.fuse = Fuse::after(u64::MAX);
        match &self.power {
            Some(power) if once || noise.below(4) > 0 => {
                self.weather = None;
                power.cut().map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// Another weather begins, where the machine has any.
    pub(super) fn turns(&mut self, noise: &mut Noise) -> Option<Weather> {
        self.power.as_ref()?;
        let fault = Fault::ALL.get(usize::try_from(noise.below(Fault::ALL.len() as u64)).unwrap_or(0))?;
        let weather = Weather { fault: *fault, one_in: [1, 2, 5, 30][usize::try_from(noise.below(4)).unwrap_or(0)] };
        self.weather = Some((weather, 1 + noise.below(4)));
        Some(weather)
    }

    /// The weather of a round begins. True where there is any.
    pub(super) fn dawn(&mut self) -> bool {
        let (Some(power), Some((weather, left))) = (&self.power, &mut self.weather) else { return false };
        power.set_weather(Some(*weather));
        *left -= 1;
        if *left == 0 {
            self.weather = None;
        }
        true
    }

    /// It ends with the round.
    pub(super) fn dusk(&self) {
        if let Some(power) = &self.power {
            power.set_weather(None);
        }
    }

    /// Effects its disk has refused.
    pub(super) fn faults(&self) -> u64 {
        self.power.as_ref().map_or(0, Power::faults)
    }

    /// What no program may do on a disk, if ours did.
    pub(super) fn broken(&self) -> Option<String> {
        self.power.as_ref()?.broken()
    }

    /// Cuts, effects they took back, and effects the weather refused.
    pub(super) fn toll(&self) -> [u64; 3] {
        self.power.as_ref().map_or([0; 3], |power| [power.cuts(), power.undone(), power.faults()])
    }
}
