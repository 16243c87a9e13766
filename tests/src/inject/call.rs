//! System calls as strace writes them down, and which of them can fail.

use std::collections::{BTreeMap, HashSet};

/// Calls from which neither EIO nor ENOSPC can come, and between which a kill is the same as before the next call.
///
/// They touch no file: memory (mmap(2) of a file fails with other errors, and reads later), threads, signals, the clock, the
/// process's own numbers, the kernel's random numbers. `execve` comes before the program, `exit_group` never returns, and
/// `rt_sigreturn` takes its result for the program's own.
const WITHOUT_FILES: &[&str] = &[
    "arch_prctl",
    "brk",
    "clock_gettime",
    "clock_nanosleep",
    "execve",
    "exit",
    "exit_group",
    "futex",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "getuid",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "prctl",
    "prlimit64",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "sysinfo",
    "tgkill",
    "umask",
    "uname",
    "wait4",
    "waitid",
];

/// The first thing that layerctl's `main` asks the kernel: whose process it is. What comes before is the C library's and
/// the Rust runtime's.
const MAIN: &str = "statx(AT_FDCWD, \"/proc/self\"";

/// A system call of a run: the `number`th of its name, from 1 on, counted as strace's `when=` counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// Its name.
    pub(super) name: String,
    /// Which one.
    pub(super) number: u32,
    /// Whether it can fail. One that cannot is still a moment at which the process can be killed.
    pub(super) fails: bool,
}

/// The calls of layerctl's own, from `main` on, out of what `strace -o` wrote; none where no `main` is in it.
pub(super) fn of_layerctl(log: &str) -> Vec<Call> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut silent: HashSet<&str> = HashSet::new();
    let mut calls = Vec::new();
    let mut in_main = false;
    for line in log.lines() {
        let Some((name, rest)) = split(line) else { continue };
        let number = counts.entry(name).or_default();
        *number += 1;
        in_main |= line.starts_with(MAIN);
        if in_main && !WITHOUT_FILES.contains(&name) {
            let fails = !(name == "close" && silent.contains(closed(rest)));
            calls.push(Call { name: name.to_owned(), number: *number, fails });
        }
        note_silent(name, rest, &mut silent);
    }
    calls
}

/// Calls whose errors a program is known not to look at, so that it ends well with another image than it was to make.
///
/// mkfs.erofs 1.5 does so with some of its writes; there is nothing in the image to tell it by. mksquashfs 4.5 waits without
/// end for a thread that it could not start.
const UNHEEDED: &[(&str, &str)] = &[("mkfs.erofs", "pwrite64"), ("mksquashfs", "clone3")];

/// The calls of a program and its threads, out of what `strace -f -o` wrote. Each thread has numbers of its own.
pub(super) fn of_program(program: &str, log: &str) -> Vec<Call> {
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for line in log.lines() {
        let Some((thread, line)) = line.split_once(' ') else { continue };
        let Some((name, _)) = split(line.trim_start()) else { continue };
        if name != "close" && !WITHOUT_FILES.contains(&name) {
            *counts.entry((name, thread)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<&str, u32> = BTreeMap::new();
    for ((name, _), count) in counts {
        let so_far = most.entry(name).or_default();
        *so_far = count.max(*so_far);
    }
    let each = |(name, count): (&str, u32)| {
        let name = name.to_owned();
        let fails = !UNHEEDED.contains(&(program, name.as_str()));
        (1..=count).map(move |number| Call { name: name.clone(), number, fails })
    };
    most.into_iter().flat_map(each).collect()
}

/// A call's name and what follows its opening bracket. Lines of signals and ends are none.
fn split(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once('(')?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (!name.is_empty() && name.bytes().all(is_name)).then_some((name, rest))
}

fn closed(rest: &str) -> &str {
    rest.split(')').next().unwrap_or_default()
}

/// Keeps the descriptors whose close(2) cannot fail: directories, for which no file system has a flush operation, and pipes.
/// A close that strace lets fail is not made at all, so that the reader of such a pipe would wait for ever, which no error
/// of the kernel's brings about: it closes the descriptor in any case.
fn note_silent<'a>(name: &str, rest: &'a str, silent: &mut HashSet<&'a str>) {
    if name == "close" {
        silent.remove(closed(rest));
    } else if name == "pipe2"
        && let Some((ends, _)) = rest.trim_start_matches('[').split_once(']')
    {
        silent.extend(ends.split(", "));
    } else if rest.contains("O_DIRECTORY")
        && let Some((_, descriptor)) = rest.rsplit_once(" = ")
    {
        silent.insert(descriptor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
execve(\"/usr/bin/layerctl\", [\"layerctl\"], 0x7ff /* 1 var */) = 0
openat(AT_FDCWD, \"/proc/self/maps\", O_RDONLY|O_CLOEXEC) = 3
close(3)                                = 0
statx(AT_FDCWD, \"/proc/self\", AT_STATX_SYNC_AS_STAT, STATX_ALL, {stx_mask=0}) = 0
mmap(NULL, 12288, PROT_READ) = 0x7f18fdbad000
openat(AT_FDCWD, \"state\", O_RDONLY|O_CLOEXEC|O_DIRECTORY) = 3
close(3)                                = 0
openat(AT_FDCWD, \"a (b)\", O_RDONLY|O_CLOEXEC) = 3
close(3)                                = 0
pipe2([3, 4], O_CLOEXEC)                = 0
close(4)                                = 0
--- SIGCHLD {si_signo=SIGCHLD} ---
+++ exited with 0 +++
";

    #[test]
    fn calls_are_numbered_from_the_start_and_listed_from_main_on() {
        let found: Vec<_> =
            of_layerctl(LOG).into_iter().map(|call| (call.name, call.number, call.fails)).collect();
        let expected = [
            ("statx", 1, true),
            ("openat", 2, true),
            ("close", 2, false),
            ("openat", 3, true),
            ("close", 3, true),
            ("pipe2", 1, true),
            ("close", 4, false),
        ];
        assert_eq!(found, expected.map(|(name, number, fails)| (name.to_owned(), number, fails)));
        assert_eq!(of_layerctl("openat(AT_FDCWD, \"x\") = 3\n"), []);
    }

    #[test]
    fn the_thread_with_the_most_calls_of_a_name_counts() {
        let log = "12 read(3, 1) = 1\n13 read(3, 1) = 1\n13  read(3, 1) = 1\n13 futex(1) = 0\n";
        let names: Vec<_> = of_program("tar", log).into_iter().map(|call| call.number).collect();
        assert_eq!(names, [1, 2]);
    }
}
