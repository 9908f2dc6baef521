//! The socket option `SO_RCVLOWAT`: how much must have come before a socket is readable.

use std::io;

use nix::{
    libc,
    sys::socket::{SetSockOpt, sockopt::SetUsize},
};
use tokio::net::TcpStream;

#[derive(Clone, Copy)]
struct LowWater;
nix::setsockopt_impl!(LowWater, libc::SOL_SOCKET, libc::SO_RCVLOWAT, usize, SetUsize);

pub(crate) fn set(tcp: &TcpStream, bytes: usize) -> io::Result<()> {
    LowWater.set(tcp, &bytes).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use futures_util::FutureExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::Stream;

    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        ours.set_nodelay(true).unwrap();
        (Stream::tcp(ours), listener.accept().await.unwrap().0)
    }

    async fn read(stream: &mut Stream) -> Vec<u8> {
        let mut bytes = vec![0; 100];
        let count = stream.read(&mut bytes).await.unwrap();
        bytes.truncate(count);
        bytes
    }

    /// Until the event loop has seen what the system knows: another socket, whose bytes were sent later, was read.
    async fn settle() {
        let (mut ours, mut theirs) = pair().await;
        theirs.write_all(b"x").await.unwrap();
        assert_eq!(read(&mut ours).await, b"x");
    }

    async fn is_pending(reading: impl Future) -> bool {
        settle().await;
        reading.now_or_never().is_none()
    }

    #[tokio::test]
    async fn bytes_come_together() {
        let (mut ours, mut theirs) = pair().await;
        ours.set_low_water(8).unwrap();
        let mut reading = Box::pin(read(&mut ours));
        assert!(is_pending(&mut reading).await);
        for part in [b"ab", b"cd", b"ef"] {
            theirs.write_all(part).await.unwrap();
            assert!(is_pending(&mut reading).await);
        }
        theirs.write_all(b"gh").await.unwrap();
        assert_eq!(reading.await, b"abcdefgh");
    }

    #[tokio::test]
    async fn lowered_it_gives_what_is_there() {
        let (mut ours, mut theirs) = pair().await;
        ours.set_low_water(8).unwrap();
        assert!(is_pending(read(&mut ours)).await);
        theirs.write_all(b"ab").await.unwrap();
        assert!(is_pending(read(&mut ours)).await);
        ours.set_low_water(1).unwrap();
        assert_eq!(read(&mut ours).await, b"ab");
    }

    #[tokio::test]
    async fn the_end_counts_always() {
        let (mut ours, mut theirs) = pair().await;
        ours.set_low_water(8).unwrap();
        theirs.write_all(b"ab").await.unwrap();
        assert!(is_pending(read(&mut ours)).await);
        drop(theirs);
        assert_eq!(read(&mut ours).await, b"ab");
        assert_eq!(read(&mut ours).await, b"");
    }
}
