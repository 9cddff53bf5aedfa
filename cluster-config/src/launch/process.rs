//! One process, told apart from a later one under the same id by the time at which it started. Must not know which
//! server it is.

use std::{ffi::OsString, fmt, os::unix::ffi::OsStrExt};

use rustix::process::{Pid, Signal, kill_process};

/// A process of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pid: Pid,
    /// Clock ticks after boot: field 22 of `/proc/<pid>/stat`.
    started: u64,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It was stopped by SIGSTOP.
    Paused,
}

impl Process {
    /// The process that has this id now, unless it has ended.
    pub fn of(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        // An ended child that nobody has reaped yet keeps its entry: it was started, and is gone.
        let (started, _) = stat(pid)?;
        Some(Self { pid, started })
    }

    /// One whose command line ends with these words: the program, or what interprets it, may stand before the first.
    pub fn of_command(words: &[OsString]) -> Option<Self> {
        let mut wanted = Vec::new();
        for word in words {
            wanted.extend_from_slice(word.as_bytes());
            wanted.push(0);
        }
        let ids = std::fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_it = |id: &u32| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            line.strip_suffix(wanted.as_slice()).is_some_and(|before| before.last().is_none_or(|byte| *byte == 0))
        };
        ids.filter(is_it).find_map(Self::of).filter(Self::is_alive)
    }

    /// Reads what [`fmt::Display`] wrote: id and time of start.
    pub fn parse(text: &str) -> Option<Self> {
        let (pid, started) = text.trim().split_once(' ')?;
        Some(Self { pid: Pid::from_raw(pid.parse().ok()?)?, started: started.parse().ok()? })
    }

    /// The process id.
    pub fn pid(self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// What it does, or `None` once it has ended.
    pub fn state(self) -> Option<State> {
        match stat(self.pid)? {
            (started, _) if started != self.started => None,
            (_, 'Z' | 'X' | 'x') => None,
            (_, 'T' | 't') => Some(State::Paused),
            _ => Some(State::Running),
        }
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        self.state().is_some()
    }

    /// Sends a signal. A process that has just ended counts as having got it.
    ///
    /// # Errors
    /// When it belongs to another user.
    pub fn signal(self, signal: Signal) -> std::io::Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        match kill_process(self.pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid(), self.started)
    }
}

/// Time of start and state letter, from `/proc/<pid>/stat`.
fn stat(pid: Pid) -> Option<(u64, char)> {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // `state` is field 3, so field 22 is the nineteenth after it.
    let started = fields.nth(18)?.parse().ok()?;
    Some((started, state))
}
