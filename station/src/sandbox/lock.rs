//! The locks a worker puts on itself before it reads a byte of a parcel. Each stands alone: where a kernel has one of
//! them not, the others hold, and whoever is on duty is told.
//!
//! | layer | since | what it takes away |
//! |---|---|---|
//! | limits | always | memory, processor time, new files (none), writing to files, core dumps |
//! | no new privileges, dies with the daemon | 3.5 | set-user-id programs; a worker without a daemon |
//! | system-call filter | 3.17 | everything but reading its questions, writing its answers and memory: no file, no network, no process, no signal |
//! | Landlock | 5.13 | every file and directory, and with newer kernels TCP and abstract sockets, should the filter fail |

use std::collections::BTreeMap;
use std::fmt;

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, Signal};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Address space of a worker: the largest file that is read, what may be unpacked from it, and twice as much again for
/// copies in other encodings. What needs more is a bomb.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// Processor time of a worker's whole life; the daemon lets it go long before, and this ends one that escaped its eye.
const CPU_SECONDS_MAX: u64 = 120;

/// The newest access rules that this version knows; the kernel is asked for as many of them as it has.
const LANDLOCK: ABI = ABI::V6;

/// Which locks hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Limits of memory, time and files.
    pub limits: bool,
    /// No new privileges, and death with the daemon.
    pub no_new_privs: bool,
    /// The filter of system calls.
    pub seccomp: bool,
    /// Access rules of the kernel: all that this version asks for, or as many as this kernel has.
    pub landlock: Landlock,
}

/// How far Landlock holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Landlock {
    /// Not in this kernel, or not allowed.
    #[default]
    Absent,
    /// Files and directories are closed; this kernel does not know the newer rules.
    Older,
    /// Everything that is asked for.
    Full,
}

impl Layers {
    /// The locks as the worker says them on its first line.
    pub(super) fn to_byte(self) -> u8 {
        let landlock = match self.landlock {
            Landlock::Absent => 0,
            Landlock::Older => 1,
            Landlock::Full => 2,
        };
        u8::from(self.limits) | u8::from(self.no_new_privs) << 1 | u8::from(self.seccomp) << 2 | landlock << 3
    }

    pub(super) fn from_byte(byte: u8) -> Option<Layers> {
        let landlock = match byte >> 3 {
            0 => Landlock::Absent,
            1 => Landlock::Older,
            2 => Landlock::Full,
            _ => return None,
        };
        Some(Layers { limits: byte & 1 != 0, no_new_privs: byte & 2 != 0, seccomp: byte & 4 != 0, landlock })
    }

    /// Does something lack that a person should know of? Older access rules are as good, as long as the filter holds.
    #[must_use]
    pub fn are_weak(self) -> bool {
        !self.limits || !self.no_new_privs || !self.seccomp || self.landlock == Landlock::Absent
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |is: bool| if is { "on" } else { "MISSING" };
        let landlock = match self.landlock {
            Landlock::Absent => "MISSING",
            Landlock::Older => "on (files only: an older kernel)",
            Landlock::Full => "on",
        };
        write!(
            f,
            "limits {}, no-new-privileges {}, system-call filter {}, landlock {landlock}",
            word(self.limits),
            word(self.no_new_privs),
            word(self.seccomp)
        )
    }
}

/// Locks this process, for good. `but` names layers that are left out, so that a test can look at the others.
pub(super) fn lock(but: &[&str]) -> Layers {
    let wanted = |layer: &str| !but.contains(&layer);
    // A worker whose daemon has gone reads an end on its socket; this is for one that does not read.
    let dies = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    let no_new_privs = rustix::thread::set_no_new_privs(true).is_ok();
    let landlock = if wanted("landlock") { landlock() } else { Landlock::Absent };
    let limits = wanted("limits") && limits();
    let seccomp = wanted("seccomp") && seccomp();
    Layers { limits, no_new_privs: dies && no_new_privs, seccomp, landlock }
}

