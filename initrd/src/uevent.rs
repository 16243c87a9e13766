//! The kernel's device events (netlink(7), NETLINK_KOBJECT_UEVENT; Linux, lib/kobject_uevent.c).
//!
//! Open the [`Listener`] before looking at sysfs: a device that appears in between is then seen twice, never missed.

#![expect(clippy::disallowed_methods, reason = "poll(2) wants the time that is left")]

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt,
        socket, sockopt,
    },
};

// The kernel's events; group 2 would be udev's.
const KERNEL_GROUP: u32 = 1;
// A uevent has at most 2048 bytes of variables (UEVENT_BUFFER_SIZE) after its header.
const EVENT_LENGTH: usize = 8192;
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// What an event tells that a boot has a use for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uevent {
    /// `add`, `remove`, `change`, …
    pub action: String,
    /// `block`, `pci`, …
    pub subsystem: String,
    /// The name under /dev, for a device that has one.
    pub devname: Option<String>,
    /// What the driver's aliases are held against.
    pub modalias: Option<String>,
}

/// Reads one event: `ACTION@DEVPATH`, then `KEY=VALUE` texts, each ended by NUL; nothing where it is no kernel event.
pub fn parse(message: &[u8]) -> Option<Uevent> {
    let mut texts = message.split(|&byte| byte == 0);
    texts.next()?.contains(&b'@').then_some(())?;
    let mut event = Uevent::default();
    for text in texts {
        let text = String::from_utf8_lossy(text);
        match text.split_once('=') {
            Some(("ACTION", value)) => event.action = value.to_owned(),
            Some(("SUBSYSTEM", value)) => event.subsystem = value.to_owned(),
            Some(("DEVNAME", value)) => event.devname = Some(value.to_owned()),
            Some(("MODALIAS", value)) => event.modalias = Some(value.to_owned()),
            _ => {}
        }
    }
    (!event.action.is_empty()).then_some(event)
}

/// What [`Listener::wait`] came back with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An event.
    Event(Uevent),
    /// Events were lost, since they came faster than they were read: look at everything anew.
    Overrun,
    /// No event until the deadline.
    Nothing,
}

/// The socket could not be opened or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen to the kernel's device events ({call}): {source}")]
pub struct Error {
    /// The system call.
    pub call: &'static str,
    /// What it answered.
    pub source: Errno,
}

/// An open socket on which the kernel's events arrive.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
}

impl Listener {
    /// Opens the socket; events from now on are kept for [`Self::wait`].
    pub fn open() -> Result<Self, Error> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )
        .map_err(|source| Error { call: "socket", source })?;
        // Needs privilege that PID 1 has; without it the default size stays, and an overrun is noticed anyway.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))
            .map_err(|source| Error { call: "bind", source })?;
        Ok(Self { socket })
    }

    /// The next event, waiting for it until `deadline`; with a deadline in the past only what has arrived already.
    pub fn wait(&self, deadline: Instant) -> Result<Heard, Error> {
        let mut buffer = [0; EVENT_LENGTH];
        loop {
            match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, sender)) => {
                    let kernel = sender.is_some_and(|sender| sender.pid() == 0);
                    let message = buffer.get(..length).unwrap_or_default();
                    if let Some(event) = parse(message).filter(|_| kernel) {
                        return Ok(Heard::Event(event));
                    }
                }
                Err(Errno::ENOBUFS) => return Ok(Heard::Overrun),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(Heard::Nothing);
                    }
                    self.poll(left)?;
                }
                Err(source) => {
                    return Err(Error { call: "recvfrom", source });
                }
            }
        }
    }

    fn poll(&self, left: Duration) -> Result<(), Error> {
        // One more millisecond than the rounded-down rest, or the last one would be spent polling with 0.
        let milliseconds = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(source) => Err(Error { call: "poll", source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_variables() {
        let message = b"add@/devices/pci0000:00/0000:00:02.0/virtio0/block/vda/vda1\0ACTION=add\0\
            DEVPATH=/devices/pci0000:00/0000:00:02.0/virtio0/block/vda/vda1\0SUBSYSTEM=block\0\
            MAJOR=254\0MINOR=1\0DEVNAME=vda1\0DEVTYPE=partition\0DISKSEQ=9\0PARTN=1\0SEQNUM=812\0";
        let expected = Uevent {
            action: "add".into(),
            subsystem: "block".into(),
            devname: Some("vda1".into()),
            modalias: None,
        };
        assert_eq!(parse(message), Some(expected));
        let message =
            b"add@/devices/x\0ACTION=add\0SUBSYSTEM=virtio\0MODALIAS=virtio:d00000002v00001AF4\0";
        assert_eq!(parse(message).unwrap().modalias.as_deref(), Some("virtio:d00000002v00001AF4"));
    }

    #[test]
    fn what_is_no_kernel_event_is_none() {
        for message in [
            &b""[..],
            b"libudev\0\xfe\xed\xca\xfe",
            b"\0\0\0",
            b"add@/devices/x\0",
            b"no at sign\0ACTION=add\0",
        ] {
            assert_eq!(parse(message), None, "{message:?}");
        }
        assert_eq!(parse(b"add@\xff\0ACTION=\xff\0").unwrap().action, "\u{fffd}");
    }

    #[test]
    fn a_quiet_socket_is_left_at_the_deadline() {
        let listener = Listener::open().unwrap();
        let start = Instant::now();
        let deadline = start + Duration::from_millis(30);
        while listener.wait(deadline).unwrap() != Heard::Nothing {}
        assert!(start.elapsed() >= Duration::from_millis(30));
    }
}
