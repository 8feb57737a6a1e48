//! The listening socket of a router under `ranch up`: the parent opens it once and hands it to one
//! router after the other, so that no connection is refused while one takes over from another.
//!
//! Standard input of such a router is a socket. The listening one comes over it first; a byte goes
//! back when the router serves; its end says that the parent is gone.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

const SPACE: usize = rustix::cmsg_space!(ScmRights(1));

/// Hands a listening socket to whoever has the other end of `socket`.
pub fn give(socket: &UnixStream, listener: &TcpListener) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [listener.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("a socket does not fit its message"));
    }
    sendmsg(socket, &[IoSlice::new(b"l")], &mut control, SendFlags::empty())?;
    Ok(())
}

/// Takes the listening socket that the parent hands over on standard input.
pub fn take() -> io::Result<TcpListener> {
    take_from(io::stdin())
}

fn take_from(socket: impl AsFd) -> io::Result<TcpListener> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let sockets = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    let socket = sockets.ok_or_else(|| io::Error::other("no socket came from `ranch up`"))?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Tells the parent that this router serves.
pub fn say_serving() {
    // A parent that is gone is noticed elsewhere.
    let _ = rustix::io::write(io::stdin(), b"s");
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn connections_wait_for_whoever_has_the_socket() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        give(&ours, &listener).unwrap();
        let taken = take_from(&theirs).unwrap();
        let _client = TcpStream::connect(addr).unwrap();
        drop(listener);
        taken.set_nonblocking(false).unwrap();
        let (_, from) = taken.accept().unwrap();
        assert!(from.ip().is_loopback());
        drop(ours);
        assert!(take_from(&theirs).is_err(), "nothing more comes");
    }
}