fn limits() -> bool {
    let all = [
        (Resource::As, MEMORY_BYTES_MAX),
        (Resource::Cpu, CPU_SECONDS_MAX),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        // None beside those that are open: whatever would give a new descriptor fails.
        (Resource::Nofile, 0),
        (Resource::Nproc, 0),
    ];
    all.into_iter().all(|(resource, most)| {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(resource, limit).is_ok()
    })
}

fn landlock() -> Landlock {
    let locked = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(LANDLOCK)))
        .and_then(|rules| rules.scope(Scope::from_all(LANDLOCK)))
        .and_then(Ruleset::create)
        // No path is added: nothing is open.
        .and_then(|rules| rules.restrict_self());
    match locked.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => Landlock::Full,
        Ok(RulesetStatus::PartiallyEnforced) => Landlock::Older,
        Ok(RulesetStatus::NotEnforced) | Err(_) => Landlock::Absent,
    }
}

/// Two filters, of which the harsher decides: one ends the worker at what no parser ever asks for, the other lets
/// through the little that one needs, and answers "not permitted" to the rest.
fn seccomp() -> bool {
    let Ok(fatal) = program(fatal(), SeccompAction::Allow, SeccompAction::KillProcess) else { return false };
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let Some(needed) = needed() else { return false };
    let Ok(needed) = program(needed, denied, SeccompAction::Allow) else { return false };
    seccompiler::apply_filter(&fatal).is_ok() && seccompiler::apply_filter(&needed).is_ok()
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn program(
    rules: Rules,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, otherwise, matching, arch)?.try_into()
}

/// What a parser never asks for, and somebody else inside it might.
fn fatal() -> Rules {
    let mut calls = vec![
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_bpf,
        libc::SYS_mount,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_keyctl,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_memfd_create,
    ];
    #[cfg(target_arch = "x86_64")]
    calls.extend([libc::SYS_open, libc::SYS_creat, libc::SYS_fork, libc::SYS_vfork]);
    calls.into_iter().map(|call| (call, Vec::new())).collect()
}

/// What a parser needs: its questions from standard input, its answers to standard output, memory that is never code,
/// a lock, a number, and its end.
fn needed() -> Option<Rules> {
    let only = |argument, value| SeccompRule::new(vec![equal(argument, value)?]).ok();
    let no_code = |argument| {
        let mask = u64::from(libc::PROT_EXEC.unsigned_abs());
        let op = SeccompCmpOp::MaskedEq(mask);
        SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, 0).ok()?]).ok()
    };
    let mut rules: Rules = [
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigaction,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_sched_yield,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ]
    .into_iter()
    .map(|call| (call, Vec::new()))
    .collect();
    rules.insert(libc::SYS_read, vec![only(0, 0)?]);
    rules.insert(libc::SYS_write, vec![only(0, 1)?]);
    // To give up, where memory is at its end; a signal to nobody else, and no other one.
    let own = u64::from(std::process::id());
    let abort = u64::from(libc::SIGABRT.unsigned_abs());
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![equal(0, own)?, equal(2, abort)?]).ok()?]);
    rules.insert(libc::SYS_mmap, vec![no_code(2)?]);
    rules.insert(libc::SYS_mprotect, vec![no_code(2)?]);
    Some(rules)
}

fn equal(argument: u8, value: u64) -> Option<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_come_over_as_they_are() {
        for byte in 0..=u8::MAX {
            if let Some(layers) = Layers::from_byte(byte) {
                assert_eq!(layers.to_byte(), byte);
            }
        }
        let all = Layers { limits: true, no_new_privs: true, seccomp: true, landlock: Landlock::Older };
        assert!(!all.are_weak());
        assert!(Layers { seccomp: false, ..all }.are_weak());
        assert!(Layers { landlock: Landlock::Absent, ..all }.are_weak());
        assert_eq!(Layers::from_byte(0xff), None);
    }
}
